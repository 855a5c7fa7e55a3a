"""`reconcile`: xPay is requested when no event came, on a schedule, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import pytest

from xpay_flow import messages
from xpay_flow.errors import InvalidValue, OutcomeUnknown, XPayFlowError, XPayRefused
from xpay_flow.flows import FailedJob, ReconcileResult
from xpay_flow.flows.checkout import REPEATABLE_MS
from xpay_flow.money import Money
from xpay_flow.ports import HttpRequest, NoAnswer
from xpay_flow.records import Change, Record
from xpay_flow.sandbox import FaultPlan, SandboxConfig
from xpay_flow.settings import RECONCILE_SCHEDULE_S
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import World

from .kit import (
    DAY_S,
    HOUR_S,
    Crash,
    Fuse,
    FusedFlow,
    RivalledStore,
    SlowCreation,
    UnreadableRecord,
    answer,
    error,
    outbox_entries,
    quiet_world,
    recorded,
    scripted,
    send_webhook,
    story,
    success_of,
    the_record,
    touch,
)


def faults(fault: str, path: str = messages.CREATE_INTENT_PATH, **more: Any) -> FaultPlan:
    return FaultPlan.from_dict({"api": [{"fault": fault, "path": path, **more}]})


# No webhook ever arrives.
DEAF = SandboxConfig(rate_limit=None)


def unanswered(world: World, fault: str = "lose_answer") -> Record:
    """An attempt whose creation was not answered; what went wrong is mended afterwards."""
    world.xpay.set_faults(faults(fault))
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    world.xpay.set_faults(FaultPlan())
    return the_record(world)


def worked(results: Sequence[ReconcileResult | FailedJob]) -> list[ReconcileResult]:
    """The results of a pass without failed jobs."""
    return [one for one in results if not isinstance(one, FailedJob)]


def outcomes(results: Sequence[ReconcileResult | FailedJob]) -> list[tuple[str, str | None]]:
    return [(one.outcome, one.state) for one in worked(results)]


# --- lost webhooks -------------------------------------------------------------------------------


def test_a_lost_webhook_is_noticed() -> None:
    """Paid, and no webhook came: after a minute xPay is requested, and the order is fulfilled."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(59)
    assert () == world.flow.reconcile()
    world.advance(1)
    assert [("learned", "success")] == outcomes(world.flow.reconcile())
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")
    assert 1 == world.flow.counters["reconcile.learned"]


def test_a_settled_payment_is_reconciled_no_more() -> None:
    """Neither after a webhook nor after an answer."""
    for by_webhook in (False, True):
        world = World()
        checkout = world.start_checkout()
        world.xpay.pay(checkout.x_intent_id or "")
        if by_webhook:
            world.deliver_webhooks()
        world.advance(61)
        world.flow.reconcile()
        assert None is the_record(world).reconcile_at_ms
        world.advance(10**7)
        assert () == world.flow.reconcile()


def test_an_open_intent_is_reconciled_on_schedule() -> None:
    """At each pause of the schedule and not before it, and then never again."""
    world = World(config=DEAF, late_reconcile_schedule_s=())
    world.start_checkout()
    transport = scripted(world)
    for pause_s in RECONCILE_SCHEDULE_S:
        due_ms = the_record(world).reconcile_at_ms
        assert due_ms is not None
        world.advance(pause_s - 1)
        assert () == world.flow.reconcile(), pause_s
        world.advance(1)
        assert 1 == len(world.flow.reconcile()), pause_s
    world.advance(10**7)
    assert () == world.flow.reconcile()
    assert len(RECONCILE_SCHEDULE_S) == len(transport.requests)


def test_asking_often_adds_nothing_to_the_story() -> None:
    """An identical answer is the same event: one line, however often it was given."""
    world = World(config=DEAF)
    world.start_checkout()
    for pause_s in RECONCILE_SCHEDULE_S[:4]:
        world.advance(pause_s)
        world.flow.reconcile()
    assert [("stored", "applied"), ("CREATED", "applied"), ("CREATED", "applied")] == story(world)


