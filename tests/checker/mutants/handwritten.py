"""What goes wrong in a shop without this library? Plain functions, awaiting and blocking.

The words that are right are those of `plain_shops`; each function here is wrong in one of them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import attrs

from xpay_flow.checker.bounds import BEGINNING, EVENTS, HANDLERS, SILENCE, SUPERSEDED, Scene
from xpay_flow.checker.plain import PlainPorts
from xpay_flow.checker.replayed import HandlerFailed
from xpay_flow.checker.shop import Shop
from xpay_flow.checkout_request import CheckoutRequest
from xpay_flow.endpoints import WebRequest
from xpay_flow.errors import StoreUnavailable
from xpay_flow.records import Record, change
from xpay_flow.xpay_api import Created

from .. import plain_shops as by_hand
from .mutant import BAD_STORE, ONE_DELIVERY, Mutant

PAID = by_hand.PAID


async def _taken(
    request: WebRequest, ports: PlainPorts
) -> tuple[dict[str, Any] | None, Record | None, int]:
    """The signed event and its order, or the status for what this shop does not take."""
    event = by_hand.event_of(request)
    found = await by_hand.load_order(event, ports) if event else []
    status = by_hand.refused(event, found)
    return (event, found[0], 0) if status is None else (None, None, status)


async def _saved(record: Record, event: dict[str, Any], ports: PlainPorts, **changed: Any) -> bool:
    after = by_hand.with_news(record, event, ports.clock.now_ms())
    return await ports.store.commit(change(record, attrs.evolve(after, **changed)))


# --- when it is saved ----------------------------------------------------------------------------


async def puts_what_it_got(request: WebRequest, ports: PlainPorts) -> int:
    """The record is read and changed, and saved over whatever is there by then."""
    event, record, status = await _taken(request, ports)
    if event is None or record is None:
        return status
    if not by_hand.knows(record, event):
        await by_hand.put_over(
            record, by_hand.with_news(record, event, ports.clock.now_ms()), ports
        )
    return await by_hand.fulfil(event, ports) if event["eventType"] == PAID else 200


async def looks_at_no_id(request: WebRequest, ports: PlainPorts) -> int:
    """A delivery that is repeated is work again: whether the event is known is not looked up."""
    for _ in range(5):
        event, record, status = await _taken(request, ports)
        if event is None or record is None:
            return status
        if await _saved(record, event, ports):
            if event["eventType"] == PAID:
                await ports.handlers.on_success(by_hand.payment(record))
            return 200
    return 503


async def fulfils_before_it_saves(request: WebRequest, ports: PlainPorts) -> int:
    """The order is fulfilled, and then it is saved that it was."""
    event, record, status = await _taken(request, ports)
    if event is None or record is None:
        return status
    if by_hand.knows(record, event):
        return 200
    if event["eventType"] == PAID:
        await ports.handlers.on_success(by_hand.payment(record))
    return 200 if await _saved(record, event, ports) else 503


async def fulfils_in_the_transaction(request: WebRequest, ports: PlainPorts) -> int:
    """The handler runs inside a transaction that is run again when it loses a race."""
    for _ in range(5):
        event, record, status = await _taken(request, ports)
        if event is None or record is None:
            return status
        if by_hand.knows(record, event):
            return 200
        paid = event["eventType"] == PAID
        if paid:
            await ports.handlers.on_success(by_hand.payment(record))
        effects = tuple(attrs.evolve(e, status="done") for e in record.outbox)
        if await _saved(record, event, ports, outbox=effects):
            return 200
    return 503


async def ticks_off_first(request: WebRequest, ports: PlainPorts) -> int:
    """The order is saved as fulfilled together with the payment, and then it is fulfilled."""
    for _ in range(5):
        event, record, status = await _taken(request, ports)
        if event is None or record is None:
            return status
        if by_hand.knows(record, event):
            return 200
        after = by_hand.with_news(record, event, ports.clock.now_ms())
        effects = tuple(attrs.evolve(e, status="done") for e in after.outbox)
        if await _saved(record, event, ports, outbox=effects):
            if event["eventType"] == PAID:
                await ports.handlers.on_success(by_hand.payment(record))
            return 200
    return 503


async def saves_and_fulfils_at_once(request: WebRequest, ports: PlainPorts) -> int:
    """Saving and fulfilling are gathered, so that who loses the race has fulfilled, too."""
    event, record, status = await _taken(request, ports)
    if event is None or record is None:
        return status
    if by_hand.knows(record, event):
        return 200
    if event["eventType"] != PAID:
        return 200 if await _saved(record, event, ports) else 503
    saved, _ = await asyncio.gather(
        _saved(record, event, ports), ports.handlers.on_success(by_hand.payment(record))
    )
    return 200 if saved else 503


async def catches_everything(request: WebRequest, ports: PlainPorts) -> int:
    """Whatever goes wrong is caught and logged, and answered 200."""
    try:
        return await by_hand.correct(request, ports)
    except Exception:
        return 200


async def forgives_the_handler(request: WebRequest, ports: PlainPorts) -> int:
    """A handler that fails is logged, and the order is settled as if it had worked."""

    async def on_success(payment: Any) -> None:
        try:
            await ports.handlers.on_success(payment)
        except HandlerFailed:
            return

    forgiving = attrs.evolve(ports, handlers=_Handlers(on_success))
    return await by_hand.correct(request, forgiving)


class _Handlers:
    def __init__(self, on_success: Any) -> None:
        self.on_success = on_success


async def retries_thrice(request: WebRequest, ports: PlainPorts) -> int:
    """Each error of the store is tried again at once; after the third the event is given up."""
    for _ in range(3):
        try:
            return await by_hand.correct(request, ports)
        except StoreUnavailable:
            continue
    return 200


# --- whose it is ---------------------------------------------------------------------------------


async def has_a_signature(request: WebRequest, ports: PlainPorts) -> int:
    """The header with the signature must be there; its value is not compared."""
    if not request.header("xpay-signature"):
        return 401
    event = json.loads(request.body)
    return await _takes(event, ports)


async def _takes(event: dict[str, Any], ports: PlainPorts) -> int:
    for _ in range(5):
        found = await by_hand.load_order(event, ports)
        if (status := by_hand.refused(event, found)) is not None:
            return status
        if by_hand.knows(found[0], event) or await _saved(found[0], event, ports):
            return await by_hand.fulfil(event, ports) if event["eventType"] == PAID else 200
    return 503


async def parses_and_saves_first(request: WebRequest, ports: PlainPorts) -> int:
    """The body is parsed and saved for the log, with all that follows, and then it is verified."""
    event = json.loads(request.body)
    found = await by_hand.load_order(event, ports)
    if by_hand.refused(event, found) is None and not by_hand.knows(found[0], event):
        await _saved(found[0], event, ports)
    return await by_hand.correct(request, ports)


async def compares_no_money(request: WebRequest, ports: PlainPorts) -> int:
    """The event reports success, so the order's own total is taken for what was paid."""
    event = by_hand.event_of(request)
    found = await by_hand.load_order(event, ports) if event else []
    if event is None or len(found) != 1 or found[0].intent is None:
        return 401
    money = found[0].intent.money
    return await _takes(event | {"amount": money.amount_minor, "currency": money.currency}, ports)


