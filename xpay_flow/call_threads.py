"""In which thread does a handler run, so that one that hangs is left and holds up nothing else?

In a daemon thread that is not the caller's: no thread can be stopped from outside, and one that
the interpreter waits for at its end would keep the process alive. An idle thread serves the next
call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Final

# An idle thread ends after this; by then a rush is over.
IDLE_S: Final = 2.0


class Call:
    """One call in a thread of its own: in progress, ending, or ended.

    It may be abandoned as long as it is in progress. A call that is ending, since `may_end` has
    answered true, does what cannot be taken back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._is_abandoned = self._is_ending = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._on_end: list[Callable[[], object]] = []

    def begin(self, function: Callable[[], Any]) -> Call:
        """Call it in a thread of its own, within a copy of the caller's context."""
        context = copy_context()
        _hand_over(lambda: context.run(self._run, function))
        return self

    def wait(self, timeout_s: float | None) -> bool:
        """Whether it has ended within this time."""
        return self._ended.wait(timeout_s)

    def result(self) -> Any:
        """What an ended call has returned; raises what it has raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def abandon(self) -> bool:
        """From now on it may not end as a success; False if it is too late to say so."""
        with self._lock:
            if self._is_ending or self._ended.is_set():
                return False
            self._is_abandoned = True
            return True

    @property
    def is_abandoned(self) -> bool:
        return self._is_abandoned

    def may_end(self) -> bool:
        """Whether it may still end as a success; then it can be abandoned no more."""
        with self._lock:
            self._is_ending = not self._is_abandoned
            return self._is_ending

    def when_ended(self, act: Callable[[], object]) -> None:
        """Have `act` called when the call has ended, in its thread; or now, if it has."""
        with self._lock:
            if not self._ended.is_set():
                self._on_end.append(act)
                return
        act()

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self._result = function()
        except BaseException as error:
            self._error = error
        with self._lock:
            self._ended.set()
        for act in self._on_end:
            act()


class _Idle:
    """The threads of this process that have nothing to do."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queues: list[SimpleQueue[Callable[[], None]]] = []


_idle = _Idle()


def _hand_over(run: Callable[[], None]) -> None:
    with _idle.lock:
        queue = _idle.queues.pop() if _idle.queues else None
    if queue is None:
        queue = SimpleQueue[Callable[[], None]]()
        thread = threading.Thread(
            target=_serve, args=(queue,), name="xpay-flow handler", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            # Since Python 3.12 a program that ends begins no thread. What it does last holds up
            # nothing else, so the call is made here, without a time limit.
            run()
            return
    queue.put(run)


def _serve(queue: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        try:
            run = queue.get(timeout=IDLE_S)
        except Empty:
            with _idle.lock:
                if queue in _idle.queues:
                    _idle.queues.remove(queue)
                    return
            # A call is just being handed over.
            continue
        run()
        del run
        with _idle.lock:
            _idle.queues.append(queue)


def _in_child() -> None:
    """A forked process has none of these threads."""
    global _idle
    _idle = _Idle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
