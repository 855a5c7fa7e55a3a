"""The aiohttp adapter does every duty of one behind aiohttp's own server, on a socket."""

from __future__ import annotations

import web_servers
from aiohttp import web

import xpay_flow_aiohttp as adapter
from xpay_flow.adapter_kit import Price
from xpay_flow.testing.adapter_suite import AnyFlow

from .kit import Served


def app_with(flow: AnyFlow, prefix: str = "/xpay", price: Price | None = None) -> web.Application:
    routes = adapter.routes(flow, price=price)
    if not prefix:
        return routes
    app = web.Application()
    app.add_subapp(prefix, routes)
    return app


class TestFlow(Served):
    server, app_with = web_servers.aiohttp, app_with


class TestAsyncFlow(TestFlow):
    is_async = True