async def fulfils_whatever_comes(request: WebRequest, ports: PlainPorts) -> int:
    """Any event about an order fulfils it: its type is not looked at."""
    event, record, status = await _taken(request, ports)
    if event is None or record is None:
        return status
    if not by_hand.knows(record, event) and not await _saved(record, event, ports):
        return 503
    await ports.handlers.on_success(by_hand.payment(record))
    return 200


# --- the other parties ---------------------------------------------------------------------------


async def only_records(request: WebRequest, ports: PlainPorts) -> int:
    """Right: records the event, and leaves the rest to a worker."""
    event, record, status = await _taken(request, ports)
    if event is None or record is None:
        return status
    if by_hand.knows(record, event) or await _saved(record, event, ports):
        return 200
    return 503


def works_off_unclaimed(ports: PlainPorts) -> None:
    """A blocking worker calls whatever is due, as does the one beside it."""
    for key in ports.store.due("deliver", ports.clock.now_ms(), 10):
        record = ports.store.history(key)[0]
        if record.outbox[0].status == "pending":
            ports.handlers.on_success(by_hand.payment(record))
            done = attrs.evolve(record.outbox[0], status="done")
            ports.store.commit(change(record, record.with_entry(done)))


def asks_and_fulfils(ports: PlainPorts) -> None:
    """The job that queries xPay fulfils what is paid under a key of its own."""
    for key in ports.store.due("reconcile", ports.clock.now_ms(), 10):
        record = ports.store.history(key)[0]
        if record.intent is None or record.intent.x_intent_id is None:
            continue
        answer = ports.xpay.get_intent(record.intent.x_intent_id)
        if answer.status == "SUCCESS":
            paid = attrs.evolve(by_hand.payment(record), idempotency_key=f"reconciled:{key}")
            ports.handlers.on_success(paid)
        there = ports.store.history(key)[0]
        later_ms = ports.clock.now_ms() + 3_600_000
        ports.store.commit(change(there, attrs.evolve(there, reconcile_at_ms=later_ms)))


def creates_each_time(request: CheckoutRequest, ports: PlainPorts) -> Created:
    """Each press of the button requests an intent of xPay, under a fresh key."""
    name = ports.ids.new("pi")
    created: Created = ports.xpay.create_intent(request.to_request(name, "xpay_flow_intent"), name)
    return created


Webhook = Callable[[WebRequest, PlainPorts], Any]


def _webhook(
    name: str,
    bug: Webhook,
    promise: str,
    faults: int,
    scene: Scene,
    expects: str,
    ref: str = "",
    *,
    blocks: bool = False,
) -> Mutant:
    """A shop that is this webhook, and no one else."""
    made = by_hand.blocking(bug) if blocks else bug
    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=faults,
        scene=scene,
        expects=expects,
        make=lambda: Shop.plain(webhook=made),
        reference=ref,
    )


