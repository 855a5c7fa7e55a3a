"""When do two values have the same future? What of them can a decision depend on?

When an event was recorded, in which words and in which order is for display: no decision looks
at it, nor at when an effect that is settled would have been next. A version is only ever compared
with one that was read before, so `Contents` gives equal records one version.

That is so of our flows, and of our promises. Where the user brings a flow, a store or a promise,
it is not known, and records are compared whole (`Reductions.essence`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any, cast

import attrs

from xpay_flow.events import Event
from xpay_flow.records import CLOCK_SKEW_MS, OutboxEntry, Record

RecordEssence = tuple[Hashable, ...]


def record_essence(record: Record) -> RecordEssence:
    """What stands for a record, whatever its version."""
    return _record_essence(record, 0, 0)


def whole_record(record: Record) -> RecordEssence:
    """What stands for a record where code may read any of it: all but its version."""
    # An event's address and a currency's decimals are not part of their equality.
    unequal = tuple(recorded.event.url for recorded in record.events)
    decimals = record.intent.money.decimals if record.intent else None
    return (record.key, attrs.evolve(record, version=0), unequal, decimals)


def unversioned(record: Record) -> RecordEssence:
    """What stands for a record where code may read any of it but its versions.

    Events and tries carry the version of the record that first held them, in this order.
    """
    events = tuple(attrs.evolve(recorded, version=0) for recorded in record.events)
    outbox = tuple(
        attrs.evolve(entry, log=tuple(attrs.evolve(at, version=0) for at in entry.log))
        for entry in record.outbox
    )
    return whole_record(attrs.evolve(record, events=events, outbox=outbox))


def quiet_essence(records: tuple[Record, ...], now_ms: int) -> Hashable:
    """What stands for records while no flow runs, and so none has read the clock.

    Then a moment that has come is as good as now, and one to come is as far off as it is.
    """
    return tuple(_record_essence(record, now_ms, now_ms) for record in records)


def event_essence(event: Event) -> Hashable:
    """What stands for an event: of our own and of an answer, the time is for display."""
    return event if event.source == "webhook" else attrs.evolve(event, at_ms=0)


def due_essence(entry: OutboxEntry) -> Hashable:
    """What stands for a handler call that is pending or settled."""
    return _entry_essence(entry, 0, 0)


def _record_essence(record: Record, not_before_ms: int, from_ms: int) -> RecordEssence:
    polled = record.reconcile_at_ms is not None
    return (
        record.key,
        record.intent,
        _bag(recorded.id for recorded in record.events),
        _bag(_entry_essence(entry, not_before_ms, from_ms) for entry in record.outbox),
        record.reconcile_count if polled else 0,
        max(record.reconcile_at_ms, not_before_ms) - from_ms
        if record.reconcile_at_ms is not None
        else None,
        # Up to this moment no due time of the record is believed.
        max(record.due_set_ms - CLOCK_SKEW_MS, not_before_ms) - from_ms
        if record.due_set_ms is not None
        else None,
    )


def _bag(items: Iterable[Hashable]) -> Hashable:
    """Items in any order, each as often as it is there."""
    return frozenset(Counter(items).items())


def _entry_essence(entry: OutboxEntry, not_before_ms: int, from_ms: int) -> Hashable:
    if entry.status != "pending":
        return (entry.id, entry.status)
    return (
        entry.id,
        entry.tries,
        max(entry.next_at_ms, not_before_ms) - from_ms,
        entry.cut_short,
        # Whether the try before this one came to an end.
        entry.log[-1].outcome if entry.log else "",
    )


def key_of(value: Any, essence: Callable[[Record], Hashable] = record_essence) -> Hashable:
    """What stands for an answer of a store: records, keys, or whether a commit won."""
    if value.__class__ is tuple and value and isinstance(value[0], Record):
        return tuple((essence(record), record.version) for record in value)
    kind = cast(Any, type)(value)
    return (kind, value if isinstance(value, Hashable) else repr(value))
