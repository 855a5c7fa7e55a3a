"""Can a store that can only be emptied be put back? Empty it, and do again what was done.

So the search that remembers states runs on any real store: there are few different contents, and
few changes lead to each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xpay_flow.events import EventIdentity
from xpay_flow.ports import Store
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work

Changes = tuple[Change, ...]


class ResetStore:
    """A store with `snapshot` and `restore`, made of one that has neither.

    A snapshot is the changes that were requested since it was empty, lost races included.

    Args:
        store: must be a `RecentListing`, too, to show what it holds.
        reset: empties the store; what was opened before goes on to work.
    """

    def __init__(self, store: Store, reset: Callable[[], object]) -> None:
        self._store: Any = store
        self._reset = reset
        self._changes: Changes = ()
        # Whether the store holds what `_changes` lead to; put back only at the next read.
        self._stands = False

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        """See `xpay_flow.ports.Store`."""
        found: Sequence[Record] = self._standing().load(alias, event)
        return found

    def history(self, alias: str) -> Sequence[Record]:
        """See `xpay_flow.ports.Store`."""
        found: Sequence[Record] = self._standing().history(alias)
        return found

    def commit(self, change: Change) -> bool:
        """See `xpay_flow.ports.Store`."""
        store, self._stands = self._standing(), False
        won: bool = store.commit(change)
        # A lost race changes nothing, and a store that answers so may be wrong: so it is kept.
        self._changes, self._stands = (*self._changes, change), True
        return won

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        """See `xpay_flow.ports.Store`."""
        keys: Sequence[str] = self._standing().due(work, now_ms, limit, realms)
        return keys

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        """See `xpay_flow.ports.RecentListing`."""
        found: Sequence[Record] = self._standing().recent(limit, realms, before)
        return found

    def reader(self) -> ResetStore:
        """See `xpay_flow.ports.Store`; under check a query that writes is found in other ways."""
        return self

    def snapshot(self) -> Changes:
        """The way to what is stored now."""
        return self._changes

    def restore(self, snapshot: Changes) -> None:
        """Be as when `snapshot` was taken, at the next read."""
        if not self._stands or snapshot != self._changes:
            self._changes, self._stands = snapshot, False

    def _standing(self) -> Any:
        if not self._stands:
            self._reset()
            for change in self._changes:
                self._store.commit(change)
            self._stands = True
        return self._store
