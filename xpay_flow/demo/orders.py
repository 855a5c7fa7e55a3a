"""The shop's own table: what was ordered, and what has been done about it.

The table knows nothing of payments. Handlers call it with the idempotency key they are given, and
it does each thing once for each key, in one transaction.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

import attrs

from xpay_flow import Money

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS orders (
        order_id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        amount_minor INTEGER NOT NULL,
        currency TEXT NOT NULL,
        placed_at_ms INTEGER NOT NULL,
        packed INTEGER NOT NULL DEFAULT 0,
        refunded_minor INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE IF NOT EXISTS done (
        idempotency_key TEXT PRIMARY KEY,
        order_id TEXT NOT NULL,
        what TEXT NOT NULL,
        at_ms INTEGER NOT NULL
    ) STRICT;
"""
# Without the letters and digits that are mistaken for each other when read out.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_ORDER_ID: Final = re.compile(r"mug-[a-z2-9]{10}", re.ASCII)


@attrs.frozen(kw_only=True)
class Order:
    """One order. `packed` counts how often the mug was packed; it must never be more than one."""

    order_id: str
    kind: str
    money: Money
    placed_at_ms: int
    packed: int = 0
    refunded_minor: int = 0


def new_order_id() -> str:
    """An order id that cannot be guessed."""
    return "mug-" + "".join(secrets.choice(_LETTERS) for _ in range(10))


def is_order_id(text: str) -> bool:
    """Whether we could have given this id."""
    return bool(_ORDER_ID.fullmatch(text))


class Orders:
    """The orders in one SQLite file. Any thread may call; each call has its own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._transaction() as db:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)

    def place(self, order_id: str, kind: str, money: Money) -> Order:
        """Store an order, or find the one already stored under this id."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO orders (order_id, kind, amount_minor, currency, placed_at_ms)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (order_id, kind, money.amount_minor, money.currency, _now_ms()),
            )
        order = self.get(order_id)
        assert order is not None
        return order

    def get(self, order_id: str) -> Order | None:
        """The order of this id."""
        query = (
            "SELECT order_id, kind, amount_minor, currency, placed_at_ms, packed, refunded_minor"
            " FROM orders WHERE order_id = ?"
        )
        with self._transaction() as db:
            row = db.execute(query, (order_id,)).fetchone()
        if row is None:
            return None
        return Order(
            order_id=row[0],
            kind=row[1],
            money=Money(row[2], row[3]),
            placed_at_ms=row[4],
            packed=row[5],
            refunded_minor=row[6],
        )

    def pack(self, order_id: str, idempotency_key: str) -> None:
        """Pack the mug, once for each key."""
        self._once(order_id, idempotency_key, "packed", "packed = packed + 1", ())

    def record_refund(self, order_id: str, idempotency_key: str, amount_minor: int) -> None:
        """Note a refund, once for each key."""
        change = "refunded_minor = refunded_minor + ?"
        self._once(order_id, idempotency_key, "refunded", change, (amount_minor,))

    def _once(
        self, order_id: str, key: str, what: str, change: str, values: tuple[int, ...]
    ) -> None:
        with self._transaction() as db:
            first = db.execute(
                "INSERT INTO done VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (key, order_id, what, _now_ms()),
            )
            if first.rowcount:
                # `change` is one of the two literals above.
                db.execute(f"UPDATE orders SET {change} WHERE order_id = ?", (*values, order_id))

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        db = sqlite3.connect(self._path, timeout=5, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        finally:
            db.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
