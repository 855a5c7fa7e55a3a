"""How does a client reach the shop? By any of its processes; each outcome is counted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, TypeVar

import httpx

T = TypeVar("T")

# Real retries are seconds or minutes apart; a run has minutes in all.
FIRST_PAUSE_S: Final = 0.05
LAST_PAUSE_S: Final = 0.8


class Line:
    """Requests to some ports of this machine; an answer that is lost is a fact like any other.

    Args:
        at_once: how many requests may be on their way.
        timeout_s: after how long the client gives up.

    `tries` counts what each try met.
    """

    def __init__(self, ports: Sequence[int], at_once: int, timeout_s: float) -> None:
        self.tries: Counter[str] = Counter()
        self._ports = ports
        self._places = asyncio.Semaphore(at_once)
        limits = httpx.Limits(max_connections=at_once)
        self._client = httpx.AsyncClient(timeout=timeout_s, trust_env=False, limits=limits)
        # Which process gets the request need not be repeatable: the kills are not, either.
        self._chance = random.Random()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def post(self, path: str, **what: Any) -> httpx.Response | None:
        """One try at one of the ports; None where no answer came."""
        url = f"http://127.0.0.1:{self._chance.choice(self._ports)}{path}"
        async with self._places:
            try:
                response = await self._client.post(url, **what)
            except httpx.HTTPError as error:
                self.tries[type(error).__name__] += 1
                return None
        self.tries[str(response.status_code)] += 1
        return response

    async def pauses(self) -> AsyncGenerator[None]:
        """Go on at once, then after a pause, then after a longer one, and so on without an end."""
        pause_s = FIRST_PAUSE_S
        while True:
            yield
            await asyncio.sleep(pause_s * (1 + self._chance.random()))
            pause_s = min(2 * pause_s, LAST_PAUSE_S)


async def evenly(items: Sequence[T], seconds: float) -> AsyncGenerator[T]:
    """Each of them at its time, so that all are spread evenly over `seconds`."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number, item in enumerate(items):
        await asyncio.sleep(max(0, begin + number * seconds / len(items) - loop.time()))
        yield item


async def until_they_listen(ports: Sequence[int]) -> None:
    """Return once there is a listener on each of them."""
    for port in ports:
        while not await _listens(port):
            await asyncio.sleep(FIRST_PAUSE_S)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
