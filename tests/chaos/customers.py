"""What do customers do? They press Pay until the shop has sent them to a page of xPay, and pay."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Final

from .evidence import Appended
from .line import Line, evenly
from .plan import Customer, Plan, order
from .xpay import XPay

TIMEOUT_S: Final = 5.0
AT_ONCE: Final = 12
SENT_ON: Final = 303


class Customers:
    """The customers of a plan, who come evenly over `seconds`.

    `sent_on` counts those who have been sent to a page, `tries` what each click met.
    """

    def __init__(self, plan: Plan, ports: list[int], seconds: float, log: Path, xpay: XPay) -> None:
        self.sent_on = 0
        self.tries: Counter[str] = Counter()
        self._plan, self._ports, self._seconds = plan, ports, seconds
        self._log = Appended(log, durable=True)
        self._xpay = xpay
        self._is_sent_on = [asyncio.Event() for _ in range(plan.intents)]

    async def sent_to_a_page(self, number: int) -> None:
        """Come back when the customer of this order has been."""
        await self._is_sent_on[number].wait()

    async def all_pay(self) -> None:
        """Come back when each has been sent on or has left. Cancel it to end sooner."""
        line = Line(self._ports, AT_ONCE, TIMEOUT_S)
        async with aclosing(line), asyncio.TaskGroup() as tasks:
            self.tries = line.tries
            async for customer in evenly(self._plan.customers, self._seconds):
                tasks.create_task(self._pay(line, customer))

    async def _pay(self, line: Line, customer: Customer) -> None:
        is_sent_on = self._is_sent_on[customer.number]
        async for _ in line.pauses():
            clicks = (self._click(line, customer) for _ in range(customer.clicks))
            await asyncio.gather(*clicks)
            if is_sent_on.is_set() or not customer.stays:
                return

    async def _click(self, line: Line, customer: Customer) -> None:
        response = await line.post(f"/pay/{order(customer.number)}")
        if response is None or response.status_code != SENT_ON:
            return
        page = response.headers["location"]
        self._log.add({"order": order(customer.number), "page": page})
        # Who was sent to two pages pays at both.
        self._xpay.visit(page, customer.story)
        self.sent_on += not self._is_sent_on[customer.number].is_set()
        self._is_sent_on[customer.number].set()

    def close(self) -> None:
        self._log.close()
