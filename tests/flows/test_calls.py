"""That calls for one payment never overlap in a process, and that a suspect is called alone."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from xpay_flow.calls import Calls, LeftCall
from xpay_flow.flows import HandlerResult
from xpay_flow.flows.outbox import deliver_record
from xpay_flow.payment import Payment
from xpay_flow.testing.world import World

from .kit import paid_order, the_record
from .test_handler_timeout import Killed, as_another_process, awaited_flow, outcomes

DEADLINE_S = 10.0


def nothing() -> None: ...


def test_take_refuses_a_record_for_which_a_call_is_in_progress() -> None:
    """Whether alone or not, until the slot is given back."""
    calls = Calls()
    assert "mine" == calls.take("a", False, "first", nothing)
    assert ["busy", "busy"] == [
        calls.take("a", alone, "second", nothing) for alone in (False, True)
    ]
    calls.give_back("a")
    assert "mine" == calls.take("a", True, "second", nothing)


def test_take_alone_waits_for_all_others_and_they_wait_for_it() -> None:
    """It is not kept waiting by those that come after it, and is woken when it is worth it."""
    calls, woken = Calls(), list[str]()
    assert "mine" == calls.take("a", False, "first", nothing)
    assert "wait" == calls.take("b", True, "alone", lambda: woken.append("alone"))
    assert "wait" == calls.take("c", False, "late", lambda: woken.append("late"))
    assert [] == woken
    calls.give_back("a")
    assert ["alone", "late"] == woken
    assert "mine" == calls.take("b", True, "alone", nothing)
    assert "wait" == calls.take("c", False, "late", nothing)
    calls.give_back("b")
    assert "mine" == calls.take("c", False, "late", nothing)


def test_leave_lets_those_behind_go_on() -> None:
    """Who no longer waits to be alone keeps no one waiting."""
    calls = Calls()
    assert "mine" == calls.take("a", False, "first", nothing)
    assert "wait" == calls.take("b", True, "alone", nothing)
    calls.leave("alone")
    assert "mine" == calls.take("c", False, "late", nothing)


def test_a_call_that_was_left_is_known_until_it_ends() -> None:
    """By its intent, and by its name."""
    calls = Calls()
    ended = calls.leave_running(LeftCall("on_success", "pi_1"))
    assert (None, "on_success for pi_1") == (calls.is_left("pi_2"), str(calls.is_left("pi_1")))
    ended()
    assert ((), None) == (calls.left, calls.is_left("pi_1"))


class InProgress:
    """A handler that is in the middle of a call until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.calls: list[str] = []

    def __call__(self, payment: Payment) -> None:
        self.calls.append(payment.receipt_id)
        self.begun.set()
        assert self.let_go.wait(DEADLINE_S)


@pytest.mark.parametrize("lease_runs_out", [False, True])
def test_calls_for_one_payment_do_not_overlap_in_a_process(lease_runs_out: bool) -> None:
    """A second deliverer of the process leaves it alone, even where the claim has run out."""
    world = World()
    handler = world.flow.on_success(InProgress())
    paid_order(world, "order-42")
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.extend(world.flow.deliver()))
    thread.start()
    assert handler.begun.wait(DEADLINE_S)
    if lease_runs_out:
        world.advance(60)
    assert () == world.flow.deliver()
    handler.let_go.set()
    thread.join(DEADLINE_S)
    assert ["done"] == outcomes(tuple(results))
    assert ["order-42"] == handler.calls


def test_calls_for_one_payment_do_not_overlap_in_an_event_loop() -> None:
    """The same, awaited."""
    world = World()
    paid_order(world, "order-42")
    calls: list[str] = []

    async def story() -> tuple[list[str], list[str]]:
        begun, let_go = asyncio.Event(), asyncio.Event()

        async def fulfil(payment: Payment) -> None:
            calls.append(payment.receipt_id)
            begun.set()
            async with asyncio.timeout(DEADLINE_S):
                await let_go.wait()

        flow = awaited_flow(world)
        flow.on_success(fulfil)
        first = asyncio.create_task(flow.deliver())
        async with asyncio.timeout(DEADLINE_S):
            await begun.wait()
            world.advance(60)
            second = await flow.deliver()
            let_go.set()
            return outcomes(await first), outcomes(second)

    assert (["done"], []) == asyncio.run(story())
    assert ["order-42"] == calls


def test_a_call_that_was_cut_short_is_made_alone() -> None:
    """What kills its process takes no neighbour with it a second time: none is given up for it."""
    world = World()
    neighbour = InProgress()
    alone: list[bool] = []

    def handler(payment: Payment) -> None:
        if payment.receipt_id == "order-42":
            alone.append(not neighbour.begun.is_set() or neighbour.let_go.is_set())
            raise Killed
        neighbour(payment)

    world.flow.on_success(handler)
    paid_order(world, "order-42")
    with pytest.raises(Killed):
        world.flow.deliver()
    world.advance(60)
    paid_order(world, "order-43")
    again = as_another_process(world)
    results: list[HandlerResult] = []

    def deliver_neighbour() -> None:
        key = the_record(world, "receipt:order-43").key
        results.extend(again.run(deliver_record(key, again.context, again.capabilities)))

    thread = threading.Thread(target=deliver_neighbour)
    thread.start()
    assert neighbour.begun.wait(DEADLINE_S)
    threading.Timer(0.05, neighbour.let_go.set).start()
    with pytest.raises(Killed):
        again.deliver()
    thread.join(DEADLINE_S)
    assert [True, True] == alone
    assert ["done"] == [result.outcome for result in results]
