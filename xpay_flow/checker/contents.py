"""What does the store hold, and what does it answer? The real store, run once for each question.

Contents are numbered; equal contents have one number. The store is called only for a pair of
contents and operation that was never op before.

Two contents are one where no answer of the store will ever differ. That needs to
be known of the store:

- Of ours, everything is in its records and in the order in which they were first stored.
- A store of the user's own may keep more. Its contents are one only if their snapshots are alike,
  down to the last value, and each operation is performed twice, to see that it depends on nothing
  that `restore` does not put back.

Versions (`Reductions.versions`): a flow under check is given the same version for the same content
of a record, whichever way led there, and the real store is given the real ones. So two ways to one
content do not differ for ever by how many commits they took. It needs flows that compare a version
and count it up after a commit of their own only, a store that does so, too, and promises that do
not look at it. And no record may come to hold again what it held before: a flow that had read it
meanwhile would lose a race, and wins it here. Records of our flows only grow.

Elsewhere versions are the real ones, but begin again after some (`Reductions.loops`): else a shop
that goes round, such as by taking and freeing a lock, would have no end. A flow that has lost a
race goes on alike however often the record was changed meanwhile, so what it does after very many
changes it does after fewer. It needs flows that do not count so far.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import attrs

from xpay_flow.effects import Commit, Due, History, Load, Recent
from xpay_flow.errors import StoreError
from xpay_flow.realm import EVERY_REALM
from xpay_flow.records import Change, OutboxEntry, Record, RecordedEvent, Work

from .essence import key_of, quiet_essence, record_essence, unversioned, whole_record
from .fingerprint import value_fingerprint
from .hidden import HiddenState
from .outside import START_MS
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


WORKS: tuple[Work, Work] = ("deliver", "reconcile")
# What is due later than 40 days from the beginning is as good as never.
RECORDS_MAX = 10_000
# Versions begin again after so many: more than commits meet in any world that can be searched.
VERSIONS_MAX = 8
HORIZON_MS = START_MS + 40 * 24 * 3_600_000


# A flow may count a version up for each commit in a row; the versions that it reads lie so far
# apart that none is taken for another.
COMMITS_MAX = 1000


class Contents:
    """All contents of one store that a search has met.

    Args:
        alike: give equal contents one version.
        whole: records are alike only where they do not differ at all.
        loops: versions begin again after `VERSIONS_MAX`.
        own: it is a store of the user's own, of which nothing is known.
    """

    def __init__(
        self,
        store: SnapshotStore,
        *,
        alike: bool = True,
        whole: bool = False,
        loops: bool = False,
        own: bool = False,
    ) -> None:
        self._store, self._alike, self._whole, self._own = store, alike, whole, own
        self._loops = loops and not alike
        self._essence = record_essence
        if whole:
            self._essence = unversioned if self._loops else whole_record
        self._snapshots: list[Any] = []
        self._numbers: dict[Hashable, int] = {}
        self.records: list[tuple[Record, ...]] = []
        self._versions: dict[Hashable, int] = {}
        self._written: set[Hashable] = set()
        self._answers: dict[tuple[int, int], Answered] = {}
        self._answer_keys: dict[Hashable, int] = {}
        self._values: list[Any] = []
        self._op_keys: dict[Any, int] = {}
        self._quiet: dict[tuple[int, int], Hashable] = {}
        self.calls = 0
        self.first = self._number()

    def perform(self, content: int, op: Any, op_key: int) -> Answered:
        """The answer to `op` on `content`; `op_key` is `op`'s number from `key_of`."""
        found = self._answers.get((content, op_key))
        if found is None:
            found = self._answers[content, op_key] = self._performed(content, op)
        return found

    def key_of(self, op: Any) -> int:
        """A number that stands for an operation: equal operations have one."""
        return self._op_keys.setdefault(op, len(self._op_keys))

    def quiet(self, content: int, now_ms: int) -> Hashable:
        """What stands for these contents now while no flow runs: see `quiet_essence`."""
        found = self._quiet.get((content, now_ms))
        if found is None:
            found = self._quiet[content, now_ms] = quiet_essence(self.records[content], now_ms)
        return found

    def opened(self, content: int) -> SnapshotStore:
        """The store with these contents, to be read before anything else is done."""
        self._store.restore(self._snapshots[content])
        return self._store

    def all_due_ms(self, content: int, now_ms: int) -> int | None:
        """The latest moment after `now_ms` at which any work becomes due, within the horizon.

        Being due allows a flow to begin and forces nothing, so going on to the last deadline
        allows all that going on to an earlier one does.
        """
        times = (record.due_at_ms(work) for record in self.records[content] for work in WORKS)
        ahead = (at_ms for at_ms in times if at_ms is not None and now_ms < at_ms <= HORIZON_MS)
        return max(ahead, default=None)

    def _performed(self, content: int, op: Any) -> Answered:
        known = op
        if isinstance(op, Commit) and (self._alike or self._loops):
            op = Commit(self._really(content, op.change))
        answered = self._really_performed(content, op, known)
        if self._own:
            again = self._really_performed(content, op, known)
            if self._alike_key(answered[0]) != self._alike_key(again[0]) or (
                self.records[answered[1]] != self.records[again[1]]
            ):
                raise HiddenState(
                    f"the store answered {answered[0]!r:.200} to {op!r:.200} at first, and "
                    f"{again[0]!r:.200} when it was put back and called again"
                )
        value, after = answered
        if value.__class__ is tuple and value and isinstance(value[0], Record):
            value = self._as_versioned(content, value)
        return self._answered(value, after)

    def _note_written(self, by_flow: Change) -> None:
        """Remember under which version the flow that has written a record knows it.

        From one content of a record, an execution comes to one next content only: so a version
        counted up from the one that was read stands for what was written, and for nothing else.
        """
        key, version = by_flow.record.key, by_flow.record.version
        stored = next(record for record in held(self._store) if record.key == key)
        self._written.add((key, version, self._essence(stored)))

    def _really_performed(self, content: int, op: Any, known: Any) -> tuple[Any, int]:
        """The answer of the store, put back to these contents, and what it holds afterwards."""
        self._store.restore(self._snapshots[content])
        self.calls += 1
        value = store_answer(self._store, op)
        if isinstance(op, Commit) and value is True and self._alike:
            self._note_written(known.change)
        # Only a store of the user's own may change by a read.
        changes = self._own or isinstance(op, Commit)
        return value, self._number() if changes else content

    def _as_versioned(self, content: int, found: tuple[Record, ...]) -> tuple[Record, ...]:
        """These records with the versions that stand for what the store holds of them.

        A loaded record is a part of one; what stands for a version is the whole.
        """
        versions = {stored.key: self._version(stored) for stored in self.records[content]}
        return tuple(
            attrs.evolve(record, version=versions.get(record.key, record.version))
            for record in found
        )

    def _answered(self, value: Any, after: int) -> Answered:
        key = self._answer_keys.setdefault(self._alike_key(value), len(self._values))
        if key == len(self._values):
            self._values.append(value)
        return Answered(key, self._values[key], after)

    def _alike_key(self, value: Any) -> Hashable:
        """What stands for an answer; of the user's own errors and values nothing does."""
        if isinstance(value, Raised):
            return repr(value) if not self._own else (type(value.error), repr(value))
        return key_of(value, self._essence)

    def _number(self) -> int:
        """The number of what the store holds now."""
        listed = tuple(self._store.recent(RECORDS_MAX))
        records = in_order(listed)
        alike: Hashable = tuple(
            (self._essence(record), self._version(record)) for record in records
        )
        snapshot = None
        if self._whole:
            # Which record is the newest shows in answers, too.
            alike = (alike, tuple(record.key for record in listed))
        if self._own:
            snapshot = self._store.snapshot()
            # An unknown value is equal to nothing but itself.
            alike = (alike, value_fingerprint(snapshot) or object())
        number = self._numbers.setdefault(alike, len(self._snapshots))
        if number == len(self._snapshots):
            self._snapshots.append(self._store.snapshot() if snapshot is None else snapshot)
            self.records.append(records)
        return number

    def _version(self, record: Record) -> int:
        if not self._alike:
            return self._cyclic(record.version)
        number = (len(self._versions) + 1) * COMMITS_MAX
        return self._versions.setdefault(self._essence(record), number)

    def _cyclic(self, version: int) -> int:
        return (version - 1) % VERSIONS_MAX + 1 if self._loops and version else version

    def _is_of(self, version: int, stored: Record) -> bool:
        """Whether a flow that expects this version has read these contents, or written them."""
        if not self._alike:
            return self._cyclic(version) == self._version(stored)
        if version == self._version(stored):
            return True
        return (stored.key, version, self._essence(stored)) in self._written

    def _really(self, content: int, op: Change) -> Change:
        """The change with versions as the store has them."""
        stored = next((r for r in self.records[content] if r.key == op.record.key), None)
        if stored is None:
            return op
        expected = stored.version
        if not self._is_of(op.expected_version, stored):
            # Some version that is not there: the flow read another content.
            expected = stored.version - 1 if op.expected_version else 0
        given, version = op.record.version, expected + 1
        events = tuple(_at(recorded, given, version) for recorded in op.record.events)
        effects = tuple(_logged_at(effect, given, version) for effect in op.record.outbox)
        return attrs.evolve(
            op,
            record=attrs.evolve(op.record, version=version, events=events, outbox=effects),
            expected_version=expected,
            new_events=tuple(_at(recorded, given, version) for recorded in op.new_events),
            changed_entries=tuple(_logged_at(e, given, version) for e in op.changed_entries),
        )


