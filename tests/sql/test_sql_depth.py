"""Flows that overlap between any two statements: what is wrong inside a method shows in them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import attrs
import pytest
from budgets import BUDGET_S, Held
from checker.stores import planted_sqlite
from checker.test_stateless import anonymous, scene

from xpay_flow.checker.bounds import Bound, Scene
from xpay_flow.checker.contract import a_place
from xpay_flow.checker.explore import Search
from xpay_flow.checker.shop import Shop
from xpay_flow.checker.stateless import (
    StatelessBound,
    StatelessResult,
    StatelessSearch,
    check_stateless,
)
from xpay_flow.checker.stateless.searching import Depth
from xpay_flow.checker.targets import shipped
from xpay_flow.ports import Store
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow_sqlalchemy import SQLAlchemyStore

from . import planted_stores as planted
from .kit import Place

DEEP = (pytest.mark.deep, pytest.mark.timeout(3600))
RACE = attrs.evolve(scene("race", set(), {"webhook": 2}), failures=1)
Opened = tuple[Callable[[], Store], Callable[[], object]]


def searched(opened: Opened, depth: Depth) -> StatelessResult:
    bound = StatelessBound(name="race", faults=0, scenes=(RACE,), depth=depth)
    return check_stateless(None, *opened, bound)


@pytest.fixture
def on_sqlite() -> Iterator[Opened]:
    """A store that compares in one transaction and writes in the next."""
    with a_place() as place:
        planted_sqlite.ComparesBefore(place.file)
        with closing(sqlite3.connect(place.file)) as file:

            def reset() -> None:
                with file:
                    for table in ("records", "parts", "aliases"):
                        file.execute(f"DELETE FROM {table}")

            yield partial(planted_sqlite.ComparesBefore, place.file), reset


@pytest.fixture
def on_postgresql(postgresql: Place) -> Iterator[Opened]:
    """A store that reads, compares and writes, at READ COMMITTED."""
    with planted.tables(postgresql) as reset:
        yield planted.opener(postgresql, planted.loading_whole(planted.ReadsFirst)), reset


@pytest.mark.parametrize("name", ["on_sqlite", "on_postgresql"])
def test_a_race_inside_a_method_is_seen_between_statements_only(
    name: str, request: pytest.FixtureRequest
) -> None:
    """Two statements that are a read-modify-write: missed by whole methods, found between them."""
    opened: Opened = request.getfixturevalue(name)
    assert "EXHAUSTED" == searched(opened, "method").verdict
    found = searched(opened, "driver").violation
    assert found is not None
    # A document is written over the other's, or the other's event stays and the snapshot is old.
    promise = {"on_sqlite": "order_does_not_matter", "on_postgresql": "recorded_once"}[name]
    assert (promise, True) == (found.promise, found.confirmed), found.as_text()


DYING = scene("dying", {"death"}, {"webhook": 2})


@pytest.fixture
def right_on_sqlite() -> Iterator[Opened]:
    with a_place() as place:
        SQLiteStore(place.file).close()
        with (
            closing(sqlite3.connect(place.file)) as file,
            closing(sqlite3.connect(":memory:")) as empty,
        ):
            file.backup(empty)
            yield partial(SQLiteStore, place.file), lambda: empty.backup(file)


@pytest.fixture
def right_on_postgresql(postgresql: Place) -> Iterator[Opened]:
    with SQLAlchemyStore.for_check(postgresql.by("postgresql")) as its:
        yield its.make, its.reset


@pytest.mark.parametrize(
    ("name", "where", "faults"),
    [
        ("right_on_sqlite", DYING, 1),
        ("right_on_postgresql", DYING, 1),
        pytest.param("right_on_postgresql", RACE, 0, marks=DEEP),
    ],
    ids=["SQLite", "PostgreSQL", "PostgreSQL, a race"],
)
def test_the_shipped_stores_show_no_more_between_statements(
    name: str, where: Scene, faults: int, request: pytest.FixtureRequest, holds: Held
) -> None:
    """Between statements the outcomes are those that whole methods in memory have."""
    opened: Opened = request.getfixturevalue(name)
    shop = Shop.of(shipped()).shortened(faults)
    stateful = Search(shop, where, Bound(faults=faults, scenes=(where,)))
    assert "EXHAUSTED" == stateful.run().verdict
    budget_s = None if where is RACE else BUDGET_S
    bound = StatelessBound(faults=faults, scenes=(where,), depth="driver", seconds_max=budget_s)
    search = StatelessSearch(shop, where, bound, *opened)
    found = search.run()
    search.close()
    holds(found.verdict, found.executions, 20, str(found.violation))
    if found.verdict == "EXHAUSTED":
        assert anonymous(stateful.outcomes()) == anonymous(search.outcomes())
    assert anonymous(search.outcomes()) <= anonymous(stateful.outcomes())
