"""That handlers run right after the commit, in the shop's own process, and survive what they raise.

No test sleeps: each waits for an event that the handler sets, with a deadline.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from xpay_flow import drive
from xpay_flow.background import BackgroundTask, BackgroundThread, _wait_s
from xpay_flow.endpoints import WebRequest
from xpay_flow.errors import StoreUnavailable
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.money import Money
from xpay_flow.payment import Payment
from xpay_flow.records import Record
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import (
    AsyncManualClock,
    AsyncSandboxTransport,
    ManualClock,
    SandboxTransport,
    World,
)

from .kit import body_of, quiet_world, signed, success_of

# Far longer than anything takes, so that a fault ends the test.
DEADLINE_S = 10
# No poll within a test; only events wake the loops.
NEVER_S = 3600.0


class Bell:
    """A handler that keeps the keys it was called with, and rings."""

    def __init__(self, error: Exception | None = None) -> None:
        self.keys: list[str] = []
        self.rung = threading.Event()
        self._error = error

    def __call__(self, payment: Payment) -> None:
        self.keys.append(payment.idempotency_key)
        self.rung.set()
        if self._error is not None:
            raise self._error

    def wait_for_ring(self) -> None:
        assert self.rung.wait(DEADLINE_S), "the wake-up was not called"
        self.rung.clear()


@contextmanager
def open_shop(world: World) -> Generator[Flow, None, None]:
    flow = Flow(
        world.flow.store,
        world.settings,
        transport=SandboxTransport(world.xpay),
        clock=ManualClock(world.clock),
        ids=world.ids,
        poll_s=NEVER_S,
    )
    with flow:
        world.flow = flow
        yield flow


def pay(flow: Flow, world: World, x_intent_id: str | None) -> None:
    body = body_of("intent.success", **success_of(world, x_intent_id))
    flow.receive_webhook(signed(body), body)


def test_the_handler_runs_right_after_the_commit() -> None:
    """An event wakes the loop: no call of `deliver`, and no poll due for an hour."""
    world = World()
    with open_shop(world) as flow:
        bell = Bell()
        flow.on_success(bell)
        pay(flow, world, world.start_checkout().x_intent_id)
        bell.wait_for_ring()
    assert ["pi_1:on_success"] == bell.keys
    assert "done" == world.flow.store.history("receipt:order-42")[0].outbox[0].status


def test_the_loop_survives_a_handler_that_fails() -> None:
    """The next order is fulfilled by the same loop."""
    world = World()
    with open_shop(world) as flow:
        bell = Bell(RuntimeError("no paper"))
        flow.on_success(bell)
        for order in ("order-1", "order-2"):
            pay(flow, world, world.start_checkout(order).x_intent_id)
            bell.wait_for_ring()
    assert ["pi_1:on_success", "pi_2:on_success"] == bell.keys


def test_the_loop_survives_a_store_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A call stays due, the log reports it once, and the next event finds it."""
    world = World()
    store = world.flow.store
    due = store.due
    broken = threading.Event()

    def breaks_once(*args: Any) -> Any:
        if not broken.is_set() and args[0] == "deliver":
            broken.set()
            raise OSError("the disk is gone")
        return due(*args)

    store.due = breaks_once  # type: ignore[method-assign,assignment]
    with open_shop(world) as flow:
        bell = Bell()
        flow.on_success(bell)
        x_intent_id = world.start_checkout().x_intent_id
        assert broken.wait(DEADLINE_S)
        pay(flow, world, x_intent_id)
        bell.wait_for_ring()
    assert ["pi_1:on_success"] == bell.keys
    assert "what is due stays due" in caplog.text


def test_a_process_without_handlers_leaves_the_work_to_others() -> None:
    """It would call no handler; the calls stay pending, without a recorded try."""
    world = World()
    with open_shop(world) as flow:
        pay(flow, world, world.start_checkout().x_intent_id)
    (entry,) = world.flow.store.history("receipt:order-42")[0].outbox
    assert ("pending", 0) == (entry.status, entry.tries)


