"""How does exactly one of several threads go on? Each waits at its statements for permission.

A thread is *parked* (at a statement, before a method call, or at a lock that another one holds),
*running*, or *done*. A running one that stands still waits for another, inside its driver or
at a lock that we cannot see. How that is known, without a guess about how long things take:

* SQLite never waits: its busy timeout is set to 0 before each statement, so that a held lock is an
  error at once. That a wait ends well is covered by the schedules in which the other goes first.
* A lock taken by `lock.acquire()` is seen before the call; the thread is parked until it is free.
* Otherwise (`with lock:`, a database server) the thread counts as waiting when it was looked at
  `LOOKS` times, `LOOK_S` apart, always stood at the very same instruction, was asleep by what the
  kernel shows (`/proc`; where there is none, many more looks are taken), and PostgreSQL or MariaDB,
  queried by another connection, does not report that its statement waits for no lock. Without
  such a query, a slow answer may be taken for a lock. Then two threads run at once for a moment,
  which is a real execution too and never makes a false story. Where it keeps a run from going as
  it should, that is done again with more patience (`Room.looks`); where that does not help, the
  search is UNFINISHED.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Literal

import attrs

from xpay_flow.errors import ConfigurationError
from xpay_flow.ports import Store

from .awaited import leave
from .gate import Died, Watch
from .lookup import Table
from .statements import Statement

LOOK_S: Final = 0.002
_TASKS: Final = Path("/proc/self/task")
LOOKS: Final = 10 if _TASKS.is_dir() else 50
# Longer than a store's own patience (10 s): one that still stands, when no other can go, is stuck.
STUCK_LOOKS: Final = 5_000
# A call that is busy for so many looks, over a minute, without a statement or a lock, is a loop.
BUSY_LOOKS: Final = 30_000

# go on; die here; the statement fails; it is applied and reports a failure.
Act = Literal["go", "die", "refuse", "spoil"]
State = Literal["parked", "running", "done"]


@attrs.frozen
class Begin:
    """Parked before a method call."""

    number: int


@attrs.frozen
class Waiting:
    """Parked at a lock that another thread holds."""

    is_free: Callable[[], bool] = attrs.field(repr=False)


Point = Begin | Waiting | Statement


class Room:
    """What the threads of one run share: signals for the scheduler, and a clock that only counts.

    Args:
        goes_on: whether a lifeline that arrives at a point goes on at once. Called on its thread,
            which saves two changes of threads at most of the points.
        looks: at a thread that stands still, before it counts as waiting for another.
    """

    def __init__(
        self, table: Table, goes_on: Callable[[Steered, Point], bool], looks: int = LOOKS
    ) -> None:
        self.table, self.goes_on, self.looks = table, goes_on, looks
        self.signals: SimpleQueue[None] = SimpleQueue()
        self._ticks = 0

    def tick(self) -> int:
        self._ticks += 1
        return self._ticks


class Steered:
    """One thread with a store of its own, which waits for permission at every statement.

    Args:
        opened: gives the store, on this thread.
    """

    def __init__(self, room: Room, opened: Callable[[], Store]) -> None:
        self._room, self._opened = room, opened
        # A queue and not a lock, which our own hook would stop at.
        self._go: SimpleQueue[Act] = SimpleQueue()
        self._spoil = False
        self._steered = False
        self._watch = Watch(room.table, self)
        self._thread = threading.Thread(target=self._main, daemon=True)
        self.dead = False
        self.state: State = "running"
        self.at: Point | None = None
        self.failed = False
        self.broken: Exception | None = None

    # --- for the scheduler -----------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def release(self, act: Act) -> None:
        """Let it go to its next point."""
        self.state = "running"
        self._go.put(act)

    def stance(self) -> tuple[int, int] | None:
        """Where it stands asleep, the same twice if it has not moved; None while it is busy."""
        if not _is_asleep(self._thread.native_id):
            return None
        frame = sys._current_frames().get(self._thread.ident or 0)  # pyright: ignore[reportPrivateUsage]
        return None if frame is None else (id(frame), frame.f_lasti)

    def leave(self) -> bool:
        """End the thread and its connections, without a commit; False if it cannot end."""
        self.dead = True
        self._go.put("die")
        self._thread.join(LOOK_S * STUCK_LOOKS)
        return not self._thread.is_alive()

    def waits(self) -> bool | None:
        """Whether its database reports that it waits for a lock; None is not known."""
        statement = self._watch.inside
        return None if statement is None else self._room.table.waits(statement)

    # --- on its own thread -----------------------------------------------------------------------

    def _main(self) -> None:
        store: Store | None = None
        try:
            store = self._opened()
            with self._watch.on_this_thread():
                self._work(store)
        except Died:
            pass
        except Exception as error:
            self.broken = error
        finally:
            self._watch.drop()
            leave(store)
            self.dead, self.state = True, "done"
            self._room.signals.put(None)

    def _work(self, store: Store) -> None:
        """What it does with its store, until it has to die."""
        raise NotImplementedError

    def arrived(self, statement: Statement) -> None:
        if not self._steered:
            return
        act = self._park(statement)
        if act == "refuse":
            raise statement.driver.error()
        self._spoil = act == "spoil"

    def passed(self, statement: Statement, failed: bool) -> None:
        self.failed = failed
        if self._spoil:
            self._spoil = False
            raise statement.driver.error()

    def wants(self, is_free: Callable[[], bool]) -> None:
        if self._steered:
            self._park(Waiting(is_free))

    def _park(self, at: Point) -> Act:
        if not self.dead and self._room.goes_on(self, at):
            return "go"
        self.at = at
        act = self._wait("parked")
        self.at, self.failed = None, False
        if act == "die" or self.dead:
            self.dead = True
            self._watch.drop()
            raise Died
        return act

    def _wait(self, state: State) -> Act:
        self.state = state
        self._room.signals.put(None)
        return self._go.get()


def settle(room: Room, lifelines: Sequence[Steered], looks_max: int = 0) -> bool:
    """Wait until each thread is parked, done or stands still. True if none stands still.

    Raises:
        ConfigurationError: a call of the store loops, and never comes to a statement.
    """
    looks, before = 0, None
    busy = 0
    while any(line.state == "running" for line in lifelines):
        busy += 1
        if busy > BUSY_LOOKS:
            raise ConfigurationError(
                f"a call of the store has run for {LOOK_S * BUSY_LOOKS:.0f} s, without an end and "
                "without a statement of a driver that is known: it loops, or it waits for "
                "something in a loop"
            )
        try:
            room.signals.get(timeout=LOOK_S)
            looks = busy = 0
            continue
        except Empty:
            pass
        running = [line for line in lifelines if line.state == "running"]
        now = [line.stance() for line in running]
        looks = looks + 1 if now == before and None not in now else 0
        before = now
        if looks and _wait(room, running, looks, looks_max):
            return False
    return True


def _wait(room: Room, running: Sequence[Steered], looks: int, looks_max: int) -> bool:
    """Whether threads that have stood still for so many looks count as waiting."""
    if looks_max or looks >= STUCK_LOOKS:
        return looks >= looks_max
    # A server may report it a moment too late, so it is not believed at once.
    return looks >= room.looks and all(line.waits() is not False for line in running)


def _is_asleep(native_id: int | None) -> bool:
    """Whether a thread waits for something, as far as the system shows; if it does not, yes."""
    try:
        stat = (_TASKS / str(native_id) / "stat").read_text()
    except OSError:
        return True
    # The name of the thread stands in brackets, and may hold anything.
    return stat.rpartition(")")[2].split()[0] == "S"
