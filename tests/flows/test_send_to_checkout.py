"""That sending the customer to the checkout is recorded once, and only while it can be paid."""

from __future__ import annotations

import pytest

from xpay_flow.errors import AlreadyPaid, OutcomeUnknown, UnknownIntent
from xpay_flow.ports import NoAnswer
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import World

from .kit import CountingStore, scripted, story, the_record


def test_the_customer_is_sent_to_the_checkout() -> None:
    """The address is the checkout's own, and the intent is redirected."""
    world = World()
    checkout = world.start_checkout()
    assert checkout.url == world.flow.send_to_checkout(checkout.intent_id)
    record = the_record(world)
    assert record.intent is not None
    assert "redirected" == record.intent.state


def test_forwarding_again_writes_nothing() -> None:
    """A reload of the shop's page leads to the checkout and is no new fact."""
    store = CountingStore(MemoryStore())
    world = World(store)
    checkout = world.start_checkout()
    world.flow.send_to_checkout(checkout.intent_id)
    written = len(store.changes)
    assert checkout.url == world.flow.send_to_checkout(checkout.intent_id)
    assert written == len(store.changes)
    assert 1 == story(world).count(("sent_to_checkout", "applied"))


def test_forwarding_does_not_undo_a_failure() -> None:
    """A customer who tries again after a declined card is sent there; the state stays."""
    world = World()
    checkout = world.start_checkout()
    world.xpay.decline(checkout.x_intent_id or "")
    world.settle()
    assert checkout.url == world.flow.send_to_checkout(checkout.intent_id)
    assert ("sent_to_checkout", "stale") == story(world)[-1]
    assert "FAILED" == world.status(checkout.x_intent_id).status


def test_no_customer_is_sent_to_a_page_that_is_paid() -> None:
    """There is nothing left to pay."""
    world = World()
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    with pytest.raises(AlreadyPaid):
        world.flow.send_to_checkout(checkout.intent_id)


def test_no_customer_is_sent_to_an_unknown_address() -> None:
    """The answer of the creation is missing: the shop starts the checkout again."""
    world = World()
    scripted(world, *[NoAnswer("lost")] * 3)
    with pytest.raises(OutcomeUnknown) as caught:
        world.start_checkout()
    with pytest.raises(OutcomeUnknown):
        world.flow.send_to_checkout(caught.value.intent_id or "")
    assert [("stored", "applied")] == story(world)


@pytest.mark.parametrize("name", ["pi_none", "order-42", "", "x:in_1"])
def test_a_name_that_is_no_intents_is_unknown(name: str) -> None:
    """Only our intent id names an intent here; a receipt may have several."""
    world = World()
    world.start_checkout()
    with pytest.raises(UnknownIntent):
        world.flow.send_to_checkout(name)
