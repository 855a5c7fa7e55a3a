"""What is delivered? Webhooks of the local xPay, each about an intent of its own.

The intents are made through a real checkout, so that records, metadata and bodies are as long as
in a shop; they are then copied into each contestant's database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import attrs

from xpay_flow import messages
from xpay_flow.records import Change, Record
from xpay_flow.sandbox import SandboxConfig
from xpay_flow.settings import Settings
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import WEBHOOK_URL, World

SETTINGS: Final = Settings.sandbox()


@attrs.frozen(kw_only=True)
class Order:
    """A stored attempt that waits for events, and the event that it is paid."""

    record: Record
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def receipt_id(self) -> str:
        assert self.record.intent is not None
        return self.record.intent.receipt_id

    @property
    def x_intent_id(self) -> str:
        assert self.record.intent is not None
        return self.record.intent.x_intent_ids[0]


def orders(count: int) -> list[Order]:
    """So many orders at xPay's checkout, and for each the webhook of its success."""
    # The clock stands still, so a limit per second would never end.
    world = World(config=SandboxConfig(webhook_url=WEBHOOK_URL, rate_limit=None))
    return [_order(world, f"order-{number}") for number in range(count)]


def _order(world: World, receipt_id: str) -> Order:
    checkout = world.start_checkout(receipt_id)
    assert checkout.x_intent_id is not None
    world.xpay.pay(checkout.x_intent_id)
    (record,) = world.flow.store.history(f"receipt:{receipt_id}")
    (success,) = (d for d in world.xpay.due() if d.event_type == messages.INTENT_SUCCESS)
    # Marked as delivered, so that they are not due again.
    world.xpay.deliver_due(lambda _: 200)
    return Order(record=record, headers=tuple(success.headers), body=success.body)


def fill(path: Path, given: Sequence[Order]) -> None:
    """Make a database of ours with all these orders, none of them paid."""
    # No reconciliation: there is no xPay behind the benchmarks.
    store_at_once(path, (attrs.evolve(order.record, reconcile_at_ms=None) for order in given))


def store_at_once(path: Path, records: Iterable[Record]) -> None:
    """Make a database of ours with these records, without waiting for the disk."""
    unflushed = partial(sqlite3.connect, factory=_Unflushed)
    with mock.patch.object(sqlite3, "connect", unflushed), SQLiteStore(path) as store:
        for record in records:
            assert store.commit(first_commit(record))


def first_commit(record: Record) -> Change:
    """All at once what took a shop several commits."""
    return Change(
        record=record,
        expected_version=0,
        new_events=record.events,
        changed_entries=record.outbox,
    )


class _Unflushed(sqlite3.Connection):
    """Leaves flushing to the system; the contestants open the file anew."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *values)


def unpaid(store: SQLiteStore, given: Sequence[Order]) -> list[str]:
    """Those of the orders that are not paid, or more than once: there should be none."""
    odd: list[str] = []
    for order in given:
        (record,) = store.history(order.record.key)
        due = [entry for entry in record.outbox if entry.name == "on_success"]
        if record.intent is None or record.intent.state != "success" or len(due) != 1:
            odd.append(order.record.key)
    return odd