@pytest.mark.parametrize(
    ("act", "status", "state"),
    [
        ("decline", "FAILED", "failed"),
        ("cancel", "CANCELLED", "cancelled"),
        ("pay", "SUCCESS", "success"),
    ],
)
def test_the_state_follows_what_xpay_says(act: str, status: str, state: str) -> None:
    """Each status that get-intent knows moves the intent as its webhook would."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    getattr(world.xpay, act)(checkout.x_intent_id)
    world.advance(60)
    assert [("learned", state)] == outcomes(world.flow.reconcile())
    assert (status, "applied") == story(world)[-1]


def test_a_refund_found_by_asking_is_put_up_for_attention() -> None:
    """REFUNDED proves payment and amount; details are missing, and on_success is superseded."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.xpay.refund(checkout.x_intent_id or "")
    world.advance(60)
    world.flow.reconcile()
    world.flow.deliver()
    assert ([], ["pi_1:on_attention:refund_without_details"]) == (
        world.called("on_success"),
        world.called("on_attention"),
    )


@pytest.mark.parametrize("wrong", [{"amount": 1998}, {"currency": "EUR"}, {"amount": None}])
def test_an_answer_over_other_money_pays_nothing(wrong: dict[str, Any]) -> None:
    """In an answer as in a webhook, amount and currency must be the requested ones."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    reply = {"xIntentId": checkout.x_intent_id, "status": "SUCCESS", "amount": 1999}
    scripted(world, answer(200, {**reply, "currency": "USD", **wrong}))
    world.advance(60)
    world.flow.reconcile()
    world.flow.deliver()
    assert ([], ["pi_1:on_attention:wrong_money"]) == (
        world.called("on_success"),
        world.called("on_attention"),
    )
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(120)
    assert [("learned", "success")] == outcomes(world.flow.reconcile())


def test_an_answer_about_another_intent_is_not_believed() -> None:
    """A cache or proxy that mixes answers up moves nothing."""
    world = World(config=DEAF)
    world.start_checkout()
    scripted(
        world,
        answer(
            200,
            {"xIntentId": "in_other", "status": "SUCCESS", "amount": 1999, "currency": "USD"},
        ),
    )
    world.advance(60)
    assert [("unclear", "created")] == outcomes(world.flow.reconcile())


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (NoAnswer("timed out"), "unclear"),
        (error(500, "internal_server_error"), "unclear"),
        (error(429, "rate_limit_exceeded"), "unclear"),
        (answer(200, b"<html>"), "unclear"),
        (answer(200, b"{}"), "unclear"),
        (error(404, "resource_not_found"), "refused"),
        (error(401, "unauthorized"), "refused"),
    ],
)
def test_an_answer_that_says_nothing_changes_nothing(reply: Any, outcome: str) -> None:
    """One try, no repeat in the same pass; the schedule asks again."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    transport = scripted(world, reply)
    world.advance(60)
    assert [(outcome, "created")] == outcomes(world.flow.reconcile())
    assert 1 == len(transport.requests)
    world.advance(120)
    assert [("learned", "success")] == outcomes(world.flow.reconcile())


def test_a_refund_without_a_known_payment_heals_by_asking() -> None:
    """A refund proves a payment, not its amount: the payment is reconciled at once."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.xpay.refund(checkout.x_intent_id or "", 100)
    fields: dict[str, Any] = {"intentId": checkout.x_intent_id, "refundId": "rf_1"}
    send_webhook(world, "intent.refunded", amount=100, currency="USD", **fields)
    assert (False, "PENDING") == (
        bool(outbox_entries(the_record(world), "on_success")),
        world.status(checkout.x_intent_id).status,
    )
    assert [("learned", "success")] == outcomes(world.flow.reconcile())
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")
    assert "SUCCESS" == world.status(checkout.x_intent_id).status


def test_every_id_of_an_attempt_is_reconciled() -> None:
    """If xPay made two intents for one attempt, either may be the one that was paid."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    metadata = {"xpay_flow_intent": checkout.intent_id}
    send_webhook(world, "intent.created", intentId="in_0000000000000000", metadata=metadata)
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(60)
    world.flow.reconcile()
    record = the_record(world)
    assert record.intent is not None
    assert ("success", 2) == (record.intent.state, len(record.intent.x_intent_ids))


