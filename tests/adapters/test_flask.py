"""The Flask adapter does every duty of one, with a `Flow`."""

from __future__ import annotations

from flask import Flask

import xpay_flow_flask as adapter
from xpay_flow.adapter_kit import Price
from xpay_flow.testing.adapter_suite import AnyFlow, wsgi_client

from .kit import InProcess


def app_with(flow: AnyFlow, prefix: str = "/xpay", price: Price | None = None) -> Flask:
    app = Flask(__name__)
    app.register_blueprint(adapter.routes(flow, price=price), url_prefix=prefix or None)
    return app


class TestFlow(InProcess):
    app_with, client_of = app_with, wsgi_client
