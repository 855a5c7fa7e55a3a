"""Whole flows on a real PostgreSQL, a connection for each: all that the memory shows, no more."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
from budgets import BUDGET_S, Held
from checker.planted_flows import PLANTED
from checker.test_stateless import SCENES, anonymous, searched

from xpay_flow.checker.bounds import EVENTS, Bound, Scene
from xpay_flow.checker.explore import Search
from xpay_flow.checker.shop import Shop
from xpay_flow.checker.stateless import SMALL, check_stateless
from xpay_flow.checker.targets import shipped
from xpay_flow_sqlalchemy import SQLAlchemyStore
from xpay_flow_sqlalchemy.check_tables import ForCheck

from . import planted_stores as planted
from .kit import Place

QUICK = ("repeated", "dying", "send_to_checkout")
DEEP = (pytest.mark.deep, pytest.mark.timeout(3600))
ALL = [
    pytest.param(*case, id=case[0].name, marks=() if case[0].name in QUICK else DEEP)
    for case in SCENES
]


@pytest.fixture
def its(postgresql: Place) -> Iterator[ForCheck[SQLAlchemyStore]]:
    with SQLAlchemyStore.for_check(postgresql.by("postgresql")) as its:
        yield its


@pytest.mark.parametrize(("where", "faults", "flows"), ALL)
def test_postgresql_shows_what_the_search_in_memory_shows(
    where: Scene, faults: int, flows: int, its: ForCheck[SQLAlchemyStore], holds: Held
) -> None:
    """The search without a memory on PostgreSQL and the one with a memory see the same outcomes."""
    shop = Shop.of(shipped()).shortened(faults)
    stateful = Search(shop, where, Bound(faults=faults, scenes=(where,)))
    assert "EXHAUSTED" == stateful.run().verdict
    budget_s = BUDGET_S if where.name in QUICK else None
    opened = (its.make, its.reset)
    found, outcomes = searched(where, faults, flows, opened, seconds_max=budget_s)
    holds(found.verdict, found.executions, 50, str(found.violation))
    if found.verdict == "EXHAUSTED":
        assert anonymous(stateful.outcomes()) == outcomes
    assert outcomes <= anonymous(stateful.outcomes())


def test_a_wrong_store_is_found_by_a_flow(postgresql: Place) -> None:
    """A store that loses updates on PostgreSQL is VIOLATED there, and its trace repeated."""
    opened = planted.opener(postgresql, planted.VersionNotChecked)
    bound = attrs.evolve(SMALL, faults=0, scenes=(EVENTS,))
    with planted.tables(postgresql) as reset:
        found = check_stateless(None, opened, reset, bound).violation
    assert found is not None
    assert ("order_does_not_matter", True) == (found.promise, found.confirmed)


def test_a_wrong_flow_is_found(
    its: ForCheck[SQLAlchemyStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flow that is wrong in the memory is wrong on PostgreSQL, on the same promise."""
    wrong = next(flow for flow in PLANTED if flow.name == "failed is final")
    assert wrong.patch is not None
    monkeypatch.setattr(*wrong.patch)
    bound = attrs.evolve(SMALL, faults=wrong.faults, scenes=(wrong.scene,))
    found = check_stateless(wrong.make(), its.make, its.reset, bound).violation
    assert found is not None
    assert (wrong.promise, True) == (found.promise, found.confirmed), found.as_text()
