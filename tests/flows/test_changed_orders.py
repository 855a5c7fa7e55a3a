"""That a second press never hands out a dead page, another order's page, or two payable pages."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from xpay_flow import messages
from xpay_flow.errors import AlreadyPaid, OutcomeUnknown, ReceiptInUse
from xpay_flow.flows import Checkout
from xpay_flow.money import Money
from xpay_flow.ports import HttpRequest, NoAnswer
from xpay_flow.records import change
from xpay_flow.sandbox import ApiFault, FaultPlan
from xpay_flow.testing.world import World

from .kit import answer, error, quiet_world, scripted, story, the_record

MINUTE_S = 60


def paths(requests: list[HttpRequest]) -> list[str]:
    """The kinds of the requests, in order."""
    kinds = {
        messages.CREATE_INTENT_PATH: "create",
        messages.CANCEL_INTENT_PATH: "cancel",
        messages.GET_INTENT_PATH: "get",
    }
    return [next(kind for path, kind in kinds.items() if path in r.url) for r in requests]


def press(world: World, **changes: Any) -> Checkout:
    """A press with the usual terms, but for these."""
    order: dict[str, Any] = {
        "receipt_id": "order-42",
        "money": Money(1999, "USD"),
        "callback_url": "https://shop.example/thanks",
        "customer": {"name": "Ada Example", "email": "ada@example.org"},
    }
    return world.flow.start_checkout(**(order | changes))


def payable(world: World) -> list[str]:
    """xPay's intents that a customer can still pay."""
    return [
        intent.x_intent_id
        for intent in world.xpay.intents()
        if not intent.cancelled and intent.succeeded is None
    ]


# --- pages of some age ---------------------------------------------------------------------------


@pytest.mark.parametrize("age_s", [3 * MINUTE_S, 3 * 86_400, 30 * 86_400])
def test_start_checkout_never_hands_out_a_page_that_is_cancelled_at_xpay(age_s: int) -> None:
    """Cancelled in the dashboard: the next press asks, and makes a page that can be paid."""
    world = quiet_world()
    first = press(world)
    world.advance(age_s)
    world.xpay.cancel(first.x_intent_id or "")
    second = press(world)
    assert second.x_intent_id != first.x_intent_id
    assert [second.x_intent_id] == payable(world)
    assert "cancelled" == the_record(world, f"intent:{first.intent_id}").intent.state  # type: ignore[union-attr]


def test_start_checkout_asks_about_a_page_only_when_it_is_some_minutes_old() -> None:
    """A double click costs nothing; later, one question for each press."""
    world = quiet_world()
    transport = scripted(world)
    first = press(world)
    world.advance(MINUTE_S)
    assert first.url == press(world).url
    assert ["create"] == paths(transport.requests)
    world.advance(MINUTE_S)
    assert attrs.evolve(first, resumed=True) == press(world)
    assert ["create", "get"] == paths(transport.requests)


def test_page_check_after_s_is_a_setting() -> None:
    """With 0, each press asks."""
    world = quiet_world(page_check_after_s=0)
    transport = scripted(world)
    press(world)
    press(world)
    assert ["create", "get"] == paths(transport.requests)


def test_start_checkout_asks_when_the_clock_was_set_back() -> None:
    """An attempt from the future has no age that could be believed."""
    world = quiet_world()
    transport = scripted(world)
    press(world)
    record = the_record(world)
    assert record.intent is not None
    later = attrs.evolve(record.intent, created_at_ms=record.intent.created_at_ms + 3_600_000)
    assert world.flow.store.commit(change(record, attrs.evolve(record, intent=later)))
    press(world)
    assert ["create", "get"] == paths(transport.requests)


def test_a_payment_that_is_found_by_asking_is_recorded() -> None:
    """The webhook was lost, and the customer presses Pay again: paid, and fulfilled."""
    world = quiet_world()
    first = press(world)
    world.xpay.pay(first.x_intent_id or "")
    world.advance(10 * MINUTE_S)
    with pytest.raises(AlreadyPaid):
        press(world)
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


@pytest.mark.parametrize(
    "silence",
    [NoAnswer("timed out"), error(500, "internal_server_error"), answer(200, b"<html>")],
    ids=["no answer", "500", "unreadable"],
)
def test_without_an_answer_the_page_is_handed_out_and_asked_about_soon(silence: Any) -> None:
    """xPay's trouble is not the customer's; the reconciler asks within a minute."""
    world = quiet_world()
    first = press(world)
    for _ in range(9 * 24):
        world.advance(3600)
        world.flow.reconcile()
    assert (the_record(world).reconcile_at_ms or 0) > world.clock.now_ms() + 3_600_000
    scripted(world, silence)
    assert first.url == press(world).url
    world.xpay.cancel(first.x_intent_id or "")
    world.advance(MINUTE_S)
    world.flow.reconcile()
    assert first.url != press(world).url


