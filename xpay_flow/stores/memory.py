"""What must a store do, in the fewest lines? The reference to learn from, and to test against.

It forgets everything when the process ends, so a shop needs another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile, islice
from threading import Lock
from typing import TypeAlias

import attrs

from xpay_flow.errors import ConfigurationError, StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import (
    Change,
    OutboxEntry,
    Record,
    RecordedEvent,
    Work,
    pending,
    with_events,
    with_parts,
    without_payload,
)


@attrs.frozen(order=True)
class _Row:
    """One record: when it was first stored, counted from 0, what `load` gives, and the history."""

    born: int
    head: Record = attrs.field(order=False)
    events: tuple[RecordedEvent, ...] = attrs.field(default=(), order=False)
    outbox: tuple[OutboxEntry, ...] = attrs.field(default=(), order=False)

    @property
    def whole(self) -> Record:
        return with_parts(self.head, self.events, self.outbox)


# The recorded events with one event id of one record, by their keys.
_Contents: TypeAlias = dict[tuple[str, str], dict[str, RecordedEvent]]
Snapshot: TypeAlias = tuple[dict[str, _Row], _Contents, dict[str, frozenset[str]]]


class MemoryReader:
    """What a query may use: the same records, and no way to change them."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return self._store.load(alias, event)

    def history(self, alias: str) -> Sequence[Record]:
        return self._store.history(alias)

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        return self._store.recent(limit, realms, before)


class MemoryStore:
    """Records in three dictionaries behind one lock. See `xpay_flow.ports.Store`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: dict[str, _Row] = {}  # by key
        self._contents: _Contents = {}
        self._keys: dict[str, frozenset[str]] = {}  # by alias

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        """An empty store; `memory://` is the whole URL."""
        if url != "memory://":
            raise ConfigurationError("write memory:// alone: no name makes two of them share")
        return cls()

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        with self._lock:
            heads = [row.head for row in self._named(alias)]
            return heads if event is None else [self._with_alike(head, event) for head in heads]

    def history(self, alias: str) -> Sequence[Record]:
        with self._lock:
            rows = self._named(alias)
        return [row.whole for row in rows]

    def commit(self, change: Change) -> bool:
        new = change.record
        with self._lock:
            old = self._rows.get(new.key) or _Row(len(self._rows), Record(key=new.key))
            if old.head.version != change.expected_version:
                return False
            self._append_contents(new.key, change.new_events)
            entries = {entry.id: entry for entry in (*old.outbox, *change.changed_entries)}
            outbox = tuple(entries.values())
            head = with_parts(new, (), pending(outbox))
            events = (*old.events, *change.new_events)
            self._rows[new.key] = _Row(old.born, head, events, outbox)
            for alias in old.head.aliases ^ new.aliases:
                self._keys[alias] = self._keys.get(alias, frozenset()) ^ {new.key}
            return True

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        with self._lock:
            heads = [row.head for row in self._rows.values()]
        waiting = [head for head in heads if head.realm in realms and head.is_due(work, now_ms)]
        late = sorted((head.due_at_ms(work) or 0, head.key) for head in waiting)
        return [key for _, key in late][:limit]

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        with self._lock:
            newest = iter(reversed(self._rows.values()))
            if before:
                newest = islice(dropwhile(lambda row: row.head.key != before, newest), 1, None)
            rows = list(islice((row for row in newest if row.head.realm in realms), limit))
        return [row.whole for row in rows]

    def blank_payloads(self, key: str) -> None:
        with self._lock:
            if (row := self._rows.get(key)) is not None:
                events = tuple(without_payload(recorded) for recorded in row.events)
                self._rows[key] = attrs.evolve(row, events=events)
                for recorded in events:
                    place = (key, recorded.event.event_id)
                    self._contents[place] = {**self._contents[place], recorded.id: recorded}

    def scrub(self) -> None:
        """What was replaced is nowhere."""

    def reader(self) -> MemoryReader:
        return MemoryReader(self)

    def _named(self, alias: str) -> list[_Row]:
        return sorted(self._rows[key] for key in self._keys.get(alias, ()))[:FOUND_MAX]

    def _with_alike(self, head: Record, event: EventIdentity) -> Record:
        """The head with the event itself, and with one of another content under its id."""
        contents = self._contents.get((head.key, event.event_id), {})
        others = [contents[key] for key in islice(contents, 2) if key != event.key]
        copy = [contents[event.key]] if event.key in contents else []
        return with_events(head, (*copy, *others[:1])) if contents else head

    def _append_contents(self, key: str, events: Sequence[RecordedEvent]) -> None:
        for recorded in events:
            place = (key, recorded.event.event_id)
            if recorded.id in self._contents.get(place, ()):
                raise StoreUnavailable(f"nothing was changed: {recorded.id!a} is recorded already")
        for recorded in events:
            place = (key, recorded.event.event_id)
            self._contents[place] = {**self._contents.get(place, {}), recorded.id: recorded}

    def snapshot(self) -> Snapshot:
        """Everything, as a value for `restore`: shallow copies, since what they hold is frozen."""
        with self._lock:
            return dict(self._rows), dict(self._contents), dict(self._keys)

    def restore(self, snapshot: Snapshot) -> None:
        """Be as when `snapshot` was taken; it may be restored any number of times."""
        rows, contents, keys = snapshot
        with self._lock:
            self._rows, self._contents, self._keys = dict(rows), dict(contents), dict(keys)
