"""What does the store hold, and what does it answer? The real store, run once for each question.

Contents are numbered; equal contents have one number. The store is called only for a pair of
contents and operation that was never asked before.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs

from xpay_flow.effects import Commit, Due, Load, Recent
from xpay_flow.errors import StoreError
from xpay_flow.records import Record, Work

from .essence import essence, key_of, quiet_essence
from .shop import SnapshotStore


@attrs.frozen
class Raised:
    """An answer that is an error: it is thrown into the flow."""

    error: Exception


@attrs.frozen
class Answered:
    """The answer to a store operation, its number, and the contents afterwards."""

    key: int
    value: Any
    content: int


WORKS: tuple[Work, Work] = ("deliver", "ask")


class Contents:
    """All contents of one store that a search has met."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._snapshots: list[Any] = []
        self._numbers: dict[Hashable, int] = {}
        self.records: list[tuple[Record, ...]] = []
        self._answers: dict[tuple[int, int], Answered] = {}
        self._answer_keys: dict[Hashable, int] = {}
        self._values: list[Any] = []
        self._op_keys: dict[Any, int] = {}
        self._quiet: dict[tuple[int, int], int] = {}
        self._quiet_first: dict[Hashable, int] = {}
        self.calls = 0
        self.first = self._number()

    def perform(self, content: int, op: Any, op_key: int) -> Answered:
        """The answer to `op` upon `content`; `op_key` is `op`'s number from `key_of`."""
        found = self._answers.get((content, op_key))
        if found is None:
            found = self._answers[content, op_key] = self._performed(content, op)
        return found

    def key_of(self, op: Any) -> int:
        """A number that stands for an operation: equal operations have one."""
        return self._op_keys.setdefault(op, len(self._op_keys))

    def quiet(self, content: int, now_ms: int) -> int:
        """The contents that stand for these while no flow runs: see `quiet_essence`."""
        found = self._quiet.get((content, now_ms))
        if found is None:
            alike = quiet_essence(self.records[content], now_ms)
            found = self._quiet_first.setdefault(alike, content)
            self._quiet[content, now_ms] = found
        return found

    def opened(self, content: int) -> SnapshotStore:
        """The store with these contents, to be read before anything else is done."""
        self._store.restore(self._snapshots[content])
        return self._store

    def all_due_ms(self, content: int, now_ms: int) -> int | None:
        """The latest moment after `now_ms` at which any work becomes due.

        Being due allows a flow to begin and forces nothing, so going on to the last deadline
        allows all that going on to an earlier one does.
        """
        times = (record.due_at_ms(work) for record in self.records[content] for work in WORKS)
        return max((at_ms for at_ms in times if at_ms is not None and at_ms > now_ms), default=None)

    def _performed(self, content: int, op: Any) -> Answered:
        self._store.restore(self._snapshots[content])
        self.calls += 1
        value = ask(self._store, op)
        after = self._number() if isinstance(op, Commit) else content
        key = self._answer_keys.setdefault(
            repr(value) if isinstance(value, Raised) else key_of(value), len(self._values)
        )
        if key == len(self._values):
            self._values.append(value)
        return Answered(key, self._values[key], after)

    def _number(self) -> int:
        """The number of what the store holds now."""
        records = held(self._store)
        number = self._numbers.setdefault(essence(records), len(self._snapshots))
        if number == len(self._snapshots):
            self._snapshots.append(self._store.snapshot())
            self.records.append(records)
        return number


def ask(store: SnapshotStore, op: Any) -> Any:
    """One operation of the real store; an error of its own is an answer, too."""
    try:
        match op:
            case Load(alias):
                return tuple(store.load(alias))
            case Commit(change):
                return store.commit(change)
            case Due(work, now_ms, limit):
                return tuple(store.due(work, now_ms, limit))
            case Recent(limit):
                return tuple(store.recent(limit))
            case _:
                raise TypeError(f"not an operation of a store: {op!r}")
    except StoreError as error:
        return Raised(error)


def held(store: SnapshotStore) -> tuple[Record, ...]:
    """Everything in the store, in the order of keys."""
    return tuple(sorted(store.recent(10_000), key=lambda record: record.key))