# --- unanswered creations ------------------------------------------------------------------------


def test_an_unanswered_creation_is_left_to_who_began_it_first() -> None:
    """For half a minute no other process repeats it."""
    world = World(config=DEAF)
    unanswered(world)
    world.advance(26)  # three seconds went by in the pauses between three tries
    assert () == world.flow.reconcile()
    world.advance(1)
    assert [("created", "created")] == outcomes(world.flow.reconcile())


@pytest.mark.parametrize("fault", ["lose_answer", "lose_request"])
def test_an_unanswered_creation_is_resolved_under_its_key(fault: str) -> None:
    """Made or not: the same key leads to the one intent, and to its address."""
    world = World(config=DEAF)
    record = unanswered(world, fault)
    transport = scripted(world)
    world.advance(30)
    assert [("created", "created")] == outcomes(world.flow.reconcile())
    assert record.intent is not None
    assert [record.intent.idempotency_key] == transport.keys
    assert 1 == len(world.xpay.intents())
    assert the_record(world).reconcile_at_ms == world.clock.now_ms() + 60_000
    assert True is world.start_checkout().resumed


def test_a_creation_that_xpay_refuses_when_repeated_is_closed() -> None:
    """A definite error is as definite when the reconciler gets it."""
    world = World(config=DEAF)
    unanswered(world, "lose_request")
    scripted(world, error(422, "unprocessable", "No"))
    world.advance(30)
    assert [("refused", "rejected")] == outcomes(world.flow.reconcile())
    assert None is the_record(world).reconcile_at_ms
    assert "created" == world.start_checkout().state


def test_a_creation_that_always_fails_is_found_in_the_list() -> None:
    """xPay remembers its own 500 under the key although it made the intent: it is looked up."""
    world = World(config=DEAF)
    world.xpay.set_faults(faults("error_json", took_effect=True))
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    world.xpay.set_faults(FaultPlan())
    (intent,) = world.xpay.intents()
    world.xpay.pay(intent.x_intent_id)
    results = [until_settled(world, seconds) for seconds in (31, 120)]
    assert [[("unclear", "initiated")], [("learned", "success")]] == results
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def until_settled(world: World, seconds: float) -> list[tuple[str, str | None]]:
    world.advance(seconds)
    return outcomes(world.flow.reconcile())


def test_a_creation_that_never_happened_is_closed_as_refused() -> None:
    """xPay answers errors to the key and lists no such intent: the next click is a new attempt."""
    world = World(config=DEAF)
    world.xpay.set_faults(faults("error_json"))
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    world.xpay.set_faults(FaultPlan())
    until_settled(world, 31)
    assert [("refused", "rejected")] == until_settled(world, 120)
    checkout = world.start_checkout()
    assert ("created", False, 1) == (checkout.state, checkout.resumed, len(world.xpay.intents()))


def test_silence_is_no_proof_that_nothing_happened() -> None:
    """While xPay does not answer at all, an attempt is not closed; its key stays good."""
    world = World(config=DEAF)
    unanswered(world)
    world.xpay.set_faults(faults("lose_answer"))
    for seconds in (31, 120, 300, 900):
        assert [("unclear", "initiated")] == until_settled(world, seconds)
    world.xpay.set_faults(FaultPlan())
    assert [("created", "created")] == until_settled(world, 3600)
    assert 1 == len(world.xpay.intents())


