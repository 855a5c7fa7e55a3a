"""The life of an intent, the payloads of its events, and the signatures over them."""

import base64
import hashlib
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from xpay_flow.errors import ConfigurationError, InvalidValue, UnknownIntent
from xpay_flow.sandbox import Delivery, Sandbox
from xpay_flow.sandbox.signer import hmac_signature

from .merchant import BODY, HOOK, call, clock_of, create, error_of, make_sandbox, payloads

COMMON = {"eventId": str, "eventType": str, "eventTime": int, "intentId": str, "metadata": dict}
AMOUNT = {"status": str, "amount": int, "currency": str}
RECEIPT = {"receiptId": str}
# The documented field sets of the newest pages, with the JSON type of each field.
GOLDEN: dict[str, dict[str, type]] = {
    "intent.created": COMMON | AMOUNT,
    "intent.checkout_opened": COMMON | RECEIPT,
    "intent.failed": COMMON | RECEIPT | AMOUNT | {"errorCode": str},
    "intent.success": COMMON
    | RECEIPT
    | AMOUNT
    | {"paymentMethod": str, "customerDetails": dict, "card": dict},
    "intent.refunded": COMMON | RECEIPT | AMOUNT | {"refundId": str, "refundReferenceId": str},
    "intent.disputed": COMMON | RECEIPT | {"disputeId": str},
    "intent.dispute_under_review": COMMON | RECEIPT | {"disputeId": str},
    "intent.dispute_won": COMMON | RECEIPT | {"disputeId": str},
    "intent.dispute_lost": COMMON | RECEIPT | {"disputeId": str},
}


def whole_life(sandbox: Sandbox) -> str:
    """One intent to which everything happens once."""
    x_intent_id = create(sandbox)
    sandbox.open_checkout(x_intent_id)
    sandbox.decline(x_intent_id)
    sandbox.pay(x_intent_id)
    sandbox.refund(x_intent_id)
    sandbox.dispute(x_intent_id)
    for stage in ("under_review", "won", "lost"):
        sandbox.settle_dispute(x_intent_id, stage)
    return x_intent_id


def payload_of(sandbox: Sandbox, event_type: str) -> dict[str, Any]:
    return next(p for p in payloads(sandbox) if p["eventType"] == event_type)


@pytest.mark.parametrize("event_type", GOLDEN)
def test_golden_payloads(event_type: str) -> None:
    """Each event has exactly the documented fields, of the documented types."""
    sandbox = make_sandbox()
    whole_life(sandbox)

    payload = payload_of(sandbox, event_type)

    assert GOLDEN[event_type] == {name: type(value) for name, value in payload.items()}


def test_golden_covers_everything() -> None:
    """A whole life sends every documented event about intents, once, in the order of acts."""
    sandbox = make_sandbox()
    x_intent_id = whole_life(sandbox)

    sent = payloads(sandbox)

    assert list(GOLDEN) == [payload["eventType"] for payload in sent]
    assert {x_intent_id} == {payload["intentId"] for payload in sent}
    assert len(sent) == len({payload["eventId"] for payload in sent})
    assert all(payload["eventId"].startswith("whe_") for payload in sent)


def test_values_of_success() -> None:
    """`intent.success` has amount, method, customer and card, the brand in lower case."""
    sandbox = make_sandbox()
    whole_life(sandbox)

    payload = payload_of(sandbox, "intent.success")

    assert (2599, "EUR", "SUCCESS") == (payload["amount"], payload["currency"], payload["status"])
    assert BODY["customerDetails"] == payload["customerDetails"]
    assert {
        "brand": "visa",
        "country": "US",
        "lastFourDigit": "4242",
        "expiryMonth": 4,
        "expiryYear": 2031,
        "cardType": "CREDIT",
    } == payload["card"]
    assert {"orderId": "1001"} == payload["metadata"]


def test_other_methods_have_no_card() -> None:
    """A method that is no card brings no `card`."""
    sandbox = make_sandbox()
    sandbox.pay(create(sandbox), method="PAYPAL")

    payload = payload_of(sandbox, "intent.success")

    assert "PAYPAL" == payload["paymentMethod"]
    assert "card" not in payload


