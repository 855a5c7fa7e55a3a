"""The shop of the tests of process models, as a module that a server imports.

It writes down which process has called the handler for which order. xPay is a stand-in that answers
creations; webhooks are signed by the tests.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, Final

from xpay_flow import Flow, Money, Settings
from xpay_flow.ports import HttpRequest, HttpResponse
from xpay_flow_wsgi import routes

HOME: Final = os.environ["SHOP_HOME"]
STORE: Final = os.environ.get("SHOP_STORE", f"sqlite:///{HOME}/payments.db")


class CreatesOnly:
    """xPay, for as long as nothing but a creation is wanted."""

    def send(self, request: HttpRequest) -> HttpResponse:
        if "create-intent" not in request.url:
            return HttpResponse(503, {}, b"")
        wanted = json.loads(request.body)
        x_intent_id = f"in_{wanted['receiptId'].replace('-', '')}"
        copied = {name: wanted[name] for name in ("amount", "currency", "receiptId", "metadata")}
        made = {"xIntentId": x_intent_id, "status": "CREATED", "fwdUrl": "http://127.0.0.1:1/x"}
        return HttpResponse(200, {}, json.dumps({**copied, **made}).encode())


flow = Flow.open(STORE, Settings.sandbox(lease_s=2), transport=CreatesOnly(), poll_s=0.5)
flow.ports.shared.rate_limiter._spacing_ms = 0


def note(word: str, order: str) -> None:
    with open(f"{HOME}/log", "a") as log:
        log.write(f"{word} {order} {os.getpid()}\n")


@flow.on_success
def fulfil(payment: Any) -> None:
    note("begun", payment.receipt_id)
    while os.path.exists(f"{HOME}/hang"):
        time.sleep(0.05)
    note("done", payment.receipt_id)


def buy(order: str) -> str:
    """A checkout; xPay's id."""
    checkout = flow.start_checkout(
        receipt_id=order,
        money=Money(1999, "USD"),
        callback_url="https://shop.example/thanks",
        customer={"name": "Ada Example", "email": "ada@example.org"},
    )
    return str(checkout.x_intent_id)


def pages(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    order = environ["PATH_INFO"].strip("/")
    start_response("200 OK", [("Content-Type", "text/plain")])
    threads = " ".join(thread.name for thread in threading.enumerate())
    return [(buy(order) if order else threads).encode()]


if os.environ.get("SHOP_USED_BEFORE_FORK"):
    # Connections are open, and threads run, in the process that the workers are forked from.
    buy("order-of-the-master")
    flow.start()
    note("master", "-")

wsgi = routes(flow, prefix="/xpay", otherwise=pages)
