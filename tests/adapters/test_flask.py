"""The Flask adapter does every duty of one, with a `Flow`."""

from __future__ import annotations

from flask import Flask

import xpay_flow_flask as adapter
from xpay_flow.testing.adapter_suite import AdapterSuite, AnyFlow, Client, wsgi_client


class TestFlow(AdapterSuite):
    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return wsgi_client(app_with(flow, prefix))


def app_with(flow: AnyFlow, prefix: str = "/xpay") -> Flask:
    app = Flask(__name__)
    app.register_blueprint(adapter.routes(flow), url_prefix=prefix or None)
    return app
