"""The Quart adapter does every duty of one, with a `Flow` and with an `AsyncFlow`."""

from __future__ import annotations

from quart import Quart

import xpay_flow_quart as adapter
from xpay_flow.testing.adapter_suite import AdapterSuite, AnyFlow, Client, asgi_client


class TestFlow(AdapterSuite):
    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return asgi_client(app_with(flow, prefix))


class TestAsyncFlow(AdapterSuite):
    is_async = True

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return asgi_client(app_with(flow, prefix))


def app_with(flow: AnyFlow, prefix: str = "/xpay") -> Quart:
    app = Quart(__name__)
    app.register_blueprint(adapter.routes(flow), url_prefix=prefix or None)
    return app