def test_only_our_own_intent_is_taken_from_the_list() -> None:
    """Another intent with this receipt and money is not ours without our id in its metadata."""
    world = World(config=DEAF)
    world.xpay.set_faults(faults("error_json"))
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    world.xpay.set_faults(FaultPlan())
    # The same order, made by hand at xPay's dashboard.
    other = World(config=DEAF)
    other.ids.new("skip")
    other.xpay, other.clock = world.xpay, world.clock
    other.flow = other.new_flow(other.flow.store)
    other.start_checkout()
    until_settled(world, 31)
    assert [("refused", "rejected")] == until_settled(world, 120)


def test_a_list_of_several_pages_is_searched() -> None:
    """The intent is found behind a hundred others, within the rate limit."""
    world = World(config=DEAF)
    world.xpay.set_faults(faults("error_json", took_effect=True, times=1))
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    for number in range(120):
        world.start_checkout(f"order-other-{number}")
    transport = scripted(world)
    world.advance(31)
    world.flow.reconcile(limit=200)
    world.advance(120)
    world.flow.reconcile(limit=200)
    assert 2 == sum(messages.LIST_INTENTS_PATH in r.url for r in transport.requests)
    record = the_record(world)
    assert record.intent is not None
    assert "created" == record.intent.state


def test_after_the_schedule_a_person_must_ask() -> None:
    """A creation that could not be resolved for a week is flagged for attention."""
    world = World(config=DEAF, reconcile_schedule_s=(60, 60, 60))
    unanswered(world)
    world.xpay.set_faults(faults("lose_request", "*"))
    for _ in range(4):
        until_settled(world, 61)
    world.flow.deliver()
    assert ["pi_1:on_attention:create_unresolved"] == world.called("on_attention")
    assert None is the_record(world).reconcile_at_ms


def test_a_key_that_xpay_has_forgotten_is_not_used_again() -> None:
    """After a day a repeat could make a second intent: the list is read instead."""
    world = World(config=DEAF)
    unanswered(world)
    transport = scripted(world)
    world.advance(REPEATABLE_MS / 1000)
    assert [("learned", "created")] == outcomes(world.flow.reconcile())
    assert 1 == len(world.xpay.intents())
    assert ["GET", "GET"] == [request.method for request in transport.requests]


def test_a_customer_whose_page_was_never_known_can_buy_again() -> None:
    """The old intent has no address that anybody was given, so it does not stand in the way."""
    world = World(config=DEAF)
    unanswered(world)
    world.advance(REPEATABLE_MS / 1000)
    world.flow.reconcile()
    checkout = world.start_checkout()
    assert ("created", False) == (checkout.state, checkout.resumed)


# --- parked events -------------------------------------------------------------------------------


def test_parked_events_without_an_owner_are_reconciled_on_schedule_and_kept() -> None:
    """It costs no request to xPay, ends with the schedule, and stays on file."""
    world = World(config=DEAF, reconcile_schedule_s=(60, 60))
    send_webhook(world, "intent.success", intentId="in_foreign", amount=1, currency="USD")
    transport = scripted(world)
    assert [("unmatched", None)] == until_settled(world, 60)
    assert [("unmatched", None)] == until_settled(world, 60)
    assert [] == until_settled(world, 10**6)
    assert [] == transport.requests
    assert ["whe_hand"] == recorded(world.flow.store.history("x:in_foreign"))


def test_parked_events_are_attached_by_the_reconciler() -> None:
    """The process died between learning xPay's id and looking for parked events."""
    world = World(config=DEAF, flow_type=FusedFlow)
    fuse = world.flow.fuse = Fuse()  # type: ignore[attr-defined]
    unanswered(world)
    (intent,) = world.xpay.intents()
    world.xpay.pay(intent.x_intent_id)
    for event_id in ("whe_1", "whe_2"):
        names = {"receiptId": None, "metadata": None}
        send_webhook(
            world, "intent.success", event_id, **success_of(world, intent.x_intent_id, **names)
        )
    fuse.set(13, "after")
    with pytest.raises(Crash):
        world.start_checkout()
    record = the_record(world)
    assert record.intent is not None
    assert ("created", []) == (record.intent.state, recorded([record]))
    world.advance(60)
    results = world.flow.reconcile()
    assert "attached" in [one.outcome for one in worked(results)]
    assert ["whe_1", "whe_2"] == sorted(recorded([the_record(world)]))
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


