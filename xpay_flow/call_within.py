"""How does a blocking call that may hang get a time limit? In a thread that is left behind.

Neither a name look-up nor an answer that comes byte by byte can be stopped from outside.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Far above what xPay's rate limit lets through at once; more would all hang on the same network.
HANGING_MAX: Final = 64


class TooManyCalls(Exception):
    """So many calls hang that no more are begun."""


class _Call(Generic[T]):
    """One call in a thread of its own, with the context of its caller."""

    def __init__(self, call: Callable[[], T], free: threading.BoundedSemaphore) -> None:
        self._call, self._free = call, free
        self._context = contextvars.copy_context()
        self.ended = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._context.run(self._call)
        except BaseException as error:
            self.error = error
        finally:
            self._free.release()
            self.ended.set()


_free: Final = threading.BoundedSemaphore(HANGING_MAX)


def call_within(timeout_s: float, call: Callable[[], T]) -> T:
    """What `call` returns, or raises.

    Raises:
        TimeoutError: it has not ended in time; its thread goes on, and its result is lost.
        TooManyCalls: see `HANGING_MAX`.
    """
    free = _free
    if not free.acquire(blocking=False):
        raise TooManyCalls(f"{HANGING_MAX} calls hang")
    under_way = _Call(call, free)
    try:
        threading.Thread(target=under_way.run, name="xpay-flow call", daemon=True).start()
    except BaseException:
        free.release()
        raise
    if not under_way.ended.wait(timeout_s):
        raise TimeoutError(f"no end after {timeout_s:g} s")
    if under_way.error is not None:
        raise under_way.error
    return under_way.result  # type: ignore[return-value]  # None only where T is
