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


def event_of(request: WebRequest) -> dict[str, Any] | None:
    """The signed event; None if the signature is not xPay's."""
    sent = request.header("xpay-signature") or ""
    true = base64.b64encode(hmac.new(KEY, request.body, hashlib.sha512).digest()).decode()
    message: dict[str, Any] = json.loads(request.body)
    return message if hmac.compare_digest(sent, true) else None


def refused(message: dict[str, Any] | None, found: list[Record]) -> int | None:
    """The status for what this shop does not take; xPay will send it again, and give up."""
    if message is None:
        return 401
    if message["eventType"] not in (PAID, FAILED):
        return 501
    if len(found) != 1 or found[0].intent is None:
        return 404
    money = found[0].intent.money
    if (message["amount"], message["currency"]) != (money.amount_minor, money.currency):
        return 422
    return None


def fact_of(message: dict[str, Any], record: Record, now_ms: int) -> RecordedEvent:
    event = Event(
        kind=message["eventType"],
        type=message["eventType"],
        source="webhook",
        event_id=message["eventId"],
        at_ms=message["eventTime"],
        proof="hmac:0",
        x_intent_id=message["intentId"],
        amount_minor=message["amount"],
        currency=message["currency"],
        error_code=message.get("errorCode"),
    )
    version = record.version + 1
    return RecordedEvent(
        event=event, disposition="applied", why="by hand", at_ms=now_ms, version=version
    )


def knows(record: Record, message: dict[str, Any]) -> bool:
    return any(recorded.event.event_id == message["eventId"] for recorded in record.events)


def state_after(intent: Intent, kind: str) -> str:
    """Decided by hand: a payment stays a payment, whatever is reported later."""
    if kind == PAID:
        return "success"
    return intent.state if intent.state == "success" else "failed"


Decide = Callable[[Intent, str], str]


def with_news(
    record: Record, message: dict[str, Any], now_ms: int, decide: Decide = state_after
) -> Record:
    """The record with one more fact, its state, and an order to fulfil if it is paid."""
    intent, kind = record.intent, message["eventType"]
    assert intent is not None
    recorded = fact_of(message, record, now_ms)
    due_call = OutboxEntry(id=f"fulfil:{intent.receipt_id}", name="on_success", next_at_ms=now_ms)
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
        outbox=record.outbox or ((due_call,) if kind == PAID else ()),
        reconcile_at_ms=None if kind == PAID else record.reconcile_at_ms,
    )


def payment(record: Record) -> Payment:
    assert record.intent is not None
    key = f"fulfil:{record.intent.receipt_id}"
    return payment_of(record.intent, "on_success", "", key, ())


async def load_order(message: dict[str, Any], ports: PlainPorts) -> list[Record]:
    return list(await ports.store.history(receipt_alias(message["receiptId"])))


async def settle(record: Record, entry: OutboxEntry, ports: PlainPorts) -> bool:
    return await ports.store.commit(change(record, record.with_entry(entry)))


async def fulfil(message: dict[str, Any], ports: PlainPorts) -> int:
    """Claim by compare-and-set, call, settle; if it is claimed already, xPay must send again."""
    record = (await load_order(message, ports))[0]
    due_call, now_ms = record.outbox[0], ports.clock.now_ms()
    if due_call.status == "done":
        return 200
    if due_call.next_at_ms > now_ms:
        return 503
    claimed = attrs.evolve(due_call, next_at_ms=now_ms + LEASE_MS)
    if not await settle(record, claimed, ports):
        return 503
    await ports.handlers.on_success(payment(record))
    for _ in range(5):
        record = (await load_order(message, ports))[0]
        done = attrs.evolve(record.outbox[0], status="done")
        if await settle(record, done, ports):
            return 200
    return 503


# --- a correct one -------------------------------------------------------------------------------


async def correct(request: WebRequest, ports: PlainPorts, decide: Decide = state_after) -> int:
    """Read, decide, compare and set, try again on a lost race; then fulfil what is due."""
    message = event_of(request)
    for _ in range(5):
        found = await load_order(message, ports) if message else []
        status = refused(message, found)
        if status is not None or message is None:
            return status or 401
        record = found[0]
        if knows(record, message) or await ports.store.commit(
            change(record, with_news(record, message, ports.clock.now_ms(), decide))
        ):
            return await fulfil(message, ports) if message["eventType"] == PAID else 200
    return 503


# --- five wrong ones -----------------------------------------------------------------------------


async def get_then_put(request: WebRequest, ports: PlainPorts) -> int:
    """Puts its record over whatever is there by then."""
    message = event_of(request)
    found = await load_order(message, ports) if message else []
    if (status := refused(message, found)) is not None or message is None:
        return status or 401
    await put_over(found[0], with_news(found[0], message, ports.clock.now_ms()), ports)
    return await fulfil(message, ports) if message["eventType"] == PAID else 200


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
    message = event_of(request)
    found = await load_order(message, ports) if message else []
    if (status := refused(message, found)) is not None or message is None:
        return status or 401
    seen = Record(key=f"seen:{message['eventId']}")
    recorded = fact_of(message, seen, ports.clock.now_ms())
    if not await ports.store.commit(change(seen, attrs.evolve(seen, events=(recorded,)))):
        return 200
    return await correct(request, ports)


async def answers_first(request: WebRequest, ports: PlainPorts) -> int:
    """Answers, and leaves the work to a task, or where there are none to a list in memory."""
    message = event_of(request)
    if message is None or message["eventType"] not in (PAID, FAILED):
        return 401
    later = []
    try:
        later.append(asyncio.get_running_loop().create_task(correct(request, ports)))
    except RuntimeError:
        later.append(message)
    return 200 if later else 503


async def locks_for_ever(request: WebRequest, ports: PlainPorts) -> int:
    """Takes a lock that stays taken when its holder dies."""
    message = event_of(request)
    if message is None:
        return 401
    name = f"lock:{message['receiptId']}"
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
