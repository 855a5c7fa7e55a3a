"""The contract check finds what is wrong between two statements, and lets right stores pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import pytest

from xpay_flow.checker.contract import (
    SCENES,
    ContractBound,
    ContractResult,
    a_place,
    check_store,
    lifelines,
    schedule,
    steered,
)
from xpay_flow.checker.contract.judging import Rule
from xpay_flow.ports import Store
from xpay_flow.records import Change
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore

from .stores import planted_files as files
from .stores import planted_sqlite as planted

# Each store, the rule that it breaks, and how many switches and faults that takes at least.
PLANTED: dict[Callable[[Path], Store], tuple[Rule, int]] = {
    planted.GetThenPut: ("lost-update", 1),
    planted.ComparesBefore: ("lost-update", 1),
    planted.EntriesLater: ("half-applied", 1),
    planted.NamesLater: ("half-applied", 1),
    planted.VersionNotChecked: ("lost-update", 0),
    planted.ConflictSwallowed: ("lost-update", 0),
    planted.NoTransaction: ("half-applied", 1),
    planted.TornLoad: ("torn-read", 1),
    planted.UpgradeSwallowed: ("lost-update", 1),
    planted.AnswersFirst: ("lost-commit", 0),
    planted.Remembers: ("stale-read", 0),
    planted.OneForAll: ("lost-update", 1),
    planted.ForeignError: ("errors", 1),
}

FEW = SCENES[:2]
ONE_FAULT = ContractBound(switches=1)


def checked(kind: Callable[[Path], Store], bound: ContractBound | None = None) -> ContractResult:
    with a_place() as place:
        return check_store(
            lambda: kind(place.file),
            reset=place.reset,
            keep=place.keep,
            bound=bound or ContractBound(),
        )


@pytest.mark.parametrize("kind", PLANTED, ids=lambda kind: kind.__name__)
def test_a_broken_store_is_found(kind: Callable[[Path], Store]) -> None:
    """A store that is wrong in one way is VIOLATED for that reason, in a short story, twice."""
    result = checked(kind)
    assert "VIOLATED" == result.verdict
    assert result.violation is not None
    rule, cost = PLANTED[kind]
    assert (rule, cost) == (result.violation.rule, result.violation.cost), result.as_text()
    assert result.violation.confirmed
    assert len(result.violation.events) <= 25


def test_a_plain_store_passes() -> None:
    """The store that the broken ones are made of keeps the contract, so their faults are theirs."""
    result = checked(planted.Plain, ContractBound(switches=1, faults=0))
    assert "EXHAUSTED" == result.verdict, result.as_text()


def test_the_sqlite_store_keeps_the_contract() -> None:
    """SQLiteStore gives, at every statement and in every crash, what the reference would."""
    result = checked(SQLiteStore)
    assert "EXHAUSTED" == result.verdict, result.as_text()
    assert ("sqlite3",) == result.seen
    assert result.total("faults") > 200
    assert result.total("statements") > 10_000


def test_the_memory_store_keeps_the_contract() -> None:
    """MemoryStore calls no driver, so each of its methods is one step, and all orders are right."""
    result = check_store(MemoryStore)
    assert "EXHAUSTED" == result.verdict, result.as_text()
    assert 0 == result.total("statements")


def test_a_file_written_in_place_is_found_in_halves() -> None:
    """A death between the opening of a file and its writing leaves a record that cannot be read."""
    with a_place() as place:
        result = check_store(
            lambda: files.Documents(place.folder / "documents"), reset=place.reset, scenes=FEW
        )
    assert result.violation is not None
    assert "errors" == result.violation.rule
    assert 1 == result.violation.cost


def test_a_file_put_in_place_by_renaming_passes() -> None:
    """A store that writes beside and renames keeps the contract, file operation by operation."""
    with a_place() as place:
        result = check_store(
            lambda: files.RenamedDocuments(place.folder / "documents"),
            reset=place.reset,
            scenes=FEW,
            bound=ONE_FAULT,
        )
    assert "EXHAUSTED" == result.verdict, result.as_text()
    assert ("files",) == result.seen


class Deadlocks(MemoryStore):
    """Takes two locks, in an order that depends on the change."""

    def __init__(self) -> None:
        super().__init__()
        self.both = Lock(), Lock()

    def commit(self, change: Change) -> bool:
        in_turn = self.both if "whe_paid" in str(change) else self.both[::-1]
        in_turn[0].acquire()
        _between()
        in_turn[1].acquire()
        try:
            return super().commit(change)
        finally:
            in_turn[1].release()
            in_turn[0].release()

    @property
    def statements(self) -> tuple[Callable[[], None], ...]:
        return (_between,)


def _between() -> None: ...


def test_a_deadlock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods that wait for each other's locks are stuck, and the check goes on to say so."""
    monkeypatch.setattr(lifelines, "STUCK_LOOKS", 20)
    monkeypatch.setattr(steered, "STUCK_LOOKS", 20)
    monkeypatch.setattr(schedule, "STUCK_LOOKS", 20)
    made: list[Deadlocks] = []

    def make() -> Store:
        made.append(Deadlocks())
        return made[-1]

    result = check_store(make, scenes=FEW)
    for lock in (lock for store in made for lock in store.both if lock.locked()):
        lock.release()
    assert result.violation is not None
    assert ("stuck", 1) == (result.violation.rule, result.violation.cost)


def test_the_same_bug_tells_the_same_story() -> None:
    """Two checks of one store print the same story."""
    first, second = (checked(planted.ComparesBefore).violation for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.as_text() == second.as_text()


def test_a_story_names_calls_statements_and_answers() -> None:
    """The story of a lost update shows each call, its line and its answer."""
    found = checked(planted.VersionNotChecked).violation
    assert found is not None
    text = found.as_text()
    assert "INSERT INTO records   [planted_sqlite.py:" in text
    assert 2 == text.count("answers True")
    drawn = found.as_mermaid()
    assert drawn.startswith("sequenceDiagram")
    assert "participant A as process A" in drawn
    assert "A->>DB: INSERT INTO records" in drawn
    assert found.as_json()["story"] == [event.in_words() for event in found.events]


def test_a_search_that_gives_up_is_unfinished() -> None:
    """A bound that was not searched to its end proves nothing."""
    result = checked(planted.Plain, ContractBound(runs_max=3))
    assert "UNFINISHED" == result.verdict
    assert "UNFINISHED" == result.as_json()["verdict"]


def test_a_store_whose_driver_is_not_known_is_not_proven() -> None:
    """A store that keeps data by calls that are in no table is UNFINISHED, with a remedy."""
    kept: dict[str, MemoryStore] = {}

    def make() -> Store:
        return kept.setdefault("store", MemoryStore())

    result = check_store(make, reset=kept.clear, scenes=FEW)
    assert "UNFINISHED" == result.verdict
    assert "statements" in result.as_text()
