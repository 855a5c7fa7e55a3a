"""That two processes of the shop cannot get in each other's way, whichever is faster at which step.

Each pair of flows is run through every schedule of up to three turns: so many effects of one, so
many of the other, then what is left. A process that dies after its turn is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import pytest

from xpay_flow import drive, flows
from xpay_flow.checkout_request import CheckoutRequest
from xpay_flow.effects import Command
from xpay_flow.errors import OutcomeUnknown
from xpay_flow.money import Money
from xpay_flow.records import Record
from xpay_flow.sandbox import FaultPlan
from xpay_flow.testing.world import World

from .kit import (
    at_once,
    body_of,
    outbox_entries,
    recorded,
    signed,
    stepwise,
    success_of,
    the_record,
)

Flows = tuple[Command[object], Command[object]]
# A story: sets the scene in a fresh world, and gives the two flows to be run at once.
Scene = Callable[[World], Flows]

TERMS = CheckoutRequest(
    receipt_id="order-42", money=Money(1999, "USD"), callback_url="https://shop.example/thanks"
)


def length(scene: Scene, which: int) -> int:
    """How many effects one of the two flows takes when it runs alone."""
    world = World()
    flow = scene(world)[which]
    return len(list(stepwise(flow, lambda effect: drive.perform(effect, world.flow.ports))))


def schedules(scene: Scene) -> Iterator[tuple[int, ...]]:
    """Every (a, b): a effects of the first, b of the second, then the first and the second."""
    # One more than alone: a lost race makes a flow longer, and the last step may be the end.
    return product(range(length(scene, 0) + 2), range(length(scene, 1) + 2))


def play(scene: Scene, turns: tuple[int, ...]) -> World:
    world = World()
    first, second = scene(world)
    at_once(first, second, world.flow.ports, turns)
    return world


def webhook(world: World, event_type: str, event_id: str, **fields: object) -> Command[object]:
    body = body_of(event_type, event_id, **fields)
    return flows.receive_webhook(signed(body), body, world.flow.context)


def start(world: World) -> Command[object]:
    return flows.start_checkout(TERMS, world.flow.context)


def deliver(world: World) -> Command[object]:
    return flows.deliver(world.flow.context)


# --- scenes --------------------------------------------------------------------------------------


def two_clicks(world: World) -> Flows:
    return start(world), start(world)


def stranger(world: World, event_id: str = "whe_1") -> Command[object]:
    """A success whose bytes name nothing but xPay's id."""
    (intent,) = world.xpay.intents()
    fields = success_of(world, intent.x_intent_id, receiptId=None, metadata=None)
    return webhook(world, "intent.success", event_id, **fields)


def parking_and_creation(world: World) -> Flows:
    """xPay has made the intent and its answer was lost; events and a second click meet."""
    world.xpay.set_faults(FaultPlan.from_dict({"api": [{"fault": "lose_answer"}]}))
    with pytest.raises(OutcomeUnknown):
        drive.run(start(world), world.flow.ports)
    world.xpay.set_faults(FaultPlan())
    return stranger(world), start(world)


def creation_and_parking(world: World) -> Flows:
    event, creation = parking_and_creation(world)
    return creation, event


def success_twice(world: World) -> Flows:
    checkout = world.start_checkout()
    fields = success_of(world, checkout.x_intent_id)
    one = webhook(world, "intent.success", "whe_1", **fields)
    return one, webhook(world, "intent.success", "whe_1", **fields)


def success_and_failure(world: World) -> Flows:
    checkout = world.start_checkout()
    fields = success_of(world, checkout.x_intent_id)
    failure = webhook(world, "intent.failed", "whe_2", intentId=checkout.x_intent_id)
    return webhook(world, "intent.success", "whe_1", **fields), failure


def two_workers(world: World) -> Flows:
    paid_and_recorded(world)
    return deliver(world), deliver(world)


def paid_and_recorded(world: World) -> str:
    x_intent_id = world.start_checkout().x_intent_id or ""
    world.xpay.pay(x_intent_id)
    world.deliver_webhooks()
    return x_intent_id


def worker_and_refund(world: World) -> Flows:
    x_intent_id = paid_and_recorded(world)
    refund = {"intentId": x_intent_id, "refundId": "rf_1", "amount": 1999, "currency": "USD"}
    return deliver(world), webhook(world, "intent.refunded", "whe_2", **refund)


def question_and_success(world: World) -> Flows:
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(61)
    fields = success_of(world, checkout.x_intent_id)
    event = webhook(world, "intent.success", "whe_1", **fields)
    return flows.reconcile(world.flow.context), event


def two_questions(world: World) -> Flows:
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(61)
    return flows.reconcile(world.flow.context), flows.reconcile(world.flow.context)


def click_and_resolution(world: World) -> Flows:
    """The reconciler repeats an unanswered creation while the customer clicks again."""
    parking_and_creation(world)
    world.advance(31)
    return start(world), flows.reconcile(world.flow.context)


# --- what must hold ------------------------------------------------------------------------------


def quiet(world: World) -> None:
    """Let everything arrive that can."""
    for _ in range(4):
        world.settle()
        world.advance(61)
        world.flow.reconcile()
    world.settle()


def one_intent(world: World) -> Record:
    assert 1 == len(world.xpay.intents())
    return the_record(world)


