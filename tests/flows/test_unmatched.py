"""What fits no intent of ours is never silent, and strangers can make neither noise nor rows."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from xpay_flow.errors import UntrustedMessage
from xpay_flow.flow import Flow
from xpay_flow.flows import parking
from xpay_flow.sandbox import SandboxConfig
from xpay_flow.sandbox.signer import EcdsaSigner
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import WEBHOOK_URL, ManualClock, SandboxTransport, World

from .kit import body_of, ecdsa_signed, send_webhook, signed, the_record

ELSEWHERE: dict[str, Any] = {
    "intentId": "in_saved_card",
    "receiptId": "order-42",
    "status": "SUCCESS",
    "amount": 1999,
    "currency": "USD",
    "metadata": {},
}
CYCLE: dict[str, Any] = {"subscriptionId": "sub_1", "intentId": "in_cycle", "receiptId": "sub-7"}
SIGNER = EcdsaSigner()
HOUR_S = 3600


def ecdsa_world(**options: Any) -> World:
    key = SIGNER.public_key
    assert key is not None
    config = SandboxConfig(webhook_url=WEBHOOK_URL, ecdsa=False, rate_limit=None)
    return World(config=config, ecdsa_public_keys=(key,), require_signature="ecdsa", **options)


def send_unproven(world: World, event_type: str, event_id: str, **fields: Any) -> Any:
    body = body_of(event_type, event_id, **fields)
    return world.flow.receive_webhook(ecdsa_signed(body, SIGNER), body)


# --- paid elsewhere ------------------------------------------------------------------------------


@pytest.mark.parametrize("hosted_first", [False, True])
def test_a_payment_of_our_receipt_through_another_intent_is_named_on_the_order(
    hosted_first: bool,
) -> None:
    """At once and once; `on_success` of our own payment names it, whichever came first."""
    world = World()
    checkout = world.start_checkout()
    world.settle()
    if hosted_first:
        world.xpay.pay(checkout.x_intent_id or "")
        world.deliver_webhooks()
    for _ in range(2):
        send_webhook(world, "intent.success", **ELSEWHERE)
    intent = the_record(world).intent
    assert intent is not None
    assert ("paid_elsewhere:in_saved_card",) == intent.attention
    if not hosted_first:
        world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    (also_paid,) = [p.also_paid for name, p in world.calls if name == "on_success"]
    assert ("in_saved_card",) == also_paid
    assert ["paid_elsewhere:in_saved_card"] == [
        p.reason for name, p in world.calls if name == "on_attention"
    ]
    world.advance(2 * HOUR_S)
    world.settle()
    assert [] == world.unmatched


def test_a_payment_elsewhere_is_named_on_one_attempt_of_the_order() -> None:
    """Of several the last, and no other when the payment is reported again after one more."""
    world = World()
    world.start_checkout()
    world.start_checkout(new_attempt=True)
    send_webhook(world, "intent.success", **ELSEWHERE)
    world.start_checkout(new_attempt=True)
    send_webhook(world, "intent.success", "whe_again", **ELSEWHERE)
    found = world.flow.store.load("receipt:order-42")
    flagged = [record.intent.paid_elsewhere for record in found if record.intent is not None]
    assert [(), ("in_saved_card",), ()] == flagged


def test_an_event_elsewhere_that_is_no_payment_flags_no_order() -> None:
    """A declined saved card is nothing to look at."""
    world = World()
    world.start_checkout()
    send_webhook(world, "intent.failed", **{**ELSEWHERE, "status": "FAILED"})
    intent = the_record(world).intent
    assert intent is not None
    assert () == intent.attention


@pytest.mark.parametrize("theirs", [False, True])
def test_an_ecdsa_signature_alone_flags_no_order_until_xpay_confirms(theirs: bool) -> None:
    """Any merchant's event may carry our receipt. xPay answers to our keys about ours only."""
    world = ecdsa_world()
    world.start_checkout()
    x_intent_id = "in_theirs" if theirs else _made_by_another_integration(world)
    fields = {**ELSEWHERE, "intentId": x_intent_id}
    send_unproven(world, "intent.success", "whe_1", **fields)
    intent = the_record(world).intent
    assert intent is not None
    assert () == intent.attention
    world.advance(60)
    world.flow.reconcile()
    intent = the_record(world).intent
    assert intent is not None
    assert (() if theirs else (f"paid_elsewhere:{x_intent_id}",)) == intent.attention


