"""How does xPay send? Again and again until it gets a 200; it records each answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Final

from xpay_flow import messages
from xpay_flow.sandbox.ledger import Intent
from xpay_flow.sandbox.signer import hmac_signature

from .customers import Customers
from .evidence import Appended
from .line import FIRST_PAUSE_S, Line, evenly
from .plan import MADE, Event, Plan
from .shop import SETTINGS, WEBHOOK_PATH
from .xpay import XPay

# "2 s to connect and 2 s to read".
TIMEOUT_S: Final = 2.0
AT_ONCE: Final = 24
TRY_AGAIN: Final = frozenset({500, 502, 503})


class Sender:
    """Sends a plan to some ports of this machine, evenly over `seconds`.

    `acknowledged` counts the deliveries that need no further try, `tries` what each try met.
    """

    def __init__(
        self,
        plan: Plan,
        ports: list[int],
        seconds: float,
        log: Path,
        customers: Customers,
        xpay: XPay,
    ) -> None:
        self.acknowledged = 0
        self.tries: Counter[str] = Counter()
        self._plan, self._ports, self._seconds = plan, ports, seconds
        self._log = Appended(log, durable=True)
        self._customers, self._xpay = customers, xpay

    async def send_all(self) -> None:
        """Come back when each delivery has its answer. Cancel it to end sooner."""
        line = Line(self._ports, AT_ONCE, TIMEOUT_S)
        async with aclosing(line), asyncio.TaskGroup() as tasks:
            self.tries = line.tries
            numbered = list(enumerate(self._plan.deliveries))
            async for number, event in evenly(numbered, self._seconds):
                tasks.create_task(self._send(line, number, event))

    async def _send(self, line: Line, number: int, event: Event) -> None:
        body = event.body(await self._payment(event))
        signature = hmac_signature(SETTINGS.webhook_secrets[0], body)
        headers = {messages.HMAC_HEADER: signature, "content-type": "application/json"}
        async for _ in line.pauses():
            response = await line.post(WEBHOOK_PATH, content=body, headers=headers)
            if response is not None and response.status_code not in TRY_AGAIN:
                self._log.add({"number": number, "event": event.id, "status": response.status_code})
                self.acknowledged += 1
                return

    async def _payment(self, event: Event) -> Intent:
        """The payment, once it is known: xPay's event may be faster than its own answer."""
        if event.word != MADE:
            await self._customers.sent_to_a_page(event.number)
        while (payment := self._xpay.payment_for(event.order)) is None:
            await asyncio.sleep(FIRST_PAUSE_S)
        return payment

    def close(self) -> None:
        self._log.close()
