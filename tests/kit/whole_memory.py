"""A right store that keeps each record whole: what wrong ones are made of."""

from __future__ import annotations

from collections.abc import Sequence

from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import (
    Change,
    Record,
    Work,
    appended,
    for_deciding,
    with_events,
    without_payload,
)
from xpay_flow.stores.memory import MemoryStore


class WholeMemory(MemoryStore):
    """Right: one dictionary of whole records, as a store of documents has it."""

    def __init__(self) -> None:
        super().__init__()
        # By key: when it was first stored, counted from 0, and the whole record as it stands.
        self._rows: dict[str, tuple[int, Record]] = {}

    def named(self, alias: str) -> Sequence[Record]:
        """The whole records under this name."""
        with self._lock:
            rows = sorted(self._rows[key] for key in self._keys.get(alias, ()))
        return [record for _, record in rows[:FOUND_MAX]]

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [for_deciding(record, event) for record in self.named(alias)]

    def history(self, alias: str) -> Sequence[Record]:
        return self.named(alias)

    def after(self, whole: Record, change: Change) -> Record:
        """The whole record after this change."""
        return appended(whole, change)

    def commit(self, change: Change) -> bool:
        key = change.record.key
        with self._lock:
            born, old = self._rows.get(key, (len(self._rows), Record(key=key)))
            if old.version != change.expected_version:
                return False
            new = self.after(old, change)
            self._rows[key] = (born, new)
            for alias in old.aliases ^ new.aliases:
                self._keys[alias] = self._keys.get(alias, frozenset()) ^ {key}
            return True

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        with self._lock:
            ours = [record for _, record in self._rows.values() if record.realm in realms]
        waiting = [record for record in ours if record.is_due(work, now_ms)]
        late = sorted((record.due_at_ms(work) or 0, record.key) for record in waiting)
        return [key for _, key in late][:limit]

    def blank_payloads(self, key: str) -> None:
        with self._lock:
            if key in self._rows:
                born, whole = self._rows[key]
                self._rows[key] = (born, self.blanked(whole))

    def blanked(self, whole: Record) -> Record:
        """The whole record without payloads."""
        return with_events(whole, tuple(without_payload(each) for each in whole.events))

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        with self._lock:
            newest = [record for _, record in reversed(self._rows.values())]
        if before:
            newest = newest[1 + [record.key for record in newest].index(before) :]
        return [record for record in newest if record.realm in realms][:limit]
