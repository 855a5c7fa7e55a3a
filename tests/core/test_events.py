"""What is an event, and when are two events the same? Read from bytes, as they arrive."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from xpay_flow import events as ev
from xpay_flow.events import Event
from xpay_flow.wire import read_intent, read_webhook

from .strategies import METADATA_KEY, T0_MS, created, own, paid, refused, report, webhook

PAID = {
    "eventId": "whe_1",
    "eventType": "intent.success",
    "eventTime": T0_MS,
    "intentId": "in_A",
    "receiptId": "order-1001",
    "status": "SUCCESS",
    "amount": 2500,
    "currency": "USD",
    "paymentMethod": "CARD",
    "customerDetails": {"name": "Ada Example", "email": "ada@example.org"},
    "card": {"brand": "visa", "lastFourDigit": "4242", "expiryMonth": 4, "expiryYear": 2031},
    "metadata": {METADATA_KEY: "int_1", "orderId": "1001"},
}
ANSWER = {
    "xIntentId": "in_A",
    "status": "FAILED",
    "amount": 2500,
    "currency": "USD",
    "receiptId": "order-1001",
    "chargeAttempts": [{"status": "FAILED", "errorCode": "card_decline"}],
    "succeededCharge": {"paymentMetadata": {"paymentMethod": "CARD"}},
    "fwdUrl": "https://pay.example/s3cr3t",
}


def from_webhook(message: dict[str, Any], proof: str = "hmac:0") -> Event:
    return ev.from_webhook(read_webhook(json.dumps(message).encode()), proof, METADATA_KEY)


def from_report(answer: dict[str, Any], at_ms: int = T0_MS) -> Event:
    return ev.from_report(read_intent(json.dumps(answer).encode()), at_ms)


def test_every_field_of_a_webhook_finds_its_place() -> None:
    """The event of a webhook consists of its members, and our own id comes from the metadata."""
    event = from_webhook(PAID)
    assert (
        Event(
            kind="intent.success",
            type="intent.success",
            source="webhook",
            event_id="whe_1",
            digest=event.digest,
            at_ms=T0_MS,
            proof="hmac:0",
            intent_id="int_1",
            x_intent_id="in_A",
            receipt_id="order-1001",
            status="SUCCESS",
            amount_minor=2500,
            currency="USD",
            payment_method="CARD",
            payload=event.payload,
        )
        == event
    )


def test_metadata_are_kept_with_unmatched_events_alone() -> None:
    """The shop's own texts show whose an unmatched event is; with its payment they are not kept."""
    event = from_webhook(PAID)
    parked = ev.with_metadata(event, PAID["metadata"])
    assert "orderId" not in event.payload
    assert {"orderId": "1001", METADATA_KEY: "int_1"} == json.loads(parked.payload)["metadata"]
    assert event == ev.without_metadata(parked)
    assert "1001" not in repr(attrs.evolve(parked, receipt_id=None))


def test_codes_are_masked() -> None:
    """A code of xPay's is foreign text: an address in it is not stored, and copies stay copies."""
    odd = PAID | {"errorCode": "for ada@mail.example", "paymentMethod": "of ada@mail.example"}
    event = from_webhook(odd)
    assert ("for […]", "of […]") == (event.error_code, event.payment_method)
    assert event.digest != from_webhook(odd | {"errorCode": "for bob@mail.example"}).digest
    assert "of […]" == from_report(ANSWER | {"status": "of ada@mail.example"}).type


def test_the_payload_is_kept_without_secrets() -> None:
    """What is stored with the event holds neither personal data nor the address of the checkout."""
    kept = json.loads(from_webhook(PAID).payload)
    assert {"brand": "visa", "lastFourDigit": "4242"} == kept["card"]
    assert "customerDetails" not in kept
    assert "s3cr3t" not in from_report(ANSWER).payload


