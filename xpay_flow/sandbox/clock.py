"""What time is it at xPay? The machine's time, or a time that a test moves by hand."""

from __future__ import annotations

import time
from typing import Protocol

# 2026-01-05T09:30:00Z: any fixed moment will do, and this one reads well in a log.
VIRTUAL_START_MS = 1_767_605_400_000


class Clock(Protocol):
    """Milliseconds since 1970, UTC."""

    def now_ms(self) -> int: ...


class SystemClock:
    """The machine's wall clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class VirtualClock:
    """A clock that stands still until `advance` is called."""

    def __init__(self, now_ms: int = VIRTUAL_START_MS) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, seconds: float) -> int:
        """Goes on by `seconds` (zero or more) and returns the new time in milliseconds."""
        if not seconds >= 0:  # also refuses NaN
            raise ValueError("a clock never goes back")
        self._now_ms += round(seconds * 1000)
        return self._now_ms
