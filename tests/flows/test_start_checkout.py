"""That pressing Pay makes one intent at xPay, whatever happens to the answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import attrs
import pytest

from xpay_flow import flows, messages
from xpay_flow.checkout_request import CheckoutRequest
from xpay_flow.errors import (
    AlreadyPaid,
    InvalidValue,
    OutcomeUnknown,
    StoreContended,
    StoreUnavailable,
    TooManyRequests,
    XPayFlowError,
    XPayRefused,
)
from xpay_flow.events import EventIdentity
from xpay_flow.flow import Flow
from xpay_flow.flows import Checkout, checkout
from xpay_flow.flows.checkout import REPEATABLE_MS
from xpay_flow.money import Money
from xpay_flow.ports import FOUND_MAX, Clock, HttpRequest, HttpResponse, NoAnswer
from xpay_flow.records import Change, Record, attempt_key
from xpay_flow.sandbox import ApiFault, FaultPlan
from xpay_flow.sandbox.faults import ApiFaultName
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.limits import within_s
from xpay_flow.testing.world import World

from .kit import (
    HOUR_S,
    STILL_RUNNING,
    BreakingStore,
    CountingStore,
    RivalledStore,
    SettableClock,
    SlowCreation,
    StoreBehind,
    When,
    answer,
    error,
    quiet_world,
    scripted,
    send_webhook,
    story,
    success_of,
    the_record,
    touch,
)

REQUEST = CheckoutRequest(
    receipt_id="order-42", money=Money(1999, "USD"), callback_url="https://shop.example/thanks"
)


def lossy(fault: ApiFaultName, times: int | None = None) -> FaultPlan:
    return FaultPlan(api=(ApiFault(fault=fault, path=messages.CREATE_INTENT_PATH, times=times),))


# --- the good day --------------------------------------------------------------------------------


def test_the_attempt_is_stored_before_xpay_is_called() -> None:
    """At the moment of the request its key and its very bytes are on file."""
    world = World()
    transport = scripted(world)
    seen: list[tuple[Record, HttpRequest]] = []
    transport.before = lambda request: seen.append((the_record(world), request))
    checkout = world.start_checkout()
    ((record, request),) = seen
    assert record.intent is not None
    assert checkout.intent_id == record.intent.id
    assert record.intent.idempotency_key == request.headers[messages.IDEMPOTENCY_HEADER]
    assert (record.intent.request or "").encode() == request.body
    assert "initiated" == record.intent.state


def test_a_checkout_leads_to_xpays_page() -> None:
    """The address is xPay's own, unchanged, and the intent carries xPay's id."""
    world = World()
    checkout = world.start_checkout()
    (intent,) = world.xpay.intents()
    assert (world.xpay.fwd_url(intent.x_intent_id), intent.x_intent_id, "created", False) == (
        checkout.url,
        checkout.x_intent_id,
        checkout.state,
        checkout.resumed,
    )


def test_our_intent_id_travels_beside_the_shops_metadata() -> None:
    """xPay is given the shop's own pairs and one more, which names our intent."""
    world = World()
    checkout = world.start_checkout(metadata={"basket": "7"})
    (intent,) = world.xpay.intents()
    assert {"basket": "7", "xpay_flow_intent": checkout.intent_id} == intent.order.metadata


def test_the_address_and_the_request_stay_out_of_what_is_shown() -> None:
    """Neither `repr` nor a timeline opens the checkout; the request goes once it is answered."""
    world = World()
    checkout = world.start_checkout()
    record = the_record(world)
    shown = repr(checkout) + repr(record) + repr(world.flow.timeline("order-42").to_json())
    assert checkout.url not in shown
    assert "ada@example.org" not in shown
    assert record.intent is not None
    assert None is record.intent.request


def test_a_value_that_xpay_would_refuse_is_not_stored() -> None:
    """A bad field is an error before anything is written or sent."""
    world = World()
    with pytest.raises(InvalidValue, match="callback_url"):
        world.flow.start_checkout(
            receipt_id="order-42", money=Money(1999, "USD"), callback_url="http://shop.example"
        )
    with pytest.raises(InvalidValue, match="customer"):
        world.flow.start_checkout(
            receipt_id="order-42",
            money=Money(1999, "USD"),
            callback_url="https://shop.example",
            customer={"phone": "1"},
        )
    assert [] == world.flow.store.history("receipt:order-42")


