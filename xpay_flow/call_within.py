"""How does a blocking call that may hang get a time limit? In a thread that is left behind.

Neither a name look-up nor an answer that comes byte by byte can be stopped from outside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from .call_threads import Call

T = TypeVar("T")

# Far above what xPay's rate limit lets through at once; more would all hang on the same network.
HANGING_MAX: Final = 64


class TooManyCalls(Exception):
    """So many calls hang that no more are begun."""


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

    def within() -> T:
        try:
            return call()
        finally:
            free.release()

    under_way = Call()
    try:
        under_way.begin(within)
    except BaseException:
        free.release()
        raise
    if not under_way.wait(timeout_s):
        raise TimeoutError(f"no end after {timeout_s:g} s")
    result: T = under_way.result()
    return result
