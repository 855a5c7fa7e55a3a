"""That every handler call that is due is made, always under one key, and settled once."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from xpay_flow import messages
from xpay_flow.errors import (
    ERROR_CHARS_MAX,
    InvalidValue,
    MerchantError,
    SchemaMismatch,
    StoreUnavailable,
    UnknownIntent,
    error_text,
)
from xpay_flow.events import EventIdentity
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.flows import FailedJob, HandlerResult
from xpay_flow.flows.outbox import CLAIM_AGAIN_S, SETTLE_AGAIN_S
from xpay_flow.payment import Payment
from xpay_flow.records import TRIES_KEPT, Change, HandlerName, OutboxEntry, Record
from xpay_flow.settings import RETRY_SCHEDULE_S
from xpay_flow.stores import open_store
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import AsyncManualClock, AsyncSandboxTransport, World

from .kit import (
    DEAF,
    BreakingStore,
    Crash,
    Fuse,
    FusedFlow,
    RivalledStore,
    StoreBehind,
    UnreadableRecord,
    answer,
    outbox_entries,
    paid_order,
    quiet_world,
    scripted,
    send_webhook,
    success_of,
    the_record,
    touch,
)


def paid(world: World, receipt_id: str = "order-42", **options: Any) -> str:
    """An order that is paid and recorded, and whose handlers are still pending; xPay's id."""
    x_intent_id = world.start_checkout(receipt_id, **options).x_intent_id or ""
    world.xpay.pay(x_intent_id)
    world.deliver_webhooks()
    return x_intent_id


def the_due(world: World, name: str = "on_success") -> OutboxEntry:
    (entry,) = outbox_entries(the_record(world), name)
    return entry


def worked(results: Sequence[HandlerResult | FailedJob]) -> list[HandlerResult]:
    """What a pass did, when nothing stood in its way."""
    return [one for one in results if not isinstance(one, FailedJob)]


def log_of(entry: OutboxEntry) -> list[str]:
    return [entry.outcome for entry in entry.log]


class Failing:
    """A handler that fails so many times, and then works. Keeps the keys it was called with."""

    def __init__(self, times: int = 10**9, error: BaseException | None = None) -> None:
        self.keys: list[str] = []
        self._times, self._error = times, error or RuntimeError("no paper")

    def __call__(self, payment: Payment) -> None:
        self.keys.append(payment.idempotency_key)
        if len(self.keys) <= self._times:
            raise self._error


# --- calls ---------------------------------------------------------------------------------------


def test_a_handler_gets_what_it_needs() -> None:
    """The order, the money, our ids and the key that never changes."""
    world = World()
    x_intent_id = paid(world, metadata={"basket": "7"})
    (delivered,) = worked(world.flow.deliver())
    ((name, payment),) = world.calls
    assert ("done", "on_success", "pi_1") == (
        delivered.outcome,
        delivered.name,
        delivered.intent_id,
    )
    assert ("on_success", "order-42", "19.99 USD", "pi_1:on_success", x_intent_id, "success") == (
        name,
        payment.receipt_id,
        str(payment.money),
        payment.idempotency_key,
        payment.x_intent_id,
        payment.state,
    )
    assert ({"basket": "7"}, (), None) == (payment.metadata, payment.also_paid, payment.reason)


def test_what_is_done_is_not_delivered_again() -> None:
    """A second pass finds nothing, now and for ever."""
    world = World()
    paid(world)
    world.flow.deliver()
    world.advance(10**7)
    assert () == world.flow.deliver()
    assert ["started", "done"] == log_of(the_due(world))


def test_a_failing_handler_is_retried_on_schedule() -> None:
    """At each pause of the schedule exactly, and not a second earlier, always with one key."""
    world = World()
    handler = world.flow.on_success(Failing())
    paid(world)
    world.flow.deliver()
    for number, pause_s in enumerate(RETRY_SCHEDULE_S, start=1):
        world.advance(pause_s - 1)
        assert () == world.flow.deliver()
        world.advance(1)
        assert ("failed" if number < len(RETRY_SCHEDULE_S) else "gave_up") == (
            worked(world.flow.deliver())[0].outcome
        )
    assert {"pi_1:on_success"} == set(handler.keys)  # type: ignore[attr-defined]
    assert 1 + len(RETRY_SCHEDULE_S) == len(handler.keys)  # type: ignore[attr-defined]