def _at(recorded: RecordedEvent, given: int, version: int) -> RecordedEvent:
    return attrs.evolve(recorded, version=version) if recorded.version == given else recorded


def _logged_at(effect: OutboxEntry, given: int, version: int) -> OutboxEntry:
    log = tuple(attrs.evolve(t, version=version) if t.version == given else t for t in effect.log)
    return attrs.evolve(effect, log=log)


def store_answer(store: SnapshotStore, op: Any) -> Any:
    """One operation of the real store; an error of its own is an answer, too."""
    try:
        match op:
            case Load(alias, event):
                return tuple(store.load(alias, event))
            case History(alias):
                return tuple(store.history(alias))
            case Commit(change):
                return store.commit(change)
            case Due(work, now_ms, limit, realms):
                # A search works in one realm alone.
                return tuple(store.due(work, now_ms, limit, realms or EVERY_REALM))
            case Recent(limit, realms):
                return tuple(store.recent(limit, realms))
            case _:
                raise TypeError(f"not an operation of a store: {op!r}")
    except StoreError as error:
        return Raised(error)


def held(store: SnapshotStore) -> tuple[Record, ...]:
    """Everything in the store, in the order of keys."""
    return in_order(store.recent(RECORDS_MAX))


def in_order(records: Iterable[Record]) -> tuple[Record, ...]:
    """Records in the order of keys."""
    return tuple(sorted(records, key=lambda record: record.key))
