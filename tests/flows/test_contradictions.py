"""What xPay writes oddly, or contradicts, is noted and asked about; it loses no payment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from xpay_flow.errors import InvalidValue, UntrustedMessage
from xpay_flow.sandbox import SandboxConfig
from xpay_flow.testing.world import World

from .kit import answer, body_of, scripted, send_webhook, signed, success_of, the_record

DEAF = SandboxConfig(webhook_url=None)
ODD_FIELDS: list[tuple[str, object]] = [
    ("metadata", []),
    ("eventTime", "2026-01-05T09:30:00Z"),
    ("eventTime", 1767605400000.0),
    ("status", 7),
    ("receiptId", 42),
    ("errorCode", ["x"]),
    ("paymentMethod", {"name": "CARD"}),
]


def attention(world: World) -> tuple[str, ...]:
    intent = the_record(world).intent
    assert intent is not None
    return intent.attention


# --- odd fields ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), ODD_FIELDS)
def test_receive_webhook_leaves_out_and_notes_a_field_that_makes_no_sense(
    name: str, value: object
) -> None:
    """The payment is fulfilled, and the recorded event names what was left out."""
    world = World()
    checkout = world.start_checkout()
    fields = success_of(world, checkout.x_intent_id, **{name: value})
    assert "applied" == send_webhook(world, "intent.success", **fields).disposition
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")
    recorded = the_record(world).events[-1]
    assert (name,) == recorded.event.ignored
    assert name in recorded.why
    assert () == attention(world)


@pytest.mark.parametrize("odd", ['"metadata":[]', '"receiptId":7', '"chargeAttempts":{}'])
def test_reconcile_leaves_out_and_notes_a_field_that_makes_no_sense(odd: str) -> None:
    """An answer is read as a webhook is: what it says of the payment counts."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    send = world.flow.ports.transport.send

    class Odd:
        def send(self, request: Any) -> Any:
            answer = send(request)
            body = b"{" + odd.encode() + b"," + _without(answer.body, odd)[1:]
            return type(answer)(answer.status, answer.headers, body)

    world.flow.ports.transport = Odd()
    world.advance(60)
    world.flow.reconcile()
    recorded = the_record(world).events[-1]
    assert ("report.success", (odd.split('"')[1],)) == (recorded.event.kind, recorded.event.ignored)
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def _without(body: bytes, odd: str) -> bytes:
    members = json.loads(body)
    members.pop(odd.split('"')[1], None)
    return json.dumps(members).encode()


def test_retries_that_differ_in_a_field_that_is_not_read_alert_no_one() -> None:
    """xPay may count its deliveries: only the first is recorded, the others are copies."""
    world = World()
    fields = success_of(world, world.start_checkout().x_intent_id)
    given = [
        send_webhook(world, "intent.success", **fields, deliveryAttempt=n).disposition
        for n in range(3)
    ]
    world.flow.deliver()
    assert ["applied", "duplicate", "duplicate"] == given
    assert ["on_success"] == [name for name, _ in world.calls]


