"""Correct shops written by hand, as without this library."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs

from xpay_flow.checker.bounds import EVENTS, HANDLERS, SUPERSEDED, Scene
from xpay_flow.checker.plain import PlainPorts
from xpay_flow.checker.shop import Shop
from xpay_flow.endpoints import WebRequest
from xpay_flow.records import OutboxEntry, Record, change

from .. import plain_shops as by_hand
from .variant import Variant

PAID = by_hand.PAID
LOCK_MS = 30_000


# --- an inbox: first the event as it is, later what follows from it ------------------------------


async def keeps_an_inbox(request: WebRequest, ports: PlainPorts) -> int:
    """The event and all that follows are one commit, and a copy finds them."""
    for _ in range(5):
        event = by_hand.event_of(request)
        found = await by_hand.load_order(event, ports) if event else []
        status = by_hand.refused(event, found)
        if status is not None or event is None:
            return status or 401
        if by_hand.knows(found[0], event):
            return 200
        after = by_hand.with_news(found[0], event, ports.clock.now_ms())
        if await ports.store.commit(change(found[0], after)):
            return 200
    return 503


# --- a row lock that runs out ---------------------------------------------------------------------


async def locks_the_row(request: WebRequest, ports: PlainPorts) -> int:
    """One delivery of an order at a time; a lock whose holder died runs out."""
    event = by_hand.event_of(request)
    if event is None:
        return 401
    name = f"lock:{event['receiptId']}"
    if not await _locked(name, ports):
        return 503
    try:
        return await by_hand.correct(request, ports)
    finally:
        await _unlocked(name, ports)


async def _lock(name: str, ports: PlainPorts) -> Record:
    found = await ports.store.history(name)
    return found[0] if found else Record(key=name, aliases=frozenset({name}))


async def _locked(name: str, ports: PlainPorts) -> bool:
    lock, now_ms = await _lock(name, ports), ports.clock.now_ms()
    if lock.deliver_at_ms is not None and lock.deliver_at_ms > now_ms:
        return False
    # Its end is a moment that another may wait for, so it is kept where the checker sees it.
    held = OutboxEntry(id=name, name="on_attention", next_at_ms=now_ms + LOCK_MS)
    return await ports.store.commit(change(lock, attrs.evolve(lock, outbox=(held,))))


async def _unlocked(name: str, ports: PlainPorts) -> None:
    lock = await _lock(name, ports)
    freed = attrs.evolve(lock.outbox[0], status="done")
    await ports.store.commit(change(lock, attrs.evolve(lock, outbox=(freed,))))


# --- a worker, blocking ---------------------------------------------------------------------------


def works_off(ports: PlainPorts) -> None:
    """Claim with a lease, call, settle."""
    for key in ports.store.due("deliver", ports.clock.now_ms(), 10):
        record, now_ms = ports.store.history(key)[0], ports.clock.now_ms()
        entry = record.outbox[0]
        if entry.status == "done" or entry.next_at_ms > now_ms:
            continue
        claimed = attrs.evolve(entry, next_at_ms=now_ms + by_hand.LEASE_MS)
        if ports.store.commit(change(record, record.with_entry(claimed))):
            ports.handlers.on_success(by_hand.payment(record))
            _ticked_off(key, ports)


def _ticked_off(key: str, ports: PlainPorts) -> None:
    for _ in range(5):
        record = ports.store.history(key)[0]
        done = attrs.evolve(record.outbox[0], status="done")
        if ports.store.commit(change(record, record.with_entry(done))):
            return


# --- reads that are gathered ----------------------------------------------------------------------


async def gathers_its_reads(request: WebRequest, ports: PlainPorts) -> int:
    """Reads that need not wait for each other run at once, and the write waits for both."""
    event = by_hand.event_of(request)
    if event is None:
        return 401
    await asyncio.gather(
        by_hand.load_order(event, ports), ports.store.history(f"customer:{event['receiptId']}")
    )
    return await by_hand.correct(request, ports)


def _theirs(
    name: str, how: str, scenes: tuple[Scene, ...], *without: str, **parties: Any
) -> Variant:
    def make() -> Shop:
        return Shop.plain(**parties)

    return Variant(name=name, how=how, scenes=scenes, make=make, without=without)


THEIRS = (
    _theirs(
        "compare and set, awaiting",
        "a coroutine reads, decides, compares and sets, and fulfils under a claim",
        (HANDLERS, SUPERSEDED),
        webhook=by_hand.correct,
    ),
    _theirs(
        "compare and set, blocking",
        "the same as a blocking function",
        (HANDLERS, SUPERSEDED),
        webhook=by_hand.blocking(by_hand.correct),
    ),
    _theirs(
        "inbox",
        "the webhook records and a worker fulfils",
        (HANDLERS,),
        webhook=keeps_an_inbox,
        deliver=works_off,
    ),
    _theirs(
        "row lock",
        "deliveries of one order wait for each other, and a lock runs out",
        (HANDLERS,),
        webhook=locks_the_row,
    ),
    _theirs(
        "reads at once",
        "independent reads are gathered",
        (SUPERSEDED,),
        webhook=gathers_its_reads,
    ),
    _theirs(
        "all in the event",
        "a webhook by hand in the scene with forgeries and flaws; what is flawed it refuses",
        (EVENTS,),
        "events_are_acknowledged",
        webhook=by_hand.blocking(by_hand.correct),
    ),
)
