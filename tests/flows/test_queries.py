"""That return pages and status queries show the truth and cannot write, whatever they find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import attrs
import pytest

from xpay_flow import drive, flows
from xpay_flow.effects import Commit, Query, commit
from xpay_flow.endpoints import WebRequest
from xpay_flow.errors import OutcomeUnknown, StoreUnavailable, UnknownIntent, XPayRefused
from xpay_flow.flow import AsyncFlow
from xpay_flow.flows import FlowContext, PaymentStatus
from xpay_flow.flows.queries import UNKNOWN_PAYMENT
from xpay_flow.lifecycle import LIFECYCLE
from xpay_flow.money import Money
from xpay_flow.ports import Clock, NoAnswer
from xpay_flow.records import aliases_of, change
from xpay_flow.stores import open_store
from xpay_flow.testing.world import AsyncManualClock, World

from .kit import (
    HOUR_S,
    SettableClock,
    UnwritableStore,
    error,
    quiet_world,
    scripted,
    send_webhook,
    success_of,
    the_record,
)

PENDING = PaymentStatus(status="PENDING", final=False)
SUCCESS = PaymentStatus(status="SUCCESS", final=True)
FAILED = PaymentStatus(status="FAILED", final=False)


# --- output --------------------------------------------------------------------------------------

ACTS: dict[str, tuple[Callable[[World, str], object], PaymentStatus]] = {
    "created": (lambda world, x: None, PENDING),
    "redirected": (lambda world, x: world.flow.send_to_checkout("pi_1"), PENDING),
    "opened": (lambda world, x: world.xpay.open_checkout(x), PENDING),
    "declined": (lambda world, x: world.xpay.decline(x), FAILED),
    "paid": (lambda world, x: world.xpay.pay(x), SUCCESS),
    "declined, then paid": (lambda world, x: (world.xpay.decline(x), world.xpay.pay(x)), SUCCESS),
    "refunded": (
        lambda world, x: (world.xpay.pay(x), world.xpay.refund(x)),
        attrs.evolve(SUCCESS, refunded="full"),
    ),
    "disputed": (lambda world, x: (world.xpay.pay(x), world.xpay.dispute(x)), SUCCESS),
    "wrong money": (
        lambda world, x: send_webhook(world, "intent.success", **success_of(world, x, amount=1)),
        PENDING,
    ),
    "declined, then wrong money": (
        lambda world, x: (
            world.xpay.decline(x),
            send_webhook(world, "intent.success", **success_of(world, x, amount=1)),
        ),
        PENDING,
    ),
    "only a refund": (
        lambda world, x: send_webhook(
            world, "intent.refunded", intentId=x, refundId="rf_1", amount=1, currency="USD"
        ),
        attrs.evolve(PENDING, refunded="partial"),
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_the_customer_sees_how_the_payment_stands(act: str) -> None:
    """Paid only when amount and payment are proven; failed is never the last word."""
    acted, expected = ACTS[act]
    world = World()
    x_intent_id = world.start_checkout().x_intent_id or ""
    acted(world, x_intent_id)
    world.deliver_webhooks()
    assert expected == world.status(x_intent_id)


def test_a_cancelled_payment_failed_and_may_still_succeed() -> None:
    """A charge that was running when the merchant cancelled is believed."""
    world = World()
    x_intent_id = world.start_checkout().x_intent_id or ""
    world.xpay.cancel(x_intent_id)
    world.advance(61)
    world.flow.reconcile()
    assert FAILED == world.status(x_intent_id)
    world.xpay.pay(x_intent_id, despite_cancel=True)
    world.deliver_webhooks()
    assert SUCCESS == world.status(x_intent_id)


@pytest.mark.parametrize(
    "name", ["", "in_nobody", "pi_1", "order-42", "x", "é\ud800", "a" * 10_000]
)
def test_an_id_that_is_not_known_is_pending(name: str) -> None:
    """The customer can be back before anything else is; other names say nothing."""
    world = World()
    world.start_checkout()
    assert UNKNOWN_PAYMENT == world.status(name)


def test_the_status_tells_nothing_else() -> None:
    """No amount, no receipt, no ids: a guessed id yields a few words."""
    assert ["status", "final", "known", "refunded", "retry_after_s"] == [
        field.name for field in attrs.fields(PaymentStatus)
    ]


def test_status_stays_success_and_names_the_refund_beside_it() -> None:
    """Money that went back is a word of its own: the status stays one of three."""
    world = World()
    x_intent_id = world.start_checkout().x_intent_id or ""
    world.xpay.pay(x_intent_id)
    world.settle()
    assert SUCCESS == world.status(x_intent_id)
    world.xpay.refund(x_intent_id, 500)
    world.settle()
    assert attrs.evolve(SUCCESS, refunded="partial") == world.status(x_intent_id)
    world.xpay.refund(x_intent_id)
    world.settle()
    assert attrs.evolve(SUCCESS, refunded="full") == world.status(x_intent_id)


def test_status_of_an_id_that_several_intents_have_is_pending_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No customer is shown the payment of another: both are named to the operator."""
    world = World()
    paid = world.start_checkout("order-1")
    world.start_checkout("order-2")
    world.xpay.pay(paid.x_intent_id or "")
    world.settle()
    mixed = the_record(world, "receipt:order-2")
    assert mixed.intent is not None
    intent = attrs.evolve(mixed.intent, x_intent_ids=(paid.x_intent_id or "",))
    after = attrs.evolve(mixed, intent=intent, aliases=aliases_of(mixed.key, intent))
    assert world.flow.store.commit(change(mixed, after))
    assert PENDING == world.status(paid.x_intent_id)
    assert "shown as pending" in caplog.text
    assert paid.intent_id in caplog.text