def test_after_the_last_retry_a_person_is_called() -> None:
    """The call stays visible as given up, and on_attention names the handler, at once."""
    world = World(retry_schedule_s=(5,))
    world.flow.on_success(Failing())
    paid(world)
    world.flow.deliver()
    world.advance(5)
    assert ["gave_up", "done"] == [d.outcome for d in worked(world.flow.deliver())]
    assert ["pi_1:on_attention:handler_gave_up:on_success"] == world.called("on_attention")
    assert "gave_up" == the_due(world).status
    world.advance(10**7)
    assert () == world.flow.deliver()
    assert "SUCCESS" == world.status(the_x_id(world)).status


def the_x_id(world: World) -> str | None:
    intent = the_record(world).intent
    return intent.x_intent_id if intent else None


def test_a_failing_on_attention_ends_quietly() -> None:
    """`on_attention` given up is not flagged: there is no handler left to call."""
    world = World(retry_schedule_s=(5,))
    world.flow.on_attention(Failing())
    checkout = world.start_checkout()
    send_webhook(world, "intent.success", **success_of(world, checkout.x_intent_id, amount=1))
    world.flow.deliver()
    world.advance(5)
    world.flow.deliver()
    world.advance(10**7)
    assert () == world.flow.deliver()
    record = the_record(world)
    assert ["gave_up"] == [entry.status for entry in record.outbox]
    assert record.intent is not None
    assert ("wrong_money",) == record.intent.attention


def test_the_log_of_tries_is_bounded() -> None:
    """A week of retries is shown by its last tries."""
    world = World(retry_schedule_s=(1,) * 40)
    world.flow.on_success(Failing())
    paid(world)
    for _ in range(41):
        world.flow.deliver()
        world.advance(1)
    assert TRIES_KEPT == len(the_due(world).log)
    assert "gave_up" == the_due(world).status


def test_one_failing_handler_does_not_hold_up_the_others() -> None:
    """Other handlers of the intent, and other intents, are called in the same pass."""
    world = World()
    world.flow.on_success(Failing())
    checkout = paid(world)
    world.xpay.refund(checkout, 100)
    world.deliver_webhooks()
    paid(world, "order-43")
    outcomes = sorted((d.name, d.outcome) for d in worked(world.flow.deliver()))
    assert [("on_refunded", "done"), ("on_success", "failed"), ("on_success", "failed")] == outcomes


def test_a_pass_is_bounded_and_the_longest_due_comes_first() -> None:
    """`limit` counts intents; what waited longest is first."""
    world = World()
    for number in range(3):
        paid(world, f"order-{number}")
        world.advance(1)
    assert ["pi_1"] == [d.intent_id for d in worked(world.flow.deliver(limit=1))]
    assert ["pi_2", "pi_3"] == [d.intent_id for d in worked(world.flow.deliver())]


def test_two_payments_of_one_order_are_named() -> None:
    """The handler of the second learns of the first, so that it can give the money back."""
    world = World()
    first = world.start_checkout()
    second = world.start_checkout(new_attempt=True)
    for checkout in (first, second):
        world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    results = {payment.intent_id: payment.also_paid for _, payment in world.calls}
    assert {"pi_1": ("pi_2",), "pi_2": ("pi_1",)} == results


def test_a_payment_after_a_cancellation_says_so() -> None:
    """on_success is due all the same, and the payment is flagged for attention."""
    world = World()
    x_intent_id = world.start_checkout().x_intent_id or ""
    world.xpay.cancel(x_intent_id)
    world.advance(61)
    world.flow.reconcile()
    world.xpay.pay(x_intent_id, despite_cancel=True)
    world.settle()
    assert {"on_success": True, "on_attention": True} == {n: p.paid_late for n, p in world.calls}


# --- superseded ----------------------------------------------------------------------------------


