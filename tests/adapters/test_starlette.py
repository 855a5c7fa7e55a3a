"""The Starlette adapter does every duty of one, with a `Flow` and with an `AsyncFlow`."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Mount

import xpay_flow_starlette as adapter
from xpay_flow.adapter_kit import Price
from xpay_flow.testing.adapter_suite import AnyFlow, asgi_client

from .kit import InProcess


def app_with(flow: AnyFlow, prefix: str = "/xpay", price: Price | None = None) -> Starlette:
    routes = adapter.routes(flow, price=price)
    return Starlette(
        routes=[Mount(prefix, routes=routes)] if prefix else routes,
        lifespan=adapter.lifespan(flow),
    )


class TestFlow(InProcess):
    app_with, client_of = app_with, asgi_client


class TestAsyncFlow(TestFlow):
    is_async = True
