"""When may this process send its next request to xPay? A rate limiter, shared by its threads.

xPay's own limit decides: its 429 holds all requests up for as long as it requests.
"""

from __future__ import annotations

import math
import threading
from collections import deque


class RateLimiter:
    """Keeps one process under xPay's rate limit, which counts all requests of the merchant.

    At most `requests` are sent within any `window_s` seconds. Customers come first: background
    work takes no turn that a customer waits for, and at most half of those in a window.
    """

    # At a low rate so many customers may still come at once.
    BURST = 5
    # Requests reach xPay a little closer together, or further apart, than they were sent.
    MARGIN = 1.05
    # One 429 of many requests is a matter of milliseconds; again and again, the limit is lower.
    HOLD_S = 0.25
    HOLD_S_MAX = 30.0

    def __init__(self, requests_per_minute: int) -> None:
        self.requests = max(self.BURST, requests_per_minute // 60)
        self.window_s = self.MARGIN * self.requests * 60 / requests_per_minute
        # When the last turns were, the next ones of waiting customers included.
        self._turns_ms: deque[float] = deque(maxlen=self.requests)
        self._background_ms: deque[float] = deque(maxlen=max(1, self.requests // 2))
        # When requests left in fact: a busy process sends some later than their turn was.
        self._left_ms: deque[float] = deque(maxlen=self.requests)
        self._held_until_ms = -math.inf
        self._hold_s = self.HOLD_S
        self._seen_ms = 0
        self._lock = threading.Lock()

    def acquire(
        self, now_ms: int, patience_s: float = math.inf, *, background: bool = False
    ) -> float:
        """Seconds until the next turn, which this call has taken unless that is too long.

        Args:
            patience_s: how long this call would wait.
            background: no customer waits for this request. Its turn is now, or not taken.
        """
        with self._lock:
            self._follow(now_ms)
            turn_ms = self._next_ms(self._turns_ms, now_ms)
            if background:
                turn_ms = max(turn_ms, self._next_ms(self._background_ms, now_ms))
            wait_s = (turn_ms - now_ms) / 1000
            if wait_s <= (0.0 if background else patience_s):
                self._turns_ms.append(turn_ms)
                if background:
                    self._background_ms.append(turn_ms)
            return wait_s

    def leave(self, now_ms: int) -> float:
        """Seconds until a request whose turn has come may leave; 0 has it leave now."""
        with self._lock:
            self._follow(now_ms)
            wait_s = (self._next_ms(self._left_ms, now_ms) - now_ms) / 1000
            if wait_s <= 0:
                self._left_ms.append(now_ms)
            return wait_s

    def hold(self, now_ms: int, seconds: float | None) -> None:
        """xPay has answered 429: nothing is sent for so many seconds.

        Args:
            seconds: what xPay requested; without that, longer each time that it refuses again.
        """
        with self._lock:
            self._follow(now_ms)
            if seconds is None:
                went_well = now_ms - self._held_until_ms > 2000 * self.window_s
                again_s = min(2 * self._hold_s, self.HOLD_S_MAX)
                seconds = self._hold_s = self.HOLD_S if went_well else again_s
            self._held_until_ms = max(self._held_until_ms, now_ms + seconds * 1000)

    def _next_ms(self, turns_ms: deque[float], now_ms: int) -> float:
        is_free = len(turns_ms) < (turns_ms.maxlen or 0)
        earliest_ms = -math.inf if is_free else turns_ms[0] + self.window_s * 1000
        last_ms = turns_ms[-1] if turns_ms else -math.inf
        return max(now_ms, self._held_until_ms, earliest_ms, last_ms)

    def _follow(self, now_ms: int) -> None:
        """A clock that was set back must not make every caller wait until it has caught up."""
        back_ms = self._seen_ms - now_ms
        if back_ms > 0:
            for turns_ms in (self._turns_ms, self._background_ms, self._left_ms):
                moved = [turn_ms - back_ms for turn_ms in turns_ms]
                turns_ms.clear()
                turns_ms.extend(moved)
            self._held_until_ms -= back_ms
        self._seen_ms = now_ms
