"""That a shop's own states and events obey the same rules, and cannot stand for xPay's word."""

from __future__ import annotations

import pytest

from xpay_flow.errors import InvalidValue, UnknownIntent
from xpay_flow.flow import Flow
from xpay_flow.lifecycle import LIFECYCLE
from xpay_flow.testing.world import ManualClock, SandboxTransport, World

from .kit import UNHURRIED, story

MINE = LIFECYCLE.extended(
    states={"in_review": "redirected", "shipped": "success"},
    events={"review_began": "in_review", "parcel_left": "shipped"},
)


def world_of_mine() -> World:
    world = World(config=UNHURRIED)
    world.flow = Flow(
        world.flow.store,
        world.settings,
        transport=SandboxTransport(world.xpay),
        clock=ManualClock(world.clock),
        ids=world.ids,
        lifecycle=MINE,
        background=False,
    )
    world.flow.on_success(lambda payment: world.calls.append(("on_success", payment)))
    return world


def test_an_own_event_moves_the_intent_up_and_only_up() -> None:
    """Recorded once however often it is received, on the timeline, and never down again."""
    world = world_of_mine()
    checkout = world.start_checkout()
    assert "in_review" == world.flow.record(checkout.intent_id, "review_began")
    assert "in_review" == world.flow.record(checkout.intent_id, "review_began")
    assert 1 == story(world).count(("review_began", "applied"))
    assert "in_review" == world.flow.timeline("order-42").intent.state  # type: ignore[union-attr]
    world.flow.send_to_checkout(checkout.intent_id)
    assert "in_review" == world.flow.timeline("order-42").intent.state  # type: ignore[union-attr]


def test_a_payment_is_a_payment_below_and_above_own_states() -> None:
    """In review or shipped: a success pays once, and a later failure undoes nothing."""
    world = world_of_mine()
    checkout = world.start_checkout()
    x_intent_id = checkout.x_intent_id or ""
    world.flow.record(checkout.intent_id, "review_began")
    world.xpay.decline(x_intent_id)
    world.xpay.pay(x_intent_id)
    world.settle()
    assert "shipped" == world.flow.record(checkout.intent_id, "parcel_left")
    world.xpay.refund(x_intent_id, 5)
    world.settle()
    assert "SUCCESS" == world.status(x_intent_id).status
    assert ["pi_1:on_success"] == world.called("on_success")
    assert "shipped" == world.flow.timeline("order-42").intent.state  # type: ignore[union-attr]


def test_an_own_state_is_no_proof_of_payment() -> None:
    """The shop may record shipped; on_success waits for xPay's proof, which is still requested."""
    world = world_of_mine()
    checkout = world.start_checkout()
    world.flow.record(checkout.intent_id, "parcel_left")
    world.flow.deliver()
    assert ([], "PENDING") == (
        world.called("on_success"),
        world.status(checkout.x_intent_id).status,
    )
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(61)
    world.flow.reconcile()
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


@pytest.mark.parametrize(
    "kind", ["intent.success", "report.success", "sent_to_checkout", "no_such", ""]
)
def test_xpays_words_cannot_be_put_into_its_mouth(kind: str) -> None:
    """Only events of one's own lifecycle may be recorded by hand."""
    world = world_of_mine()
    checkout = world.start_checkout()
    before = story(world)
    with pytest.raises(InvalidValue):
        world.flow.record(checkout.intent_id, kind)
    assert before == story(world)


def test_an_own_event_needs_an_intent() -> None:
    """An unknown name is an error."""
    with pytest.raises(UnknownIntent):
        world_of_mine().flow.record("pi_9", "review_began")
