"""That a handler call that does not end is cut short, and stops no other one.

No test sleeps: a handler waits for an event that the test sets, with a deadline, and a time limit
is so short that waiting for it takes no time worth naming.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import attrs
import pytest

from xpay_flow.calls import Calls
from xpay_flow.effects import HandlerTry, Ran, RunInTransaction
from xpay_flow.errors import ConfigurationError
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.flows import FailedJob, HandlerResult
from xpay_flow.handlers import Handler, arun_in_transaction, run_in_transaction
from xpay_flow.payment import Payment
from xpay_flow.records import OutboxEntry
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import AsyncManualClock, World

from .kit import outbox_entries, paid_order, the_record

DEADLINE_S = 10.0
# Short, and longer than a flush to a busy disk.
LIMIT_S = 0.4


@pytest.fixture
def let_go() -> Generator[threading.Event, None, None]:
    """What handlers that hang wait for; it comes with the end of the test."""
    event = threading.Event()
    yield event
    event.set()


class Hanging:
    """A handler that hangs for one order, until it is let go."""

    def __init__(self, let_go: threading.Event, receipt_id: str = "order-42") -> None:
        self.calls: list[str] = []
        self.ended = threading.Event()
        self._let_go, self._receipt_id = let_go, receipt_id

    def __call__(self, payment: Payment, *_: Any) -> None:
        self.calls.append(payment.receipt_id)
        if payment.receipt_id == self._receipt_id:
            assert self._let_go.wait(DEADLINE_S)
            self.ended.set()


def limited(store: Any = None, **settings: Any) -> World:
    return World(store, handlers_have_limits=True, handler_timeout_s=LIMIT_S, **settings)


def outcomes(results: tuple[HandlerResult | FailedJob, ...]) -> list[str]:
    return [one.outcome for one in results if isinstance(one, HandlerResult)]


def the_call(world: World, name: str = "on_success", receipt: str = "order-42") -> OutboxEntry:
    (entry,) = outbox_entries(the_record(world, f"receipt:{receipt}"), name)
    return entry


def as_another_process(world: World) -> Flow:
    flow = Flow(
        world.flow.store,
        world.settings,
        transport=world.flow.ports.transport,
        clock=world.flow.ports.clock,
        background=False,
    )
    flow.ports.handlers.update(world.flow.ports.handlers)
    return flow


# --- the settings --------------------------------------------------------------------------------


def test_handler_timeout_s_is_half_of_the_lease_by_default() -> None:
    """A shorter lease needs no second setting."""
    assert (30, 1.5) == (
        Settings.sandbox().handler_timeout_s,
        Settings.sandbox(lease_s=3).handler_timeout_s,
    )


def test_handler_timeout_s_must_be_shorter_than_the_lease() -> None:
    """Else a second process would call the handler while the first one still does."""
    with pytest.raises(ConfigurationError, match="handler_timeout_s must be shorter than lease_s"):
        Settings.sandbox(lease_s=3, handler_timeout_s=3)


# --- a thread ------------------------------------------------------------------------------------


def test_a_handler_that_hangs_fails_at_its_limit_and_others_go_on(
    let_go: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is on file and in the log, and the next order is fulfilled in the same pass."""
    world = limited()
    handler = world.flow.on_success(Hanging(let_go))
    paid_order(world, "order-42")
    paid_order(world, "order-43")
    assert ["failed", "done"] == outcomes(world.flow.deliver())
    assert ["order-42", "order-43"] == handler.calls
    assert ("pending", 1) == (the_call(world).status, the_call(world).cut_short)
    assert "TimeoutError: the handler has not ended after 0.4 s" == the_call(world).log[-1].error
    assert "on_success for pi_1 failed at attempt 1" in caplog.text


