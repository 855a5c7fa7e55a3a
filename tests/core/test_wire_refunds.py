"""What xPay's answers about refunds and webhook endpoints say, and which are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from xpay_flow import wire
from xpay_flow.errors import UntrustedMessage

REFUND: dict[str, Any] = {
    "refundId": "rf_A1",
    "intentId": "in_A1",
    "amount": 2000,
    "currency": "EUR",
    "refundedAt": 1767691800000,
}
ENDPOINT: dict[str, Any] = {
    "webhookConfigId": "whc_A1",
    "webHookUrl": "https://shop.example/xpay/webhook",
    "eventSigner": "s3cr3t-signing-key",
    "subscribedEventTypes": ["intent.success", "intent.refunded"],
    "isActive": True,
}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_refund() -> None:
    """Each field of the documented answer is read."""
    expected = {
        "refund_id": "rf_A1",
        "x_intent_id": "in_A1",
        "amount_minor": 2000,
        "currency": "EUR",
        "refunded_at_ms": 1767691800000,
        "ignored": (),
        "raw": REFUND,
    }
    assert expected == attrs.asdict(wire.read_refund(encoded(REFUND)), recurse=False)


def test_refunds_are_a_bare_array_or_a_page() -> None:
    """xPay documents an array; a page like those of every other list is read, too."""
    refund = wire.read_refund(encoded(REFUND))
    assert ((), None) == wire.read_refunds(b"[]")
    assert ((refund,), None) == wire.read_refunds(encoded([REFUND]))
    page = {"data": [REFUND], "metadata": {"offset": "next"}}
    assert ((refund,), "next") == wire.read_refunds(encoded(page))


@pytest.mark.parametrize(
    "changes",
    [
        {"refundId": None},
        {"refundId": "a/b"},
        {"intentId": None},
        {"xIntentId": "in_other"},
        {"amount": None},
        {"amount": "20.00"},
        {"amount": 2000.0},
        {"currency": "eur"},
    ],
)
def test_bad_refunds(changes: dict[str, Any]) -> None:
    """A refund without identity, or with senseless money, is refused, alone and in a list."""
    for read, body in (
        (wire.read_refund, REFUND | changes),
        (wire.read_refunds, [REFUND | changes]),
    ):
        with pytest.raises(UntrustedMessage) as caught:
            read(encoded(body))
        assert "bad-field" == caught.value.reason


def test_an_odd_moment_of_a_refund_is_left_out_and_named() -> None:
    """When it was processed decides nothing."""
    refund = wire.read_refund(encoded(REFUND | {"refundedAt": "soon"}))
    assert (None, ("refundedAt",)) == (refund.refunded_at_ms, refund.ignored)


def test_webhook_endpoint() -> None:
    """`webHookUrl` is its address; the secret stays out of the repr."""
    endpoint = wire.read_webhook_endpoint(encoded(ENDPOINT))
    assert (
        wire.WebhookEndpoint(
            endpoint_id="whc_A1",
            url="https://shop.example/xpay/webhook",
            secret="s3cr3t-signing-key",
            event_types=("intent.success", "intent.refunded"),
            is_active=True,
        )
        == endpoint
    )
    assert "s3cr3t" not in repr(endpoint)
    assert ((endpoint,), None) == wire.read_webhook_endpoints(encoded({"data": [ENDPOINT]}))
    assert "whc_A1" == wire.read_new_webhook_endpoint(encoded({"webhookConfigId": "whc_A1"}))


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (wire.read_refunds, {"data": 1}),
        (wire.read_refunds, [1]),
        (wire.read_refunds, 1),
        (wire.read_webhook_endpoints, []),
        (wire.read_webhook_endpoints, {"data": [1]}),
        (wire.read_webhook_endpoint, ENDPOINT | {"webHookUrl": None}),
        (wire.read_webhook_endpoint, ENDPOINT | {"eventSigner": 1}),
        (wire.read_webhook_endpoint, ENDPOINT | {"subscribedEventTypes": "*"}),
        (wire.read_new_webhook_endpoint, {}),
    ],
)
def test_what_is_neither_refund_nor_endpoint(read: Callable[[bytes], object], body: object) -> None:
    """A list that is none, and an endpoint without address, secret or types, are refused."""
    with pytest.raises(UntrustedMessage):
        read(encoded(body))
