"""The FastAPI adapter does every duty of one, with a `Flow` and with an `AsyncFlow`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

import xpay_flow_fastapi as adapter
from xpay_flow.adapter_kit import Price
from xpay_flow.errors import ConfigurationError, MissingExtra
from xpay_flow.flow import AsyncFlow
from xpay_flow.testing.adapter_suite import AdapterSuite, AnyFlow, Client, World, asgi_client

from .kit import InProcess


def app_with(flow: AnyFlow, prefix: str = "/xpay", price: Price | None = None) -> FastAPI:
    app = FastAPI()
    app.include_router(adapter.routes(flow, price=price), prefix=prefix)
    return app


class TestFlow(InProcess):
    app_with, client_of = app_with, asgi_client


class TestAsyncFlow(TestFlow):
    is_async = True


class TestInAMountedApp(AdapterSuite):
    """An app of its own, mounted by another."""

    is_async = True

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        inner = FastAPI()
        inner.include_router(adapter.routes(flow))
        return asgi_client(Starlette(routes=[Mount(prefix, inner)]) if prefix else inner)


def test_routes_start_the_flow_with_the_app() -> None:
    """A shop that was killed delivers when it is started; the shop's own lifespan is kept."""
    seen: list[str] = []

    class Started:
        flow = World("").async_flow()
        settings, handle = flow.settings, flow.handle

        async def start(self) -> None:
            seen.append("started")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        seen.append("shop begins")
        yield
        seen.append("shop ends")

    async def live() -> None:
        app = FastAPI(lifespan=lifespan)
        app.include_router(adapter.routes(Started()), prefix="/xpay")
        async with app.router.lifespan_context(app):
            seen.append("serving")

    asyncio.run(live())
    assert ["shop begins", "started", "serving", "shop ends"] == seen


def test_a_route_of_the_shop_gets_the_flow() -> None:
    """`Depends(flow_from)` gives the flow, in the app's routes and in those of other routers."""
    flow = World("").async_flow()
    app = app_with(flow)
    shop = APIRouter()

    @app.get("/here")
    async def here(given: Annotated[AsyncFlow, Depends(adapter.flow_from)]) -> bool:
        return given is flow

    @shop.get("/there")
    async def there(given: Annotated[Any, Depends(adapter.flow_from)]) -> bool:
        return given is flow

    app.include_router(shop)
    client = asgi_client(app)
    assert [True, True] == [client("GET", path).json() for path in ("/here", "/there")]


def test_a_nested_router_is_found() -> None:
    """Routers may include routers before the app includes them."""
    flow = World("").async_flow()
    outer, app = APIRouter(), FastAPI()
    outer.include_router(adapter.routes(flow), prefix="/xpay")
    app.include_router(outer, prefix="/api")

    @app.get("/here")
    async def here(given: Annotated[Any, Depends(adapter.flow_from)]) -> bool:
        return given is flow

    client = asgi_client(app)
    assert 200 == client("GET", "/api/xpay/xpay-flow.js").status
    assert client("GET", "/here").json() is True


@pytest.mark.parametrize("routers", [0, 2])
def test_a_flow_that_is_not_the_only_one_is_not_guessed(routers: int) -> None:
    """With no router, or with two flows, `flow_from` raises ConfigurationError."""
    app = FastAPI()
    for n in range(routers):
        app.include_router(adapter.routes(World("").async_flow()), prefix=f"/{n}")

    @app.get("/here")
    async def here(given: Annotated[Any, Depends(adapter.flow_from)]) -> None: ...

    with pytest.raises(ConfigurationError, match=f"there are {routers}"):
        asgi_client(app)("GET", "/here")


def test_the_docs_show_what_a_frontend_calls_and_nothing_else() -> None:
    """The status query is described, with its parameters; the webhook is not for clients."""
    described = app_with(World("").async_flow()).openapi()["paths"]
    assert ["/xpay/payment-status"] == list(described)
    query = described["/xpay/payment-status"]["get"]
    assert "How a payment stands" == query["summary"]
    assert ["xpay_intent_id", "wait", "seen"] == [p["name"] for p in query["parameters"]]
    assert {"200", "400", "404", "503"} <= set(query["responses"])


def test_a_route_of_the_shop_below_the_same_prefix_is_reached() -> None:
    """Our router takes its own addresses and leaves the rest of the prefix alone."""
    app = app_with(World("").async_flow())

    @app.get("/xpay/refund-policy")
    async def policy() -> str:
        return "thirty days"

    assert "thirty days" == asgi_client(app)("GET", "/xpay/refund-policy").json()


def test_without_fastapi_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the adapter where FastAPI is missing names the extra to install."""
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "xpay_flow_fastapi")
    with pytest.raises(MissingExtra, match=r"xpay-flow\[fastapi\]"):
        __import__("xpay_flow_fastapi")