def test_a_failure_superseded_by_the_success_is_not_delivered() -> None:
    """Dropped at the moment of its turn, with the reason on the timeline."""
    world = World()
    x_intent_id = world.start_checkout().x_intent_id or ""
    world.xpay.decline(x_intent_id)
    world.xpay.pay(x_intent_id)
    world.settle()
    assert ([], ["pi_1:on_success"]) == (world.called("on_failed"), world.called("on_success"))
    entry = the_due(world, "on_failed")
    assert ("dropped", ["dropped"]) == (entry.status, log_of(entry))
    assert 1 == world.flow.counters["handler.on_failed.dropped"]


def test_on_failed_is_called_once_however_many_cards_are_declined() -> None:
    """The customer is still trying; one message is enough."""
    world = World()
    x_intent_id = world.start_checkout().x_intent_id or ""
    for _ in range(3):
        world.xpay.decline(x_intent_id)
        world.settle()
    assert ["pi_1:on_failed"] == world.called("on_failed")


def test_an_order_refunded_in_full_is_not_fulfilled() -> None:
    """A full refund known before delivery overtakes on_success; a partial one does not."""
    for amount, expected in ((None, []), (1998, ["pi_1:on_success"])):
        world = World()
        x_intent_id = paid(world)
        world.xpay.refund(x_intent_id, amount)
        world.settle()
        assert expected == world.called("on_success")
        assert 1 == len(world.called("on_refunded"))


def test_on_refunded_is_called_once_for_each_refund() -> None:
    """Every refund id is a call of its own, with its amount."""
    world = World()
    x_intent_id = paid(world)
    world.settle()
    for amount in (100, 200):
        world.xpay.refund(x_intent_id, amount)
    world.settle()
    refunds = [payment for name, payment in world.calls if name == "on_refunded"]
    assert [100, 200] == sorted(p.refund_minor or 0 for p in refunds)
    assert [300, 300] == [p.refunded_minor for p in refunds]
    assert 2 == len({p.idempotency_key for p in refunds})


# --- missing handlers ----------------------------------------------------------------------------


def test_a_missing_on_success_is_never_forgotten() -> None:
    """A process without it leaves it, untried, to one that can fulfil."""
    world = World()
    paid(world)
    handler = world.flow.ports.handlers.pop("on_success").call
    assert () == world.flow.deliver()
    assert ("pending", 0) == (the_due(world).status, the_due(world).tries)
    world.flow.on_success(handler)
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_a_process_without_on_success_leaves_other_messages_too() -> None:
    """A bare worker does not drop what the shop itself wants to hear of."""
    world = World()
    world.xpay.decline(world.start_checkout().x_intent_id or "")
    world.deliver_webhooks()
    kept = dict(world.flow.ports.handlers)
    world.flow.ports.handlers.clear()
    assert () == world.flow.deliver()
    world.flow.ports.handlers.update(kept)
    world.flow.deliver()
    assert ["pi_1:on_failed"] == world.called("on_failed")


def test_a_missing_message_handler_is_a_choice() -> None:
    """Without an on_failed handler, a failed payment is not reconciled again."""
    world = World()
    world.xpay.decline(world.start_checkout().x_intent_id or "")
    world.deliver_webhooks()
    del world.flow.ports.handlers["on_failed"]
    assert ["missing"] == [d.outcome for d in worked(world.flow.deliver())]
    assert ("dropped", ["started", "missing"]) == (
        the_due(world, "on_failed").status,
        log_of(the_due(world, "on_failed")),
    )


# --- weird handlers ------------------------------------------------------------------------------


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        KeyError("\x00\x1b[31m\n\n\u2028two lines"),
        RuntimeError("x" * 100_000),
        OSError(2, "No such file", "/srv/\udcff\udc00"),
        StopIteration("end"),
        StopAsyncIteration("end"),
        SystemExit(3),
        ArithmeticError("½ é 漢"),
        ExceptionGroup("several", [ValueError("1"), ValueError("2")]),
        StoreUnavailable("the shop's own use of a store"),
        TimeoutError(),
        Unspeakable(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_whatever_a_handler_raises_is_one_bounded_line(
    error: BaseException, store: str, tmp_path: Any
) -> None:
    """It is on file as text, the call is retried, and the next intent's handler is called."""
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path}/shop.db"
    world = World(open_store(url))
    world.flow.on_success(Failing(1, error))
    paid(world)
    paid(world, "order-43")
    assert ["failed", "done"] == [d.outcome for d in worked(world.flow.deliver())]
    text = the_due(world).log[-1].error
    assert text.startswith(type(error).__name__)
    assert len(text) <= ERROR_CHARS_MAX
    assert 1 == len(text.splitlines())
    world.advance(5)
    assert ["done"] == [d.outcome for d in worked(world.flow.deliver())]
    getattr(world.flow.store, "close", lambda: None)()


