"""Which steps do the duties of a store take? And which records show what a store may lose?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Final, TypeVar

import attrs

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import Event
from xpay_flow.money import Money
from xpay_flow.ports import Reader, Store
from xpay_flow.records import (
    Change,
    HandlerAttempt,
    OutboxEntry,
    Record,
    Work,
    change,
    for_deciding,
    with_events,
)

from .limits import TOGETHER_S, within_s

T = TypeVar("T")

WORKS: Final[tuple[Work, ...]] = ("deliver", "reconcile")
# A writer that loses this many races in a row, against a handful of others, never receives True.
TRIES_MAX: Final = 500


def put(store: Store, *steps: Change) -> Record:
    """Commit these, and give back the last record."""
    for step in steps:
        assert store.commit(as_loaded(step)) is True, f"version {step.record.version} was not taken"
    return steps[-1].record


def as_loaded(step: Change) -> Change:
    """The change as a flow makes it: of what was there, its record has only what was loaded."""
    changed = {entry.id for entry in step.changed_entries}
    outbox = (e for e in step.record.outbox if e.status == "pending" or e.id in changed)
    record = attrs.evolve(step.record, outbox=tuple(outbox))
    return attrs.evolve(step, record=with_events(record, step.new_events))


def found(store: Reader, alias: str) -> list[Record]:
    """The records with this name, whole; what is loaded of them must be a part of that."""
    whole = list(store.history(alias))
    assert [for_deciding(record) for record in whole] == list(store.load(alias)), alias
    return whole


def due(store: Store, work: Work) -> list[str]:
    """All that is due at the end of time."""
    return sorted(store.due(work, 2**62, 1000))


def named(record: Record, alias: str) -> Change:
    """Give a record one more name."""
    return change(record, attrs.evolve(record, aliases=record.aliases | {alias}))


def tried(record: Record, entry: OutboxEntry, outcome: str, error: str = "") -> Change:
    """One try to call the handler of an outbox entry."""
    changed = attrs.evolve(
        entry,
        status="done" if outcome == "done" else "pending",
        tries=entry.tries + 1,
        next_at_ms=entry.next_at_ms + 60_000,
        log=entry.logged(
            HandlerAttempt(
                at_ms=entry.next_at_ms,
                version=record.version + 1,
                outcome=outcome,
                error=error,
            )
        ),
    )
    return change(record, record.with_entry(changed))


def waiting(step: Change, deliver_at_ms: int | None, reconcile_at_ms: int | None) -> Change:
    """The first commit of a record, with an outbox entry that is due then (None: with none)."""
    record, outbox = step.record, step.record.outbox
    if deliver_at_ms is not None:
        pending = OutboxEntry(
            id=f"{record.key}:on_failed", name="on_failed", next_at_ms=deliver_at_ms
        )
        settled = OutboxEntry(
            id=f"{record.key}:done", name="on_failed", status="done", next_at_ms=0
        )
        outbox = (settled, pending)
    nothing = Record(key=record.key)
    # By no clock in particular, since the times of a test are far from that of the records.
    times = attrs.evolve(record, reconcile_at_ms=reconcile_at_ms, due_set_ms=None)
    return change(nothing, attrs.evolve(times, outbox=outbox))


def samples() -> Sequence[Change]:
    """First commits of records that differ in all that a record can hold."""
    histories = {
        "plain": (),
        "paid": (b.created(), b.paid(error_code=None, payment_method="CARD")),
        "unlucky": (b.created("in_2"), b.failed(error_code="“zu wenig Geld” 💸"), b.failed("w2")),
        "refunded": (b.paid(), b.refunded("rf_1", 500), b.refunded("rf_2", None)),
        "disputed": (b.paid(), b.disputed(), b.disputed("intent.dispute_won", "dp_2")),
        "twins": (b.created("in_a"), b.paid(x_intent_id="in_b", amount_minor=10**15)),
        "bestellung-№-42-\U0001f6d2-'\"\\": (b.paid(payload='{"a":"\\u0000 é\\n"}'),),
    }
    prices = {"plain": Money(1, "JPY"), "twins": Money(10**15, "USD")}
    made = [
        _at_once(b.attempt(name, money=prices.get(name, b.PRICE)), events)
        for name, events in histories.items()
    ]
    unknown = b.webhook("unknown", "whe_odd", x_intent_id="in_9", receipt_id="é", payload="[]")
    return [*made, b.parked(unknown)]


def _at_once(first: Change, events: Sequence[Event]) -> Change:
    """The whole history in one commit, as when parked events are attached."""
    result = reduce(lambda record, event: b.next_change(record, event).record, events, first.record)
    return change(Record(key=result.key), result)


def soon(event: threading.Event) -> bool:
    """Wait for the event to happen once more."""
    happened = event.wait(TOGETHER_S)
    event.clear()
    return happened


def together(*calls: Callable[[], T]) -> list[T]:
    """Their answers, when all begin at the same moment."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], T]) -> T:
        barrier.wait(TOGETHER_S)
        return call()

    return within_s(TOGETHER_S, *(partial(begin, call) for call in calls))


def add(store: Store, key: str, event: Event) -> None:
    """Read, decide and commit, again and again until the race is won."""
    for _ in range(TRIES_MAX):
        (record,) = store.load(key, event.identity)
        try:
            if store.commit(b.next_change(record, event)):
                return
        except StoreUnavailable:
            continue  # others were at it for too long
    raise AssertionError(f"{event.event_id} was not taken in {TRIES_MAX} tries")


def event_keys(store: Reader, key: str) -> list[str]:
    """The events on file, in their order."""
    (record,) = store.history(key)
    return [recorded.id for recorded in record.events]
