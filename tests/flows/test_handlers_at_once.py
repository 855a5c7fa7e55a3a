"""That several handlers run at a time, as many as were said, and none keeps others waiting."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from xpay_flow.errors import StoreUnavailable
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.flows import HandlerResult
from xpay_flow.flows.all_due import AGAIN_MS, Result, do_all_due
from xpay_flow.job_pool import at_once
from xpay_flow.payment import Payment
from xpay_flow.ports import HttpRequest, HttpResponse
from xpay_flow.records import Work
from xpay_flow.stores.awaited import AwaitedStore
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import AsyncManualClock, AsyncSandboxTransport, ManualClock, World
from xpay_flow.worker import one_pass

from .kit import StoreBehind, UnreadableRecord, paid_order, quiet_world

DEADLINE_S = 10.0


def deliver_all(flow: Flow, number: int) -> list[str]:
    """The outcomes of one pass with so many calls at a time."""
    results: list[Result] = []
    jobs: dict[Work, int] = {"deliver": number}
    flow.run(do_all_due(flow.context, flow.capabilities, jobs, results.append))
    return [r.outcome if isinstance(r, HandlerResult) else type(r).__name__ for r in results]


class AtOnce:
    """A handler that waits until so many calls are in progress."""

    def __init__(self, number: int) -> None:
        self.most = 0
        self._in_progress: set[str] = set()
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(number, timeout=DEADLINE_S)

    def __call__(self, payment: Payment) -> None:
        with self._lock:
            assert payment.intent_id not in self._in_progress
            self._in_progress.add(payment.intent_id)
            self.most = max(self.most, len(self._in_progress))
        self._barrier.wait()
        with self._lock:
            self._in_progress.discard(payment.intent_id)


@pytest.mark.parametrize("number", [1, 2, 8])
def test_handlers_at_once_are_as_many_as_were_said(number: int) -> None:
    """All places are used, and no more."""
    world = quiet_world()
    for order in range(16):
        paid_order(world, f"order-{order}")
    handler = world.flow.on_success(AtOnce(number))
    assert ["done"] * 16 == deliver_all(world.flow, number)
    assert number == handler.most


def test_handlers_at_once_of_a_flow_are_tasks_of_its_loop() -> None:
    """The same, awaited, in the background of an `AsyncFlow`."""
    store = MemoryStore()
    world = World(store, handlers_have_limits=True)
    for order in range(8):
        paid_order(world, f"order-{order}")

    async def story() -> int:
        together, in_progress = asyncio.Event(), list[str]()
        async with AsyncFlow(
            store,
            world.settings,
            transport=AsyncSandboxTransport(world.xpay),
            clock=AsyncManualClock(world.clock),
            poll_s=3600,
            handlers_at_once=8,
        ) as flow:

            async def fulfil(payment: Payment) -> None:
                in_progress.append(payment.intent_id)
                if len(in_progress) == 8:
                    together.set()
                async with asyncio.timeout(DEADLINE_S):
                    await together.wait()

            flow.on_success(fulfil)
            await flow.start()
            async with asyncio.timeout(DEADLINE_S):
                await together.wait()
        return len(set(in_progress))

    assert 8 == asyncio.run(story())


def test_a_slow_call_does_not_hold_up_those_that_become_due_later() -> None:
    """A pass goes on with what is recorded while a call of it is in progress."""
    world = quiet_world()
    let_go, others = threading.Event(), threading.Event()
    done: list[str] = []

    def handler(payment: Payment) -> None:
        if payment.receipt_id == "order-slow":
            paid_order(world, "order-later")
            assert others.wait(DEADLINE_S)
        done.append(payment.receipt_id)
        if payment.receipt_id == "order-later":
            others.set()

    world.flow.on_success(handler)
    paid_order(world, "order-slow")
    assert ["done", "done"] == deliver_all(world.flow, 2)
    assert ["order-later", "order-slow"] == done
    let_go.set()


def test_a_record_that_cannot_be_read_holds_up_no_other() -> None:
    """It is reported once in a pass, and stays due."""
    store = UnreadableRecord(MemoryStore())
    world = World(store, handlers_have_limits=True)
    for order in range(4):
        paid_order(world, f"order-{order}")
    store.bad = world.flow.store.load("receipt:order-0")[0].key
    assert ["FailedJob", "done", "done", "done"] == sorted(deliver_all(world.flow, 2))


def test_a_job_that_failed_is_begun_again_in_a_pass_that_does_not_end() -> None:
    """As long as others become due, a pass goes on; what failed in it is not left until its end."""
    store = UnreadableRecord(MemoryStore())
    world = World(store)
    failed, others = threading.Event(), threading.Event()

    def report(result: Result) -> None:
        if not isinstance(result, HandlerResult):
            failed.set()

    def handler(payment: Payment) -> None:
        if payment.receipt_id == "order-bad":
            others.set()
        elif payment.receipt_id == "order-slow":
            assert failed.wait(DEADLINE_S)
            store.bad = ""
            world.advance(AGAIN_MS / 1000)
            paid_order(world, "order-later")
            assert others.wait(DEADLINE_S)

    paid_order(world, "order-bad")
    paid_order(world, "order-slow")
    store.bad = world.flow.store.load("receipt:order-bad")[0].key
    world.flow.on_success(handler)
    flow, jobs = world.flow, dict[Work, int](deliver=2)
    assert 3 == flow.run(do_all_due(flow.context, flow.capabilities, jobs, report))
    assert others.is_set()


class Away(StoreBehind):
    """A store that is away at its first commits."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.fails = False

    def commit(self, change: Any) -> bool:
        if self.fails:
            raise StoreUnavailable("it is away")
        return super().commit(change)