@pytest.mark.parametrize("end", [KeyboardInterrupt(), GeneratorExit()])
def test_a_process_stopped_inside_a_handler_ends(end: BaseException) -> None:
    """It is not taken for an error of the handler; the lease runs out and the call is repeated."""
    world = World()
    handler = world.flow.on_success(Failing(1, end))
    paid(world)
    with pytest.raises(type(end)):
        world.flow.deliver()
    world.advance(60)
    assert ["done"] == [d.outcome for d in worked(world.flow.deliver())]
    assert ["pi_1:on_success"] * 2 == handler.keys  # type: ignore[attr-defined]


def test_a_handler_may_use_the_flow() -> None:
    """Looking at the timeline or starting another checkout inside a handler is fine."""
    world = World()
    seen: list[str] = []

    def handler(payment: Payment) -> None:
        seen.append(world.flow.timeline(payment.intent_id).outbox[0].status)
        seen.append(world.start_checkout("order-next").state)
        assert () == world.flow.deliver()

    world.flow.on_success(handler)
    paid(world)
    assert ["done"] == [d.outcome for d in worked(world.flow.deliver())]
    assert ["pending", "created"] == seen


async def _fulfil(payment: Payment) -> None:
    raise RuntimeError(f"reached for {payment.receipt_id}")


class _Callable:
    async def __call__(self, payment: Payment) -> None:
        await _fulfil(payment)


AWAITABLES: dict[str, Callable[[Payment], Awaitable[None]]] = {
    "lambda": lambda payment: _fulfil(payment),
    "object": _Callable(),
    "partial": functools.partial(_fulfil),
    "coroutine function": _fulfil,
}


@pytest.mark.parametrize("how", AWAITABLES)
def test_an_async_handler_is_awaited_however_it_is_written(how: str) -> None:
    """An order is not called fulfilled because a coroutine was made and thrown away."""
    world = World()
    paid(world)
    flow = AsyncFlow(
        world.flow.store,
        world.settings,
        transport=object(),  # type: ignore[arg-type]
        clock=AsyncManualClock(world.clock),
        background=False,
    )
    flow.on_success(AWAITABLES[how])
    assert ["failed"] == [d.outcome for d in worked(asyncio.run(flow.deliver()))]


@pytest.mark.parametrize("how", ["lambda", "object"])
def test_a_sync_flow_does_not_take_a_coroutine_for_done(how: str) -> None:
    """What it cannot await, it must not settle as done."""
    world = World()
    world.flow.on_success(AWAITABLES[how])
    paid(world)
    assert ["failed"] == [d.outcome for d in worked(world.flow.deliver())]


def test_a_plain_handler_of_an_async_flow_may_raise_stop_iteration() -> None:
    """`next(iter([]))` in a handler is a failure like any other, and not the end of all work."""
    world = World()
    paid(world)
    flow = AsyncFlow(
        world.flow.store,
        world.settings,
        transport=object(),  # type: ignore[arg-type]
        clock=AsyncManualClock(world.clock),
        background=False,
    )
    flow.on_success(Failing(1, StopIteration()))

    async def transactional(seconds: float) -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        return await asyncio.wait_for(flow.deliver(), seconds)

    assert ["failed"] == [d.outcome for d in asyncio.run(transactional(2))]


def another_process(world: World) -> Flow:
    """The shop once more, with the same handlers on the same store."""
    flow = Flow(
        world.flow.store,
        world.settings,
        transport=world.flow.ports.transport,
        clock=world.flow.ports.clock,
        background=False,
    )
    flow.ports.handlers.update(world.flow.ports.handlers)
    return flow


