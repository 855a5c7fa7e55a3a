"""What do the tests of transactional handlers share? A shop with a table beside ours, on each kind.

A row of it is what a handler has done; it may hold any row any number of times, so that a call that
took effect twice would be seen.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from flows.kit import UNHURRIED
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from xpay_flow.payment import Payment
from xpay_flow.ports import Store
from xpay_flow.records import Change, OutboxEntry
from xpay_flow.stores import open_store
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import World
from xpay_flow_sqlalchemy import migrating

from .kit import Place

KINDS: Final = ("embedded", "sqlite", "postgresql", "mariadb")
LEASE_S: Final = 61
SHOP_TABLE: Final = "CREATE TABLE IF NOT EXISTS shop_orders (done VARCHAR(200) NOT NULL)"


@attrs.define
class Shop:
    """One database with our tables and the shop's, and a world on it."""

    url: str
    query: Callable[[str], list[tuple[Any, ...]]]
    world: World

    def write(self, payment: Payment, tx: Any) -> None:
        """The handler: one row, through the transaction that it is given."""
        insert(tx, payment.idempotency_key)

    def paid(self, receipt_id: str = "order-42") -> str:
        """A paid order whose on_success is pending; its outbox entry's id."""
        self.world.xpay.pay(self.world.start_checkout(receipt_id).x_intent_id or "")
        self.world.deliver_webhooks()
        return self.entry(receipt_id).id

    def entry(self, receipt_id: str = "order-42") -> OutboxEntry:
        (record,) = self.world.flow.store.history(f"receipt:{receipt_id}")
        (entry,) = (e for e in record.outbox if e.name == "on_success")
        return entry

    def rows(self) -> list[str]:
        return [row[0] for row in self.query("SELECT done FROM shop_orders ORDER BY done")]

    def opened(self) -> Store:
        return open_store(self.url)


def insert(tx: Any, done: str) -> None:
    """One row, on a connection of either kind."""
    if isinstance(tx, sqlite3.Connection):
        tx.execute("INSERT INTO shop_orders VALUES (?)", (done,))
    else:
        tx.execute(text("INSERT INTO shop_orders VALUES (:done)"), {"done": done})


@contextmanager
def shop_on(kind: str, request: pytest.FixtureRequest, folder: Path) -> Generator[Shop]:
    """An empty shop on a database of this kind."""
    if kind in ("embedded", "sqlite"):
        path = folder / "shop.db"
        url = f"sqlite:///{path}"
        if kind == "sqlite":
            url = f"sqlalchemy+sqlite:///{path}"
            migrating.upgrade(url)
        else:
            open_store(url).close()  # type: ignore[attr-defined]

        def query(statement: str) -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                return connection.execute(statement).fetchall()
    else:
        place: Place = request.getfixturevalue(kind)
        place.empty()
        url = place.by(kind)
        engine = create_engine(place.engine().url, poolclass=NullPool)

        def query(statement: str) -> list[tuple[Any, ...]]:
            with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                done = connection.execute(text(statement))
                return [tuple(row) for row in done] if done.returns_rows else []

    query(SHOP_TABLE)
    query("DELETE FROM shop_orders")
    world = World(open_store(url), config=UNHURRIED, retry_schedule_s=(5, 30))
    try:
        yield Shop(url, query, world)
    finally:
        world.flow.close()


def in_child(act: Callable[[], object]) -> int:
    """Do it in a forked process; how that ended: 0, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


# --- wrong ------------------------------------------------------------------------------------


class CommitsBefore(SQLiteStore):
    """Commits the record, and then what the handler writes."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        won = self.commit(change)
        if won:
            with self._pool.writing() as connection:
                work(connection)
        return won
