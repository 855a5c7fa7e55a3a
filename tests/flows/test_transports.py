"""Each transport does every duty of one, and a shop can be run with one of its own."""

from __future__ import annotations

import pytest
from sandbox.served import served

from examples.http_client_transport import HttpClientTransport
from xpay_flow import Flow, Money, Settings
from xpay_flow.httpx_transport import AsyncHttpxTransport, HttpxTransport
from xpay_flow.ports import AsyncTransport, Transport
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.transport_suite import TransportSuite

SETTINGS = Settings.sandbox()


class TestHttpx(TransportSuite):
    def make_transport(self) -> Transport:
        return HttpxTransport(SETTINGS)


class TestAsyncHttpx(TransportSuite):
    def make_transport(self) -> AsyncTransport:
        return AsyncHttpxTransport(SETTINGS)


class TestHttpClient(TransportSuite):
    """The example, on nothing but the standard library."""

    def make_transport(self) -> Transport:
        return HttpClientTransport(SETTINGS)


@pytest.mark.parametrize("kind", [HttpxTransport, HttpClientTransport])
def test_a_payment_is_taken_through_a_transport_of_the_shops_own(kind: type) -> None:
    """Over a socket to the local xPay: begun, paid there, and found paid when asked about."""
    with served() as xpay:
        settings = Settings.sandbox(base_url=xpay.config.checkout_base_url)
        flow = Flow(MemoryStore(), settings, transport=kind(settings), background=False)
        with flow:
            checkout = flow.start_checkout(
                receipt_id="order-42",
                money=Money(1999, "USD"),
                callback_url="https://shop.example/thanks",
            )
            xpay.pay(checkout.x_intent_id or "")
            assert "success" == flow.xpay.get_intent(checkout.x_intent_id or "").status.lower()