def test_the_question_waits_no_longer_than_the_customer() -> None:
    """The read has five seconds, its turn under the rate limit included."""
    world = quiet_world()
    first = press(world)
    world.advance(10 * MINUTE_S)
    for _ in range(100):
        world.flow.ports.shared.rate_limiter.acquire(world.clock.now_ms())
    started_ms = world.clock.now_ms()
    transport = scripted(world)
    assert first.url == press(world).url
    assert ([], 0) == (transport.requests, world.clock.now_ms() - started_ms)


def test_a_page_that_xpay_does_not_know_is_not_handed_out() -> None:
    """xPay answers 404 about it: the next attempt is made."""
    world = quiet_world()
    first = press(world)
    world.advance(10 * MINUTE_S)
    scripted(world, error(404, "resource_not_found"))
    assert first.url != press(world).url


def test_send_to_checkout_refuses_a_closed_page() -> None:
    """Nobody is sent to a page that is known to be dead."""
    world = quiet_world()
    first = press(world)
    world.xpay.cancel(first.x_intent_id or "")
    world.advance(MINUTE_S)
    world.flow.reconcile()
    with pytest.raises(OutcomeUnknown, match="closed"):
        world.flow.send_to_checkout(first.intent_id)


# --- changed orders ------------------------------------------------------------------------------

CHANGES: dict[str, dict[str, Any]] = {
    "money": {"money": Money(1499, "USD")},
    "callback_url": {"callback_url": "https://shop.example/other"},
    "cancel_url": {"cancel_url": "https://shop.example/cart"},
    "customer.email": {"customer": {"name": "Ada Example", "email": "eve@example.org"}},
    "customer": {"customer": {"name": "Eve Example", "email": "ada@example.org"}},
    "description": {"description": "three mugs"},
    "metadata": {"metadata": {"basket": "8"}},
    "customer_id": {"customer_id": "cus_1"},
    "payment_methods": {"payment_methods": ("CARD", "PAYPAL")},
    "phone_number_required": {"phone_number_required": True},
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_order_gets_a_fresh_page_and_the_old_one_is_closed(field: str) -> None:
    """Cancelled at xPay and read, and only then another attempt: one page can be paid."""
    world = quiet_world()
    first = press(world)
    transport = scripted(world)
    second = press(world, **CHANGES[field])
    assert ["cancel", "get", "create"] == paths(transport.requests)
    assert (False, [second.x_intent_id]) == (second.resumed, payable(world))
    assert second.url != first.url
    assert attrs.evolve(second, resumed=True) == press(world, **CHANGES[field])
    world.xpay.pay(second.x_intent_id or "")
    world.settle()
    assert [f"{second.intent_id}:on_success"] == world.called("on_success")


def test_an_order_that_is_changed_back_gets_a_page_too() -> None:
    """1999, 1499, 1999: each press leads to a page over its own amount."""
    world = quiet_world()
    for amount_minor in (1999, 1499, 1999):
        checkout = press(world, money=Money(amount_minor, "USD"))
        assert [checkout.x_intent_id] == payable(world)
        assert amount_minor == world.xpay.intent(payable(world)[0]).order.amount_minor


def test_a_changed_order_that_is_paid_meanwhile_is_already_paid() -> None:
    """The payment won the race against our cancellation: nothing else is made."""
    world = quiet_world()
    first = press(world)
    world.xpay.pay(first.x_intent_id or "")
    with pytest.raises(AlreadyPaid) as caught:
        press(world, money=Money(1499, "USD"))
    assert ("money",) == caught.value.differences
    assert 1 == len(world.xpay.intents())


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([NoAnswer("timed out"), NoAnswer("timed out")], "did not say"),
        ([error(400, "bad_request", "cannot be cancelled")], "open still"),
        ([NoAnswer("timed out")], "open still"),
    ],
    ids=["no answer at all", "cancelling refused", "cancelling lost"],
)
def test_a_page_that_is_not_proven_closed_is_an_error_that_names_the_difference(
    answers: list[Any], reason: str
) -> None:
    """Never a second payable page; the next press tries again."""
    world = quiet_world()
    first = press(world)
    scripted(world, *answers)
    with pytest.raises(ReceiptInUse, match=f"money.*{reason}") as caught:
        press(world, money=Money(1499, "USD"))
    assert (first.intent_id, ("money",)) == (caught.value.intent_id, caught.value.differences)
    assert [first.x_intent_id] == payable(world)
    assert [press(world, money=Money(1499, "USD")).x_intent_id] == payable(world)


def test_a_changed_order_whose_first_answer_is_lost_resolves_that_first() -> None:
    """The first intent may exist, so it is found under its key, closed, and then replaced."""
    lost = ApiFault(fault="lose_answer", path=messages.CREATE_INTENT_PATH)
    world = quiet_world(faults=FaultPlan(api=(lost,)))
    with pytest.raises(OutcomeUnknown):
        press(world)
    with pytest.raises(ReceiptInUse, match="not known yet"):
        press(world, money=Money(1499, "USD"))
    world.xpay.set_faults(FaultPlan())
    second = press(world, money=Money(1499, "USD"))
    assert (2, [second.x_intent_id]) == (len(world.xpay.intents()), payable(world))