def test_parked_events_do_not_hide_the_intent() -> None:
    """Events that came too early is filed under the same id and is no intent."""
    world = World(config=None)
    send_webhook(world, "intent.created", intentId="in_foreign")
    assert UNKNOWN_PAYMENT == world.status("in_foreign")


# --- waiting -------------------------------------------------------------------------------------


def test_a_waiting_query_ends_when_the_time_is_up() -> None:
    """Half a second between looks, and not a moment longer than requested."""
    world = World()
    x_intent_id = world.start_checkout().x_intent_id or ""
    started_ms = world.clock.now_ms()
    assert PENDING == world.flow.status(x_intent_id, wait_s=2.2)
    assert 2200 == world.clock.now_ms() - started_ms


def test_a_waiting_query_ends_when_an_event_comes() -> None:
    """At the first look after it."""
    world = World()
    x_intent_id = world.start_checkout().x_intent_id or ""
    started_ms = world.clock.now_ms()
    clock = world.flow.ports.clock
    pause = clock.pause

    def with_news(seconds: float) -> None:
        pause(seconds)
        if world.clock.now_ms() - started_ms == 1500:
            world.xpay.pay(x_intent_id)
            world.deliver_webhooks()

    clock.pause = with_news  # type: ignore[method-assign]
    assert SUCCESS == world.flow.status(x_intent_id, wait_s=20)
    assert 1500 == world.clock.now_ms() - started_ms


@pytest.mark.parametrize("act", ["pay", "decline"])
def test_a_query_does_not_wait_for_what_is_known(act: str) -> None:
    """An event that is there is shown at once."""
    world = World()
    x_intent_id = world.start_checkout().x_intent_id or ""
    getattr(world.xpay, act)(x_intent_id)
    world.deliver_webhooks()
    started_ms = world.clock.now_ms()
    world.flow.status(x_intent_id, wait_s=20)
    assert started_ms == world.clock.now_ms()


# --- finding -------------------------------------------------------------------------------------


