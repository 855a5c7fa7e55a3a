"""The search without a memory of states shows what the search with one shows, on real stores."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Hashable, Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path

import attrs
import pytest

from xpay_flow.checker.bounds import EVENTS, HANDLERS, Bound, FaultKind, Group, Scene
from xpay_flow.checker.explore import Search
from xpay_flow.checker.own import sometimes
from xpay_flow.checker.properties import View
from xpay_flow.checker.reductions import NONE, Reductions
from xpay_flow.checker.shop import Shop
from xpay_flow.checker.stateless import (
    SMALL,
    ResetStore,
    StatelessBound,
    StatelessSearch,
    StatelessSearched,
    check_stateless,
)
from xpay_flow.checker.stateless.dpor import Explorer, Taken
from xpay_flow.checker.stateless.touches import (
    ALL_DIE,
    SEES_CLOCK,
    Touch,
    choice_touch,
    effect_touch,
    end_touch,
    happening_touch,
    touch,
)
from xpay_flow.checker.story import Step
from xpay_flow.checker.targets import shipped
from xpay_flow.effects import Commit, Due, Exchange, Load, Recent
from xpay_flow.ports import HttpRequest, Store
from xpay_flow.records import Change, Record, change
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore

from .mutants import Mutant
from .planted_flows import PLANTED

Opened = tuple[Callable[[], Store], Callable[[], object]]


def scene(name: str, faults: set[FaultKind], parties: dict[Group, int]) -> Scene:
    """A world small enough to be executed in every order."""
    return Scene(name=name, parties=parties, faults=frozenset(faults))


# Each with as many faults, and as many flows in one execution as it takes to see everything.
SCENES = (
    (scene("repeated", {"store", "repeat"}, {"webhook": 2}), 1, 2),
    (scene("dying", {"store", "death"}, {"webhook": 2}), 1, 2),
    (scene("wrong", {"forgery", "flaw"}, {"webhook": 2}), 1, 2),
    (scene("send_to_checkout", {"silence"}, {"webhook": 1, "send_to_checkout": 1}), 1, 2),
    (attrs.evolve(EVENTS, name="failure"), 0, 2),
    (HANDLERS, 0, 3),
    (scene("worker", {"handler", "death"}, {"webhook": 1, "worker": 1}), 1, 3),
    (scene("reconciled", {"loss"}, {"webhook": 1, "reconciler": 1}), 0, 2),
)
SMALLEST = SCENES[:2]
IDS = [found.name for found, _, _ in SCENES]


def searched(
    where: Scene,
    faults: int,
    flows: int,
    opened: Opened | None = None,
    *,
    reduced: bool = True,
    seconds_max: float | None = None,
) -> tuple[StatelessSearched, set[str]]:
    """What a search of the shipped flow without a memory shows, and its outcomes."""
    bound = StatelessBound(faults=faults, flows_max=flows, scenes=(where,), seconds_max=seconds_max)
    shop = Shop.of(shipped()).shortened(faults)
    search = StatelessSearch(shop, where, bound, *(opened or in_memory()), reduced=reduced)
    found = search.run()
    search.close()
    assert "EXHAUSTED" == found.verdict or seconds_max is not None
    return found, anonymous(search.outcomes())


def in_memory() -> Opened:
    """A store in memory that all flows share, and its `reset`."""
    store = MemoryStore()
    empty = store.snapshot()
    return lambda: store, lambda: store.restore(empty)


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Opened]:
    """A real SQLite file that is opened anew for each flow, and its `reset`."""
    path = tmp_path / "payments.db"
    SQLiteStore(path).close()
    with (
        closing(sqlite3.connect(path)) as file,
        closing(sqlite3.connect(":memory:")) as empty,
    ):
        file.backup(empty)
        yield lambda: SQLiteStore(path), lambda: empty.backup(file)


def anonymous(outcomes: set[tuple[object, ...]]) -> set[str]:
    """Outcomes as text, with sets in order."""
    return {
        re.sub(
            r"frozenset\(\{([^}]*)\}\)",
            lambda match: str(sorted(match[1].split(", "))),
            str(outcome),
        )
        for outcome in outcomes
    }


@pytest.mark.parametrize(("where", "faults", "flows"), SCENES, ids=IDS)
@pytest.mark.parametrize("reductions", [NONE, Reductions()], ids=["plain", "reduced"])
def test_both_searches_see_the_same(
    where: Scene, faults: int, flows: int, reductions: Reductions
) -> None:
    """Every outcome that one search reaches is reached by the other, and no more."""
    shop = Shop.of(shipped()).shortened(faults)
    stateful = Search(shop, where, Bound(faults=faults, scenes=(where,)), reductions=reductions)
    assert "EXHAUSTED" == stateful.run().verdict
    _, found = searched(where, faults, flows)
    assert anonymous(stateful.outcomes()) == found


@pytest.mark.parametrize(("where", "faults", "flows"), SMALLEST, ids=IDS[:2])
def test_a_real_database_shows_the_same(
    where: Scene, faults: int, flows: int, on_disk: Opened
) -> None:
    """On a file of SQLite's, opened for each flow, there are the outcomes of the memory."""
    _, in_the_memory = searched(where, faults, flows)
    _, on_the_disk = searched(where, faults, flows, on_disk)
    assert in_the_memory == on_the_disk