# --- claims --------------------------------------------------------------------------------------


def test_an_unsettled_claim_expires() -> None:
    """A worker died in the handler: after the lease, not before, another makes the same call."""
    world = World(flow_type=FusedFlow)
    fuse = world.flow.fuse = Fuse()  # type: ignore[attr-defined]
    paid(world)
    fuse.set(10, "after")
    with pytest.raises(Crash):
        world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")
    world.advance(59)
    assert () == world.flow.deliver()
    world.advance(1)
    assert ["done"] == [d.outcome for d in worked(world.flow.deliver())]
    assert ["pi_1:on_success"] * 2 == world.called("on_success")
    assert ["started", "started", "done"] == log_of(the_due(world))


def test_a_handler_slower_than_its_lease_is_called_again_with_the_same_key() -> None:
    """Both calls carry the key; whichever ends first settles, and the other changes nothing."""
    world = World()
    keys: list[str] = []

    def slow(payment: Payment) -> None:
        keys.append(payment.idempotency_key)
        if len(keys) == 1:
            world.advance(60)
            assert ["done"] == [d.outcome for d in worked(another_process(world).deliver())]

    world.flow.on_success(slow)
    paid(world)
    assert ["done"] == [d.outcome for d in worked(world.flow.deliver())]
    assert ["pi_1:on_success"] * 2 == keys
    assert ["started", "started", "done"] == log_of(the_due(world))


def test_a_late_failure_does_not_undo_what_another_did() -> None:
    """The slow call fails after the second one worked: it stays done."""
    world = World()
    keys: list[str] = []

    def slow(payment: Payment) -> None:
        keys.append(payment.idempotency_key)
        if len(keys) == 1:
            world.advance(60)
            another_process(world).deliver()
            raise RuntimeError("too late")

    world.flow.on_success(slow)
    paid(world)
    world.flow.deliver()
    assert "done" == the_due(world).status
    world.advance(10**7)
    assert () == world.flow.deliver()


def test_a_late_failure_leaves_the_newer_claim_alone() -> None:
    """While the second call is running, the first one's failure does not shorten its lease."""
    world = World()
    leases: list[int] = []

    def slow(payment: Payment) -> None:
        leases.append(the_due(world).next_at_ms)
        if len(leases) == 1:
            world.advance(60)
            another_process(world).deliver()
            raise RuntimeError("too late")
        raise KeyboardInterrupt

    world.flow.on_success(slow)
    paid(world)
    with pytest.raises(KeyboardInterrupt):
        world.flow.deliver()
    assert leases[1] == the_due(world).next_at_ms


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("times", [1, len(CLAIM_AGAIN_S)])
def test_a_claim_that_lost_its_answer_is_found_in_the_record(when: Any, times: int) -> None:
    """Taken effect or not: the call is made at once, and counted as one try that was not cut."""
    store = BreakingStore(MemoryStore())
    world = World(store)
    paid(world)
    store.breaks |= {store.commits + number: when for number in range(1, times + 1)}
    assert ["done"] == [it.outcome for it in worked(world.flow.deliver())]
    assert ["pi_1:on_success"] == world.called("on_success")
    entry = the_due(world)
    assert (1, 0, ["started", "done"]) == (entry.tries, entry.cut_short, log_of(entry))


def test_a_claim_of_another_is_not_taken_for_ours() -> None:
    """Our claim was never written, and another process has claimed meanwhile: the call is its."""
    store = BreakingStore(MemoryStore())
    world = World(store)
    paid(world)
    other, calls = another_process(world), list[str]()

    def handler(payment: Payment) -> None:
        # What the other process calls is called while ours finds its claim again.
        calls.append(payment.intent_id)

    other.on_success(handler)
    pause = world.flow.ports.clock.pause

    def meanwhile(seconds: float) -> None:
        other.deliver()
        pause(seconds)

    world.flow.ports.clock.pause = meanwhile  # type: ignore[method-assign]
    store.break_next("before")
    assert () == world.flow.deliver()
    assert (["pi_1"], []) == (calls, world.called("on_success"))
    assert 1 == the_due(world).tries