def _made_by_another_integration(world: World) -> str:
    """xPay's id of a paid intent for our receipt, made with our keys and not by the flow."""
    other = World()
    other.xpay = world.xpay
    other.ids.new("theirs")  # so that it has idempotency keys of its own
    other.flow = other.new_flow(MemoryStore())
    x_intent_id = other.start_checkout().x_intent_id or ""
    world.xpay.pay(x_intent_id)
    for delivery in world.xpay.due():
        world.xpay.outcome(delivery, 200)
    return x_intent_id


# --- on_unmatched --------------------------------------------------------------------------------


def test_an_authentic_event_that_fits_nothing_of_ours_reaches_on_unmatched_once() -> None:
    """One without an intent at once; one that names an intent after an hour, if none appeared."""
    world = World()
    unpaid: dict[str, Any] = {"subscriptionId": "sub_1", "metadata": {}}
    for _ in range(2):
        send_webhook(world, "subscription.unpaid", "whe_1", **unpaid)
        send_webhook(world, "intent.success", "whe_2", **{**ELSEWHERE, "receiptId": "link-1"})
    world.flow.deliver()
    assert ["subscription.unpaid"] == [event.event_type for event in world.unmatched]
    world.advance(HOUR_S - 1)
    world.flow.deliver()
    assert 1 == len(world.unmatched)
    world.advance(1)
    world.flow.deliver()
    parked = world.unmatched[1]
    assert ("intent.success", "in_saved_card", "link-1", 1999, "USD") == (
        parked.event_type,
        parked.x_intent_id,
        parked.receipt_id,
        parked.amount_minor,
        parked.currency,
    )
    assert '"status":"SUCCESS"' in parked.payload
    assert [] == world.calls


def test_a_parked_event_whose_intent_appears_reaches_no_handler() -> None:
    """The creation's answer was slow: the event is the intent's, and the call is dropped."""
    world = World()
    lost: dict[str, Any] = {"intentId": "in_late", "metadata": {}}
    send_webhook(world, "intent.checkout_opened", **lost)
    world.start_checkout()
    send_webhook(
        world, "intent.created", "whe_2", intentId="in_late", metadata={"xpay_flow_intent": "pi_1"}
    )
    world.advance(60)
    world.flow.reconcile()
    world.advance(2 * HOUR_S)
    world.flow.deliver()
    assert [] == world.unmatched
    (parked,) = world.flow.store.history("parked:sandbox/local:x:in_late")
    assert ["dropped"] == [entry.status for entry in parked.outbox]


def test_quiet_event_types_raise_no_alarm() -> None:
    """They are kept and counted, and nobody is called."""
    world = World(quiet_event_types=("subscription.cycle_charged",))
    send_webhook(world, "subscription.cycle_charged", **CYCLE)
    world.advance(2 * HOUR_S)
    world.flow.deliver()
    assert ([], 1) == (world.unmatched, world.flow.counters["webhook.unknown"])
    assert 1 == len(world.flow.recent())


