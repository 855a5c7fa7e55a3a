"""May this process be forked now? Not while it uses an SQLite file, of which the child would know.

SQLite keeps in memory which locks the process has on a file. A child begins with a copy of that
memory, but without the locks: where a transaction is under way in another thread, or a connection
is open, it would read and write without locks, and the file could be destroyed. So a fork waits for
the transactions that run, none begins meanwhile, and idle connections are closed before it.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Final

from xpay_flow.errors import StoreUnavailable

# How long a fork waits for transactions, and a transaction for a fork.
FORK_WAIT_S: Final = 2.0
USE_WAIT_S: Final = 0.7

_CARRIED: Final = (
    "this process was forked in the middle of a transaction, and cannot use an SQLite file safely;"
    " fork before the flow is used, or start the process anew (spawn)"
)


class ForkGate:
    """Counts the uses of SQLite files in this process, and keeps them apart from its forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._uses = 0
        self._forking: set[int] = set()
        self._is_carried = False

    def enter(self) -> None:
        """A use begins; `leave` ends it. Raises StoreUnavailable, and then it has not begun."""
        with self._changed:
            if self._is_carried:
                raise StoreUnavailable(_CARRIED)
            if self._forking and not self._changed.wait_for(lambda: not self._forking, USE_WAIT_S):
                raise StoreUnavailable(f"the process was being forked for {USE_WAIT_S} s")
            self._uses += 1

    def leave(self) -> None:
        with self._changed:
            self._uses -= 1
            if self._forking:
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Let no use begin until the fork is over, and wait for those that run."""
        with self._changed:
            self._forking.add(threading.get_ident())
            self._changed.wait_for(lambda: not self._uses, FORK_WAIT_S)

    def in_parent(self) -> None:
        with self._changed:
            self._forking.discard(threading.get_ident())
            self._changed.notify_all()

    def in_child(self) -> None:
        # Threads that waited, or held the condition's lock, are not carried into the child.
        self._changed = threading.Condition()
        self._is_carried = self._is_carried or self._uses > 0
        self._uses = 0
        self._forking = set()


GATE: Final = ForkGate()

if sys.platform != "win32":
    os.register_at_fork(after_in_parent=GATE.in_parent, after_in_child=GATE.in_child)
