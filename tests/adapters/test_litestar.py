"""The Litestar adapter does every duty of one, with a `Flow` and with an `AsyncFlow`."""

from __future__ import annotations

from litestar import Litestar, Router

import xpay_flow_litestar as adapter
from xpay_flow.adapter_kit import Price
from xpay_flow.testing.adapter_suite import AnyFlow, asgi_client

from .kit import InProcess


def app_with(flow: AnyFlow, prefix: str = "/xpay", price: Price | None = None) -> Litestar:
    routes = adapter.routes(flow, price=price)
    return Litestar(
        route_handlers=[Router(prefix or "/", route_handlers=routes)],
        lifespan=[adapter.lifespan(flow)],
        openapi_config=None,
    )


class TestFlow(InProcess):
    app_with, client_of = app_with, asgi_client


class TestAsyncFlow(TestFlow):
    is_async = True
