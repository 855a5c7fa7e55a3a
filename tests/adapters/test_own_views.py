"""In each framework the shop's own views find the flow, and the flow starts with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import web_servers
from aiohttp import web
from flask import Flask
from litestar import Litestar, Router, get
from litestar import Request as LitestarRequest
from litestar.config.csrf import CSRFConfig
from quart import Quart
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import xpay_flow_aiohttp
import xpay_flow_flask
import xpay_flow_litestar
import xpay_flow_quart
import xpay_flow_starlette
from xpay_flow.adapter_kit import only_flow
from xpay_flow.errors import ConfigurationError
from xpay_flow.testing.adapter_suite import AnyFlow, World, asgi_client, wsgi_client
from xpay_flow.testing.server_client import server_client

Answers = Callable[[AnyFlow], bytes]


class Started:
    """A flow that reports its start."""

    def __init__(self) -> None:
        self.flow = World("").async_flow()
        self.settings, self.handle = self.flow.settings, self.flow.handle
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1


def starlette_app(flow: Any) -> Starlette:
    async def own(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(id(xpay_flow_starlette.flow_from(request))))

    return Starlette(
        routes=[Mount("/xpay", routes=xpay_flow_starlette.routes(flow)), Route("/own", own)],
        lifespan=xpay_flow_starlette.lifespan(flow),
    )


def quart_app(flow: Any) -> Quart:
    app = Quart(__name__)
    app.register_blueprint(xpay_flow_quart.routes(flow), url_prefix="/xpay")

    @app.get("/own")
    async def own() -> str:
        return str(id(xpay_flow_quart.flow_from()))

    return app


def litestar_app(flow: Any) -> Litestar:
    @get("/own")
    async def own(request: LitestarRequest[Any, Any, Any]) -> str:
        return str(id(xpay_flow_litestar.flow_from(request)))

    return Litestar(
        route_handlers=[
            own,
            Router("/xpay", route_handlers=xpay_flow_litestar.routes(flow)),
        ],
        lifespan=[xpay_flow_litestar.lifespan(flow)],
        csrf_config=CSRFConfig(secret="a secret of the test"),
        openapi_config=None,
    )


@pytest.mark.parametrize("make", [starlette_app, quart_app, litestar_app])
def test_a_view_of_an_asgi_framework_finds_the_flow(make: Callable[[Any], Any]) -> None:
    """`flow_from` gives the flow whose routes the app has."""
    flow = World("").async_flow()
    assert str(id(flow)).encode() == asgi_client(make(flow))("GET", "/own").body


@pytest.mark.parametrize("make", [starlette_app, quart_app, litestar_app])
def test_an_asgi_server_starts_the_flow(make: Callable[[Any], Any]) -> None:
    """A shop that was killed goes on when its server is started, without a request."""
    flow = Started()
    asyncio.run(_live(make(flow)))
    assert 1 == flow.starts


async def _live(app: Callable[..., Awaitable[None]]) -> None:
    """Start an ASGI app and stop it, as a server does."""
    received = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return received.pop(0)

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    async with asyncio.timeout(10):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent


def test_a_view_of_flask_finds_the_flow() -> None:
    """`flow_from` gives the flow of the blueprint that the current app has."""
    app, flow = Flask(__name__), World("").sync_flow()
    app.register_blueprint(xpay_flow_flask.routes(flow), url_prefix="/xpay")
    app.add_url_rule("/own", "own", lambda: str(id(xpay_flow_flask.flow_from())))
    assert str(id(flow)).encode() == wsgi_client(app)("GET", "/own").body
    with app.test_request_context(base_url="https://shop.example"):
        url = app.url_for("xpay_flow.return", _external=True)
    assert "https://shop.example/xpay/return" == url


def test_flask_exempts_the_webhook_from_csrf_tokens_and_nothing_else() -> None:
    """What Flask-WTF keeps in `app.extensions["csrf"]` is asked to exempt one view."""
    exempted: list[Any] = []

    class Protect:
        exempt = staticmethod(exempted.append)

    app = Flask(__name__)
    app.extensions["csrf"] = Protect()
    app.register_blueprint(xpay_flow_flask.routes(World("").sync_flow()), url_prefix="/xpay")
    assert [app.view_functions["xpay_flow.webhook"]] == exempted


def test_litestar_exempts_the_webhook_from_csrf_tokens() -> None:
    """A webhook without a token reaches the endpoint, which refuses it for its signature."""
    client = asgi_client(litestar_app(World("").async_flow()))
    assert 401 == client("POST", "/xpay/webhook", (), b"{}").status


def test_a_handler_of_aiohttp_finds_the_flow_which_its_server_starts() -> None:
    """`flow_from` gives the flow of the sub-app; the start-up of the app starts it."""
    flow = Started()

    async def own(request: web.Request) -> web.Response:
        return web.Response(text=str(id(xpay_flow_aiohttp.flow_from(request))))

    app = web.Application()
    app.add_subapp("/xpay", xpay_flow_aiohttp.routes(flow))
    app.router.add_get("/own", own)
    with web_servers.aiohttp(app) as port:
        answer = server_client("127.0.0.1", port)("GET", "/own")
    assert (str(id(flow)).encode(), 1) == (answer.body, flow.starts)


@pytest.mark.parametrize("flows", [0, 2])
def test_a_flow_that_is_not_the_only_one_is_not_guessed(flows: int) -> None:
    """Without routes, or with those of two flows, the error names how they are mounted."""
    found = [World("").sync_flow() for _ in range(flows)]
    with pytest.raises(ConfigurationError, match=f"mount it must be there.*there are {flows}"):
        only_flow(found, "mount it")
