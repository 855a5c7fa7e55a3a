"""Each adapter does its duties over a real socket, too, behind a server that shops use."""

from __future__ import annotations

from typing import Any

import web_servers
from docs.pages import docs_module
from web_servers import AsgiNow, WsgiNow

import xpay_flow_asgi
import xpay_flow_wsgi
from xpay_flow.adapter_kit import Price
from xpay_flow.testing.adapter_suite import AnyFlow

from . import test_fastapi, test_flask, test_litestar, test_quart, test_starlette
from .kit import Served


class TestFastAPIBehindUvicorn(Served):
    is_async = True
    waiting_customers = 200
    server, app_now, app_with = web_servers.uvicorn, AsgiNow, test_fastapi.app_with


class TestStarletteBehindUvicorn(Served):
    server, app_now, app_with = web_servers.uvicorn, AsgiNow, test_starlette.app_with


class TestLitestarBehindUvicorn(Served):
    is_async = True
    server, app_now, app_with = web_servers.uvicorn, AsgiNow, test_litestar.app_with


class TestQuartBehindHypercorn(Served):
    is_async = True
    server, app_now, app_with = web_servers.hypercorn, AsgiNow, test_quart.app_with


class TestFlaskBehindWerkzeug(Served):
    hangs_up = False
    server, app_now, app_with = web_servers.werkzeug, WsgiNow, test_flask.app_with


class TestFlaskBehindWaitress(Served):
    hangs_up, gets_whole_bodies = False, True
    server, app_now, app_with = web_servers.waitress, WsgiNow, test_flask.app_with


def asgi_app(flow: AnyFlow, prefix: str, price: Price | None = None) -> Any:
    return xpay_flow_asgi.routes(flow, prefix=prefix, price=price)


def wsgi_app(flow: AnyFlow, prefix: str, price: Price | None = None) -> Any:
    return xpay_flow_wsgi.routes(flow, prefix=prefix, price=price)


class TestPlainASGIBehindUvicorn(Served):
    is_async = True
    server, app_now, app_with = web_servers.uvicorn, AsgiNow, asgi_app


class TestPlainWSGIBehindWaitress(Served):
    hangs_up, gets_whole_bodies = False, True
    server, app_now, app_with = web_servers.waitress, WsgiNow, wsgi_app


def test_the_readme_names_the_servers_behind_which_each_duty_is_done() -> None:
    """What `docs/frameworks.py` declares runs here; Django and aiohttp have files of their own."""
    here = {name.removeprefix("Test").lower() for name in globals() if name.startswith("Test")}
    declared = {
        f"{framework.name.replace(' ', '')}behind{server}".lower()
        for framework in docs_module("frameworks").FRAMEWORKS
        for server in framework.suite_behind
        if framework.name not in ("aiohttp", "Django")
    }
    assert here == declared