def test_absent_customer() -> None:
    """Without customer details the page's own input is sent, or a stand-in with a null number."""
    sandbox = make_sandbox()
    given = {"name": "Bo", "email": "bo@example.org"}
    sandbox.pay(create(sandbox, customerDetails=None), customer=given)
    sandbox.pay(create(sandbox, customerDetails=None))

    customers = [
        payload["customerDetails"]
        for payload in payloads(sandbox)
        if payload["eventType"] == "intent.success"
    ]

    assert given == customers[0]
    assert customers[1]["contactNumber"] is None


@pytest.mark.parametrize(
    ("setting", "expected"), [("empty", {}), ("null", None), ("missing", "missing")]
)
def test_absent_metadata(setting: str, expected: object) -> None:
    """Absent metadata is `{}`, null or missing, by the setting."""
    sandbox = make_sandbox(empty_metadata=setting)
    create(sandbox, metadata=None)

    assert expected == payloads(sandbox)[0].get("metadata", "missing")


def test_settings_of_payloads() -> None:
    """`receiptId` in `intent.created`, spaces and escapes of the JSON are settings."""
    sandbox = make_sandbox(receipt_id_in_created=True, json_spaces=True, json_ascii=True)
    create(sandbox, metadata={"note": "Zoë"})

    body = sandbox.due()[0].body

    assert "order-1001" == payloads(sandbox)[0]["receiptId"]
    assert b'", "eventType": "intent.created", ' in body
    assert b"Zo\\u00eb" in body


def test_raw_utf8_by_default() -> None:
    """By default the bytes are compact JSON in UTF-8."""
    sandbox = make_sandbox()
    create(sandbox, metadata={"note": "Zoë – ₹"})

    assert '"metadata":{"note":"Zoë – ₹"}'.encode() in sandbox.due()[0].body


# Status


def test_statuses() -> None:
    """The status goes CREATED, FAILED, SUCCESS, PARTIALLY_REFUNDED, REFUNDED."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    seen = [sandbox.status(x_intent_id)]
    for act in (
        lambda: sandbox.open_checkout(x_intent_id),
        lambda: sandbox.decline(x_intent_id),
        lambda: sandbox.decline(x_intent_id, "expired_card"),
        lambda: sandbox.pay(x_intent_id),
        lambda: sandbox.refund(x_intent_id, 1),
        lambda: sandbox.refund(x_intent_id),
        lambda: sandbox.dispute(x_intent_id),
    ):
        act()
        seen.append(sandbox.status(x_intent_id))

    assert [
        "CREATED",
        "CREATED",
        "FAILED",
        "FAILED",
        "SUCCESS",
        "PARTIALLY_REFUNDED",
        "REFUNDED",
        "REFUNDED",
    ] == seen


def test_settings_of_statuses() -> None:
    """Older habits: a decline may leave CREATED, and a dispute may show as the status."""
    sandbox = make_sandbox(status_after_decline="CREATED", dispute_changes_status=True)
    x_intent_id = create(sandbox)
    sandbox.decline(x_intent_id)
    assert "CREATED" == sandbox.status(x_intent_id)

    sandbox.pay(x_intent_id)
    sandbox.dispute(x_intent_id)
    assert "DISPUTED" == sandbox.status(x_intent_id)
    sandbox.settle_dispute(x_intent_id, "won")
    assert "DISPUTE_WON" == sandbox.status(x_intent_id)


def test_each_decline_is_an_event() -> None:
    """Each failed attempt sends an event of its own."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    sandbox.decline(x_intent_id)
    sandbox.decline(x_intent_id, "expired_card")

    failed = [p for p in payloads(sandbox) if p["eventType"] == "intent.failed"]

    assert ["insufficient_funds", "expired_card"] == [p["errorCode"] for p in failed]
    assert failed[0]["eventId"] != failed[1]["eventId"]


@pytest.mark.parametrize(("once", "count"), [(True, 1), (False, 2)])
def test_opening_twice(once: bool, count: int) -> None:
    """The page reports its opening once, or each time with the setting."""
    sandbox = make_sandbox(checkout_opened_once=once)
    x_intent_id = create(sandbox)
    sandbox.open_checkout(x_intent_id)
    sandbox.open_checkout(x_intent_id)

    types = [payload["eventType"] for payload in payloads(sandbox)]

    assert count == types.count("intent.checkout_opened")