def test_closing_waits_for_the_handler_that_is_running() -> None:
    """A deploy ends the process between two calls, and not in the middle of one."""
    world = World()
    begun, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(payment: Payment) -> None:
        begun.set()
        assert let_go.wait(DEADLINE_S)
        ended.set()

    with open_shop(world) as flow:
        flow.on_success(slow)
        pay(flow, world, world.start_checkout().x_intent_id)
        assert begun.wait(DEADLINE_S)
        threading.Thread(target=let_go.set).start()
    assert ended.is_set()
    assert "done" == world.flow.store.history("receipt:order-42")[0].outbox[0].status


def test_what_a_dead_process_left_is_done_at_the_next_start() -> None:
    """`start` looks for work that was due before."""
    world = World()
    x_intent_id = world.start_checkout().x_intent_id
    pay(world.flow, world, x_intent_id)
    with open_shop(world) as flow:
        bell = Bell()
        flow.on_success(bell)
        flow.start()
        bell.wait_for_ring()
    assert ["pi_1:on_success"] == bell.keys


def test_a_stopped_loop_stays_stopped() -> None:
    """Events after the end starts no thread again."""
    worked = threading.Semaphore(0)
    loop = BackgroundThread("test", worked.release, NEVER_S)
    loop.nudge()
    assert worked.acquire(timeout=DEADLINE_S)
    loop.stop()
    loop.nudge()
    assert not [thread for thread in threading.enumerate() if thread.name == "test"]


def test_a_nudge_during_the_work_is_not_lost() -> None:
    """Events that arrives while the loop works makes it look once more."""
    rounds: list[int] = []
    second = threading.Event()

    def work() -> None:
        rounds.append(1)
        if len(rounds) == 1:
            loop.nudge()
        else:
            second.set()

    loop = BackgroundThread("test", work, NEVER_S)
    loop.nudge()
    assert second.wait(DEADLINE_S)
    loop.stop()
    assert 2 == len(rounds)


# --- the same, awaited ---------------------------------------------------------------------------


def in_a_loop(story: Callable[[World, AsyncFlow], Any]) -> list[Record]:
    """Run a story in an event loop, with a flow that works in the background."""
    store = MemoryStore()
    world = World(store)

    async def scenario() -> None:
        async with AsyncFlow(
            store,
            world.settings,
            transport=AsyncSandboxTransport(world.xpay),
            clock=AsyncManualClock(world.clock),
            ids=world.ids,
            poll_s=NEVER_S,
        ) as flow:
            async with asyncio.timeout(DEADLINE_S):
                await story(world, flow)

    asyncio.run(scenario())
    return list(store.history("receipt:order-42"))


async def paid(world: World, flow: AsyncFlow) -> None:
    checkout = await flow.start_checkout(
        receipt_id="order-42",
        money=Money(1999, "USD"),
        callback_url="https://shop.example/thanks",
    )
    body = body_of("intent.success", **success_of(world, checkout.x_intent_id))
    await flow.receive_webhook(signed(body), body)


@pytest.mark.parametrize("blocking", [False, True])
def test_an_async_flow_calls_both_kinds_of_handlers(blocking: bool) -> None:
    """A coroutine in the loop, a plain function in a thread, right after the commit."""
    keys: list[str] = []

    async def story(world: World, flow: AsyncFlow) -> None:
        rung = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def coroutine(payment: Payment) -> None:
            keys.append(payment.idempotency_key)
            rung.set()

        def function(payment: Payment) -> None:
            keys.append(payment.idempotency_key)
            loop.call_soon_threadsafe(rung.set)

        flow.on_success(function if blocking else coroutine)
        await paid(world, flow)
        async with asyncio.timeout(DEADLINE_S):
            await rung.wait()

    (record,) = in_a_loop(story)
    assert ["pi_1:on_success"] == keys
    assert "done" == record.outbox[0].status


def test_closing_an_async_flow_waits_for_the_handler() -> None:
    """The coroutine that is running may end."""
    ended: list[bool] = []

    async def story(world: World, flow: AsyncFlow) -> None:
        begun = asyncio.Event()

        async def slow(payment: Payment) -> None:
            begun.set()
            for _ in range(10):
                await asyncio.sleep(0)
            ended.append(True)

        flow.on_success(slow)
        await paid(world, flow)
        async with asyncio.timeout(DEADLINE_S):
            await begun.wait()

    (record,) = in_a_loop(story)
    assert [True] == ended
    assert "done" == record.outbox[0].status