# --- what cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize("amount", ["19.99", 1999.0, True, -1, 2**63])
@pytest.mark.parametrize("names", ["intentId", "metadata"])
def test_an_unreadable_event_that_names_an_intent_of_ours_alerts_and_asks(
    amount: object, names: str
) -> None:
    """Its amount is not believed; an operator hears of it, and xPay's answer fulfils the order."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    honest = success_of(world, checkout.x_intent_id)
    fields = {"amount": amount, "currency": "USD", names: honest[names]}
    received = send_webhook(world, "intent.success", **fields)
    again = send_webhook(world, "intent.success", **fields, deliveryAttempt=2)
    assert ("quarantined", "duplicate") == (received.disposition, again.disposition)
    assert ("pi_1", "created") == (received.intent_id, received.state)
    world.flow.deliver()
    assert [("on_attention", "unreadable")] == [
        (name, (payment.reason or "").partition(":")[0]) for name, payment in world.calls
    ]
    world.xpay.pay(checkout.x_intent_id or "")
    world.flow.reconcile()
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


@pytest.mark.parametrize("body", [b"{", b'{"eventId":"whe_1"}', b'{"amount":NaN}'])
def test_an_unreadable_event_that_names_nothing_of_ours_reaches_on_unmatched(body: bytes) -> None:
    """What is authentic and stays unreadable calls somebody, once."""
    world = World()
    for _ in range(2):
        world.flow.receive_webhook(signed(body), body)
        world.flow.deliver()
    (unmatched,) = world.unmatched
    assert "unreadable" == unmatched.event_type


# --- contradictions ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "CREATED"])
def test_a_success_whose_status_denies_it_is_flagged_and_xpay_is_queried(status: str) -> None:
    """Neither is believed until xPay has answered, which is due at once."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    fields = success_of(world, checkout.x_intent_id, status=status)
    received = send_webhook(world, "intent.success", **fields)
    assert ("contradictory", "created") == (received.disposition, received.state)
    assert ("contradictory_fields:whe_hand",) == attention(world)
    world.xpay.pay(checkout.x_intent_id or "")
    assert ["learned"] == [getattr(r, "outcome", r) for r in world.flow.reconcile()]
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_a_failure_whose_status_is_paid_is_flagged_and_xpay_is_queried() -> None:
    """Nobody is written to that the payment has failed."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    send_webhook(world, "intent.failed", intentId=checkout.x_intent_id, status="SUCCESS")
    world.flow.deliver()
    assert [] == world.called("on_failed")
    assert ["learned"] == [getattr(r, "outcome", r) for r in world.flow.reconcile()]


def test_a_success_with_another_receipt_is_flagged_and_xpay_is_queried_once() -> None:
    """xPay's id says whose it is, so it counts; one more question shows what xPay has."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    fields = success_of(world, checkout.x_intent_id, receiptId="order-7")
    received = send_webhook(world, "intent.success", **fields)
    assert ("contradictory", "success") == (received.disposition, received.state)
    assert ("contradictory_fields:whe_hand",) == attention(world)
    assert 1 == len(world.flow.reconcile())
    assert None is the_record(world).reconcile_at_ms
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_xpays_id_decides_whose_event_it_is_whatever_its_metadata_say() -> None:
    """Metadata that name A do not pay A with the payment of B: B is paid, and it is flagged."""
    world = World(config=DEAF)
    a, b = world.start_checkout("order-a"), world.start_checkout("order-b")
    for event_id in ("whe_1", "whe_2"):
        metadata = {"xpay_flow_intent": a.intent_id} if event_id == "whe_1" else {}
        fields = success_of(world, b.x_intent_id, metadata=metadata)
        received = send_webhook(world, "intent.success", event_id, **fields)
        assert (b.intent_id, "success") == (received.intent_id, received.state)
    other, paid = the_record(world, "receipt:order-a"), the_record(world, "receipt:order-b")
    assert other.intent is not None
    assert paid.intent is not None
    assert ("created", (a.x_intent_id,)) == (other.intent.state, other.intent.x_intent_ids)
    assert ("contradictory_fields:whe_1",) == paid.intent.attention


# --- types that a framework may hand over --------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"xpay-signature": None},
        {"xpay-signature": b"AAAA"},
        {b"xpay-signature": b"AAAA"},
        {"xpay-signature": ["AAAA"]},
        [(b"XPay-Signature", b"AAAA")],
        [("xpay-signature", 7)],
        {None: "AAAA", 7: "AAAA"},
    ],
)
def test_receive_webhook_refuses_headers_that_are_no_text_in_words(headers: Any) -> None:
    """A foreign exception would be answered 500, and its cause be searched for in the library."""
    with pytest.raises(UntrustedMessage, match="xpay-signature"):
        World().flow.receive_webhook(headers, b"{}")


@pytest.mark.parametrize("headers", [None, 7, [("xpay-signature", "x", 1)], ["xpay-signature"]])
def test_receive_webhook_refuses_what_is_no_headers_at_all(headers: Any) -> None:
    """Whoever calls it so has a bug, and reads what is expected."""
    with pytest.raises(InvalidValue, match="pairs"):
        World().flow.receive_webhook(headers, b"{}")


@pytest.mark.parametrize("body", [None, "{}", {}, 7])
def test_receive_webhook_refuses_a_body_that_is_no_bytes(body: Any) -> None:
    """A body that was decoded, or parsed, cannot be verified any more."""
    headers = signed(body_of("intent.success"))
    with pytest.raises(InvalidValue, match="exact bytes"):
        World().flow.receive_webhook(headers, body)


def test_an_answer_with_another_receipt_is_flagged_and_counts() -> None:
    """It is the answer about xPay's id that was queried, so the payment is fulfilled."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    fields = {"xIntentId": checkout.x_intent_id, "amount": 1999, "currency": "USD"}
    scripted(world, answer(200, {**fields, "status": "SUCCESS", "receiptId": "order-7"}))
    world.advance(60)
    world.flow.reconcile()
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")
    assert ("contradictory_fields:answer/get",) == attention(world)
    assert None is the_record(world).reconcile_at_ms