def test_a_store_that_stays_away_at_the_claim_heals() -> None:
    """Its error comes out, and the call is made when it is back, once."""
    store = BreakingStore(MemoryStore())
    world = World(store)
    paid(world)
    store.breaks |= {store.commits + 1 + number: "before" for number in range(3)}
    with pytest.raises(StoreUnavailable):
        world.flow.deliver()
    world.flow.deliver()
    assert ("done", 1) == (the_due(world).status, the_due(world).tries)
    assert ["pi_1:on_success"] == world.called("on_success")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("times", [1, 2, len(SETTLE_AGAIN_S)])
def test_a_call_whose_end_cannot_be_recorded_at_once_is_no_claim_left(
    when: Any, failing: bool, times: int
) -> None:
    """The store breaks so often at the settlement: it is recorded again, and nothing called."""
    store = BreakingStore(MemoryStore())
    world = World(store)
    paid(world)
    called = list[str]()

    def handler(payment: Payment) -> None:
        called.append(payment.intent_id)
        store.breaks |= {store.commits + number: when for number in range(1, times + 1)}
        if failing:
            raise RuntimeError("the warehouse is shut")

    world.flow.on_success(handler)
    (result,) = worked(world.flow.deliver())
    entry = the_due(world)
    assert 1 == len(called) == entry.tries
    assert ["started", "failed" if failing else "done"] == [it.outcome for it in entry.log]
    assert ("failed" if failing else "done") == result.outcome
    assert 0 == entry.cut_short
    if failing:
        assert entry.next_at_ms - entry.log[-1].at_ms < 60_000, "it waits for its try, not a lease"


def test_a_call_whose_end_can_never_be_recorded_is_left_to_its_lease() -> None:
    """A store that stays away ends the pass; then the claim runs out, as after a crash."""
    store = BreakingStore(MemoryStore())
    world = World(store)
    paid(world)
    store.breaks = dict.fromkeys(range(store.commits + 2, store.commits + 100), "before")
    with pytest.raises(StoreUnavailable):
        world.flow.deliver()
    store.breaks = {}
    world.advance(60)
    assert ["done"] == [d.outcome for d in worked(world.flow.deliver())]


def test_a_call_that_cannot_be_settled_is_made_again() -> None:
    """Others change the record ten times in a row: the claim runs out, as after a crash."""
    world = World()
    paid(world)
    store = world.flow.ports.store

    def rival(change: Change) -> None:
        if any(entry.status == "done" for entry in change.changed_entries):
            touch(store, change.record.key)

    world.flow.ports.store = RivalledStore(store, rival)
    (results,) = world.flow.deliver()
    assert isinstance(results, FailedJob)
    assert results.error.startswith("StoreContended")
    world.flow.ports.store = store
    world.advance(60)
    assert ["done"] == [d.outcome for d in worked(world.flow.deliver())]


def test_a_claim_always_lost_is_left_for_later() -> None:
    """Ten lost races mean that others are at work: nothing is called and nothing is lost."""
    world = World()
    paid(world)
    store = world.flow.ports.store
    world.flow.ports.store = RivalledStore(store, lambda change: touch(store, change.record.key))
    assert () == world.flow.deliver()
    assert [] == world.calls
    world.flow.ports.store = store
    assert ["done"] == [d.outcome for d in worked(world.flow.deliver())]


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["order-42", "pi_1"])
def test_a_given_up_call_can_be_due_again(name: str) -> None:
    """After the cause is mended, with a fresh count of tries and the same key."""
    world = World(retry_schedule_s=(5,))
    handler = world.flow.on_success(Failing(2))
    paid(world)
    world.flow.deliver()
    world.advance(5)
    world.flow.deliver()
    alias = f"receipt:{name}" if name.startswith("order") else f"intent:{name}"
    again = world.flow.redeliver(alias, "pi_1:on_success")
    assert ("pending", 0) == (again.status, again.tries)
    assert ["done"] == [d.outcome for d in worked(world.flow.deliver())]
    assert {"pi_1:on_success"} == set(handler.keys)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["order-42", "pi_1"])
