"""How does an operator hear of refused webhooks, when strangers can send any number of them?

One warning for each reason and minute, with how many there were. The reasons are words of ours, so
nothing of a stranger's reaches the log.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Final

import attrs

log = logging.getLogger("xpay_flow.webhooks")

# A wrong key refuses every webhook, and must be seen soon; a flood must not fill the disk.
QUIET_MS: Final = 60_000


@attrs.define
class RefusalLog:
    """Warns of refused webhooks. Threads may share one."""

    _warned_at_ms: dict[str, int] = attrs.Factory(dict[str, int])
    _silent: Counter[str] = attrs.Factory(Counter[str])
    _lock: threading.Lock = attrs.Factory(threading.Lock)

    def add(self, reason: str, now_ms: int) -> None:
        """One more refusal. The first is logged at once, and those of a minute with the next."""
        with self._lock:
            warned_at_ms = self._warned_at_ms.get(reason)
            # A clock that was set back is no reason to be silent for longer.
            if warned_at_ms is not None and 0 <= now_ms - warned_at_ms < QUIET_MS:
                self._silent[reason] += 1
                return
            self._warned_at_ms[reason] = now_ms
            silent = self._silent.pop(reason, 0)
        since = f" ({silent} more since the last such line)" if silent else ""
        log.warning("a webhook was refused: %s%s", reason, since)
