"""In each framework `routes(flow, price=…)` lets a browser begin a checkout, and name no price."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiohttp import web
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar, Router
from quart import Quart
from starlette.applications import Starlette
from starlette.routing import Mount

import xpay_flow_aiohttp
import xpay_flow_asgi
import xpay_flow_fastapi
import xpay_flow_flask
import xpay_flow_litestar
import xpay_flow_quart
import xpay_flow_starlette
import xpay_flow_wsgi
from xpay_flow import AsyncFlow, CheckoutRequest, Money
from xpay_flow.sandbox import ApiFault, FaultPlan
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.adapter_suite import Answer, Client, asgi_client, wsgi_client
from xpay_flow.testing.server_client import server_client
from xpay_flow.testing.world import AsyncManualClock, AsyncSandboxTransport, World

from .test_aiohttp import Server

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


def fastapi_app(flow: Any) -> Client:
    app = FastAPI()
    app.include_router(xpay_flow_fastapi.routes(flow, price=price), prefix="/xpay")
    return asgi_client(app)


def starlette_app(flow: Any) -> Client:
    routes = xpay_flow_starlette.routes(flow, price=price)
    return asgi_client(Starlette(routes=[Mount("/xpay", routes=routes)]))


def quart_app(flow: Any) -> Client:
    app = Quart(__name__)
    app.register_blueprint(xpay_flow_quart.routes(flow, price=price), url_prefix="/xpay")
    return asgi_client(app)


def litestar_app(flow: Any) -> Client:
    routes = xpay_flow_litestar.routes(flow, price=price)
    return asgi_client(
        Litestar(route_handlers=[Router("/xpay", route_handlers=routes)], openapi_config=None)
    )


def flask_app(flow: Any) -> Client:
    app = Flask(__name__)
    app.register_blueprint(xpay_flow_flask.routes(flow, price=price), url_prefix="/xpay")
    return wsgi_client(app)


def asgi_app(flow: Any) -> Client:
    return asgi_client(xpay_flow_asgi.routes(flow, prefix="/xpay", price=price))


def wsgi_app(flow: Any) -> Client:
    return wsgi_client(xpay_flow_wsgi.routes(flow, prefix="/xpay", price=price))


APPS = (fastapi_app, starlette_app, quart_app, litestar_app, flask_app, asgi_app, wsgi_app)


def begin(client: Client, order: object, content_type: str = "application/json") -> Answer:
    headers = (("Content-Type", content_type),)
    return client("POST", "/xpay/checkout", headers, json.dumps(order).encode())


@pytest.mark.parametrize("make", APPS)
def test_a_browser_begins_a_checkout(make: Callable[[Any], Client]) -> None:
    """The browser names an order, and the server what it costs; pressed twice it is one page."""
    world = World()
    client = make(world.flow)
    answer = begin(client, {"order": "42", "money": "0.01 USD", "amount": 1})
    assert 200 == answer.status
    (intent,) = world.xpay.intents()
    assert {"fwdUrl": world.xpay.fwd_url(intent.x_intent_id), "xIntentId": intent.x_intent_id} == (
        answer.json()
    )
    (record,) = world.flow.store.load("receipt:42")
    assert record.intent is not None
    assert PRICE == record.intent.money
    assert answer.json() == begin(client, {"order": "42"}).json()
    assert 1 == len(world.xpay.intents())


def test_a_checkout_begins_behind_aiohttp() -> None:
    """The same behind aiohttp's own server, with an `AsyncFlow` and an order that is unknown."""
    world = World()
    app = web.Application()
    app.add_subapp("/xpay", xpay_flow_aiohttp.routes(world.flow, price=price))
    server = Server(app)
    try:
        client = server_client("127.0.0.1", server.port)
        assert 200 == begin(client, {"order": "42"}).status
        assert 404 == begin(client, {"order": "43"}).status
    finally:
        server.stop()


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
    ("order", "content_type", "status", "error"),
    [
        ({"order": "43"}, "application/json", 404, "no such order"),
        (["42"], "application/json", 400, "a JSON object"),
        ({"order": "42"}, "text/plain", 415, "application/json"),
        ({"order": "42", "email": "no address"}, "application/json", 400, "InvalidValue"),
        ({"order": "4" * 2_000_000}, "application/json", 413, "too-large"),
    ],
)
def test_a_request_that_names_no_order_is_refused(
    order: object, content_type: str, status: int, error: str
) -> None:
    """Each refusal has its status and its words, and nothing is stored for it."""
    world = World()
    answer = begin(wsgi_app(world.flow), order, content_type)
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


def test_without_a_price_there_is_no_such_address() -> None:
    """A shop that prices its orders in routes of its own has no other way in."""
    client = wsgi_client(xpay_flow_wsgi.routes(World().flow, prefix="/xpay"))
    assert 404 == begin(client, {"order": "42"}).status


def test_the_address_takes_post_alone() -> None:
    """A link cannot begin a checkout."""
    answer = wsgi_app(World().flow)("GET", "/xpay/checkout")
    assert (405, "POST") == (answer.status, answer.header("allow"))