def test_redeliver_takes_the_names_that_a_timeline_takes(name: str) -> None:
    """Intent id, xPay's id or receipt id: what an operator has in hand."""
    world = World(retry_schedule_s=(5,))
    world.flow.on_success(Failing())
    paid(world)
    world.flow.deliver()
    world.advance(5)
    world.flow.deliver()
    world.flow.timeline(name)
    assert "pending" == world.flow.redeliver(name, "pi_1:on_success").status


def test_redeliver_refuses_what_is_done_or_pending() -> None:
    """Only a call that ended without being made can be had again."""
    world = World()
    paid(world)
    for _ in range(2):
        before = the_record(world)
        with pytest.raises(InvalidValue):
            world.flow.redeliver("order-42", "pi_1:on_success")
        assert before == the_record(world)
        world.flow.deliver()


def test_redeliver_makes_a_superseded_call() -> None:
    """A payment refunded in full is fulfilled by an explicit request."""
    world = World()
    world.xpay.refund(paid(world))
    world.settle()
    assert ("dropped", []) == (the_due(world).status, world.called("on_success"))
    world.flow.redeliver("order-42", "pi_1:on_success")
    world.flow.deliver()
    assert ("done", ["pi_1:on_success"]) == (the_due(world).status, world.called("on_success"))


def test_redeliver_refuses_an_unknown_entry() -> None:
    """A wrong name is an error and writes nothing."""
    world = World()
    paid(world)
    before = the_record(world)
    for name, entry in (("receipt:order-42", "pi_1:on_failed"), ("unknown", "pi_1:on_success")):
        with pytest.raises(UnknownIntent):
            world.flow.redeliver(name, entry)
    assert before == the_record(world)


def test_the_handlers_are_four() -> None:
    """Each name has a decorator on the flow, and registering returns the handler."""
    world = World()
    names: tuple[HandlerName, ...] = ("on_success", "on_failed", "on_refunded", "on_attention")
    for name in names:
        handler = Failing()
        assert handler is getattr(world.flow, name)(handler)
        assert handler is world.flow.ports.handlers[name].call


def test_error_text_is_for_a_log_line() -> None:
    """The class and the text, white space folded, cut to a bounded length."""
    assert "ValueError: a b" == error_text(ValueError("a\n \t b"))


# --- a record that cannot be read ----------------------------------------------------------------


class Unreadable(StoreBehind):
    """One record was written by a newer version: every attempt to load it fails."""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        if alias in ("attempt:sandbox/local:1:order-42", "receipt:order-42"):
            raise SchemaMismatch("written by a newer version")
        return super().load(alias, event)


@pytest.mark.parametrize("work", ["deliver", "reconcile"])
def test_a_record_that_cannot_be_read_does_not_hold_up_the_others(work: str) -> None:
    """During a rolling deploy: it is due for longest and fails each time, and others are served."""
    world = World()
    for order in ("order-42", "order-43"):
        checkout = world.start_checkout(order)
        world.advance(1)
        world.xpay.pay(checkout.x_intent_id or "")
    world.advance(70)
    if work == "deliver":
        world.deliver_webhooks()
    world.flow.ports.store = Unreadable(world.flow.ports.store)
    results = getattr(world.flow, work)()
    assert ["attempt:sandbox/local:1:order-42"] == [
        one.key for one in results if isinstance(one, FailedJob)
    ]
    intent = world.flow.timeline("order-43").intent
    assert intent is not None
    assert "success" == intent.state
    if work == "deliver":
        assert ["pi_2:on_success"] == world.called("on_success")


def test_on_attention_is_called_for_an_order_paid_twice() -> None:
    """An order that was paid twice is flagged, whatever `on_success` makes of it."""
    world = quiet_world()
    first = world.start_checkout().x_intent_id
    second = world.start_checkout(new_attempt=True).x_intent_id
    for x_intent_id in (first, second):
        world.xpay.pay(x_intent_id or "")
        world.settle()
    assert world.called("on_attention")


