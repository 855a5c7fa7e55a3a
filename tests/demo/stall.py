"""The demo's shop without sockets: a client and a local xPay in memory, and time stands still."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import httpx

from xpay_flow import AsyncFlow, Settings
from xpay_flow.demo.orders import Orders
from xpay_flow.demo.serve import RETRY_SCHEDULE_S
from xpay_flow.demo.shop import Handlers, create_app
from xpay_flow.demo.trouble import Trouble
from xpay_flow.sandbox import Delivery, Sandbox, SandboxConfig, VirtualClock
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import AsyncManualClock, AsyncSandboxTransport

SHOP, XPAY = "http://127.0.0.1:8000", "http://127.0.0.1:4010"

T = TypeVar("T")


@attrs.define(kw_only=True)
class Stall:
    """A shop with a customer in front of it. `run` waits for a coroutine of the shop's loop."""

    runner: asyncio.Runner
    client: httpx.AsyncClient
    flow: AsyncFlow
    orders: Orders
    trouble: Trouble
    xpay: Sandbox
    clock: VirtualClock

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def ask(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.run(self.client.get(path, headers=headers))

    def get(self, path: str, status: int = 200) -> str:
        """A page, which must be answered with `status`."""
        response = self.ask(path)
        assert status == response.status_code
        return response.text

    def post(
        self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return self.run(self.client.post(path, data=dict(fields), headers=headers))

    def order_ids(self) -> list[str]:
        """The order ids that the page of mugs offers, one for each mug."""
        return re.findall(r'name="order" value="([^"]+)"', self.get("/"))

    def buy(self, kind: str = "harbour") -> str:
        """Press Buy; returns the order's id."""
        order_id = self.order_ids()[0]
        response = self.post("/buy", {"kind": kind, "order": order_id})
        assert 303 == response.status_code
        return order_id

    def x_intent_id(self, order_id: str) -> str:
        """xPay's id of an order's last payment."""
        found = [i for i in self.xpay.intents() if i.order.receipt_id == order_id]
        return found[-1].x_intent_id

    def settle(self) -> None:
        """Carry webhooks and call handlers until nothing is due."""
        while self.xpay.deliver_due(self._carry) or self.run(self.flow.deliver()):
            pass

    def _carry(self, delivery: Delivery) -> int:
        headers = dict(delivery.headers)
        post = self.client.post("/xpay/webhook", content=delivery.body, headers=headers)
        return self.run(post).status_code


@contextmanager
def open_stall(folder: Path) -> Iterator[Stall]:
    """A shop that is open, with its flow's background loops off."""
    clock = VirtualClock()
    config = SandboxConfig(
        webhook_url=f"{SHOP}/xpay/webhook", checkout_base_url=XPAY, rate_limit=None
    )
    xpay = Sandbox(config, clock=clock, seed=0)
    flow = AsyncFlow(
        MemoryStore(),
        Settings.sandbox(retry_schedule_s=RETRY_SCHEDULE_S, requests_per_minute=600),
        transport=AsyncSandboxTransport(xpay),
        clock=AsyncManualClock(clock),
        background=False,
    )
    orders, trouble = Orders(folder / "orders.db"), Trouble(xpay)
    Handlers(orders, trouble).register(flow)
    app = create_app(flow, orders, trouble, shop_url=SHOP, xpay_url=XPAY)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=SHOP)
    with asyncio.Runner() as runner:
        yield Stall(
            runner=runner,
            client=client,
            flow=flow,
            orders=orders,
            trouble=trouble,
            xpay=xpay,
            clock=clock,
        )
        runner.run(client.aclose())
        runner.run(flow.close())
