"""Has the merchant's account called too often?"""

from __future__ import annotations

from collections import deque

from .config import RateLimit


class RateLimiter:
    """Counts the calls of the last `per_s` seconds; a refused call does not count."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._limit = limit
        self._calls_ms: deque[int] = deque()

    def allows(self, now_ms: int) -> bool:
        if self._limit is None:
            return True
        oldest_ms = now_ms - self._limit.per_s * 1000
        while self._calls_ms and self._calls_ms[0] <= oldest_ms:
            self._calls_ms.popleft()
        if len(self._calls_ms) >= self._limit.requests:
            return False
        self._calls_ms.append(now_ms)
        return True