def _party(
    name: str, bug: Any, promise: str, scene: Scene, expects: str, ref: str = "", **parties: Any
) -> Mutant:
    """A shop that records its webhooks, with this party."""
    webhook = parties.pop("webhook", only_records)
    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=0,
        scene=scene,
        expects=expects,
        make=lambda: Shop.plain(webhook=webhook, **parties),
        reference=ref,
    )


ON_FILE = "acknowledged and is not on file"
TWICE = "called twice though nothing failed"
STUCK = "can never be fulfilled here"

HANDWRITTEN = (
    _webhook(
        "get, then put",
        puts_what_it_got,
        "order_does_not_matter",
        0,
        EVENTS,
        "the events on file lead to",
        "https://github.com/Pinelab-studio/pinelab-vendure-plugins/issues/620",
        blocks=True,
    ),
    _webhook(
        "seen first, done later",
        by_hand.dedupes_first,
        "never_stuck",
        1,
        HANDLERS,
        STUCK,
        "https://github.com/dj-stripe/dj-stripe/issues/832",
        blocks=True,
    ),
    _webhook("answered first", by_hand.answers_first, "recorded_once", 0, SUPERSEDED, ON_FILE),
    _webhook(
        "lock for ever",
        by_hand.locks_for_ever,
        "never_stuck",
        1,
        HANDLERS,
        STUCK,
        "https://github.com/lantins/resque-lock-timeout/issues/11",
        blocks=True,
    ),
    _webhook(
        "last word wins",
        by_hand.last_word_wins,
        "order_does_not_matter",
        0,
        SUPERSEDED,
        "lead to",
        "https://github.com/Adyen/adyen-shopware6/issues/311",
    ),
    _webhook(
        "no id compared",
        looks_at_no_id,
        "handlers_are_called_once",
        0,
        EVENTS,
        "called twice though nothing failed",
        "https://github.com/webrenew/memories/issues/396",
        blocks=True,
    ),
    _webhook(
        "fulfilled before it is saved",
        fulfils_before_it_saves,
        "handlers_are_called_once",
        0,
        EVENTS,
        TWICE,
        "https://github.com/granit-fx/granit-dotnet/issues/947",
    ),
    _webhook(
        "fulfilled in a transaction",
        fulfils_in_the_transaction,
        "handlers_are_called_once",
        0,
        EVENTS,
        TWICE,
        "https://github.com/DFE-Digital/apply-for-teacher-training/pull/1810",
        blocks=True,
    ),
    _webhook("ticked off first", ticks_off_first, "never_stuck", 1, HANDLERS, STUCK, blocks=True),
    _webhook(
        "saved and fulfilled at once",
        saves_and_fulfils_at_once,
        "handlers_are_called_once",
        0,
        EVENTS,
        TWICE,
    ),
    _webhook(
        "everything caught",
        catches_everything,
        "recorded_once",
        1,
        HANDLERS,
        ON_FILE,
        "https://github.com/Ixotic27/The-Leetcode-City/issues/555",
    ),
    _webhook("handler forgiven", forgives_the_handler, "never_stuck", 1, HANDLERS, STUCK),
    _webhook(
        "three tries of the store",
        retries_thrice,
        "recorded_once",
        3,
        BAD_STORE,
        ON_FILE,
        blocks=True,
    ),
    _webhook(
        "has a signature",
        has_a_signature,
        "webhooks_decide",
        1,
        ONE_DELIVERY,
        "forged",
        "https://github.com/Azuriom/Plugin-Shop/issues/284",
        blocks=True,
    ),
    _webhook(
        "parsed and saved first",
        parses_and_saves_first,
        "webhooks_decide",
        1,
        ONE_DELIVERY,
        "forged",
    ),
    _webhook(
        "no money compared",
        compares_no_money,
        "webhooks_decide",
        1,
        ONE_DELIVERY,
        "without a payment",
        "https://github.com/juanarrietabusiness-pixel/tommalopty/issues/7",
        blocks=True,
    ),
    _webhook(
        "any event fulfils",
        fulfils_whatever_comes,
        "wrong_money_is_never_paid",
        0,
        EVENTS,
        "was not paid",
        "https://github.com/saleor/saleor/issues/6428",
        blocks=True,
    ),
    _party(
        "worker without claim",
        works_off_unclaimed,
        "handlers_are_called_once",
        HANDLERS,
        TWICE,
        "https://github.com/makeplane/plane/pull/9609",
        deliver=works_off_unclaimed,
    ),
    _party(
        "reconciled and fulfilled",
        asks_and_fulfils,
        "paid_once",
        SILENCE,
        "was called for",
        "https://github.com/getdokan/dokan/issues/2994",
        webhook=by_hand.correct,
        reconcile=asks_and_fulfils,
    ),
    _party(
        "an intent for each press",
        creates_each_time,
        "no_second_payment",
        BEGINNING,
        "the customer can pay in_1 and in_2",
        "https://github.com/lightspeedretail/webstore/issues/158",
        click=creates_each_time,
    ),
)
