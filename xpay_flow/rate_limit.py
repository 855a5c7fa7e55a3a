"""When may this process send its next request to xPay? A rate limiter, shared by its threads."""

from __future__ import annotations

import math
import threading


class RateLimiter:
    """Keeps one process under xPay's rate limit, which counts all requests of the merchant.

    A few requests may go at once, then they are spaced evenly. Threads share one limiter.
    """

    # Small beside any limit that xPay documents (10 per second, or 60 per minute).
    BURST = 5

    def __init__(self, requests_per_minute: int) -> None:
        self._spacing_ms = 60_000 / requests_per_minute
        self._free_at_ms = 0.0
        self._seen_ms = 0
        self._lock = threading.Lock()

    def acquire(self, now_ms: int, patience_s: float = math.inf) -> float:
        """Seconds until the next turn, which this call has taken unless that is too long."""
        with self._lock:
            # A clock that was set back must not make every caller wait until it has caught up.
            self._free_at_ms -= max(0, self._seen_ms - now_ms)
            self._seen_ms = now_ms
            earliest = now_ms - self.BURST * self._spacing_ms
            free_at_ms = max(self._free_at_ms, earliest) + self._spacing_ms
            wait_s = max(0.0, (free_at_ms - now_ms) / 1000)
            if wait_s <= patience_s:
                self._free_at_ms = free_at_ms
            return wait_s
