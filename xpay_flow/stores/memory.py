"""What must a store do, in the fewest lines? The reference to learn from, and to test against.

It forgets everything when the process ends, so a shop needs another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from threading import Lock

from xpay_flow.errors import ConfigurationError
from xpay_flow.ports import FOUND_MAX
from xpay_flow.records import Change, Record, Work

Snapshot = tuple[dict[str, tuple[int, Record]], dict[str, frozenset[str]]]


class MemoryReader:
    """What a query may use: the same records, and no way to change them."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def load(self, alias: str) -> Sequence[Record]:
        return self._store.load(alias)

    def recent(self, limit: int) -> Sequence[Record]:
        return self._store.recent(limit)


class MemoryStore:
    """Records in two dictionaries behind one lock. See `xpay_flow.ports.Store`."""

    def __init__(self) -> None:
        self._lock = Lock()
        # By key: when it was first stored, counted from 0, and the record as it stands.
        self._rows: dict[str, tuple[int, Record]] = {}
        self._keys: dict[str, frozenset[str]] = {}  # by alias

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        """An empty store; `memory://` is the whole URL."""
        if url != "memory://":
            raise ConfigurationError("write memory:// alone: no name makes two of them share")
        return cls()

    def load(self, alias: str) -> Sequence[Record]:
        with self._lock:
            rows = sorted(self._rows[key] for key in self._keys.get(alias, ()))
        return [record for _, record in rows[:FOUND_MAX]]

    def commit(self, change: Change) -> bool:
        new = change.record
        with self._lock:
            born, old = self._rows.get(new.key, (len(self._rows), Record(key=new.key)))
            if old.version != change.expected_version:
                return False
            self._rows[new.key] = (born, new)
            for alias in old.aliases ^ new.aliases:
                self._keys[alias] = self._keys.get(alias, frozenset()) ^ {new.key}
            return True

    def due(self, work: Work, now_ms: int, limit: int) -> Sequence[str]:
        with self._lock:
            waiting = [(r.due_at_ms(work), r.key) for _, r in self._rows.values()]
        late = sorted((at_ms, key) for at_ms, key in waiting if at_ms is not None)
        return [key for at_ms, key in late if at_ms <= now_ms][:limit]

    def recent(self, limit: int) -> Sequence[Record]:
        with self._lock:
            return [record for _, record in islice(reversed(self._rows.values()), limit)]

    def reader(self) -> MemoryReader:
        return MemoryReader(self)

    def snapshot(self) -> Snapshot:
        """Everything, as a value for `restore`: two shallow copies, since records are frozen."""
        with self._lock:
            return dict(self._rows), dict(self._keys)

    def restore(self, snapshot: Snapshot) -> None:
        """Be as when `snapshot` was taken; it may be restored any number of times."""
        rows, keys = snapshot
        with self._lock:
            self._rows, self._keys = dict(rows), dict(keys)