def test_deliver_goes_on_behind_a_record_that_cannot_be_read() -> None:
    """The order behind an unreadable record is fulfilled."""
    store = UnreadableRecord(MemoryStore())
    world = quiet_world(store=store)
    for receipt_id in ("order-1", "order-2"):
        paid_order(world, receipt_id)
        world.advance(1)
    store.bad = "attempt:sandbox/local:1:order-1"
    for _ in range(5):
        world.flow.deliver()
        world.advance(60)
    assert ["pi_2:on_success"] == world.called("on_success")


def test_deliver_gives_up_a_handler_that_kills_its_process_each_time() -> None:
    """Retry with back-off, then attention: also for a handler that never comes back."""
    world = quiet_world(retry_schedule_s=(5, 30))
    paid_order(world, "order-42")

    def kills(payment: Payment) -> None:
        raise Crash

    world.flow.on_success(kills)
    for _ in range(50):
        with suppress(Crash):
            world.flow.deliver()
        world.advance(world.settings.lease_s + 1)
    intent = the_record(world).intent
    assert intent is not None
    assert "handler_gave_up:on_success" in intent.attention


def test_deliver_drops_what_a_process_with_on_success_has_no_handler_for() -> None:
    """It is taken for a whole shop, as in "Go live"; `redeliver` has the dropped call made.

    See "Not guaranteed" of promise 4.
    """
    world = quiet_world()
    x_intent_id = paid_order(world, "order-42")
    web = world.new_flow(world.flow.store)
    for name in ("on_failed", "on_refunded", "on_attention"):
        del web.ports.handlers[name]
    web.deliver()
    world.xpay.refund(x_intent_id, 500)
    world.deliver_webhooks()
    web.deliver()
    world.flow.deliver()
    assert [] == world.called("on_refunded")
    (dropped,) = (entry for entry in the_record(world).outbox if entry.name == "on_refunded")
    assert "dropped" == dropped.status
    world.flow.redeliver("order-42", dropped.id)
    world.flow.deliver()
    assert [dropped.id] == world.called("on_refunded")


def test_deliver_without_on_success_does_not_delay_it() -> None:
    """A process that only calls persons does not keep a paid order from the one that fulfils."""
    world = quiet_world()
    paid_order(world, "order-42")
    caller = world.new_flow(world.flow.store)
    del caller.ports.handlers["on_success"]
    for _ in range(4):
        caller.deliver()
        world.advance(700)
    caller.deliver()
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_redeliver_refuses_what_is_done() -> None:
    """`on_success` that is done is not due a second time."""
    world = quiet_world()
    paid_order(world, "order-42")
    world.flow.deliver()
    with suppress(MerchantError):
        world.flow.redeliver("order-42", "pi_1:on_success")
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_redeliver_takes_what_was_withheld_for_a_refund_in_part() -> None:
    """`refund_without_details`: "if the refund was partial, fulfil … with `redeliver`"."""
    world = quiet_world(config=DEAF)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    script = scripted(world)
    reported = success_of(world, checkout.x_intent_id, status=messages.STATUS_REFUNDED)
    script.then(answer(200, {**reported, "xIntentId": checkout.x_intent_id}))
    world.advance(61)
    world.flow.reconcile()
    world.flow.deliver()
    world.flow.redeliver("order-42", "pi_1:on_success")
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_deliver_counts_an_async_handler_that_is_cancelled_inside_as_failed() -> None:
    """A handler that awaited something cancelled (not the pass itself) fails like any other."""
    world = quiet_world()
    for receipt_id in ("order-1", "order-2"):
        paid_order(world, receipt_id)
        world.advance(1)
    called: list[str] = []

    async def handler(payment: Payment) -> None:
        called.append(payment.receipt_id)
        if payment.receipt_id == "order-1":
            job = asyncio.ensure_future(asyncio.Event().wait())
            job.cancel()
            await job

    async def main() -> None:
        flow = AsyncFlow(
            world.flow.store,
            world.settings,
            transport=AsyncSandboxTransport(world.xpay),
            clock=AsyncManualClock(world.clock),
            background=False,
        )
        flow.on_success(handler)
        await flow.deliver()

    asyncio.run(main())
    assert ["order-1", "order-2"] == called