@pytest.mark.parametrize("scene", [two_clicks, click_and_resolution])
def test_two_who_start_make_one_intent(scene: Scene) -> None:
    """Whatever the schedule, xPay has one intent, and it is filed under one attempt."""
    for turns in schedules(scene):
        world = play(scene, turns)
        record = one_intent(world)
        assert record.intent is not None
        assert "created" == record.intent.state
        assert 1 == len(record.intent.x_intent_ids)


@pytest.mark.parametrize("scene", [parking_and_creation, creation_and_parking])
def test_parked_events_are_attached_in_any_order(scene: Scene) -> None:
    """Parking writes and then looks, a creation writes and then looks: one sees the other."""
    for turns in schedules(scene):
        world = play(scene, turns)
        record = one_intent(world)
        assert record.intent is not None
        # At once: without another delivery, and without the reconciler.
        assert "success" == record.intent.state, turns
        assert ["whe_1"] == recorded([record])
        assert 1 == len(outbox_entries(record, "on_success"))


@pytest.mark.parametrize("dies", [0, 1])
def test_parked_events_survive_a_death_at_any_step(dies: int) -> None:
    """One of the two stops after so many effects for ever, and no event is sent again.

    What was parked is found by the reconciler; what was not even parked was not acknowledged.
    """
    scene = parking_and_creation
    for turns in schedules(scene):
        world = World()
        acts = scene(world)
        pair = [stepwise(flow, lambda e, w=world: drive.perform(e, w.flow.ports)) for flow in acts]  # type: ignore[misc]
        dead, alive = pair[dies], pair[1 - dies]
        for steps, count in ((alive, turns[1]), (dead, turns[0])):
            for _ in range(count):
                next(steps, None)
        list(alive)
        was_parked = bool(
            recorded(world.flow.store.history("x:" + world.xpay.intents()[0].x_intent_id))
        )
        dead.close()
        for _ in range(12):
            world.advance(1900)
            world.flow.reconcile()
        record = one_intent(world)
        assert record.intent is not None
        if was_parked:
            assert ["whe_1"] == recorded([record]), turns
            assert "success" == record.intent.state


@pytest.mark.parametrize("scene", [success_twice, success_and_failure, question_and_success])
def test_an_event_that_meets_another_is_not_lost(scene: Scene) -> None:
    """The end is the same in each schedule: paid, due once, every event on file once."""
    ends: set[tuple[str, tuple[str, ...]]] = set()
    for turns in schedules(scene):
        world = play(scene, turns)
        record = one_intent(world)
        assert record.intent is not None
        event = sorted(recorded([record]))
        assert len(set(event)) == len(event)
        assert 1 == len(outbox_entries(record, "on_success")), turns
        quiet(world)
        assert ["pi_1:on_success"] == world.called("on_success"), turns
        ends.add((record.intent.state, tuple(event)))
    assert 1 == len(ends)


def test_two_workers_call_a_handler_once() -> None:
    """Claiming is a compare-and-set: while one calls, the other passes by."""
    for turns in schedules(two_workers):
        world = play(two_workers, turns)
        assert ["pi_1:on_success"] == world.called("on_success"), turns
        (effect,) = the_record(world).outbox
        assert ("done", 1) == (effect.status, effect.tries)


def test_a_refund_overtakes_the_success_or_comes_after_it() -> None:
    """on_success is called once or dropped, never lost; on_refunded is called in both cases."""
    outcomes: set[str] = set()
    for turns in schedules(worker_and_refund):
        world = play(worker_and_refund, turns)
        quiet(world)
        (effect,) = outbox_entries(the_record(world), "on_success")
        assert (effect.status == "done") == bool(world.called("on_success")), turns
        assert ["pi_1:on_refunded:rf_1"] == world.called("on_refunded")
        outcomes.add(effect.status)
    assert {"done", "dropped"} == outcomes


STILL_DUE = "a question is claimed without looking whether it is still due"


def test_two_reconcilers_query_once() -> None:
    """The flow that claims the reconciliation sends it; the other finds it claimed."""
    for turns in schedules(two_questions):
        world = play(two_questions, turns)
        assert 1 == sum(v for k, v in world.flow.counters.items() if k.startswith("reconcile.")), (
            turns
        )


def test_a_settled_payment_is_not_reconciled_again() -> None:
    """Two reconcilers looked at once; when one has learned all, there is nothing left to ask."""
    for turns in schedules(two_questions):
        record = the_record(play(two_questions, turns))
        assert record.intent is not None
        assert (True, None) == (record.intent.is_settled, record.reconcile_at_ms), turns


def test_two_reconcilers_owe_the_handler_once() -> None:
    """However often xPay is requested, one payment is one call."""
    for turns in schedules(two_questions):
        assert 1 == len(outbox_entries(the_record(play(two_questions, turns)), "on_success")), turns


def test_the_schedules_are_many() -> None:
    """The pairs above are run through some hundreds of schedules, not through a lucky few."""
    scenes = (
        two_clicks,
        click_and_resolution,
        parking_and_creation,
        creation_and_parking,
        success_twice,
        success_and_failure,
        question_and_success,
        two_workers,
        worker_and_refund,
        two_questions,
    )
    total = sum(len(list(schedules(scene))) for scene in scenes)
    assert total > 500, total
