"""`routes(flow, price=…)`: what an order that a browser names becomes, and why it is refused.

That each framework has the route is a duty of the adapter suite.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

import xpay_flow_asgi
import xpay_flow_wsgi
from xpay_flow import AsyncFlow, CheckoutRequest, Money
from xpay_flow.sandbox import ApiFault, FaultPlan
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.adapter_suite import Answer, Client, asgi_client, wsgi_client
from xpay_flow.testing.world import AsyncManualClock, AsyncSandboxTransport, World

PRICE = Money(1999, "USD")


def price(order: Mapping[str, Any]) -> CheckoutRequest | None:
    if order.get("order") != "42":
        return None
    return CheckoutRequest(
        receipt_id="42",
        money=PRICE,
        callback_url="https://shop.example/xpay/return",
        customer={"email": order.get("email", "ada@example.org")},
    )


def wsgi_app(flow: Any) -> Client:
    return wsgi_client(xpay_flow_wsgi.routes(flow, prefix="/xpay", price=price))


def begin(client: Client, order: object) -> Answer:
    headers = (("Content-Type", "application/json"),)
    return client("POST", "/xpay/checkout", headers, json.dumps(order).encode())


def test_a_checkout_that_is_begun_twice_is_one() -> None:
    """Pressed twice it is one page, and the record has the price of the server."""
    world = World()
    client = wsgi_app(world.flow)
    first = begin(client, {"order": "42"})
    assert first.json() == begin(client, {"order": "42"}).json()
    assert 1 == len(world.xpay.intents())
    (record,) = world.flow.store.load("receipt:42")
    assert record.intent is not None
    assert PRICE == record.intent.money


def test_an_order_is_priced_by_a_coroutine_for_an_async_flow() -> None:
    """With an `AsyncFlow`, `price` may be awaited; with a `Flow` that is refused in words."""

    async def awaited(order: Mapping[str, Any]) -> CheckoutRequest | None:
        await asyncio.sleep(0)
        return price(order)

    world = World()
    flow = AsyncFlow(
        MemoryStore(),
        world.settings,
        transport=AsyncSandboxTransport(world.xpay),
        clock=AsyncManualClock(world.clock),
        ids=world.ids,
        background=False,
    )
    for served in (flow, world.flow):
        client = asgi_client(xpay_flow_asgi.routes(served, prefix="/xpay", price=awaited))
        if served is flow:
            assert 200 == begin(client, {"order": "42"}).status
        else:
            assert (500, "ConfigurationError") == (
                (answer := begin(client, {"order": "42"})).status,
                answer.json()["error"],
            )


@pytest.mark.parametrize(
    ("order", "status", "error"),
    [
        ({"order": "43"}, 404, "no such order"),
        (["42"], 400, "a JSON object"),
        ({"order": "42", "email": "no address"}, 400, "InvalidValue"),
    ],
)
def test_a_request_that_names_no_order_is_refused_in_words(
    order: object, status: int, error: str
) -> None:
    """Each refusal has its status and its words, and nothing is stored for it."""
    world = World()
    answer = begin(wsgi_app(world.flow), order)
    assert (status, True) == (answer.status, error in answer.json()["error"])
    assert () == world.flow.recent()


def test_a_paid_order_is_409_and_silence_of_xpay_is_503() -> None:
    """The browser learns the kind of failure, and when to come again."""
    world = World()
    client = wsgi_app(world.flow)
    begin(client, {"order": "42"})
    world.xpay.pay(world.xpay.intents()[0].x_intent_id)
    world.settle()
    assert (409, "AlreadyPaid") == (
        (answer := begin(client, {"order": "42"})).status,
        answer.json()["error"],
    )
    lost = ApiFault(fault="lose_answer", path="/payments/create-intent", times=9)
    silent = World(faults=FaultPlan(api=(lost,)))
    answer = begin(wsgi_app(silent.flow), {"order": "42"})
    assert (503, "OutcomeUnknown", "5") == (
        answer.status,
        answer.json()["error"],
        answer.header("retry-after"),
    )
