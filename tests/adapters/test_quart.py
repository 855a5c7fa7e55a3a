"""The Quart adapter does every duty of one, with a `Flow` and with an `AsyncFlow`."""

from __future__ import annotations

from quart import Quart

import xpay_flow_quart as adapter
from xpay_flow.adapter_kit import Price
from xpay_flow.testing.adapter_suite import AnyFlow, asgi_client

from .kit import InProcess


def app_with(flow: AnyFlow, prefix: str = "/xpay", price: Price | None = None) -> Quart:
    app = Quart(__name__)
    app.register_blueprint(adapter.routes(flow, price=price), url_prefix=prefix or None)
    return app


class TestFlow(InProcess):
    app_with, client_of = app_with, asgi_client


class TestAsyncFlow(TestFlow):
    is_async = True