def test_what_cannot_happen() -> None:
    """Paying twice, paying what is cancelled, disputing what is unpaid: InvalidValue."""
    sandbox = make_sandbox()
    paid, cancelled, unpaid = create(sandbox), create(sandbox), create(sandbox)
    sandbox.pay(paid)
    sandbox.cancel(cancelled)
    before = len(sandbox.events())

    for act in (
        lambda: sandbox.pay(paid),
        lambda: sandbox.decline(paid),
        lambda: sandbox.cancel(paid),
        lambda: sandbox.pay(cancelled),
        lambda: sandbox.dispute(unpaid),
        lambda: sandbox.settle_dispute(paid, "won"),
        lambda: sandbox.settle_dispute(paid, "disputed"),
        lambda: sandbox.refund(unpaid),
        lambda: sandbox.decline(unpaid, ""),
        lambda: sandbox.pay(unpaid, method="BARTER"),
        lambda: sandbox.send_raw_event(""),
    ):
        with pytest.raises(InvalidValue):
            act()
    with pytest.raises(UnknownIntent):
        sandbox.pay("in_nobody")
    assert before == len(sandbox.events())


def test_charge_that_wins_the_race() -> None:
    """A charge that was running when the merchant cancelled may still work."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    sandbox.cancel(x_intent_id)

    sandbox.pay(x_intent_id, despite_cancel=True)

    assert "SUCCESS" == sandbox.status(x_intent_id)
    assert "intent.success" == payloads(sandbox)[-1]["eventType"]


# Cancel


def test_cancel() -> None:
    """Cancel wants the id twice, answers an empty 200 also when repeated, and sends no event."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    sandbox.decline(x_intent_id)
    path = f"/payments/cancel/{x_intent_id}"

    for body in ({}, {"xIntentId": "in_other"}):
        assert (400, "bad_request") == error_of(call(sandbox, "POST", path, body))
    for _ in range(2):
        answer = call(sandbox, "POST", path, {"xIntentId": x_intent_id})
        assert (200, b"") == (answer.status, answer.body)
    assert "CANCELLED" == sandbox.status(x_intent_id)
    assert ["intent.created", "intent.failed"] == [p["eventType"] for p in payloads(sandbox)]


def test_cancel_of_a_paid_intent() -> None:
    """A paid intent cannot be cancelled: 400."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    sandbox.pay(x_intent_id)

    answer = call(sandbox, "POST", f"/payments/cancel/{x_intent_id}", {"xIntentId": x_intent_id})

    assert (400, "bad_request") == error_of(answer)
    assert "SUCCESS" == sandbox.status(x_intent_id)


def test_event_of_a_cancellation() -> None:
    """A setting sends the event that some shops listen for, once."""
    sandbox = make_sandbox(cancel_event_type="intent.canceled")
    x_intent_id = create(sandbox)
    sandbox.cancel(x_intent_id)
    sandbox.cancel(x_intent_id)

    last = payloads(sandbox)[-1]

    assert 2 == len(payloads(sandbox))
    assert ("intent.canceled", "CANCELLED") == (last["eventType"], last["status"])


# Return


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://s.example/r", "https://s.example/r?xpay_intent_id=ID"),
        ("https://s.example", "https://s.example?xpay_intent_id=ID"),
        ("https://s.example/r?", "https://s.example/r?xpay_intent_id=ID"),
        ("https://s.example/r?a=1", "https://s.example/r?a=1&xpay_intent_id=ID"),
        ("https://s.example/r?a=1&", "https://s.example/r?a=1&xpay_intent_id=ID"),
        ("https://s.example/r#top", "https://s.example/r?xpay_intent_id=ID#top"),
        ("https://s.example/r?a=%26#/x?y", "https://s.example/r?a=%26&xpay_intent_id=ID#/x?y"),
    ],
)
def test_return_url(url: str, expected: str) -> None:
    """The id is added after the shop's own query and before its fragment."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox, callbackUrl=url)

    assert expected.replace("ID", x_intent_id) == sandbox.return_url(x_intent_id)


def test_cancel_by_the_customer() -> None:
    """The customer's cancel leads to `cancelUrl`, else `callbackUrl`, and changes no status."""
    sandbox = make_sandbox()
    with_url, without = create(sandbox), create(sandbox, cancelUrl=None)

    assert (
        f"https://shop.example/pay/cancel?xpay_intent_id={with_url}"
        == sandbox.cancel_by_customer(with_url)
    )
    assert (
        f"https://shop.example/pay/return?xpay_intent_id={without}"
        == sandbox.cancel_by_customer(without)
    )
    assert "CREATED" == sandbox.status(with_url)
    assert 2 == len(sandbox.events())