def test_an_async_loop_survives_what_its_work_raises() -> None:
    """And is woken by the next nudge."""
    rounds: list[int] = []

    async def scenario() -> None:
        again = asyncio.Event()

        async def work() -> None:
            rounds.append(1)
            if len(rounds) == 1:
                loop.nudge()
                raise OSError("gone")
            again.set()

        loop = BackgroundTask("test", work, NEVER_S)
        loop.nudge()
        async with asyncio.timeout(DEADLINE_S):
            await again.wait()
            await loop.stop()

    asyncio.run(scenario())
    assert 2 == len(rounds)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_background_thread_survives_whatever_work_raises() -> None:
    """`background`: the loop "survives whatever `work` raises"; a handler may call sys.exit()."""
    again, calls = threading.Event(), list[int]()

    def work() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise SystemExit(1)
        again.set()

    loop = BackgroundThread("loop", work, every_s=0.01)
    loop.nudge()
    came_again = again.wait(0.5)
    loop.stop()
    assert came_again


@pytest.mark.parametrize("failures", [1, 2])
def test_a_pass_that_failed_does_not_wait_for_a_poll(failures: int) -> None:
    """A store that was busy for a moment costs a moment, in threads and in tasks."""
    done = threading.Event()
    passes: list[int] = []

    def work() -> bool:
        passes.append(1)
        if len(passes) <= failures:
            raise StoreUnavailable("no connection was free")
        done.set()
        return False

    loop = BackgroundThread("test", work, every_s=3600)
    loop.start()
    assert done.wait(10)
    loop.stop()
    passes.clear()

    async def story() -> None:
        done_again = asyncio.Event()

        async def awork() -> bool:
            found = work()
            done_again.set()
            return found

        task = BackgroundTask("test", awork, every_s=3600)
        task.start()
        async with asyncio.timeout(10):
            await done_again.wait()
        await task.stop()

    asyncio.run(story())


def test_passes_that_fail_again_and_again_come_no_more_often_than_polls() -> None:
    """The pauses double, from a moment up to the poll."""
    assert [5.0, 0.2, 0.4, 0.8] == [_wait_s(5.0, failures) for failures in range(4)]
    assert (5.0, 0.1) == (_wait_s(5.0, 1000), _wait_s(0.1, 1))


def test_background_is_not_woken_by_hostile_bytes() -> None:
    """Promise 10: hostile bytes cause no outbound call."""

    class Woken:
        times = 0

        def nudge(self) -> None:
            self.times += 1

        start = nudge

    world, loop = quiet_world(), Woken()
    world.flow._loops = (loop,)  # type: ignore[list-item]
    response = world.flow.handle(WebRequest(method="POST", path="/webhook", body=b"{}"))
    assert 401 == response.status
    assert 0 == loop.times


# --- until nothing is due ------------------------------------------------------------------------

# More than two passes of `background.PASS`.
BACKLOG = 201


def backlog(world: World, orders: int = BACKLOG) -> None:
    """Orders that are paid, by a process that called no handler."""
    for number in range(orders):
        checkout = world.start_checkout(f"order-{number}")
        pay(world.flow, world, checkout.x_intent_id)


def test_background_thread_goes_on_while_passes_find_something() -> None:
    """A pass that found something is followed by the next one, and not by a sleep."""
    found, idle = iter([True, 3, False]), threading.Event()

    def work() -> object:
        try:
            return next(found)
        finally:
            if found.__length_hint__() == 0:
                idle.set()

    loop = BackgroundThread("test", work, NEVER_S)
    loop.nudge()
    assert idle.wait(DEADLINE_S)
    loop.stop()


