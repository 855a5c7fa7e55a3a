"""What do several processes do to one store, all at the same moment?"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Final, TypeVar

from xpay_flow.events import Event
from xpay_flow.ports import Store
from xpay_flow.records import Change

from .store_steps import TOGETHER_S, add

T = TypeVar("T")

# A new interpreter imports everything before it comes to the first barrier.
BEGINS_S: Final = 60.0

Opener = Callable[[], Store]


class _Meeting:
    """Where the processes of one duty wait for each other."""

    barrier: Barrier


def in_processes(
    act: Callable[[Opener, T], list[bool]], opener: Opener, works: Sequence[T]
) -> list[list[bool]]:
    """What `act(opener, work)` says in a process for each of the works; all begin together."""
    # Not forked: the children of a process with threads or connections are not new processes.
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(works))
    with ProcessPoolExecutor(
        len(works), mp_context=spawn, initializer=_join, initargs=(barrier,)
    ) as pool:
        running = [pool.submit(act, opener, work) for work in works]
        return [future.result(2 * BEGINS_S) for future in running]


def commit_each(opener: Opener, steps: Sequence[Change]) -> list[bool]:
    """Commit these, each at the same moment as the others theirs."""
    store = opener()
    _Meeting.barrier.wait(BEGINS_S)
    return [_commit_together(store, step) for step in steps]


def add_each(opener: Opener, work: tuple[str, Sequence[Event]]) -> list[bool]:
    """Add each of the news to the record, as often as it takes."""
    key, events = work
    store = opener()
    _Meeting.barrier.wait(BEGINS_S)
    for event in events:
        add(store, key, event)
    return [True]


def _join(barrier: Barrier) -> None:
    _Meeting.barrier = barrier


def _commit_together(store: Store, step: Change) -> bool:
    _Meeting.barrier.wait(TOGETHER_S)
    return store.commit(step)
