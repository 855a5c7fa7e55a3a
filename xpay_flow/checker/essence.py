"""When do two values have the same future? What of them can a decision depend on?"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from xpay_flow.records import Owed, Record


def essence(records: tuple[Record, ...]) -> Hashable:
    """What stands for records.

    When a fact was recorded, in which words and in which order is for people to read: no decision
    looks at it, nor at when an effect that is settled would have been next.
    """
    return tuple(map(_of_record, records))


def quiet_essence(records: tuple[Record, ...], now_ms: int) -> Hashable:
    """What stands for records that no running flow has read.

    A version is only ever compared with the one that was read before, so with no reader left it
    says nothing. A moment that has come is as good as now.
    """
    return tuple(
        (
            record.key,
            record.intent,
            frozenset(fact.id for fact in record.facts),
            frozenset(_of_effect(effect, now_ms) for effect in record.effects),
            record.asks if record.ask_at_ms is not None else 0,
            _not_before(record.ask_at_ms, now_ms),
        )
        for record in records
    )


def _of_record(record: Record) -> Hashable:
    return (
        record.key,
        record.version,
        record.intent,
        frozenset(fact.id for fact in record.facts),
        frozenset(_of_effect(effect, 0) for effect in record.effects),
        record.asks if record.ask_at_ms is not None else 0,
        record.ask_at_ms,
    )


def _of_effect(effect: Owed, now_ms: int) -> Hashable:
    if effect.status != "owed":
        return (effect.id, effect.status)
    return (effect.id, effect.status, effect.tries, _not_before(effect.next_at_ms, now_ms))


def _not_before(at_ms: int | None, now_ms: int) -> int | None:
    return None if at_ms is None else max(at_ms, now_ms)


def key_of(value: Any) -> Hashable:
    """What stands for an answer of a store: records, keys, or whether a commit won."""
    if value.__class__ is tuple and value and isinstance(value[0], Record):
        return essence(value)
    return value if isinstance(value, Hashable) else repr(value)