def test_without_on_unmatched_the_log_shows_what_fits_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error that names the type and both ways out; the call is not forgotten silently."""
    world = World()
    world.flow = Flow(
        MemoryStore(),
        world.settings,
        transport=SandboxTransport(world.xpay),
        clock=ManualClock(world.clock),
        background=False,
    )
    world.flow.on_success(lambda _: None)
    send_webhook(world, "subscription.unpaid", subscriptionId="sub_1")
    with caplog.at_level(logging.ERROR, "xpay_flow.handlers"):
        world.flow.deliver()
    assert "subscription.unpaid" in caplog.text
    assert "quiet_event_types" in caplog.text


def test_an_on_unmatched_that_fails_is_tried_again_under_one_key() -> None:
    """It is an outbox entry like any other, and is given up after the schedule."""
    world = World(retry_schedule_s=(5,))
    keys: list[str] = []

    def failing(event: Any) -> None:
        keys.append(event.idempotency_key)
        raise RuntimeError("no line to the subscriptions")

    world.flow.on_unmatched(failing)
    send_webhook(world, "subscription.unpaid", subscriptionId="sub_1")
    for _ in range(3):
        world.flow.deliver()
        world.advance(5)
    assert (2, 1) == (len(keys), len(set(keys)))
    (record,) = world.flow.store.history("parked:sandbox/local:event:whe_hand")
    assert ["gave_up"] == [entry.status for entry in record.outbox]


# --- what an ECDSA signature alone proves --------------------------------------------------------


def test_parked_events_of_ecdsa_alone_alert_no_one() -> None:
    """They may be any merchant's: kept, counted, shown, and nothing else."""
    world = ecdsa_world()
    send_unproven(world, "subscription.unpaid", "whe_1", subscriptionId="sub_1")
    send_unproven(world, "intent.success", "whe_2", intentId="in_x", amount="odd", currency="USD")
    world.advance(2 * HOUR_S)
    world.flow.deliver()
    assert ([], []) == (world.unmatched, world.calls)
    assert 1 == world.flow.counters["webhook.unknown"]


def test_parked_events_of_ecdsa_alone_are_capped_by_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond a day's number they are refused and counted, not acknowledged: xPay sends again."""
    monkeypatch.setattr(parking, "UNPROVEN_PER_DAY", 3)
    world = ecdsa_world()
    checkout = world.start_checkout()
    for n in range(3):
        send_unproven(world, "intent.success", f"whe_{n}", intentId=f"in_{n}")
        send_unproven(world, "intent.success", f"whe_{n}", intentId=f"in_{n}")  # a copy is free
    with pytest.raises(UntrustedMessage, match="unproven-limit"):
        send_unproven(world, "intent.success", "whe_3", intentId="in_3")
    assert 1 == world.flow.counters["webhook.refused.unproven-limit"]
    opened = send_unproven(world, "intent.checkout_opened", "whe_4", intentId=checkout.x_intent_id)
    assert checkout.intent_id == opened.intent_id
    world.advance(24 * HOUR_S)
    assert "unknown" == send_unproven(world, "intent.success", "whe_3", intentId="in_3").disposition


def test_parked_events_of_ecdsa_alone_are_capped_by_age() -> None:
    """After the reconcile schedule no intent that appears is given them; proven ones stay."""
    world = ecdsa_world(webhook_secrets=World().settings.webhook_secrets)
    send_unproven(world, "intent.checkout_opened", "whe_1", intentId="in_1")
    send_webhook_both(world, "intent.checkout_opened", "whe_2", intentId="in_2")
    for _ in range(20):
        world.advance(24 * HOUR_S)
        world.flow.reconcile()
    assert ([], 1) == (
        world.flow.store.load("x:in_1"),
        len(world.flow.store.load("x:in_2")),
    )
    assert 1 == len(world.flow.store.history("parked:sandbox/local:x:in_1"))


def send_webhook_both(world: World, event_type: str, event_id: str, **fields: Any) -> None:
    body = body_of(event_type, event_id, **fields)
    world.flow.receive_webhook(signed(body) | ecdsa_signed(body, SIGNER), body)


def test_the_record_that_counts_unproven_events_is_no_payment() -> None:
    """It holds a number only, and is due for nothing."""
    world = ecdsa_world()
    send_unproven(world, "subscription.unpaid", "whe_1", subscriptionId="sub_1")
    counts = [record for record in world.flow.recent() if record.key.startswith("unproven:")]
    assert [(None, ())] == [(record.intent, record.entries) for record in counts]