# --- the budget ----------------------------------------------------------------------------------


def test_a_pass_reconciles_a_bounded_number_the_longest_due_first() -> None:
    """Twenty by default; the rest waits for the next pass."""
    world = World(config=DEAF)
    for number in range(25):
        world.start_checkout(f"order-{number:02}")
        world.advance(1)
    transport = scripted(world)
    world.advance(60)
    assert 20 == len(world.flow.reconcile())
    assert 20 == len(transport.requests)
    assert [f"pi_{n}" for n in (21, 22, 23, 24, 25)] == [
        one.intent_id for one in worked(world.flow.reconcile())
    ]
    world.advance(120)
    assert 3 == len(world.flow.reconcile(limit=3))


def test_reconcile_takes_at_most_half_of_the_rate() -> None:
    """A pass sends five at once, then five a second: the other five are left to customers."""
    world = World(config=DEAF)
    for number in range(30):
        world.start_checkout(f"order-{number:02}")
        world.advance(10)
    world.advance(600)
    sent: list[int] = []
    transport = scripted(world)

    def note(request: HttpRequest) -> None:
        sent.append(world.clock.now_ms())

    transport.before = note
    world.flow.reconcile(limit=30)
    assert 30 == len(sent)
    within_1_s = [sum(0 <= later - at_ms < 1000 for later in sent) for at_ms in sent]
    assert 5 == max(within_1_s)
    assert sent[-1] - sent[0] <= 6000


def test_customers_come_before_the_reconciler() -> None:
    """A pass takes no turn that a customer needs: five who come during it wait for nothing."""
    world = World(config=DEAF)
    for number in range(20):
        world.start_checkout(f"order-{number}")
    world.advance(61)
    transport, waits_ms = scripted(world), list[int]()

    def press(request: HttpRequest) -> None:
        if request.method == "GET" and not waits_ms:
            for number in range(5):
                started_ms = world.clock.now_ms()
                world.start_checkout(f"order-late-{number}")
                waits_ms.append(world.clock.now_ms() - started_ms)

    transport.before = press
    world.flow.reconcile()
    assert [0] * 5 == waits_ms


def test_reconcile_waits_while_customers_queue() -> None:
    """With customers waiting for their turns, a pass sends nothing until they have had them."""
    world = World(config=DEAF)
    world.start_checkout()
    world.advance(61)
    for _ in range(30):
        world.flow.ports.shared.rate_limiter.acquire(world.clock.now_ms())
    started_ms = world.clock.now_ms()
    world.flow.reconcile()
    assert world.clock.now_ms() - started_ms >= 2000


def test_the_sandboxs_own_limit_is_kept() -> None:
    """Sixty a minute at xPay and here: nothing is answered 429 by a long pass."""
    world = World(requests_per_minute=60)
    for number in range(20):
        world.start_checkout(f"order-{number}")
    world.advance(100)
    world.flow.reconcile()
    assert {"reconcile.learned": 20} == {
        k: v for k, v in world.flow.counters.items() if "reconcile" in k
    }


def test_another_process_that_took_the_question_is_no_error() -> None:
    """The claim is lost: this process asks nothing about it and goes on with the next."""
    world = World(config=DEAF)
    world.start_checkout()
    world.start_checkout("order-43")
    world.advance(61)
    store = world.flow.ports.store

    def rival(change: Change) -> None:
        if rivalled.commits == 1:
            touch(store, change.record.key)

    rivalled = RivalledStore(store, rival)
    world.flow.ports.store = rivalled
    assert ["pi_2"] == [one.intent_id for one in worked(world.flow.reconcile())]


def test_a_refused_creation_is_reconciled_no_more() -> None:
    """A refusal that raised no doubt is not looked up at all, ever."""
    world = World(config=DEAF)
    transport = scripted(world)
    with pytest.raises(XPayRefused):
        world.start_checkout(money=Money(1, "USD"))
    world.advance(10**6)
    assert () == world.flow.reconcile()
    assert 1 == len(transport.requests)