def test_a_payment_is_found_by_any_of_its_names() -> None:
    """Our id, xPay's id, the receipt and the key lead to the same story."""
    world = World()
    checkout = world.start_checkout()
    names = (
        checkout.intent_id,
        checkout.x_intent_id or "",
        "order-42",
        "attempt:sandbox/local:1:order-42",
    )
    assert 1 == len({repr(world.flow.timeline(name)) for name in names})


def test_of_several_attempts_the_last_is_meant() -> None:
    """A receipt names the attempt that the customer is at."""
    world = World()
    scripted(world, error(400, "bad_request"))
    with pytest.raises(XPayRefused):
        world.start_checkout()
    world.start_checkout()
    intent = world.flow.timeline("order-42").intent
    assert intent is not None
    assert (2, "created") == (intent.attempt, intent.state)


def test_an_unknown_name_is_an_error_for_a_person() -> None:
    """Unlike the customer's status: an operator's typing error should be seen."""
    with pytest.raises(UnknownIntent, match="unknown"):
        World().flow.timeline("unknown")


def test_recent_records_are_newest_first() -> None:
    """At most as many as requested, parked records among them."""
    world = World()
    for number in range(3):
        world.start_checkout(f"order-{number}")
    send_webhook(world, "intent.created", intentId="in_foreign")
    keys = [timeline.key for timeline in world.flow.recent(3)]
    assert [
        "parked:sandbox/local:x:in_foreign",
        "attempt:sandbox/local:1:order-2",
        "attempt:sandbox/local:1:order-1",
    ] == keys


# --- no writes -----------------------------------------------------------------------------------


def states(world: World) -> list[str]:
    """One payment in each state; xPay's ids, known and unknown."""
    ids = ["in_nobody", ""]
    for number, act in enumerate(("open_checkout", "decline", "pay", "cancel")):
        checkout = world.start_checkout(f"order-{number}")
        getattr(world.xpay, act)(checkout.x_intent_id)
        ids.append(checkout.x_intent_id or "")
    world.advance(61)
    world.deliver_webhooks()
    world.flow.reconcile()
    send_webhook(world, "intent.created", "whe_parked", intentId="in_foreign")
    scripted(world, error(400, "bad_request"), *[NoAnswer("lost")] * 3)
    with pytest.raises(XPayRefused):
        world.start_checkout("order-refused")
    with pytest.raises(OutcomeUnknown):
        world.start_checkout("order-unanswered")
    return [*ids, "in_foreign"]


def gets(x_intent_id: str) -> list[WebRequest]:
    """Every request that a browser may make by being sent somewhere."""
    queries: list[dict[str, str]] = [
        {},
        {"xpay_intent_id": x_intent_id},
        {"xpay_intent_id": x_intent_id, "wait": "1"},
        {"xpay_intent_id": x_intent_id, "looks": "1", "status": "SUCCESS"},
    ]
    paths = ("/payment-status", "/return", "/xpay-flow.js", "/xpay-flow.css", "/webhook", "/")
    return [
        WebRequest(method=method, path=path, query=query)
        for method in ("GET", "HEAD")
        for path in paths
        for query in queries
    ]


def test_nothing_a_browser_can_be_sent_to_writes() -> None:
    """Every query and every GET route, in every state, over a store that fails at any write."""
    world = World()
    ids = states(world)
    unwritable = UnwritableStore(world.flow.store)
    scripted(world, *[NoAnswer("a query called xPay")] * 1000)
    calls = len(world.calls)
    shop = world.new_flow(unwritable)
    for x_intent_id in ids:
        shop.status(x_intent_id, wait_s=1)
        for request in gets(x_intent_id):
            assert shop.handle(request).status < 500, request
    for name in ("order-0", "order-refused", "order-unanswered"):
        shop.timeline(name)
    shop.recent()
    assert calls == len(world.calls)


def test_the_unwritable_store_does_fail() -> None:
    """The proof above has teeth: the same store stops every command."""
    world = World()
    checkout = world.start_checkout()
    shop = world.new_flow(UnwritableStore(world.flow.store))
    with pytest.raises(AssertionError, match="wrote"):
        shop.send_to_checkout(checkout.intent_id)
    with pytest.raises(AssertionError, match="took work"):
        shop.deliver()


