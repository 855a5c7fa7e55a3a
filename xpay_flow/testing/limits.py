"""How does a duty end when the store does not come back? With an error that shows where it stands.

What hangs is left behind in a daemon thread, or killed with its process.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Threads that wait for each other longer than this wait for ever, also on a busy machine.
TOGETHER_S: Final = 30.0
# A duty that cuts a store at each of its driver calls takes some seconds on a quiet machine.
DUTY_S: Final = 120.0


def within_s(limit_s: float, *calls: Callable[[], T], what: str = "the store") -> list[T]:
    """The answers of these calls, which run at the same time, each in a thread of its own.

    Args:
        what: is waited for, in the words of the error.

    Raises:
        AssertionError: one of them did not come back within the limit. What a call has raised is
            raised as it is.
    """
    running = [_Running(call) for call in calls]
    ends = time.monotonic() + limit_s
    for one in running:
        if not one.has_ended(ends - time.monotonic()):
            raise AssertionError(
                f"{what} did not come back within {limit_s:.0f} s; it may wait for a lock that "
                f"another holds, and stands here:\n{one.stack()}"
            )
    return [one.answer() for one in running]


class _Running(Generic[T]):
    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._answers: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answers.append(self._call())
        except BaseException as error:  # whatever it is, it is raised where it is waited for
            self._error = error

    def has_ended(self, seconds: float) -> bool:
        self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    def stack(self) -> str:
        # While Python lists the frames no thread can end: a finaliser that waits for one, run by
        # the collector at this moment, would wait in vain.
        was_on = gc.isenabled()
        gc.disable()
        try:
            frame = sys._current_frames().get(self._thread.ident or 0)  # pyright: ignore[reportPrivateUsage]
        finally:
            if was_on:
                gc.enable()
        return "".join(traceback.format_stack(frame)) if frame else "(it has just ended)"

    def answer(self) -> T:
        if self._error is not None:
            raise self._error
        return self._answers[0]