def test_reconcile_leaves_an_attempt_whose_creation_is_running() -> None:
    """While the customer's own repeat is under way, the reconciler's 409 proves nothing."""
    world, pages = quiet_world(), list[str]()
    script = scripted(world, *3 * [NoAnswer("lost before xPay saw it")])
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    world.advance(130)

    def click() -> None:
        with suppress(XPayFlowError):
            pages.append(world.start_checkout().url)

    def meanwhile() -> None:
        world.flow.reconcile()
        click()

    busy = error(409, "conflict")
    world.flow.ports.transport = SlowCreation(script, busy, meanwhile)
    click()
    assert 1 == len(set(pages))


def test_reconcile_goes_on_behind_a_record_that_cannot_be_read() -> None:
    """The lost webhook of the order behind an unreadable record is noticed."""
    store = UnreadableRecord(MemoryStore())
    world = quiet_world(store=store)
    world.start_checkout("order-1")
    world.advance(1)
    world.xpay.pay(world.start_checkout("order-2").x_intent_id or "")
    store.bad = "attempt:sandbox/local:1:order-1"
    world.advance(HOUR_S)
    world.flow.reconcile()
    assert "success" == the_record(world, "receipt:order-2").intent.state  # type: ignore[union-attr]


def test_reconcile_goes_on_behind_an_attempt_that_cannot_be_sent() -> None:
    """The lost webhook behind an unsendable attempt is noticed in the same pass."""
    world = quiet_world()
    with suppress(InvalidValue, UnicodeEncodeError):
        world.start_checkout("order-1", description="\ud800")
    world.advance(HOUR_S)
    world.xpay.pay(world.start_checkout("order-2").x_intent_id or "")
    world.advance(HOUR_S)
    world.flow.reconcile()
    assert "success" == the_record(world, "receipt:order-2").intent.state  # type: ignore[union-attr]


def test_reconcile_heals_a_crash_during_the_last_query() -> None:
    """Every step boundary is a recovery point, also the one after the last claim."""
    world = quiet_world(config=DEAF, flow_type=FusedFlow, reconcile_schedule_s=(60,))
    fuse = cast(FusedFlow, world.flow).fuse = Fuse()
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(61)
    # The first pass takes the only question; it is cut short just after its claim.
    fuse.set(4, "after")
    with pytest.raises(Crash):
        world.flow.reconcile()
    fuse.defuse()
    for _ in range(10):
        world.advance(DAY_S)
        world.flow.reconcile()
    intent = the_record(world).intent
    assert intent is not None
    assert "success" == intent.state


def test_reconcile_flags_a_payment_of_unknown_amount_in_the_end() -> None:
    """A refund proved a payment whose amount xPay never showed: an operator must know."""
    world = quiet_world(config=DEAF, late_reconcile_schedule_s=())
    checkout = world.start_checkout()
    send_webhook(
        world,
        messages.INTENT_REFUNDED,
        intentId=checkout.x_intent_id,
        refundId="rf_1",
        amount=500,
        currency="USD",
    )
    script = scripted(world)
    for _ in range(30):
        script.then(*20 * [error(500, messages.INTERNAL_SERVER_ERROR)])
        world.advance(DAY_S)
        world.flow.reconcile()
        world.flow.deliver()
    assert the_record(world).reconcile_at_ms is None
    assert world.called("on_attention")


def test_reconcile_forgets_a_request_that_can_no_longer_be_sent() -> None:
    """`Intent.request` is "kept until xPay's answer is known, then None"."""
    world = quiet_world()
    scripted(world, *3 * [NoAnswer("lost")])
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    metadata = {world.settings.metadata_key: "pi_1"}
    send_webhook(world, messages.INTENT_CREATED, intentId="in_1", metadata=metadata)
    for _ in range(30):
        world.advance(DAY_S)
        world.flow.reconcile()
    intent = the_record(world).intent
    assert intent is not None
    assert intent.request is None


