"""How does xPay send? Again and again until it is told 200, and it writes down what it was told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Final

import httpx

from xpay_flow import messages
from xpay_flow.sandbox.signer import hmac_signature

from .evidence import Appended
from .plan import Event, Plan
from .shop import SETTINGS

# "2 s to connect and 2 s to read".
TIMEOUT_S: Final = 2.0
AT_ONCE: Final = 24
# Real retries are minutes apart; a run has minutes in all.
FIRST_PAUSE_S: Final = 0.05
LAST_PAUSE_S: Final = 0.8
TRY_AGAIN: Final = frozenset({500, 502, 503})


class Sender:
    """Sends a plan to some ports of this machine, evenly over `seconds`.

    `acknowledged` counts the deliveries that need no further try, `tries` what each try met.
    """

    def __init__(self, plan: Plan, ports: list[int], seconds: float, log: Path) -> None:
        self.acknowledged = 0
        self.tries: Counter[str] = Counter()
        self._plan, self._ports = plan, ports
        self._spacing_s = seconds / len(plan.deliveries)
        self._log = Appended(log, durable=True)
        # Which process is asked need not be repeatable: the kills are not, either.
        self._chance = random.Random()

    async def wait_for_all_ports(self) -> None:
        """Come back when somebody listens on each of them."""
        for port in self._ports:
            while not await _listens(port):
                await asyncio.sleep(FIRST_PAUSE_S)

    async def send_all(self) -> None:
        """Come back when each delivery has its answer. Cancel it to end sooner."""
        places = asyncio.Semaphore(AT_ONCE)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        limits = httpx.Limits(max_connections=AT_ONCE)
        client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, limits=limits)
        async with client, asyncio.TaskGroup() as tasks:
            for number, event in enumerate(self._plan.deliveries):
                await asyncio.sleep(max(0, begin + number * self._spacing_s - loop.time()))
                await places.acquire()
                task = tasks.create_task(self._send(client, number, event))
                task.add_done_callback(lambda _: places.release())

    async def _send(self, client: httpx.AsyncClient, number: int, event: Event) -> None:
        body = event.body()
        signature = hmac_signature(SETTINGS.webhook_secrets[0], body)
        headers = {messages.HMAC_HEADER: signature, "content-type": "application/json"}
        pause_s = FIRST_PAUSE_S
        while (status := await self._status(client, headers, body)) in TRY_AGAIN:
            await asyncio.sleep(pause_s * (1 + self._chance.random()))
            pause_s = min(2 * pause_s, LAST_PAUSE_S)
        self._log.add({"number": number, "event": event.id, "status": status})
        self.acknowledged += 1

    async def _status(self, client: httpx.AsyncClient, headers: dict[str, str], body: bytes) -> int:
        port = self._chance.choice(self._ports)
        url = f"http://127.0.0.1:{port}/webhook"
        try:
            status = (await client.post(url, content=body, headers=headers)).status_code
        except httpx.HTTPError as error:
            self.tries[type(error).__name__] += 1
            return 503
        self.tries[str(status)] += 1
        return status

    def close(self) -> None:
        self._log.close()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