def test_a_changed_order_whose_first_attempt_is_refused_is_new() -> None:
    """The stored creation is repeated, xPay refuses it, and the changed order gets its page."""
    world = quiet_world(create_tries=1)
    scripted(world, NoAnswer("timed out"))
    with pytest.raises(OutcomeUnknown):
        press(world, money=Money(1, "USD"))
    scripted(world, error(422, "bad_request", "too little"))
    assert "created" == press(world).state


def test_new_attempt_leaves_the_other_page_open_knowingly() -> None:
    """new_attempt=True cancels nothing; later presses find the attempt with their own terms."""
    world = quiet_world()
    first = press(world)
    second = press(world, money=Money(1499, "USD"), new_attempt=True)
    assert {first.x_intent_id, second.x_intent_id} == set(payable(world))
    assert first.url == press(world).url
    assert second.url == press(world, money=Money(1499, "USD")).url
    assert 2 == len(world.xpay.intents())


def test_a_creation_that_is_answered_after_its_attempt_was_closed_hands_out_no_page() -> None:
    """Another process has cancelled the attempt while its creator waited for the answer."""
    world = quiet_world()
    elsewhere = world.new_flow(world.flow.store)
    transport = scripted(world)
    pressed: list[Checkout] = []

    def change_meanwhile(request: HttpRequest) -> None:
        transport.before = lambda request: None
        world.flow, here = elsewhere, world.flow
        try:
            pressed.append(press(world, money=Money(1499, "USD")))
        finally:
            world.flow = here

    transport.before = change_meanwhile
    with pytest.raises(OutcomeUnknown, match="closed"):
        press(world)
    assert [pressed[0].x_intent_id] == payable(world)


def test_the_terms_on_file_hold_nothing_that_can_be_read() -> None:
    """To see a change, a digest is enough: no e-mail address, name or URL is stored for it."""
    world = quiet_world()
    press(world, description="two mugs")
    terms = dict(the_record(world).intent.terms)  # type: ignore[union-attr]
    assert {8} == {len(digest) for digest in terms.values()}
    press(world, receipt_id="order-43", description="two mugs")
    other = dict(the_record(world, "receipt:order-43").intent.terms)  # type: ignore[union-attr]
    assert terms["customer.email"] != other["customer.email"]


def test_an_attempt_stored_without_terms_is_compared_by_its_money() -> None:
    """Attempts of an older version have no digests; their page is used for the same amount."""
    world = quiet_world()
    first = press(world)
    record = the_record(world)
    bare = attrs.evolve(record.intent, terms=())  # type: ignore[type-var]
    assert world.flow.store.commit(change(record, attrs.evolve(record, intent=bare)))
    assert first.url == press(world, description="three mugs").url
    assert first.url != press(world, money=Money(1499, "USD")).url


# --- paid orders ---------------------------------------------------------------------------------


def test_a_receipt_id_of_an_older_order_gets_words_that_say_so() -> None:
    """Another customer, another amount: not a bare "already paid", and nobody's page."""
    world = quiet_world()
    first = press(world)
    world.xpay.pay(first.x_intent_id or "")
    world.settle()
    eve = {"name": "Eve", "email": "eve@example.org"}
    with pytest.raises(AlreadyPaid, match="receipt id was used before") as caught:
        press(world, customer=eve, money=Money(500, "USD"))
    assert ("money", "customer.email", "customer") == caught.value.differences
    with pytest.raises(AlreadyPaid) as bare:
        press(world)
    assert ((), False) == (bare.value.differences, "used before" in str(bare.value))


def test_an_order_can_be_paid_anew_after_a_full_refund() -> None:
    """All of the money went back: the next press is a new attempt, and its success no double."""
    world = quiet_world()
    first = press(world)
    world.xpay.pay(first.x_intent_id or "")
    world.settle()
    world.xpay.refund(first.x_intent_id or "", 500)
    world.settle()
    with pytest.raises(AlreadyPaid):
        press(world)
    world.xpay.refund(first.x_intent_id or "")
    world.settle()
    second = press(world)
    assert (False, 2) == (second.resumed, len(world.xpay.intents()))
    world.xpay.pay(second.x_intent_id or "")
    world.settle()
    assert ["pi_1:on_success", "pi_2:on_success"] == world.called("on_success")
    assert [(), ()] == [p.also_paid for name, p in world.calls if name == "on_success"]
    assert [] == world.called("on_attention")


def test_cancelling_by_the_client_names_the_id_twice() -> None:
    """ "The id is needed twice", in path and body, and no idempotency key is sent."""
    world = quiet_world()
    first = press(world)
    transport = scripted(world)
    world.flow.xpay.cancel_intent(first.x_intent_id or "")
    (request,) = transport.requests
    assert request.url.endswith(f"/payments/cancel/{first.x_intent_id}")
    assert b'{"xIntentId":"%s"}' % (first.x_intent_id or "").encode() == request.body
    assert messages.IDEMPOTENCY_HEADER not in request.headers
    assert "CANCELLED" == world.flow.xpay.get_intent(first.x_intent_id or "").status
    assert [("stored", "applied"), ("CREATED", "applied")] == story(world)