# --- nothing ends in silence ---------------------------------------------------------------------


def after_the_schedule(world: World) -> None:
    for pause_s in RECONCILE_SCHEDULE_S:
        world.advance(pause_s)
        world.flow.reconcile()
        world.flow.deliver()


def reasons(world: World) -> list[str | None]:
    return [payment.reason for name, payment in world.calls if name == "on_attention"]


@pytest.mark.parametrize("declined", [False, True])
def test_reconcile_flags_what_is_still_open_when_the_schedule_ends(declined: bool) -> None:
    """A page that was neither paid nor cancelled, and one whose charge failed, once."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    if declined:
        world.xpay.decline(checkout.x_intent_id or "")
    after_the_schedule(world)
    assert ["still_open"] == reasons(world)
    after_the_schedule(world)
    assert ["still_open"] == reasons(world)


def test_reconcile_flags_what_cannot_be_read_when_the_schedule_ends() -> None:
    """xPay answered each time, and never in a way that we can read: an operator must look."""
    world = quiet_world(config=DEAF)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    scripted(world, *30 * [answer(200, {"xIntentId": checkout.x_intent_id, "status": ["?"]})])
    after_the_schedule(world)
    assert ["still_open"] == reasons(world)


def test_reconcile_flags_neither_what_is_paid_nor_what_is_cancelled() -> None:
    """Both have an end, and nobody needs to look."""
    for act in ("pay", "cancel"):
        world = World(config=DEAF)
        getattr(world.xpay, act)(world.start_checkout().x_intent_id or "")
        after_the_schedule(world)
        assert [] == reasons(world)
        assert the_record(world).reconcile_at_ms is None


def test_reconcile_finds_by_the_second_schedule_what_is_paid_late() -> None:
    """Weeks later the customer finds the page in a tab, pays, and the webhook is lost."""
    world = World(config=DEAF)
    checkout = world.start_checkout()
    after_the_schedule(world)
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(world.settings.late_reconcile_schedule_s[0])
    world.flow.reconcile()
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")
    assert the_record(world).reconcile_at_ms is None


def test_reconcile_asks_at_each_pause_of_the_second_schedule_and_then_no_more() -> None:
    """It is a setting; empty, the first schedule is the last."""
    for late in ((1000, 2000), ()):
        world = World(config=DEAF, late_reconcile_schedule_s=late)
        world.start_checkout()
        after_the_schedule(world)
        for pause_s in late:
            world.advance(pause_s - 1)
            assert () == world.flow.reconcile()
            world.advance(1)
            assert 1 == len(world.flow.reconcile())
        assert the_record(world).reconcile_at_ms is None


@pytest.mark.parametrize(
    ("status", "dispute"),
    [
        ("DISPUTED", "open"),
        ("DISPUTE_UNDER_REVIEW", "under_review"),
        ("DISPUTE_WON", "won"),
        ("DISPUTE_LOST", "lost"),
    ],
)
def test_reconcile_takes_a_disputed_answer_for_paid_with_a_dispute(
    status: str, dispute: str
) -> None:
    """The success webhook was lost; money that is disputed has come in, if it is the right one."""
    for amount, is_paid in ((1999, True), (1, False)):
        world = quiet_world(config=DEAF)
        checkout = world.start_checkout()
        intent = {"xIntentId": checkout.x_intent_id, "amount": amount, "currency": "USD"}
        scripted(world, answer(200, {**intent, "status": status}))
        world.advance(60)
        world.flow.reconcile()
        world.flow.deliver()
        assert (["pi_1:on_success"] if is_paid else []) == world.called("on_success")
        assert ("disputed:unnamed" in reasons(world)) is is_paid
        decided = [(p.dispute_id, p.dispute_status) for n, p in world.calls if n == "on_dispute"]
        ends = is_paid and dispute in ("won", "lost")
        assert ([("unnamed", dispute)] if ends else []) == decided
