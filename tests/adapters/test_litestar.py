"""The Litestar adapter does every duty of one, with a `Flow` and with an `AsyncFlow`."""

from __future__ import annotations

from litestar import Litestar, Router

import xpay_flow_litestar as adapter
from xpay_flow.testing.adapter_suite import AdapterSuite, AnyFlow, Client, asgi_client


class TestFlow(AdapterSuite):
    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return asgi_client(app_with(flow, prefix))


class TestAsyncFlow(AdapterSuite):
    is_async = True

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return asgi_client(app_with(flow, prefix))


def app_with(flow: AnyFlow, prefix: str = "/xpay") -> Litestar:
    return Litestar(
        route_handlers=[Router(prefix or "/", route_handlers=adapter.routes(flow))],
        lifespan=[adapter.lifespan(flow)],
        openapi_config=None,
    )
