"""The world as it is: the machine's clock and fresh ids."""

from __future__ import annotations

import asyncio
import secrets
import time


class SystemClock:
    """The machine's clock. Only differences of minutes matter: leases, schedules."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


class AsyncSystemClock:
    """The machine's clock for an event loop."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RandomIds:
    """Ids of 120 random bits, in the characters that an `Idempotency-Key` may have."""

    def new(self, prefix: str) -> str:
        return f"{prefix}_{secrets.token_hex(15)}"