@pytest.mark.parametrize(
    "changed",
    [
        {"eventType": "intent.failed"},
        {"eventTime": T0_MS + 1},
        {"amount": 2499},
        {"metadata": {}},
        {"receiptId": None},
        {"status": "REFUNDED"},
        {"paymentMethod": "PAYPAL"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_content_is_another_event(changed: dict[str, Any]) -> None:
    """A field that is read and differs makes another identity."""
    assert from_webhook(PAID).event_key != from_webhook(PAID | changed).event_key


@pytest.mark.parametrize(
    "changed",
    [
        {"deliveryAttempt": 2},
        {"sentAt": T0_MS + 1},
        {"card": {"brand": "visa", "lastFourDigit": "4242", "expiryMonth": 5}},
        {"customerDetails": None},
        {"mode": "TEST"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_fields_that_are_not_read_make_no_other_event(changed: dict[str, Any]) -> None:
    """A retry may count itself: it is a copy all the same."""
    assert from_webhook(PAID).event_key == from_webhook(PAID | changed).event_key


def test_another_event_id_is_another_event() -> None:
    """Two events of the same content are two events."""
    assert paid("whe_1").event_key != paid("whe_2").event_key


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("intent.created", "intent.created"),
        ("intent.dispute_lost", "intent.dispute_lost"),
        ("intent.cancelled", "unknown"),
        ("setup_method.success", "unknown"),
        ("report.success", "unknown"),
        ("stored", "unknown"),
    ],
)
def test_only_known_types_of_webhooks_have_rules(event_type: str, kind: str) -> None:
    """A type without a rule is `unknown`, also if it is called like a kind of our own."""
    event = webhook(event_type, "whe_1")
    assert (kind, event_type) == (event.kind, event.type)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("CREATED", "report.open"),
        ("PENDING", "report.open"),
        ("FAILED", "report.failed"),
        ("CANCELLED", "report.cancelled"),
        ("SUCCESS", "report.success"),
        ("REFUNDED", "report.refunded"),
        ("PARTIALLY_REFUNDED", "report.partially_refunded"),
        ("success", "report.open"),
    ],
)
def test_the_status_of_an_answer_is_its_kind(status: str, kind: str) -> None:
    """Unknown statuses count as open, so that reconciliation goes on."""
    assert (kind, status) == (report(status).kind, report(status).type)


def test_an_identical_answer_is_the_same_event() -> None:
    """Asking again at another time, or with members that do not matter, adds nothing."""
    again = from_report(ANSWER | {"description": "Two mugs"}, at_ms=T0_MS + 60_000)
    assert from_report(ANSWER).event_key == again.event_key


@pytest.mark.parametrize(
    "changed",
    [
        {"xIntentId": "in_B"},
        {"status": "CANCELLED"},
        {"amount": 2499},
        {"currency": "EUR"},
        {"chargeAttempts": [{"status": "FAILED", "errorCode": "lost_card"}]},
        {"succeededCharge": {"paymentMetadata": {"paymentMethod": "PAYPAL"}}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_an_answer_that_differs_in_what_matters_is_another_event(changed: dict[str, Any]) -> None:
    """Id, status, money, failure and method make the identity of an answer."""
    assert from_report(ANSWER).event_key != from_report(ANSWER | changed).event_key


def test_answers_to_the_creation_are_one_per_intent() -> None:
    """The same intent answered twice is the same event; another intent is not."""
    assert created("in_A").event_key == created("in_A").event_key
    assert created("in_A").event_key != created("in_B").event_key


def test_the_address_of_the_checkout_is_not_shown() -> None:
    """Anyone who has it can open the page."""
    assert created().url is not None
    assert "https" not in repr(created())


def test_an_act_is_known_by_its_subject() -> None:
    """The same act for the same subject is the same event."""
    assert own(ev.HANDLER_GAVE_UP, "a").event_key == own(ev.HANDLER_GAVE_UP, "a").event_key
    assert own(ev.HANDLER_GAVE_UP, "a").event_key != own(ev.HANDLER_GAVE_UP, "b").event_key
    assert own(ev.HANDLER_GAVE_UP).event_key != own(ev.SENT_TO_CHECKOUT).event_key


def test_a_refusal_keeps_xpays_words() -> None:
    """The code is the type, and both words are in the payload."""
    event = refused()
    assert ("create_refused", "bad_request") == (event.kind, event.type)
    assert {
        "errorCode": "bad_request",
        "errorDescription": "amount is too small",
    } == json.loads(event.payload)


@pytest.mark.parametrize(
    ("proof", "expected"), [("hmac:0", True), ("hmac:1", True), ("api", True), ("ecdsa", False)]
)
def test_one_key_for_all_merchants_proves_little(proof: str, expected: bool) -> None:
    """An ECDSA signature alone does not show that the event is for this merchant."""
    assert expected is from_webhook(PAID, proof).is_for_this_merchant


def test_an_event_is_a_value() -> None:
    """An event cannot be changed after it was read."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(paid("whe_1"), "kind", "intent.failed")  # noqa: B010