# --- clicks --------------------------------------------------------------------------------------


def test_a_double_click_continues_the_attempt() -> None:
    """The second call returns the first one's page and asks xPay nothing."""
    world = World()
    transport = scripted(world)
    first = world.start_checkout()
    second = world.start_checkout()
    assert attrs.evolve(first, resumed=True) == second
    assert 1 == len(transport.requests)
    assert 1 == len(world.xpay.intents())


class MeetingStore(StoreBehind):
    """Holds the first look of each of two threads until both have looked."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self._meeting = threading.Barrier(2)
        self._met = threading.local()

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        found = super().load(alias, event)
        if not hasattr(self._met, "yes"):
            self._met.yes = True
            self._meeting.wait(10)
        return found


def test_two_threads_that_see_nothing_yet_make_one_intent() -> None:
    """Both have found no attempt; the store lets one in, and the other continues it."""
    world = World(MeetingStore())
    # Within one flow they would share one call.
    elsewhere = attrs.evolve(world.flow.context)

    def press() -> Checkout:
        return world.flow.run(flows.start_checkout(REQUEST, elsewhere))

    one, other = within_s(60, press, press)
    assert one.url == other.url
    assert one.intent_id == other.intent_id
    assert 1 == len(world.xpay.intents())
    assert 1 == len(world.flow.store.due("reconcile", 2**62, 9))


def test_other_money_is_possible_knowingly() -> None:
    """The error names new_attempt=True, and that works."""
    world = World()
    world.start_checkout(money=Money(1999, "USD"))
    second = world.start_checkout(money=Money(2000, "USD"), new_attempt=True)
    assert "created" == second.state


def test_new_attempt_makes_a_new_attempt() -> None:
    """new_attempt=True makes a second intent for the receipt, with a key of its own."""
    world = World()
    transport = scripted(world)
    first = world.start_checkout()
    second = world.start_checkout(new_attempt=True)
    assert first.intent_id != second.intent_id
    assert 2 == len(set(transport.keys))
    assert [1, 2] == [
        r.intent.attempt for r in world.flow.store.history("receipt:order-42") if r.intent
    ]


@pytest.mark.parametrize("new_attempt", [False, True])
def test_a_paid_receipt_is_not_charged_again(new_attempt: bool) -> None:
    """AlreadyPaid, also when another attempt is requested; xPay hears nothing."""
    world = World()
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    with pytest.raises(AlreadyPaid) as caught:
        world.start_checkout(new_attempt=new_attempt)
    assert checkout.intent_id == caught.value.intent_id
    assert 1 == len(world.xpay.intents())


def test_a_failed_attempt_is_continued_on_its_page() -> None:
    """A declined card does not close the intent: the same page takes the next card."""
    world = World()
    first = world.start_checkout()
    world.xpay.decline(first.x_intent_id or "")
    world.settle()
    second = world.start_checkout()
    assert (first.url, "failed", True) == (second.url, second.state, second.resumed)


def test_a_cancelled_attempt_makes_room_for_the_next() -> None:
    """A cancelled page cannot be paid, so a new intent is made."""
    world = World()
    first = world.start_checkout()
    world.xpay.cancel(first.x_intent_id or "")
    world.advance(61)
    world.flow.reconcile()
    second = world.start_checkout(money=Money(500, "USD"))
    assert "cancelled" == world.flow.timeline(first.intent_id).intent.state  # type: ignore[union-attr]
    assert first.url != second.url
    assert False is second.resumed


# --- the answer is lost --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "answered"),
    [("lose_answer", False), ("lose_request", False), ("error_text", True)],
)
def test_a_lost_answer_is_resumed_under_the_same_key(fault: ApiFaultName, answered: bool) -> None:
    """Whatever was lost: later the same key and the same bytes are sent, and one intent is made."""
    world = World(faults=lossy(fault))
    transport = scripted(world)
    with pytest.raises(OutcomeUnknown) as caught:
        world.start_checkout()
    record = the_record(world)
    assert record.intent is not None
    assert ("initiated", record.intent.id) == (record.intent.state, caught.value.intent_id)
    assert answered == caught.value.answered
    world.xpay.set_faults(FaultPlan())
    checkout = world.start_checkout()
    assert (record.intent.id, True) == (checkout.intent_id, checkout.resumed)
    assert 4 == len(transport.requests)
    assert {record.intent.idempotency_key} == set(transport.keys)
    assert 1 == len({request.body for request in transport.requests})
    assert 1 == len(world.xpay.intents())


def test_an_answer_lost_once_costs_the_customer_a_second() -> None:
    """The same call repeats the identical request after a pause, and succeeds."""
    world = World(faults=lossy("lose_answer", times=1))
    transport = scripted(world)
    started_ms = world.clock.now_ms()
    checkout = world.start_checkout()
    assert "created" == checkout.state
    assert 2 == len(transport.requests)
    assert transport.requests[0] == transport.requests[1]
    assert transport.requests[0].headers == transport.requests[1].headers
    assert 1000 == world.clock.now_ms() - started_ms
    assert 1 == len(world.xpay.intents())


@pytest.mark.parametrize(
    "passing",
    [
        error(409, "conflict"),
        error(400, "bad_request", "A request with this Idempotency-Key is in PROGRESS"),
        error(408, "timeout"),
        error(425, "early"),
        error(500, "internal_server_error"),
        error(503, "unavailable"),
        answer(502, b"<html>bad gateway</html>"),
        answer(302, b"", {"location": "https://elsewhere.example"}),
        answer(100, b""),
    ],
    ids=lambda passing: str(passing.status),
)
def test_an_answer_that_settles_nothing_is_requested_again(passing: HttpResponse) -> None:
    """In progress, overloaded, broken or undocumented: repeated under the same key."""
    world = World()
    transport = scripted(world, passing)
    checkout = world.start_checkout()
    assert "created" == checkout.state
    assert 2 == len(transport.requests)
    assert 1 == len(set(transport.keys))


@pytest.mark.parametrize(("asked_for", "waited_ms"), [("7", 7000), ("0", 0), ("soon", 1000)])
def test_retry_after_is_honoured(asked_for: str, waited_ms: int) -> None:
    """A pause in seconds is kept, in any spelling of the header; other texts are not guessed at."""
    world = World()
    scripted(world, error(429, "rate_limit_exceeded", "", **{"RETRY-After": asked_for}))
    started_ms = world.clock.now_ms()
    world.start_checkout()
    assert waited_ms == world.clock.now_ms() - started_ms


def test_the_customer_does_not_wait_longer_than_the_budget() -> None:
    """A pause that would not fit is not begun: the outcome is unknown at once."""
    world = World()
    transport = scripted(world, error(429, "rate_limit_exceeded", **{"retry-after": "86400"}))
    started_ms = world.clock.now_ms()
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    assert 1 == len(transport.requests)
    assert 0 == world.clock.now_ms() - started_ms


def test_slow_silence_uses_the_budget_up() -> None:
    """Two tries of nine seconds and their pause leave no time for the third."""
    world = World(create_tries=5)
    transport = scripted(world, *[NoAnswer("timed out")] * 5)
    transport.before = lambda request: world.advance(9)
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    assert 2 == len(transport.requests)


def test_the_number_of_tries_is_bounded() -> None:
    """Quick silence is tried three times, after pauses of one and two seconds."""
    world = World()
    transport = scripted(world, *[NoAnswer("refused")] * 9)
    started_ms = world.clock.now_ms()
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    assert 3 == len(transport.requests)
    assert 3000 == world.clock.now_ms() - started_ms


@pytest.mark.parametrize(
    "unusable",
    [
        answer(200, b"<html>hello</html>"),
        answer(200, b""),
        answer(200, {"status": "CREATED", "fwdUrl": "https://pay.xpaycheckout.com/x"}),
        answer(200, {"xIntentId": "in_1", "status": "CREATED"}),
        answer(200, {"xIntentId": "in_1", "status": "CREATED", "fwdUrl": "https://evil.example/"}),
        answer(200, {"xIntentId": "in_1", "status": "CREATED", "fwdUrl": "javascript:alert(1)"}),
        answer(204, b""),
    ],
)
def test_an_answer_that_cannot_be_used_settles_nothing(unusable: HttpResponse) -> None:
    """A foreign host, a missing field, no JSON: no customer is sent on, nothing is filed."""
    world = World()
    transport = scripted(world, unusable)
    with pytest.raises(OutcomeUnknown) as caught:
        world.start_checkout()
    assert True is caught.value.answered
    assert [("stored", "applied")] == story(world)
    assert "created" == world.start_checkout().state
    assert 1 == len(set(transport.keys))


def test_an_attempt_too_old_to_be_repeated_is_left_alone() -> None:
    """xPay forgets a key after a day: the next click is another attempt under another key."""
    world = World(faults=lossy("lose_request"))
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    world.xpay.set_faults(FaultPlan())
    first = the_record(world)
    world.advance(REPEATABLE_MS / 1000)
    checkout = world.start_checkout()
    assert False is checkout.resumed
    assert first.intent is not None
    assert first.intent.id != checkout.intent_id


def test_an_event_before_the_answer_finds_the_attempt() -> None:
    """The customer paid, and the webhook came, before the answer to the creation was known."""
    world = World(faults=lossy("lose_answer"))
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    (intent,) = world.xpay.intents()
    world.xpay.pay(intent.x_intent_id)
    world.settle()
    assert ["pi_1:on_success"] == world.called("on_success")
    with pytest.raises(AlreadyPaid):
        world.start_checkout()
    assert 1 == len(world.xpay.intents())


# --- refusals ------------------------------------------------------------------------------------


def test_a_refusal_closes_the_attempt() -> None:
    """xPay's words reach the shop, the attempt is rejected, and not reconciled again."""
    world = World()
    with pytest.raises(XPayRefused, match="amount") as caught:
        world.start_checkout(money=Money(1, "USD"))
    record = the_record(world)
    assert (400, "bad_request") == (caught.value.http_status, caught.value.error_code)
    assert record.intent is not None
    assert ("rejected", None) == (record.intent.state, record.reconcile_at_ms)
    assert None is record.intent.request


