"""How is an order of the README's shop paid? Over HTTP, through a local xPay."""

from __future__ import annotations

import time
from typing import Any

import httpx

from xpay_flow.sandbox import Sandbox

from . import running

NEWS_S = 60.0  # on a busy machine; usually at once


def buy(shop: Any, order_id: str, ports: running.Ports, xpay: Sandbox) -> None:
    """Pay leads to xPay's page, and a payment there calls the handler."""
    with running.served(shop.app, ports.shop):
        pay = httpx.post(f"http://127.0.0.1:{ports.shop}/orders/{order_id}/pay", timeout=NEWS_S)
        assert 303 == pay.status_code
        (intent,) = xpay.intents()
        assert xpay.fwd_url(intent.x_intent_id) == pay.headers["location"]
        assert order_id not in shop.paid
        xpay.pay(intent.x_intent_id)
        _wait_until_paid(shop, order_id)


def _wait_until_paid(shop: Any, order_id: str) -> None:
    """The webhook comes over a socket; we deliver what is due beside the shop's own thread."""
    deadline = time.monotonic() + NEWS_S
    while order_id not in shop.paid:
        shop.flow.deliver()
        assert time.monotonic() < deadline, "the order is not paid"