def test_a_handler_that_hangs_is_not_called_again_before_it_ends(let_go: threading.Event) -> None:
    """In this process; each try that finds it still running counts, and then it is given up."""
    world = limited(retry_schedule_s=(5, 5, 5, 5, 5, 5))
    handler = world.flow.on_success(Hanging(let_go))
    paid_order(world, "order-42")
    seen = []
    for _ in range(3):
        seen += outcomes(world.flow.deliver())
        world.advance(5)
    assert ["failed", "failed", "gave_up", "failed"] == seen
    assert ["order-42"] == handler.calls
    assert ("gave_up", 3) == (the_call(world).status, the_call(world).cut_short)
    intent = the_record(world).intent
    assert intent is not None
    assert ("handler_gave_up:on_success",) == intent.attention


def test_a_handler_that_hangs_is_called_again_once_it_has_ended(let_go: threading.Event) -> None:
    """Its late end changes nothing; the next try is a call like any other."""
    world = limited()
    handler = world.flow.on_success(Hanging(let_go))
    paid_order(world, "order-42")
    world.flow.deliver()
    left = world.flow.ports.shared.calls.left
    assert ["on_success for pi_1"] == [str(call) for call in left]
    let_go.set()
    assert handler.ended.wait(DEADLINE_S)
    wait_until(lambda: not world.flow.ports.shared.calls.left)
    assert "pending" == the_call(world).status
    world.advance(5)
    assert ["done"] == outcomes(world.flow.deliver())
    assert ["order-42", "order-42"] == handler.calls


def wait_until(reached: Callable[[], bool]) -> None:
    for _ in range(2000):
        if reached():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come to this")