def test_a_query_that_tries_to_write_has_nothing_to_write_with() -> None:
    """Past the type checker, the driver still refuses: a commit is not a read."""
    world = World()
    world.start_checkout()
    step = change(the_record(world), the_record(world))

    def smuggler() -> Query[bool]:
        return (yield from commit(step))  # type: ignore[misc]

    before = the_record(world)
    with pytest.raises(TypeError, match="Commit"):
        world.flow.query(smuggler())
    assert before == the_record(world)


def test_a_query_of_an_async_flow_has_nothing_to_write_with_either() -> None:
    """The same refusal, awaited."""
    world = World()
    world.start_checkout()
    step = change(the_record(world), the_record(world))
    flow = AsyncFlow(
        world.flow.store,
        world.settings,
        transport=object(),  # type: ignore[arg-type]
        clock=AsyncManualClock(world.clock),
        background=False,
    )

    def smuggler() -> Query[bool]:
        return (yield from commit(step))  # type: ignore[misc]

    with pytest.raises(TypeError, match="Commit"):
        asyncio.run(flow.query(smuggler()))


def test_a_query_is_given_the_reader() -> None:
    """And the reader of each shipped store has no method that writes."""
    world = World()
    reader = world.flow.store.reader()
    assert not hasattr(reader, "commit")
    assert not hasattr(reader, "due")
    found = drive.run_query(flows.find(world.start_checkout().intent_id), reader, _Still())
    assert "attempt:sandbox/local:1:order-42" == found[0].key


class _Still:
    def now_ms(self) -> int:
        return 0

    def pause(self, seconds: float) -> None:
        raise AssertionError("nothing to wait for")


def test_the_database_refuses_a_write_through_the_reader(tmp_path: Any) -> None:
    """SQLite itself, on the connection that queries use."""
    store = open_store(f"sqlite:///{tmp_path}/shop.db")
    world = World(store)
    world.start_checkout()
    pool = store.reader()._pool  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable, match="readonly"), pool.reading() as connection:
        connection.execute("DELETE FROM intents")
    assert "created" == world.start_checkout().state
    world.flow.close()


def test_the_money_of_an_open_order_is_not_in_a_commit() -> None:
    """A status query yields no commit, whatever is on file: read off the effects themselves."""
    world = World()
    for x_intent_id in states(world):
        seen: list[object] = []
        query = flows.status(x_intent_id, wait_s=1)
        reader, clock = world.flow.store.reader(), world.flow.ports.clock
        answered: Any = None
        try:
            while True:
                entry = query.send(answered)
                seen.append(entry)
                answered = drive.perform_read(entry, reader, clock)
        except StopIteration:
            pass
        assert not [entry for entry in seen if isinstance(entry, Commit)]
    assert Money(1999, "USD") == world.flow.timeline("order-0").intent.money  # type: ignore[union-attr]


def test_status_never_shows_an_event_of_our_own_as_a_payment() -> None:
    """Only authenticated evidence of a payment makes the public status SUCCESS."""
    world = quiet_world()
    checkout = world.start_checkout()
    approved = LIFECYCLE.extended(states={}, events={"approved": "success"})
    world.flow.context = FlowContext(world.settings, approved)
    world.flow.record(checkout.intent_id, "approved")
    assert "PENDING" == world.status(checkout.x_intent_id).status


def test_status_ends_after_the_clock_is_set_back() -> None:
    """A status query that may wait two seconds looks a handful of times."""
    world = quiet_world()
    checkout = world.start_checkout()

    class SetBack(SettableClock):
        def pause(self, seconds: float) -> None:
            super().pause(seconds)
            self.back_ms = HOUR_S * 1000

    clock = SetBack(world.clock)
    world.flow.ports.clock = cast(Clock, clock)
    world.flow.status(checkout.x_intent_id or "", wait_s=2)
    assert clock.pauses <= 10
