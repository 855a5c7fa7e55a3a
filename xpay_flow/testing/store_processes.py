"""What do several processes do to one store, all at the same moment?"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Barrier
from typing import Any, Final, Generic, TypeVar

from xpay_flow.events import Event
from xpay_flow.ports import Store
from xpay_flow.records import Change

from .limits import TOGETHER_S
from .store_steps import add

T = TypeVar("T")

# A new interpreter imports everything before it comes to the first barrier.
BEGINS_S: Final = 60.0
# One that was killed is gone at once.
GONE_S: Final = 10.0

Opener = Callable[[], Store]
Act = Callable[[Opener, T], list[bool]]


class _Meeting:
    """Where the processes of one duty wait for each other."""

    barrier: Barrier


class _Process(Generic[T]):
    """A process of its own, and what it reports."""

    def __init__(
        self, spawn: SpawnContext, barrier: Barrier, act: Act[T], opener: Opener, work: T
    ) -> None:
        self._reports, theirs = spawn.Pipe(duplex=False)
        self._process = spawn.Process(
            target=_report, args=(theirs, barrier, act, opener, work), daemon=True
        )
        self._process.start()
        theirs.close()

    def answer(self, ends: float) -> list[bool]:
        if not self._reports.poll(max(ends - time.monotonic(), 0.0)):
            raise AssertionError(
                f"a process that uses the store has not ended within {2 * BEGINS_S:.0f} s; it may "
                "wait for a lock of the other one"
            )
        try:
            answer, error = self._reports.recv()
        except EOFError:
            raise AssertionError("a process that uses the store died without a report") from None
        assert error is None, f"a process that uses the store failed:\n{error}"
        report: list[bool] = answer
        return report

    def end(self) -> None:
        self._process.kill()
        self._process.join(GONE_S)
        self._reports.close()


def in_processes(act: Act[T], opener: Opener, works: Sequence[T]) -> list[list[bool]]:
    """The reports of `act(opener, work)`, in a process for each of the works; all begin together.

    Raises:
        AssertionError: one of them failed, died or has not come back in time.
    """
    # Not forked: the children of a process with threads or connections are not new processes.
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(works))
    running = [_Process(spawn, barrier, act, opener, work) for work in works]
    ends = time.monotonic() + 2 * BEGINS_S
    try:
        return [process.answer(ends) for process in running]
    finally:
        for process in running:
            process.end()


def _report(
    reports: Connection, barrier: Barrier, act: Act[Any], opener: Opener, work: Any
) -> None:
    _Meeting.barrier = barrier
    try:
        reports.send((act(opener, work), None))
    except Exception:
        reports.send((None, traceback.format_exc()))


def commit_each(opener: Opener, steps: Sequence[Change]) -> list[bool]:
    """Commit these, each at the same moment as the others theirs."""
    store = opener()
    _Meeting.barrier.wait(BEGINS_S)
    return [_commit_together(store, step) for step in steps]


def add_each(opener: Opener, work: tuple[str, Sequence[Event]]) -> list[bool]:
    """Add each of the events to the record, as often as it takes."""
    key, events = work
    store = opener()
    _Meeting.barrier.wait(BEGINS_S)
    for event in events:
        add(store, key, event)
    return [True]


def _commit_together(store: Store, step: Change) -> bool:
    _Meeting.barrier.wait(TOGETHER_S)
    return store.commit(step)
