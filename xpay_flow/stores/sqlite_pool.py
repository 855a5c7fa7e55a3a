"""Who uses which connection to an SQLite file?

A connection serves one transaction at a time and is then handed on, so there are as many as there
are transactions at once: threads may come and go. One that failed is closed and not handed on.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Final
from weakref import WeakSet

from xpay_flow.errors import StoreUnavailable

from .fork_gate import GATE

# A writer may wait once for its turn in this process and once for other processes. Both together
# must end before a webhook's time is up (1.5 s).
WAIT_S: Final = 0.7
# No webhook waits for a process that starts. SQLite looks for a lock ever more rarely, ten times a
# second in the end, so a process that writes all the time leaves a newcomer few chances.
OPENING_WAIT_S: Final = 30.0
# More than this many at once are rare; their connections are closed after use.
IDLE_MAX: Final = 16


def _nothing() -> None:
    """There is no file to look at."""


class Pool:
    """Connections that `opened` makes; each runs one transaction at a time.

    Args:
        check: raises StoreUnavailable if the file is not the one that was opened: what a connection
            writes to a file that was removed or replaced is lost.
    """

    def __init__(
        self, opened: Callable[[], sqlite3.Connection], check: Callable[[], None] = _nothing
    ) -> None:
        self._opened, self._check = opened, check
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False
        self.turn = Lock()
        self._writers: dict[int, Lock] = {}
        _pools.add(self)

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """For one statement, which is one consistent view of the database by itself.

        Raises StoreUnavailable.
        """
        return self._transaction(None)

    @contextmanager
    def writing(
        self, *, keep: bool = True, owner: object = None
    ) -> Generator[sqlite3.Connection, None, None]:
        """All or nothing, durable at the end. Raises StoreUnavailable.

        Args:
            keep: False if this connection is to be closed afterwards.
            owner: by which `give_back_turn` knows this writer.
        """
        # Queueing here is fairer and quicker than SQLite's own waiting, which polls.
        turn, holder = self.turn, object() if owner is None else owner
        if not turn.acquire(timeout=WAIT_S):
            raise StoreUnavailable(f"the writers before this one took longer than {WAIT_S} s")
        self._writers[id(holder)] = turn
        try:
            with self._transaction("BEGIN IMMEDIATE", keep) as connection:
                yield connection
        finally:
            self.give_back_turn(holder)

    def give_back_turn(self, owner: object) -> None:
        """Let others write, also where the thread of this writer hangs, its transaction ended."""
        if (turn := self._writers.pop(id(owner), None)) is not None:
            turn.release()

    @contextmanager
    def _transaction(
        self, begin: str | None, keep: bool = True
    ) -> Generator[sqlite3.Connection, None, None]:
        GATE.enter()
        try:
            connection = self._taken()
            step = "work"
            try:
                if begin is not None:
                    connection.execute(begin)
                yield connection
                if begin is not None:
                    step = "COMMIT"
                    connection.execute(step)
                    self._check()
            except BaseException as error:
                connection.close()  # rolls back what was not committed
                if isinstance(error, sqlite3.Error):
                    raise StoreUnavailable(_words(step, error)) from error
                raise
            if not keep or self._closed or len(self._idle) >= IDLE_MAX:
                connection.close()
            else:
                self._idle.append(connection)
                if self._closed:
                    # The pool was closed meanwhile, and had not seen this connection.
                    self.release()
        finally:
            GATE.leave()

    def _taken(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self._check()
        try:
            # The one used last has most of the database in its cache.
            return self._idle.pop()
        except IndexError:
            pass
        try:
            return self._opened()
        except sqlite3.Error as error:
            raise StoreUnavailable(_words("open", error)) from error

    def close(self) -> None:
        """Close every connection, those in use after their transaction."""
        self._closed = True
        self.release()

    def release(self) -> None:
        """Close the idle connections; new ones are opened when needed."""
        while self._idle:
            self._idle.pop().close()


def _words(step: str, error: sqlite3.Error) -> str:
    if step == "COMMIT":
        return f"whether the change took effect is not known: {error}"
    return f"the database did not answer, and nothing was changed: {error}"


# A connection must not be carried into a forked process, where its locks are not known. So idle
# ones are closed before the fork, once no transaction runs. A writer that waited for its turn may
# have held it at the fork, and would never give it back in the child.
_pools: WeakSet[Pool] = WeakSet()


def _before_fork() -> None:
    GATE.before_fork()
    for pool in list(_pools):
        pool.release()


def _in_child() -> None:
    for pool in list(_pools):
        pool.turn = Lock()


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