def test_close_names_the_calls_that_it_leaves(
    let_go: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator learns from the log what hung as the process ended."""
    world = limited()
    world.flow.on_success(Hanging(let_go))
    paid_order(world, "order-42")
    world.flow.deliver()
    world.flow.close()
    assert "1 handler call(s) hang and are left: on_success for pi_1" in caplog.text


# --- a process -----------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


def test_a_call_that_takes_its_process_with_it_is_given_up_before_the_third_one() -> None:
    """Whatever the retry schedule: cut_short_max bounds the processes that one call can take."""
    world = World(handlers_have_limits=True)
    taken: list[str] = []

    def kills(payment: Payment) -> None:
        taken.append(payment.receipt_id)
        raise Killed

    world.flow.on_success(kills)
    paid_order(world, "order-42")
    for _ in range(2):
        with pytest.raises(Killed):
            as_another_process(world).deliver()
        world.advance(60)
    assert ["gave_up", "done"] == outcomes(as_another_process(world).deliver())
    assert 2 == len(taken)
    assert "no try of this call has come to an end" == the_call(world).log[-1].error


def test_redeliver_forgets_that_a_call_was_cut_short() -> None:
    """The operator has fixed the cause: the call has all its tries again."""
    world = World(handlers_have_limits=True, cut_short_max=1)
    kills = True

    def handler(payment: Payment) -> None:
        if kills:
            raise Killed

    world.flow.on_success(handler)
    paid_order(world, "order-42")
    with pytest.raises(Killed):
        world.flow.deliver()
    world.advance(60)
    world.flow.deliver()
    assert "gave_up" == the_call(world).status
    kills = False
    world.flow.redeliver("order-42", the_call(world).id)
    assert ["done"] == outcomes(world.flow.deliver())


# --- within a transaction ------------------------------------------------------------------------


@pytest.fixture
def sqlite(tmp_path: Path) -> Generator[SQLiteStore, None, None]:
    with SQLiteStore(tmp_path / "shop.db") as store:
        yield store


def fulfilled(store: SQLiteStore) -> list[tuple[str]]:
    connection = sqlite3.connect(store._path)
    try:
        return connection.execute("SELECT receipt_id FROM fulfilled").fetchall()
    finally:
        connection.close()


# Runs for hours.
COUNTS_UP = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def test_a_statement_that_hangs_is_interrupted(sqlite: SQLiteStore) -> None:
    """SQLite is in the middle of a statement of the handler's: the file is free all the same."""
    world = limited(sqlite)

    def fulfil(payment: Payment, tx: sqlite3.Connection) -> None:
        if payment.receipt_id == "order-42":
            tx.execute(COUNTS_UP)

    world.flow.on_success(transactional=True)(fulfil)
    paid_order(world, "order-42")
    paid_order(world, "order-43")
    assert ["failed", "done"] == outcomes(world.flow.deliver())
    wait_until(lambda: not world.flow.ports.shared.calls.left)


@pytest.mark.parametrize("reads", [False, True], ids=["between statements", "with a cursor"])
def test_a_transaction_that_hangs_never_commits_and_locks_no_one_out(
    let_go: threading.Event, sqlite: SQLiteStore, reads: bool
) -> None:
    """Another order is written while it hangs; and when it ends, nothing of it is kept."""
    connection = sqlite3.connect(sqlite._path)
    connection.execute("CREATE TABLE fulfilled (receipt_id TEXT)")
    connection.close()
    world = limited(sqlite)
    hanging = Hanging(let_go)
    kept: list[Any] = []

    def fulfil(payment: Payment, tx: sqlite3.Connection) -> None:
        tx.execute("INSERT INTO fulfilled VALUES (?)", (payment.receipt_id,))
        if reads:
            cursor = tx.execute("SELECT key FROM (SELECT 1 AS key UNION ALL SELECT 2)")
            kept.append((cursor, cursor.fetchone()))
        hanging(payment)

    world.flow.on_success(transactional=True)(fulfil)
    paid_order(world, "order-42")
    paid_order(world, "order-43")
    assert ["failed", "done"] == outcomes(world.flow.deliver())
    assert [("order-43",)] == fulfilled(sqlite)
    let_go.set()
    assert hanging.ended.wait(DEADLINE_S)
    wait_until(lambda: not world.flow.ports.shared.calls.left)
    assert [("order-43",)] == fulfilled(sqlite)
    assert "pending" == the_call(world).status
    world.advance(5)
    assert ["done"] == outcomes(world.flow.deliver())
    assert [("order-43",), ("order-42",)] == fulfilled(sqlite)


class AnyStore:
    """A store with transactions, and no way to close one from outside."""

    def __init__(self) -> None:
        self.commits = 0
        self.ended = threading.Event()

    def commit_with(self, change: Any, work: Any) -> bool:
        try:
            work(self)
            self.commits += 1
            return True
        finally:
            self.ended.set()


def test_a_left_handler_does_not_commit_on_any_store(let_go: threading.Event) -> None:
    """The handler's late end is refused, before the store comes to its commit."""
    store, hanging = AnyStore(), Hanging(let_go)
    payment: Any = attrs.make_class("P", ["intent_id", "receipt_id"])("pi_1", "order-42")
    change: Any = None
    call = RunInTransaction("on_success", payment, change, HandlerTry(timeout_s=LIMIT_S))
    handlers: Any = {"on_success": Handler(hanging, transactional=True)}
    ran = run_in_transaction(call, handlers, store, lambda: 0, Calls())
    let_go.set()
    assert store.ended.wait(DEADLINE_S)
    assert ("failed", True, 0) == (ran.outcome, ran.cut_short, store.commits)


# --- awaited -------------------------------------------------------------------------------------


def awaited_flow(world: World, store: Any = None) -> AsyncFlow:
    return AsyncFlow(
        store or world.flow.store,
        world.settings,
        transport=object(),  # type: ignore[arg-type]
        clock=AsyncManualClock(world.clock),
        background=False,
    )


def test_a_coroutine_that_hangs_is_cancelled_at_its_limit() -> None:
    """Nothing is left of it, and the next order is fulfilled."""
    world = limited()
    ends: list[str] = []

    async def fulfil(payment: Payment) -> None:
        try:
            if payment.receipt_id == "order-42":
                await asyncio.Event().wait()
        finally:
            ends.append(payment.receipt_id)

    paid_order(world, "order-42")
    paid_order(world, "order-43")
    flow = awaited_flow(world)
    flow.on_success(fulfil)
    assert ["failed", "done"] == outcomes(asyncio.run(flow.deliver()))
    assert ["order-42", "order-43"] == ends
    assert () == flow.ports.shared.calls.left
    assert 1 == the_call(world).cut_short


def test_a_coroutine_that_refuses_to_be_cancelled_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is counted, and others go on."""
    monkeypatch.setattr("xpay_flow.handlers.CANCEL_S", LIMIT_S)
    world = limited()

    async def story() -> None:
        let_go = asyncio.Event()

        async def fulfil(payment: Payment) -> None:
            while payment.receipt_id == "order-42" and not let_go.is_set():
                try:
                    async with asyncio.timeout(DEADLINE_S):
                        await let_go.wait()
                except asyncio.CancelledError:
                    continue

        flow = awaited_flow(world)
        flow.on_success(fulfil)
        assert ["failed", "done"] == outcomes(await flow.deliver())
        assert ["on_success for pi_1"] == [str(call) for call in flow.ports.shared.calls.left]
        let_go.set()
        async with asyncio.timeout(DEADLINE_S):
            while flow.ports.shared.calls.left:
                await asyncio.sleep(0)

    paid_order(world, "order-42")
    paid_order(world, "order-43")
    asyncio.run(story())


def test_a_plain_handler_of_an_async_flow_that_hangs_is_left(let_go: threading.Event) -> None:
    """Neither the loop nor the end of the program waits for its thread."""
    world = limited()
    hanging = Hanging(let_go)
    paid_order(world, "order-42")
    paid_order(world, "order-43")
    flow = awaited_flow(world)
    flow.on_success(hanging)
    assert ["failed", "done"] == outcomes(asyncio.run(flow.deliver()))
    assert 1 == len(flow.ports.shared.calls.left)


def test_a_transaction_in_a_thread_of_an_async_flow_never_commits(
    let_go: threading.Event, sqlite: SQLiteStore
) -> None:
    """The same as for a `Flow`."""
    world = limited(sqlite)
    hanging = Hanging(let_go)
    paid_order(world, "order-42")
    paid_order(world, "order-43")
    flow = awaited_flow(world)
    flow.on_success(transactional=True)(hanging)
    assert ["failed", "done"] == outcomes(asyncio.run(flow.deliver()))
    let_go.set()
    assert hanging.ended.wait(DEADLINE_S)
    wait_until(lambda: not flow.ports.shared.calls.left)
    assert "pending" == the_call(world).status


class AwaitedTransactions(MemoryStore):
    """A store that is awaited, with transactions for handlers: what they have seen is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.undone = 0

    async def commit_with(self, change: Any, work: Any) -> bool:
        try:
            await work(self)
        except BaseException:
            self.undone += 1
            raise
        return super().commit(change)


def test_a_coroutine_within_a_transaction_is_cancelled_and_rolled_back() -> None:
    """The store sees it fail, and so keeps nothing of it."""
    world = limited()
    paid_order(world, "order-42")
    store = AwaitedTransactions()

    async def fulfil(payment: Payment, tx: Any) -> None:
        await asyncio.Event().wait()

    async def story() -> Ran:
        flow = awaited_flow(world)
        payment: Any = attrs.make_class("P", ["intent_id"])("pi_1")
        change: Any = None
        call = RunInTransaction("on_success", payment, change, HandlerTry(timeout_s=LIMIT_S))
        handlers: Any = {"on_success": Handler(fulfil, transactional=True)}
        return await arun_in_transaction(
            call, handlers, store, world.clock.now_ms, flow.ports.shared.calls
        )

    ran = asyncio.run(story())
    assert ("failed", True, 1) == (ran.outcome, ran.cut_short, store.undone)
