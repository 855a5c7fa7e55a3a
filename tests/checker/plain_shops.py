"""Shops written by hand, as without this library: one correct, and five wrong in a classic way.

Each webhook is a coroutine over awaited ports. `blocking` makes the same words a blocking function:
there the ports block, and nothing is left to await.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import attrs

from xpay_flow import Settings
from xpay_flow.checker.plain import PlainPorts
from xpay_flow.endpoints import WebRequest
from xpay_flow.events import Event
from xpay_flow.intent import Intent
from xpay_flow.payment import Payment, payment_of
from xpay_flow.records import OutboxEntry, Record, RecordedEvent, change, receipt_alias

KEY = Settings.sandbox().webhook_secrets[0].encode()
LEASE_MS = 60_000
PAID, FAILED = "intent.success", "intent.failed"

Webhook = Callable[[WebRequest, PlainPorts], Any]


# --- blocking ports for the same words -----------------------------------------------------------


class _Ready:
    """A port whose answers are there already: awaiting them does not wait."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            return getattr(self._port, name)(*args)

        return call


def blocking(webhook: Webhook) -> Webhook:
    """The same webhook as a blocking function, for a thread."""

    @functools.wraps(webhook)
    def blocks(request: WebRequest, ports: PlainPorts) -> Any:
        ready = attrs.evolve(ports, store=_Ready(ports.store), handlers=_Ready(ports.handlers))
        try:
            webhook(request, ready).send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it waited for something else than its ports")

    del blocks.__wrapped__
    return blocks


# --- what every shop does ------------------------------------------------------------------------


def news_of(request: WebRequest) -> dict[str, Any] | None:
    """The signed news; None if the signature is not xPay's."""
    sent = request.header("xpay-signature") or ""
    true = base64.b64encode(hmac.new(KEY, request.body, hashlib.sha512).digest()).decode()
    news: dict[str, Any] = json.loads(request.body)
    return news if hmac.compare_digest(sent, true) else None


def refused(news: dict[str, Any] | None, found: list[Record]) -> int | None:
    """The status for what this shop does not take; xPay will send it again, and give up."""
    if news is None:
        return 401
    if news["eventType"] not in (PAID, FAILED):
        return 501
    if len(found) != 1 or found[0].intent is None:
        return 404
    money = found[0].intent.money
    if (news["amount"], news["currency"]) != (money.amount_minor, money.currency):
        return 422
    return None


def fact_of(news: dict[str, Any], record: Record, now_ms: int) -> RecordedEvent:
    event = Event(
        kind=news["eventType"],
        type=news["eventType"],
        source="webhook",
        event_id=news["eventId"],
        at_ms=news["eventTime"],
        proof="hmac:0",
        x_intent_id=news["intentId"],
        amount_minor=news["amount"],
        currency=news["currency"],
        error_code=news.get("errorCode"),
    )
    version = record.version + 1
    return RecordedEvent(
        event=event, disposition="applied", why="by hand", at_ms=now_ms, version=version
    )


def knows(record: Record, news: dict[str, Any]) -> bool:
    return any(recorded.event.event_id == news["eventId"] for recorded in record.events)


def state_after(intent: Intent, kind: str) -> str:
    """Decided by hand: a payment stays a payment, whatever else is told later."""
    if kind == PAID:
        return "success"
    return intent.state if intent.state == "success" else "failed"


Decide = Callable[[Intent, str], str]


def with_news(
    record: Record, news: dict[str, Any], now_ms: int, decide: Decide = state_after
) -> Record:
    """The record with one more fact, its state, and an order to fulfil if it is paid."""
    intent, kind = record.intent, news["eventType"]
    assert intent is not None
    recorded = fact_of(news, record, now_ms)
    owed = OutboxEntry(id=f"fulfil:{intent.receipt_id}", name="on_success", next_at_ms=now_ms)
    return attrs.evolve(
        record,
        intent=attrs.evolve(
            intent,
            state=decide(intent, kind),
            money_checked=intent.money_checked or kind == PAID,
            request=None,
            kinds=intent.kinds | {kind},
            evidence=intent.evidence | {recorded.id},
        ),
        events=(*record.events, recorded),
        outbox=record.outbox or ((owed,) if kind == PAID else ()),
        reconcile_at_ms=None if kind == PAID else record.reconcile_at_ms,
    )


def payment(record: Record) -> Payment:
    assert record.intent is not None
    key = f"fulfil:{record.intent.receipt_id}"
    return payment_of(record.intent, "on_success", "", key, ())


async def load_order(news: dict[str, Any], ports: PlainPorts) -> list[Record]:
    return list(await ports.store.history(receipt_alias(news["receiptId"])))


