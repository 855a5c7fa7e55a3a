"""What does a long history cost? A verdict needs all of it, so every webhook reads all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Final

from xpay_flow import sample_records as b
from xpay_flow.records import Record
from xpay_flow.stores.sqlite import SQLiteStore

from .calling import Refused
from .measure import Contestant, Group, Size, compared
from .orders import store_at_once

# A payment that works at the first try has about four; one that is tried all day, dozens.
LENGTHS: Final = (4, 40, 400)


def measured(size: Size, folder: Path) -> list[Group]:
    """Seconds to read one record back."""
    records = {f"{length} events": _record(length) for length in LENGTHS}
    path = folder / "histories.db"
    store_at_once(path, records.values())
    with SQLiteStore(path) as store:
        contestants = _contestants(store, records, size.webhooks_a_turn)
        title = "read one payment from SQLite"
        return [compared(title, contestants, size.turns, opponent=f"{LENGTHS[0]} events")]


def _record(length: int) -> Record:
    """The order was stored, created, and declined again and again."""
    declined = [b.failed(f"whe_{number}") for number in range(length - 2)]
    return b.history(b.created(), *declined, receipt_id=f"order-{length}")[-1].record


def _contestants(
    store: SQLiteStore, records: Mapping[str, Record], count: int
) -> dict[str, Contestant]:
    def reading(record: Record) -> Contestant:
        return lambda: [_read(store, record) for _ in range(count)]

    return {name: reading(record) for name, record in records.items()}


def _read(store: SQLiteStore, record: Record) -> float:
    began = perf_counter()
    (found,) = store.history(record.key)
    took = perf_counter() - began
    if found.events != record.events:
        raise Refused(f"{record.key} came back otherwise")
    return took