def test_after_a_refusal_the_next_click_is_a_new_attempt() -> None:
    """Also over other money: nothing can be paid on the refused one."""
    world = World()
    with pytest.raises(XPayRefused):
        world.start_checkout(money=Money(1, "USD"))
    checkout = world.start_checkout(money=Money(1999, "USD"))
    assert ("created", False) == (checkout.state, checkout.resumed)
    assert [1, 2] == [
        r.intent.attempt for r in world.flow.store.history("receipt:order-42") if r.intent
    ]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_every_definite_error_is_a_refusal(status: int) -> None:
    """It is not repeated."""
    world = World()
    transport = scripted(world, error(status, "some_code", "No"))
    with pytest.raises(XPayRefused) as caught:
        world.start_checkout()
    assert (status, "some_code", "No") == (
        caught.value.http_status,
        caught.value.error_code,
        caught.value.error_description,
    )
    assert 1 == len(transport.requests)


def test_real_evidence_beats_a_refusal() -> None:
    """An intent that xPay refused and then was paid is paid, and flagged for attention."""
    world = World()
    scripted(world, error(400, "bad_request", "No"))
    with pytest.raises(XPayRefused):
        world.start_checkout()
    fields: dict[str, Any] = {"intentId": "in_real", "amount": 1999, "currency": "USD"}
    received = send_webhook(
        world, "intent.success", metadata={"xpay_flow_intent": "pi_1"}, **fields
    )
    world.flow.deliver()
    assert ("success", 2) == (received.state, received.handlers_due)
    assert ["pi_1:on_success"] == world.called("on_success")
    assert ["pi_1:on_attention:refused_yet_real"] == world.called("on_attention")