def test_a_backlog_is_delivered_without_waiting_for_a_poll() -> None:
    """After an outage, passes follow each other until nothing is due."""
    world = quiet_world()
    backlog(world)
    all_called, calls = threading.Event(), list[str]()

    def fulfil(payment: Payment) -> None:
        calls.append(payment.idempotency_key)
        if len(calls) == BACKLOG:
            all_called.set()

    with open_shop(world) as flow:
        flow.on_success(fulfil)
        flow.start()
        assert all_called.wait(DEADLINE_S)
    assert BACKLOG == len(set(calls)) == len(calls)


def test_a_backlog_is_delivered_by_an_async_flow_without_waiting_for_a_poll() -> None:
    """The same in an event loop."""
    calls: list[str] = []

    async def story(world: World, flow: AsyncFlow) -> None:
        all_called = asyncio.Event()

        async def fulfil(payment: Payment) -> None:
            calls.append(payment.idempotency_key)
            if len(calls) == BACKLOG:
                all_called.set()

        backlog(world)
        flow.on_success(fulfil)
        await flow.start()
        async with asyncio.timeout(DEADLINE_S):
            await all_called.wait()

    in_a_loop(story)
    assert BACKLOG == len(set(calls)) == len(calls)


# --- short lives ---------------------------------------------------------------------------------


def has_passed_too_early(flow: Flow) -> None:
    """The loop's pass looked before the webhook came, and the next one would come too late."""
    flow._loops[0]._work = lambda: False  # type: ignore[attr-defined]


def test_close_delivers_what_this_process_recorded() -> None:
    """A process that lives for one webhook fulfils the order before it ends."""
    world = World()
    with open_shop(world) as flow:
        has_passed_too_early(flow)
        bell = Bell()
        flow.on_success(bell)
        pay(flow, world, world.start_checkout().x_intent_id)
    assert ["pi_1:on_success"] == bell.keys
    assert "done" == world.flow.store.history("receipt:order-42")[0].outbox[0].status


def test_close_delivers_what_a_request_made_due() -> None:
    """`handle` counts as `receive_webhook` does."""
    world = World()
    with open_shop(world) as flow:
        has_passed_too_early(flow)
        bell = Bell()
        flow.on_success(bell)
        body = body_of("intent.success", **success_of(world, world.start_checkout().x_intent_id))
        headers = tuple(signed(body).items())
        request = WebRequest(method="POST", path="/webhook", headers=headers, body=body)
        assert 200 == flow.handle(request).status
    assert ["pi_1:on_success"] == bell.keys


def test_close_leaves_what_others_recorded() -> None:
    """The end of a process takes no longer because others have left a backlog."""
    world = World()
    pay(world.flow, world, world.start_checkout("order-1").x_intent_id)
    with open_shop(world) as flow:
        has_passed_too_early(flow)
        bell = Bell()
        flow.on_success(bell)
        pay(flow, world, world.start_checkout("order-2").x_intent_id)
    assert ["pi_2:on_success"] == bell.keys


def test_close_begins_no_handler_after_close_timeout_s() -> None:
    """What is left stays due, without a claim that has to run out."""
    world = World(close_timeout_s=0)
    with open_shop(world) as flow:
        has_passed_too_early(flow)
        bell = Bell()
        flow.on_success(bell)
        pay(flow, world, world.start_checkout().x_intent_id)
    (entry,) = world.flow.store.history("receipt:order-42")[0].outbox
    assert ([], "pending", 0) == (bell.keys, entry.status, entry.tries)


def test_close_of_an_async_flow_delivers_what_this_process_recorded() -> None:
    """The same in an event loop."""
    keys: list[str] = []

    async def story(world: World, flow: AsyncFlow) -> None:
        async def too_early() -> bool:
            return False

        async def fulfil(payment: Payment) -> None:
            keys.append(payment.idempotency_key)

        flow._loops[0]._work = too_early
        flow.on_success(fulfil)
        await paid(world, flow)

    (record,) = in_a_loop(story)
    assert ["pi_1:on_success"] == keys
    assert "done" == record.outbox[0].status