@pytest.mark.parametrize("number", [0, 1, 3, 4], ids=lambda number: IDS[number])
def test_fewer_executions_show_the_same(number: int) -> None:
    """Without the reduction every order is run, and there is nothing else to be seen."""
    less, outcomes = searched(*SCENES[number])
    every, all_outcomes = searched(*SCENES[number], reduced=False)
    assert all_outcomes == outcomes
    assert less.executions * 2 < every.executions


@pytest.mark.parametrize(
    "planted", [p for p in PLANTED if p.faults < 2], ids=lambda planted: planted.name
)
def test_a_planted_bug_is_found(planted: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug is VIOLATED on its promise, with the fewest faults, and replayed live."""
    if planted.patch is not None:
        monkeypatch.setattr(*planted.patch)
    bound = attrs.evolve(SMALL, faults=planted.faults, scenes=(planted.scene,))
    found = check_stateless(planted.make(), bound=bound).violation
    assert found is not None
    assert (planted.promise, planted.faults) == (found.promise, found.faults), found.as_text()
    assert found.confirmed


class Overwrites(SQLiteStore):
    """Puts what it is given, whatever is there."""

    def commit(self, change: Change) -> bool:
        stored = self.load(change.record.key)
        version = stored[0].version if stored else 0
        return super().commit(attrs.evolve(change, expected_version=version))


def test_a_bug_of_a_database_is_found_on_it(on_disk: Opened, tmp_path: Path) -> None:
    """A store that loses updates on a real file is VIOLATED there, and the story replayed."""
    _, reset = on_disk
    bound = attrs.evolve(SMALL, faults=0, scenes=(EVENTS,))
    found = check_stateless(None, lambda: Overwrites(tmp_path / "payments.db"), reset, bound)
    assert "VIOLATED" == found.verdict
    assert found.violation is not None
    assert ("order_does_not_matter", True) == (found.violation.promise, found.violation.confirmed)


def test_figures_are_reported() -> None:
    """The verdict shows how often the store was emptied, and how much of it was for nothing."""
    result = check_stateless(bound=attrs.evolve(SMALL, faults=0, scenes=(HANDLERS,)))
    (found,) = result.searched
    assert isinstance(found, StatelessSearched)
    assert "EXHAUSTED" == result.verdict
    assert f"{found.executions:,} executions from an empty store" in result.as_text()
    assert 0 <= found.redundant < found.executions < found.transitions
    assert found.store_calls > 0


ALL_OF_IT = attrs.evolve(SMALL, scenes=(EVENTS,))


@pytest.mark.parametrize(
    "bound",
    [attrs.evolve(ALL_OF_IT, executions_max=3), attrs.evolve(ALL_OF_IT, seconds_max=1e-6)],
    ids=["executions", "seconds"],
)
def test_a_limit_is_said(bound: StatelessBound) -> None:
    """A search that stops at a limit is UNFINISHED."""
    assert "UNFINISHED" == check_stateless(bound=bound).verdict


def test_a_hope_comes_true() -> None:
    """A promise that must come true at some moment is looked for in executions, too."""

    @sometimes
    def is_paid(view: View) -> bool:
        """A customer pays."""
        return view.really_paid

    @sometimes
    def is_free(view: View) -> bool:
        """A customer gets something for nothing."""
        return bool(view.called("on_success")) and not view.really_paid

    bound = attrs.evolve(SMALL, faults=0, scenes=(HANDLERS,))
    assert "EXHAUSTED" == check_stateless(bound=bound, own=[is_paid]).verdict
    assert ("is_free",) == check_stateless(bound=bound, own=[is_paid, is_free]).in_vain


# --- the search by itself ------------------------------------------------------------------------


@attrs.define
class Letters:
    """Processes that write letters, each its own ones in order; `places` gives the places."""

    words: dict[Hashable, str]
    places: dict[str, str]
    ends: list[str]
    written: str = ""

    def choices(self) -> dict[Hashable, list[Hashable]]:
        index = {
            name: sum(letter in word for letter in self.written)
            for name, word in self.words.items()
        }
        return {
            name: list(word[index[name] : index[name] + 1]) for name, word in self.words.items()
        }

    def take(self, process: Hashable, choice: Hashable) -> Taken:
        self.written += str(choice)
        return Taken(touch(writes=(self.places[str(choice)],)))

    def seen(self) -> bool:
        return True

    def over(self) -> bool:
        self.ends.append(self.written)
        return True


@pytest.mark.parametrize(
    ("places", "orders"),
    [("1234", 1), ("1112", 3), ("1111", 6), ("1212", 4), ("1221", 3)],
)
def test_one_execution_for_each_order_that_matters(places: str, orders: int) -> None:
    """Of all orders of ab and cd those are run that differ where two letters share a place."""
    ends = list[str]()
    at = dict(zip("abcd", places, strict=True))

    def begin() -> Letters:
        return Letters({"first": "ab", "second": "cd"}, at, ends)

    assert "seen all" == Explorer(begin, touch()).run()
    different = {
        tuple(sorted(x + y for x, y in combinations(end, 2) if at[x] == at[y])) for end in ends
    }
    assert orders == len(different) == len(ends)
    every = Explorer(begin, touch(), reduced=False)
    every.run()
    assert 6 == every.executions


# --- what disturbs what --------------------------------------------------------------------------

ABOUT_A = change(
    Record(key="a", aliases=frozenset({"a"})), Record(key="a", aliases=frozenset({"a", "b"}))
)
COMMIT = effect_touch(Commit(ABOUT_A), "done", {"old"})
OTHER_COMMIT = effect_touch(Commit(change(Record(key="c"), Record(key="c"))), "done")
POST, GET = (
    effect_touch(Exchange(HttpRequest(method, "https://x", {}, b"")), "done")
    for method in ("POST", "GET")
)
LOAD_A, LOAD_B, LOAD_OLD, LOAD_C = (
    effect_touch(Load(name), "done") for name in ("a", "b", "old", "c")
)
DUE, RECENT = effect_touch(Due("deliver", 0, 9), "done"), effect_touch(Recent(9), "done")
SILENT, HEARD = end_touch(lasts=False), end_touch(lasts=True)
LATER = happening_touch(Step(what="time", happens=(("later", 1),)))
PAYS = happening_touch(Step(what="customer", happens=(("charged", 1, True),)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(COMMIT, LOAD_A, id="a record that is read by its key"),
        pytest.param(COMMIT, LOAD_B, id="by a new alias"),
        pytest.param(COMMIT, LOAD_OLD, id="by an alias that it had"),
        pytest.param(COMMIT, COMMIT, id="a race for one record"),
        pytest.param(COMMIT, OTHER_COMMIT, id="two moments"),
        pytest.param(COMMIT, DUE, id="what is due"),
        pytest.param(COMMIT, RECENT, id="what is listed"),
        pytest.param(COMMIT, ALL_DIE, id="a death before or after a write"),
        pytest.param(HEARD, ALL_DIE, id="a death before or after an answer"),
        pytest.param(POST, GET, id="xPay requested before or after a creation"),
        pytest.param(PAYS, GET, id="xPay requested before or after a payment"),
        pytest.param(LATER, SEES_CLOCK, id="the clock read before or after"),
        pytest.param(choice_touch(HANDLERS), COMMIT, id="a commit that gives a worker work"),
        pytest.param(choice_touch(EVENTS), SILENT, id="an end that makes room"),
        pytest.param(choice_touch(EVENTS), POST, id="an intent to pay"),
        pytest.param(choice_touch(EVENTS), ALL_DIE, id="a beginning before or after the death"),
    ],
)
def test_steps_that_may_not_change_places(one: Touch, other: Touch) -> None:
    """Each pair of steps whose order can be seen is taken to disturb each other."""
    assert one.disturbs(other)
    assert other.disturbs(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(LOAD_A, LOAD_A, id="two reads"),
        pytest.param(COMMIT, LOAD_C, id="another record"),
        pytest.param(
            effect_touch(Commit(ABOUT_A), "not applied"), LOAD_A, id="a commit that failed"
        ),
        pytest.param(GET, GET, id="two questions"),
        pytest.param(GET, COMMIT, id="xPay and the store"),
        pytest.param(LOAD_A, ALL_DIE, id="a read before a death"),
        pytest.param(SILENT, SILENT, id="two ends"),
        pytest.param(choice_touch(EVENTS), COMMIT, id="a commit that lets no task begin"),
        pytest.param(choice_touch(HANDLERS), LOAD_A, id="a read and a beginning"),
    ],
)
def test_steps_that_may_change_places(one: Touch, other: Touch) -> None:
    """Where no task can see the order, one order is enough."""
    assert not one.disturbs(other)
    assert not other.disturbs(one)


# --- a store that can only be emptied ------------------------------------------------------------


def test_a_store_is_put_back_by_doing_it_again() -> None:
    """Emptying a store and committing once more what was committed restores it."""
    open_store, reset = in_memory()
    store = ResetStore(open_store(), reset)
    nobodys = Record(key="x:in_1", aliases=frozenset({"x:in_1"}))
    empty = store.snapshot()
    assert store.commit(change(nobodys, nobodys))
    full = store.snapshot()
    store.restore(empty)
    assert [] == list(store.recent(10))
    store.restore(full)
    assert ["x:in_1"] == [record.key for record in store.load("x:in_1")]


def test_the_search_with_a_memory_runs_on_a_store_that_can_only_be_emptied(
    on_disk: Opened,
) -> None:
    """On a real file, put back by emptying it, a scene has the outcomes of the memory."""
    where, faults = EVENTS, 0
    outcomes: list[set[tuple[object, ...]]] = []
    open_store, reset = on_disk
    for store in (MemoryStore(), ResetStore(open_store(), reset)):
        shop = attrs.evolve(Shop.of(shipped()), store=store).shortened(faults)
        search = Search(shop, where, Bound(faults=faults, scenes=(where,)))
        assert "EXHAUSTED" == search.run().verdict
        outcomes.append(search.outcomes())
    assert outcomes[0] == outcomes[1]