async def settle(record: Record, entry: OutboxEntry, ports: PlainPorts) -> bool:
    return await ports.store.commit(change(record, record.with_entry(entry)))


async def fulfil(news: dict[str, Any], ports: PlainPorts) -> int:
    """Claim by compare-and-set, call, settle; whoever finds it claimed lets xPay come again."""
    record = (await load_order(news, ports))[0]
    owed, now_ms = record.outbox[0], ports.clock.now_ms()
    if owed.status == "done":
        return 200
    if owed.next_at_ms > now_ms:
        return 503
    claimed = attrs.evolve(owed, next_at_ms=now_ms + LEASE_MS)
    if not await settle(record, claimed, ports):
        return 503
    await ports.handlers.on_success(payment(record))
    for _ in range(5):
        record = (await load_order(news, ports))[0]
        done = attrs.evolve(record.outbox[0], status="done")
        if await settle(record, done, ports):
            return 200
    return 503


# --- a correct one -------------------------------------------------------------------------------


async def correct(request: WebRequest, ports: PlainPorts, decide: Decide = state_after) -> int:
    """Read, decide, compare and set, try again on a lost race; then fulfil what is owed."""
    news = news_of(request)
    for _ in range(5):
        found = await load_order(news, ports) if news else []
        status = refused(news, found)
        if status is not None or news is None:
            return status or 401
        record = found[0]
        if knows(record, news) or await ports.store.commit(
            change(record, with_news(record, news, ports.clock.now_ms(), decide))
        ):
            return await fulfil(news, ports) if news["eventType"] == PAID else 200
    return 503


# --- five wrong ones -----------------------------------------------------------------------------


async def get_then_put(request: WebRequest, ports: PlainPorts) -> int:
    """Puts its record over whatever is there by then."""
    news = news_of(request)
    found = await load_order(news, ports) if news else []
    if (status := refused(news, found)) is not None or news is None:
        return status or 401
    await put_over(found[0], with_news(found[0], news, ports.clock.now_ms()), ports)
    return await fulfil(news, ports) if news["eventType"] == PAID else 200


async def put_over(before: Record, after: Record, ports: PlainPorts) -> None:
    """Save what became of a record over whatever is there by then."""
    step = change(before, after)
    while True:
        there = (await ports.store.load(after.key))[0]
        written = attrs.evolve(step.record, version=there.version + 1)
        if await ports.store.commit(
            attrs.evolve(step, record=written, expected_version=there.version)
        ):
            return


async def dedupes_first(request: WebRequest, ports: PlainPorts) -> int:
    """Saves that it has seen the event, and then does the work."""
    news = news_of(request)
    found = await load_order(news, ports) if news else []
    if (status := refused(news, found)) is not None or news is None:
        return status or 401
    seen = Record(key=f"seen:{news['eventId']}")
    recorded = fact_of(news, seen, ports.clock.now_ms())
    if not await ports.store.commit(change(seen, attrs.evolve(seen, events=(recorded,)))):
        return 200
    return await correct(request, ports)


async def answers_first(request: WebRequest, ports: PlainPorts) -> int:
    """Answers, and leaves the work to a task, or where there are none to a list in memory."""
    news = news_of(request)
    if news is None or news["eventType"] not in (PAID, FAILED):
        return 401
    later = []
    try:
        later.append(asyncio.get_running_loop().create_task(correct(request, ports)))
    except RuntimeError:
        later.append(news)
    return 200 if later else 503


async def locks_for_ever(request: WebRequest, ports: PlainPorts) -> int:
    """Takes a lock that nobody frees for whoever died with it."""
    news = news_of(request)
    if news is None:
        return 401
    name = f"lock:{news['receiptId']}"
    found = await ports.store.history(name)
    lock = found[0] if found else Record(key=name, aliases=frozenset({name}))
    held = OutboxEntry(id=name, name="on_attention", next_at_ms=0)
    if lock.outbox and lock.outbox[0].status == "pending":
        return 503
    if not await ports.store.commit(change(lock, attrs.evolve(lock, outbox=(held,)))):
        return 503
    try:
        return await correct(request, ports)
    finally:
        lock = (await ports.store.history(name))[0]
        freed = attrs.evolve(held, status="done")
        await ports.store.commit(change(lock, attrs.evolve(lock, outbox=(freed,))))


async def last_word_wins(request: WebRequest, ports: PlainPorts) -> int:
    """A late `failed` overwrites the success."""
    return await correct(request, ports, lambda _, kind: "success" if kind == PAID else "failed")
