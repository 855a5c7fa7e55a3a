"""SQLite under check: its own statements, put back to where they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import attrs
import pytest

from xpay_flow.checker.bounds import DEFAULT, EVENTS, HANDLERS, Scene
from xpay_flow.checker.explore import Search
from xpay_flow.checker.shop import Shop
from xpay_flow.checker.sqlite_snapshots import SQLiteSnapshots
from xpay_flow.checker.targets import shipped
from xpay_flow.checker.verify import check
from xpay_flow.records import Change, Record, change
from xpay_flow.stores.memory import MemoryStore

from .planted_flows import shop

NOBODYS = Record(key="x:in_1", aliases=frozenset({"x:in_1"}))
FIRST = change(NOBODYS, NOBODYS)


@pytest.fixture
def store() -> Iterator[SQLiteSnapshots]:
    """An empty store on SQLite that can be put back."""
    with closing(SQLiteSnapshots()) as made:
        yield made


def test_what_was_stored_later_is_gone(store: SQLiteSnapshots) -> None:
    """A snapshot can be restored again and again, and leaves nothing of what came after it."""
    empty = store.snapshot()
    for _ in range(2):
        assert store.commit(FIRST)
        full = store.snapshot()
        store.restore(empty)
        assert [] == list(store.history("x:in_1"))
        store.restore(full)
        assert [FIRST.record] == list(store.history("x:in_1"))
        assert not store.commit(FIRST)
        store.restore(empty)


def test_an_error_loses_nothing(store: SQLiteSnapshots) -> None:
    """A commit that fails closes its connection, and what was stored before is still there."""
    store.commit(FIRST)
    half_a_character = attrs.evolve(NOBODYS, key="\ud800", aliases=frozenset({"\ud800"}))
    with pytest.raises(UnicodeEncodeError):
        store.commit(change(half_a_character, half_a_character))
    assert [FIRST.record] == list(store.recent(10))


def test_no_two_share_a_database(store: SQLiteSnapshots) -> None:
    """Each store has its own records."""
    store.commit(FIRST)
    with closing(SQLiteSnapshots()) as clone:
        assert [] == list(clone.recent(10))


@pytest.mark.parametrize("scene", [EVENTS, HANDLERS], ids=lambda scene: scene.name)
def test_sqlite_shows_what_the_memory_shows(scene: Scene, store: SQLiteSnapshots) -> None:
    """A scene on SQLite's own statements has the outcomes that it has on the store in memory."""
    bound = attrs.evolve(DEFAULT, faults=1)
    found = []
    for one in (MemoryStore(), store):
        made = attrs.evolve(Shop.of(shipped()), store=one).shortened(1)
        search = Search(made, scene, bound)
        found.append((search.run(), search.outcomes()))
    (memory, outcomes), (sqlite, on_sqlite) = found
    assert ("EXHAUSTED", "EXHAUSTED") == (memory.verdict, sqlite.verdict)
    assert (memory.states, outcomes) == (sqlite.states, on_sqlite)


class OverwritesOnSQLite(SQLiteSnapshots):
    """Puts what it is given, whatever is there."""

    def commit(self, change: Change) -> bool:
        stored = self.load(change.record.key)
        version = stored[0].version if stored else 0
        return super().commit(attrs.evolve(change, expected_version=version))


def test_a_bug_on_sqlite_is_found() -> None:
    """A store on SQLite that loses updates is VIOLATED, and the story is confirmed on SQLite.

    Facts are rows of their own there, so an overwritten record no longer is what they lead to.
    """
    with closing(OverwritesOnSQLite()) as wrong:
        result = check(shop(wrong), attrs.evolve(DEFAULT, scenes=(EVENTS,)))
    assert result.violation is not None
    assert ("order_does_not_matter", True) == (result.violation.promise, result.violation.confirmed)