def test_an_intent_without_an_address_does_not_stand_in_the_way() -> None:
    """Refused, then seen at xPay: its page was never shown, so the customer gets a new attempt."""
    world = World()
    scripted(world, error(400, "bad_request", "No"))
    with pytest.raises(XPayRefused):
        world.start_checkout()
    send_webhook(world, "intent.created", intentId="in_real", metadata={"xpay_flow_intent": "pi_1"})
    assert "created" == world.start_checkout().state


# --- the store -----------------------------------------------------------------------------------


def test_xpay_is_not_called_before_the_attempt_is_stored() -> None:
    """The store fails at the first commit: xPay never hears of the order."""
    store = BreakingStore(MemoryStore())
    world = World(store)
    transport = scripted(world)
    store.break_next("before")
    with pytest.raises(StoreUnavailable):
        world.start_checkout()
    assert [] == transport.requests


@pytest.mark.parametrize("commit", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_breaks_at_any_commit_heals_by_calling_again(commit: int, when: When) -> None:
    """Whether the commit took effect or not, the next click goes on with one intent."""
    store = BreakingStore(MemoryStore())
    world = World(store)
    store.breaks[commit] = when
    with pytest.raises(StoreUnavailable):
        world.start_checkout()
    checkout = world.start_checkout()
    world.settle()
    assert "created" == checkout.state
    assert 1 == len(world.xpay.intents())
    assert 1 == len(world.flow.store.history("receipt:order-42"))
    assert 1 == story(world).count(("CREATED", "applied"))


def test_a_receipt_that_is_always_taken_ends_in_an_error() -> None:
    """After ten lost races the shop gets an error, and xPay was not called."""

    def rival(change: Change) -> None:
        taken = Record(key=change.record.key, version=1)
        store.inner.commit(Change(record=taken, expected_version=0))

    # The rival takes the place, and shows no attempt under the receipt.
    store = RivalledStore(MemoryStore(), rival)
    world = World(store)
    transport = scripted(world)
    with pytest.raises(StoreContended):
        world.start_checkout()
    assert 10 == store.commits
    assert [] == transport.requests


def losing(losses: int) -> World:
    """A world in which others change each attempt just before we do, so many times."""
    left = iter(range(losses))

    def rival(change: Change) -> None:
        if change.expected_version and next(left, None) is not None:
            touch(world.flow.store, change.record.key)

    world = World(RivalledStore(MemoryStore(), rival))
    return world


def test_the_answer_is_filed_although_others_write_meanwhile() -> None:
    """Nine lost races are survived."""
    assert "created" == losing(9).start_checkout().state


def test_ten_lost_races_are_an_error_that_a_new_call_heals() -> None:
    """StoreContended, after xPay has made the intent; the next call finds it there."""
    world = losing(10)
    with pytest.raises(StoreContended):
        world.start_checkout()
    assert "created" == world.start_checkout().state
    assert 1 == len(world.xpay.intents())


def test_the_first_attempt_has_the_first_key() -> None:
    """The primary key names receipt and attempt, so that a database can refuse the second."""
    store = CountingStore(MemoryStore())
    world = World(store)
    world.start_checkout()
    assert attempt_key("order-42", 1, world.flow.settings.realm) == store.changes[0].record.key
    assert 0 == store.changes[0].expected_version


def test_a_success_before_the_double_click_is_seen() -> None:
    """The webhook arrives between two clicks: the second one is AlreadyPaid."""
    world = World()
    checkout = world.start_checkout()
    send_webhook(world, "intent.success", **success_of(world, checkout.x_intent_id))
    with pytest.raises(AlreadyPaid):
        world.start_checkout()


def test_a_turn_that_nobody_used_does_not_hold_up_the_next() -> None:
    """Some customers were refused in a rush; soon after it the shop is as quick as ever."""
    world = World()
    for _ in range(100):
        # Requests of other threads, which wait for their turns.
        world.flow.ports.shared.rate_limiter.acquire(world.clock.now_ms())
    for number in range(50):
        with pytest.raises(TooManyRequests):
            world.start_checkout(f"order-{number}")
    world.advance(11)
    started_ms = world.clock.now_ms()
    assert "created" == world.start_checkout().state
    assert 0 == world.clock.now_ms() - started_ms


def test_start_checkout_opens_one_page_for_clicks_during_the_first() -> None:
    """However xPay words "your first request is still running", one page can be paid on."""
    world, pages = quiet_world(), list[str]()

    def click() -> None:
        with suppress(XPayFlowError):
            pages.append(world.start_checkout().url)

    busy = error(400, messages.BAD_REQUEST, STILL_RUNNING)

    def twice() -> None:
        click()
        click()

    world.flow.ports.transport = SlowCreation(world.flow.ports.transport, busy, twice)
    click()
    assert 1 == len(set(pages))


def test_start_checkout_refuses_an_answer_about_another_order() -> None:
    """A create answer that names another receipt, amount and intent of ours is not believed."""
    world = quiet_world()
    theirs = {
        "xIntentId": "in_theirs",
        "status": "CREATED",
        "amount": 990_000,
        "currency": "EUR",
        "receiptId": "order-of-another-shop",
        "fwdUrl": "https://pay.xpaycheckout.com/?xpay_intent_id=theirs",
        "metadata": {"xpay_flow_intent": "pi_somebody_else"},
    }
    scripted(world, answer(200, theirs))
    with pytest.raises(XPayFlowError):
        world.start_checkout()


def test_start_checkout_refuses_half_a_character_before_anything_is_stored() -> None:
    r"""A customer named "\\ud800" (any JSON can say so) costs an InvalidValue, and no attempt."""
    world = quiet_world()
    with pytest.raises(InvalidValue):
        world.flow.start_checkout(
            receipt_id="order-42",
            money=Money(1999, "USD"),
            callback_url="https://shop.example/thanks",
            customer={"name": "\ud800", "email": "ada@example.org"},
        )


def test_start_checkout_does_not_count_attempts_that_ended_in_a_refusal() -> None:
    """However often xPay refused, the order can still be paid, and its page is the newest."""
    world = quiet_world()
    script = scripted(world)
    script.then(*2 * FOUND_MAX * [error(400, messages.BAD_REQUEST, "no such country")])
    for _ in range(2 * FOUND_MAX):
        with pytest.raises(XPayRefused):
            world.start_checkout()
    checkout = world.start_checkout()
    assert checkout.url == world.start_checkout().url
    intent = world.flow.timeline(checkout.intent_id).intent
    assert intent is not None
    assert 2 * FOUND_MAX + 1 == intent.attempt


def test_start_checkout_refuses_a_receipt_with_too_many_open_attempts() -> None:
    """A hundred open attempts for one receipt are a mistake; the error names the remedy."""
    world = quiet_world()
    for _ in range(FOUND_MAX):
        world.start_checkout(new_attempt=True)
    with pytest.raises(InvalidValue, match="use another"):
        world.start_checkout(new_attempt=True)


class OwnTime:
    """The clock of one of many threads: a pause is over when it is over, whatever others do."""

    def __init__(self) -> None:
        self.ms = 1_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def pause(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class Willing:
    """An xPay that creates whatever is requested, at once."""

    def send(self, request: HttpRequest) -> HttpResponse:
        page = "https://pay.xpaycheckout.com/?xpay_intent_id=1"
        return answer(200, {"xIntentId": "in_1", "status": "CREATED", "fwdUrl": page})


def test_requests_per_minute_serves_more_clicks_at_the_rate() -> None:
    """Under two clicks a second and a rate of one, half of the customers get their page."""
    clock, settings = OwnTime(), Settings.sandbox(requests_per_minute=60)
    flow = Flow(MemoryStore(), settings, transport=Willing(), clock=clock, background=False)
    begin_ms, served = clock.ms, 0
    for half_second in range(400):
        clock.ms = begin_ms + half_second * 500
        with suppress(TooManyRequests):
            flow.xpay.create_intent("{}", "key")
            served += half_second >= 200
    # The second 100 seconds at one a second, less a margin.
    assert served >= 80


def test_start_checkout_goes_on_after_the_clock_is_set_back() -> None:
    """After the clock went back by an hour, the next customer gets a page."""
    world = quiet_world(requests_per_minute=60)
    clock = SettableClock(world.clock)
    world.flow.ports.clock = cast(Clock, clock)
    world.start_checkout("order-1")
    clock.back_ms = HOUR_S * 1000
    assert world.start_checkout("order-2").url


# --- money ---------------------------------------------------------------------------------------


def test_start_checkout_refuses_money_counted_otherwise_than_the_settings_say() -> None:
    """A price made by ISO 4217 would be wrong by a factor where currency_decimals differs."""
    world = quiet_world(currency_decimals=("ISK:2",))
    with pytest.raises(InvalidValue, match=r"flow\.settings\.money"):
        world.start_checkout(money=Money.of("500", "ISK"))
    assert [] == world.flow.store.history("receipt:order-42")
    world.start_checkout(money=world.settings.money("500", "ISK"))
    intent = the_record(world).intent
    assert intent is not None
    assert "500.00 ISK" == str(intent.money)
    assert 50_000 == world.xpay.intents()[0].order.amount_minor


def test_start_checkout_warns_once_of_a_currency_that_providers_count_differently(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first charge in it is a warning that names the setting; a setting silences it."""
    checkout._warn_of.cache_clear()
    world = quiet_world(currency_decimals=("ISK:0",))
    world.start_checkout("order-1", Money(50_000, "ISK"))
    assert "" == caplog.text
    world.start_checkout("order-2", Money(50_000, "UGX"))
    world.start_checkout("order-3", Money(50_000, "UGX"))
    assert 1 == len(caplog.records)
    assert "XPAY_CURRENCY_DECIMALS" in caplog.text