def test_recorded_forgets_what_is_done_and_the_oldest_of_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The list of a process that lives for years stays short."""
    monkeypatch.setattr(drive, "RECORDED_MAX", 2)
    world = World()
    recorded = world.flow.ports.shared.recorded
    for order in ("order-1", "order-2", "order-3"):
        pay(world.flow, world, world.start_checkout(order).x_intent_id)
    assert ("attempt:sandbox/local:1:order-2", "attempt:sandbox/local:1:order-3") == recorded.keys()
    world.flow.deliver()
    assert () == recorded.keys()


class LetsGo(threading.Event):
    """Sets another event when it is waited for."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def wait(self, timeout: float | None = None) -> bool:
        self._other.set()
        return super().wait(timeout)


def test_deliver_comes_back_after_the_call_that_a_thread_has_begun() -> None:
    """A program that ends after `deliver` takes no handler with it."""
    world = World()
    begun, let_go = threading.Event(), threading.Event()

    def slow(payment: Payment) -> None:
        begun.set()
        assert let_go.wait(DEADLINE_S)

    with open_shop(world) as flow:
        flow._loops[0]._idle = LetsGo(let_go)
        flow.on_success(slow)
        pay(flow, world, world.start_checkout().x_intent_id)
        assert begun.wait(DEADLINE_S)
        flow.deliver()
        status = flow.store.history("receipt:order-42")[0].outbox[0].status
        let_go.set()
    assert "done" == status


def test_deliver_within_a_handler_does_not_wait_for_itself() -> None:
    """The thread that delivers is not waited for by itself."""
    world = World()
    bell = Bell()
    with open_shop(world) as flow:

        def delivers(payment: Payment) -> None:
            flow.deliver()
            bell(payment)

        flow.on_success(delivers)
        pay(flow, world, world.start_checkout().x_intent_id)
        bell.wait_for_ring()
    assert ["pi_1:on_success"] == bell.keys


ENDS_WITHOUT_CLOSE = """
import sys
from xpay_flow import Flow, Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import World
from tests.flows.test_background import body_of, signed, success_of

world = World()
flow = Flow(MemoryStore(), Settings.sandbox(), transport=world.flow.ports.transport, poll_s=3600)
flow._loops[0]._work = lambda: False
flow.on_success(lambda payment: print("FULFILLED", flush=True))
world.flow = flow
body = body_of("intent.success", **success_of(world, world.start_checkout().x_intent_id))
flow.receive_webhook(signed(body), body)
"""


def test_a_program_that_ends_without_close_delivers_what_it_recorded() -> None:
    """A script whose author forgot `close` fulfils the order as well."""
    command = [sys.executable, "-c", ENDS_WITHOUT_CLOSE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "FULFILLED\n" == done.stdout, done.stderr


# --- the first request ---------------------------------------------------------------------------

FIRST: dict[str, Callable[[Flow], object]] = {
    "the script": lambda flow: flow.handle(WebRequest(method="GET", path="/xpay-flow.js")),
    "a look": lambda flow: flow.status("in_unknown"),
    "nothing here": lambda flow: flow.handle(WebRequest(method="GET", path="/elsewhere")),
}


@pytest.mark.parametrize("how", FIRST)
def test_the_first_request_of_any_kind_begins_with_what_is_due(how: str) -> None:
    """A shop that was killed goes on before the next payment comes."""
    world = World()
    pay(world.flow, world, world.start_checkout().x_intent_id)
    with open_shop(world) as flow:
        bell = Bell()
        flow.on_success(bell)
        FIRST[how](flow)
        bell.wait_for_ring()
    assert ["pi_1:on_success"] == bell.keys


def test_the_first_request_begins_with_what_is_due_in_an_event_loop() -> None:
    """The same for an AsyncFlow."""
    keys: list[str] = []

    async def story(world: World, flow: AsyncFlow) -> None:
        rung = asyncio.Event()

        async def fulfil(payment: Payment) -> None:
            keys.append(payment.idempotency_key)
            rung.set()

        backlog(world, 1)
        flow.on_success(fulfil)
        await flow.handle(WebRequest(method="GET", path="/xpay-flow.js"))
        async with asyncio.timeout(DEADLINE_S):
            await rung.wait()

    in_a_loop(story)
    assert 1 == len(keys)