def test_a_store_that_is_away_ends_the_pass() -> None:
    """No further job is begun, those in progress end, and the error is raised."""
    store = Away(MemoryStore())
    world = World(store, handlers_have_limits=True)
    for order in range(4):
        paid_order(world, f"order-{order}")
    store.fails = True
    with pytest.raises(StoreUnavailable, match="it is away"):
        deliver_all(world.flow, 2)
    store.fails = False
    assert ["done"] * 4 == deliver_all(world.flow, 2)


class Forgetful(StoreBehind):
    """A store whose first commit of the end of each call fails, and of every second is durable."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._failed: dict[str, bool] = {}
        self._lock = threading.Lock()

    def commit(self, change: Any) -> bool:
        ends = any(entry.status == "done" for entry in change.changed_entries)
        key = change.record.key
        with self._lock:
            fails = ends and key not in self._failed
            if fails:
                self._failed[key] = len(self._failed) % 2 == 1
        if not fails:
            return super().commit(change)
        if self._failed[key]:
            super().commit(change)
        raise StoreUnavailable("no connection was free")


@pytest.mark.parametrize("awaited", [False, True])
def test_a_rush_that_costs_the_store_its_settlements_leaves_no_claim(awaited: bool) -> None:
    """One pass ends them all, each called once, whatever the store has failed at meanwhile."""
    store = Forgetful(MemoryStore())
    world = World(store)
    for order in range(16):
        paid_order(world, f"order-{order}")
    called: list[str] = []
    jobs: dict[Work, int] = {"deliver": 4}

    async def story() -> int:
        async with AsyncFlow(
            store,
            world.settings,
            transport=AsyncSandboxTransport(world.xpay),
            clock=AsyncManualClock(world.clock),
            background=False,
        ) as flow:
            flow.on_success(lambda payment: called.append(payment.intent_id))
            due = do_all_due(flow.context, flow.capabilities, jobs, lambda _: None)
            return await flow.run(due)

    if awaited:
        assert 16 == asyncio.run(story())
    else:
        world.flow.on_success(lambda payment: called.append(payment.intent_id))
        assert ["done"] * 16 == deliver_all(world.flow, 4)
    assert 16 == len(called) == len(set(called))
    left = world.flow.store.due("deliver", world.clock.now_ms() + 3_600_000, 100)
    assert [] == list(left)


def test_reconciliation_does_not_hold_up_deliveries() -> None:
    """While xPay takes its time to answer, the worker goes on to call handlers."""
    world = quiet_world()
    fulfilled = threading.Event()
    answer = world.flow.ports.transport.send

    def send(request: HttpRequest) -> HttpResponse:
        if request.method == "GET":
            assert fulfilled.wait(DEADLINE_S)
        return answer(request)

    world.start_checkout("order-open")
    world.advance(3600)
    paid_order(world, "order-42")
    world.flow.on_success(lambda _: fulfilled.set())
    world.flow.ports.transport.send = send  # type: ignore[method-assign]
    results: list[Result] = []
    flow = world.flow
    flow.run(one_pass(flow.context, flow.capabilities, lambda: False, results.append))
    kinds = sorted(type(result).__name__ for result in results)
    assert ["HandlerResult", "ReconcileResult"] == kinds


class Limited(MemoryStore):
    """A store that serves so many handlers at once."""

    handlers_at_once_max = 3


def test_handlers_at_once_are_bounded_by_what_the_store_serves() -> None:
    """A store declares how many handlers leave it connections for webhooks, or that any may run.

    Each face goes by the smaller of that and its setting, and so does whoever runs a worker.
    """
    assert (3, 2) == (at_once(8, Limited()), at_once(2, Limited()))
    assert [8, 8] == [at_once(8, store) for store in (object(), AwaitedStore(MemoryStore()))]
    world = World(Limited(), handlers_have_limits=True)
    flow = Flow(Limited(), world.settings, handlers_at_once=8, background=False)
    awaited: list[AsyncFlow] = [
        AsyncFlow(store, world.settings, handlers_at_once=8, background=False)
        for store in (Limited(), AwaitedStore(Limited()), AwaitedStore(MemoryStore()))
    ]
    assert [3, 3, 3, 8] == [flow.handlers_at_once, *(each.handlers_at_once for each in awaited)]


def test_a_store_that_serves_fewer_handlers_is_never_given_more() -> None:
    """With a setting of 8, the thread that delivers calls no more than the three at a time."""
    world = World(Limited(), handlers_have_limits=True)
    for order in range(9):
        paid_order(world, f"order-{order}")
    handler, done = AtOnce(3), threading.Semaphore(0)

    def fulfil(payment: Payment) -> None:
        handler(payment)
        done.release()

    with Flow(
        world.flow.store,
        world.settings,
        transport=world.flow.ports.transport,
        clock=ManualClock(world.clock),
        poll_s=3600,
        handlers_at_once=8,
    ) as flow:
        flow.on_success(fulfil)
        flow.start()
        assert all(done.acquire(timeout=DEADLINE_S) for _ in range(9))
    assert 3 == handler.most
