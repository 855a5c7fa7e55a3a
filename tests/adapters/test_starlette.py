"""The Starlette adapter does every duty of one, with a `Flow` and with an `AsyncFlow`."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Mount

import xpay_flow_starlette as adapter
from xpay_flow.testing.adapter_suite import AdapterSuite, AnyFlow, Client, asgi_client


class TestFlow(AdapterSuite):
    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return asgi_client(app_with(flow, prefix))


class TestAsyncFlow(AdapterSuite):
    is_async = True

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return asgi_client(app_with(flow, prefix))


def app_with(flow: AnyFlow, prefix: str = "/xpay") -> Starlette:
    routes = adapter.routes(flow)
    return Starlette(
        routes=[Mount(prefix, routes=routes)] if prefix else routes,
        lifespan=adapter.lifespan(flow),
    )
