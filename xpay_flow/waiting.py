"""Who waits in this process for a payment to change, and what wakes each of them?

A commit of this process does at once, and so does the report of another process; besides, a watcher
compares versions twice a second. Threads and event loops use the same list.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import blake2b
from threading import Lock
from time import monotonic
from typing import Final

import attrs

from .effects import Waited
from .records import Change

# A commit between a customer's look and the wait that follows must not be missed. These are
# milliseconds apart, in which a process commits fewer records than this.
REMEMBERED_MAX: Final = 1_000
# A customer has a few tabs; who knows one payment must not take all places.
OF_ONE_RECORD_MAX: Final = 8


@attrs.define(eq=False)
class Waiter:
    """One who waits for the record `key` to be newer than `version`."""

    key: str
    version: int
    ends_at_s: float
    woken: Future[Waited] = attrs.field(factory=Future[Waited], repr=False)

    def wake(self, why: Waited) -> None:
        """End the wait; only the first time counts."""
        with suppress(InvalidStateError):
            self.woken.set_result(why)


class Waiting:
    """The list of those who wait. At most `at_most` at once; others are not let in.

    So the customers of a shop, and strangers, hold no more of the server than that.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._lock = Lock()
        self._waiters: dict[str, set[Waiter]] = {}
        self._versions: dict[str, int] = {}
        self._is_closed = False
        self._left_at_s = monotonic()
        # Informs other processes of a commit; see `change_reports`.
        self.report: Callable[[Change], object] = _keep_quiet

    def __len__(self) -> int:
        return sum(map(len, self._waiters.values()))

    def enter(self, key: str, version: int, seconds: float) -> Waiter | None:
        """A place for one who has seen this version; None if all are taken. `leave` it."""
        waiter = Waiter(key, version, monotonic() + seconds)
        with self._lock:
            those = self._waiters.get(key, set())
            has_room = len(self) < self._at_most and len(those) < OF_ONE_RECORD_MAX
            if self._is_closed or not has_room:
                return None
            self._waiters[key] = those | {waiter}
            is_late = self._versions.get(key, 0) > version
        if is_late:
            waiter.wake("changed")
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Free the place; may be called twice."""
        with self._lock:
            if left := self._waiters.get(waiter.key, set()) - {waiter}:
                self._waiters[waiter.key] = left
            else:
                self._waiters.pop(waiter.key, None)
            self._left_at_s = monotonic()

    def committed(self, change: Change) -> None:
        """This change is durable now, by a commit of this process."""
        record = change.record
        with self._lock:
            self._versions.pop(record.key, None)
            self._versions[record.key] = record.version
            if len(self._versions) > REMEMBERED_MAX:
                del self._versions[next(iter(self._versions))]
        self.found(record.key, record.version)
        self.report(change)

    def found(self, key: str, version: int) -> None:
        """This version is in the store: wakes those who have seen only older ones."""
        for waiter in self._those(key):
            if waiter.version < version:
                waiter.wake("changed")

    def reported(self, digest: str) -> None:
        """Another process reports a change by `digest_of` its key: those who wait look again."""
        for key in self.keys():
            if digest_of(key) == digest:
                for waiter in self._those(key):
                    waiter.wake("changed")

    @property
    def idle_s(self) -> float:
        """How long there has been no wait."""
        return 0.0 if self._waiters else monotonic() - self._left_at_s

    def keys(self) -> tuple[str, ...]:
        """The records that are waited for. A wait that is overdue, as after a fork, is dropped."""
        now_s = monotonic()
        with self._lock:
            for key, those in list(self._waiters.items()):
                those -= {waiter for waiter in those if waiter.ends_at_s < now_s}
                if not those:
                    del self._waiters[key]
            return tuple(self._waiters)

    def close(self) -> None:
        """End every wait; none begins from here on."""
        with self._lock:
            self._is_closed = True
            waiters = [waiter for those in self._waiters.values() for waiter in those]
        for waiter in waiters:
            waiter.wake("time_up")

    def _those(self, key: str) -> tuple[Waiter, ...]:
        if key not in self._waiters:  # Nearly always, and no reason to hold the lock.
            return ()
        with self._lock:
            return tuple(self._waiters.get(key, ()))


def _keep_quiet(_: Change) -> None:
    """There are no others."""


def digest_of(key: str) -> str:
    """What stands for a record in a report: short, and nothing of the order can be read in it."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class HangUp:
    """Whether the client of a request has hung up, for what runs in a thread meanwhile."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiter: Waiter | None = None
        self._has_happened = False

    def happened(self) -> None:
        """The client is gone: the wait on its behalf ends."""
        with self._lock:
            self._has_happened = True
            if self._waiter is not None:
                self._waiter.wake("time_up")

    @contextmanager
    def ends(self, waiter: Waiter) -> Generator[None]:
        """Within the block, it ends this wait."""
        with self._lock:
            self._waiter = waiter
            if self._has_happened:
                waiter.wake("time_up")
        try:
            yield
        finally:
            self._waiter = None


# Set by adapters around a request that is answered in a thread, where the server reports hang-ups.
hang_up: ContextVar[HangUp | None] = ContextVar("xpay_flow_hang_up", default=None)