def test_cancel_by_the_customer_that_counts() -> None:
    """A setting lets the customer's cancel cancel the intent."""
    sandbox = make_sandbox(customer_cancel_changes_status=True)
    x_intent_id = create(sandbox)

    sandbox.cancel_by_customer(x_intent_id)

    assert "CANCELLED" == sandbox.status(x_intent_id)


# Signatures

V1 = (
    b'{"eventId":"whe_0000000000000001","eventType":"intent.success","eventTime":1760000000000,'
    b'"intentId":"in_0000000000000001","receiptId":"order-1001","status":"SUCCESS","amount":2500,'
    b'"currency":"USD","paymentMethod":"CARD","metadata":{"orderId":"1001"}}'
)
V2 = (
    '{"eventId":"whe_0000000000000002","eventType":"intent.created","eventTime":1760000000001,'
    '"intentId":"in_0000000000000002","status":"CREATED","amount":1999,"currency":"EUR",'
    '"metadata":{"note":"Zoë – ₹"}}'
).encode()


def test_hmac_vectors() -> None:
    """The HMAC is base64 of HMAC-SHA512 over the raw bytes, keyed with the key's UTF-8 bytes."""
    digest = "35fd8bf965cc5592246ec9d3d3f9bafe462e5e459ce284f8c6f9ebc55e310131"
    assert digest == hashlib.sha256(V1).hexdigest()
    assert (
        "4hLW8243OjWcHi+zf/6RKeC9dKx7VAmlXjUQv8i4M5xA8tzbvzD6x8yN13y3QiQQq8ut1AzkwDXfHWG6QXAqcw=="
        == hmac_signature("test_signing_key", V1)
    )
    assert (
        "wMCEjKiAGoIGYp3Bz6Klb8JEYffZrBLCpRvqZBg8aJFl0LAC8H10y3E2pnEJnrd10MpjSpOk+OPCaRmsTFqf2Q=="
        == hmac_signature("test_signing_key", V2)
    )


def verify_ecdsa(public_key: str | None, delivery: Delivery, body: bytes) -> None:
    """Raises InvalidSignature unless the header fits the body."""
    key = serialization.load_der_public_key(base64.b64decode(public_key or ""))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = base64.b64decode(delivery.header("xpay-private-signature") or "", validate=True)
    key.verify(signature, body, ec.ECDSA(hashes.SHA256()))


def test_both_signatures() -> None:
    """Every delivery carries both signatures, over the exact bytes."""
    sandbox = make_sandbox()
    whole_life(sandbox)

    for delivery in sandbox.due():
        expected = hmac_signature("sandbox_signing_key_0123456789", delivery.body)
        assert expected == delivery.header("XPay-Signature")
        assert "application/json" == delivery.header("content-type")
        verify_ecdsa(sandbox.ecdsa_public_key, delivery, delivery.body)
        with pytest.raises(InvalidSignature):
            verify_ecdsa(sandbox.ecdsa_public_key, delivery, delivery.body + b" ")


def test_given_ecdsa_key() -> None:
    """A key that is given as PEM is used, and one on another curve refused."""
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key = ec.generate_private_key(ec.SECP256R1())
    sandboxes = [make_sandbox(ecdsa_private_key_pem=key.private_bytes(*form)) for _ in range(2)]
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(*form)

    assert sandboxes[0].ecdsa_public_key == sandboxes[1].ecdsa_public_key
    for pem in (other, b"nonsense"):
        with pytest.raises(ConfigurationError):
            _ = make_sandbox(ecdsa_private_key_pem=pem).ecdsa_public_key


def test_without_ecdsa() -> None:
    """With `ecdsa=False` only the HMAC header is sent."""
    sandbox = make_sandbox(ecdsa=False)
    create(sandbox)

    assert {"content-type", "xpay-signature"} == dict(sandbox.due()[0].headers).keys()


def test_raw_events() -> None:
    """An event of any type can be sent, signed like every other."""
    sandbox = make_sandbox()

    event = sandbox.send_raw_event("subscription.active", {"subscriptionId": "sub_1"})

    (delivery,) = sandbox.due()
    assert (event.body, HOOK) == (delivery.body, delivery.url)
    assert {
        "eventId": event.event_id,
        "eventType": "subscription.active",
        "eventTime": clock_of(sandbox).now_ms(),
        "subscriptionId": "sub_1",
    } == payloads(sandbox)[0]
