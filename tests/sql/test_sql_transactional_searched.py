"""A handler within the transaction takes effect exactly once, in every order and with any fault."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from budgets import BUDGET_S, Held

from xpay_flow import Flow, Settings
from xpay_flow.checker.bounds import HANDLERS, Scene
from xpay_flow.checker.contract import a_place
from xpay_flow.checker.stateless import StatelessBound, StatelessResult, check_stateless
from xpay_flow.payment import Payment
from xpay_flow.ports import Store
from xpay_flow.records import Change
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow_sqlalchemy import SQLAlchemyStore

from .kit import Place
from .shop_tables import SHOP_TABLE, CommitsBefore, insert

SCENE = attrs.evolve(
    HANDLERS,
    name="within",
    parties={"webhook": 1, "worker": 1},
    faults=frozenset({"handler", "death"}),
)
# An event of a failed charge comes late, perhaps while the handler is called.
RACE = attrs.evolve(SCENE, name="race", failures=1, faults=frozenset())
ONCE = "transactional_handlers_take_effect_once"


@attrs.frozen
class Ground:
    """A real database with our tables and one of the shop's; it shows what is in that one."""

    opened: Callable[[], Store]
    reset: Callable[[], object]
    rows: Callable[[], list[str]]

    def searched(
        self,
        scene: Scene,
        faults: int,
        opened: Callable[[], Store],
        seconds_max: float | None = None,
    ) -> StatelessResult:
        """The verdict over a flow whose handler writes one row."""

        def fulfil(payment: Payment, tx: Any) -> None:
            insert(tx, payment.idempotency_key)

        bound = StatelessBound(faults=faults, flows_max=3, scenes=(scene,), seconds_max=seconds_max)
        with Flow(self.opened(), Settings.sandbox(), background=False) as flow:
            flow.on_success(transactional=True)(fulfil)
            return check_stateless(flow, opened, self.reset, bound, written=self.rows)


@pytest.fixture
def path() -> Iterator[Path]:
    with a_place() as place:
        yield place.file


@pytest.fixture
def on_sqlite(path: Path) -> Iterator[Ground]:
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as file, closing(sqlite3.connect(":memory:")) as empty:
        file.execute(SHOP_TABLE)
        file.backup(empty)

        def rows() -> list[str]:
            return [done for (done,) in file.execute("SELECT done FROM shop_orders")]

        yield Ground(lambda: SQLiteStore(path), lambda: empty.backup(file), rows)


@pytest.fixture
def on_postgresql(postgresql: Place) -> Iterator[Ground]:
    with (
        SQLAlchemyStore.for_check(postgresql.by("postgresql")) as its,
        postgresql.connected() as connection,
    ):
        connection.exec_driver_sql(SHOP_TABLE)

        def reset() -> None:
            its.reset()
            connection.exec_driver_sql("DELETE FROM shop_orders")

        def rows() -> list[str]:
            return list(connection.exec_driver_sql("SELECT done FROM shop_orders").scalars())

        yield Ground(its.make, reset, rows)
        connection.exec_driver_sql("DROP TABLE shop_orders")


@pytest.mark.parametrize("name", ["on_sqlite", "on_postgresql"])
def test_it_takes_effect_exactly_once(
    name: str, request: pytest.FixtureRequest, holds: Held
) -> None:
    """Whatever fails or dies, the row is there once in the end, and never twice."""
    ground: Ground = request.getfixturevalue(name)
    result = ground.searched(SCENE, 1, ground.opened, BUDGET_S)
    (found,) = result.searched
    holds(result.verdict, found.executions, 20, result.as_text())
    assert () == found.unused or result.verdict == "UNFINISHED"
    assert not [text for text in result.assumptions if "within" in text]


class CommitsAfter(SQLiteStore):
    """Commits what the handler writes, and then the record."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        with self._pool.writing() as connection:
            work(connection)
        return self.commit(change)


class TriesAgain(SQLiteStore):
    """Has the handler write in a transaction that is tried again, and not undone before."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        for _ in range(2):
            with self._pool.writing() as connection:
                work(connection)
            if self.commit(change):
                return True
        return False


# What is wrong shows late in the search, and a machine may be busy.
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "scene", "promise", "faults"),
    [
        (CommitsBefore, SCENE, "never_stuck", 1),
        (CommitsAfter, RACE, ONCE, 0),
        (TriesAgain, RACE, ONCE, 0),
    ],
)
def test_what_is_not_one_transaction_is_found(
    on_sqlite: Ground,
    path: Path,
    kind: Callable[[Path], Store],
    scene: Scene,
    promise: str,
    faults: int,
) -> None:
    """A store whose record and handler are two transactions is VIOLATED, with the fewest faults."""
    opened = partial(kind, path)
    found = on_sqlite.searched(scene, faults, opened).violation
    assert found is not None
    assert (promise, faults, True) == (found.promise, found.faults, found.confirmed)
