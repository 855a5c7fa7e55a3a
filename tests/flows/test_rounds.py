"""That jobs at once share the store: one look, one transaction, and no more claims than calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from servers import brief_wait

from xpay_flow.errors import StoreUnavailable
from xpay_flow.flow import AsyncFlow
from xpay_flow.flows import HandlerResult
from xpay_flow.flows.all_due import AHEAD, Result, do_all_due
from xpay_flow.payment import Payment
from xpay_flow.ports import Lookup
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import AsyncManualClock, AsyncSandboxTransport, World

from .kit import StoreBehind, paid_order

ORDERS = 24
DEADLINE_S = 10.0
LOOKS_MAX = 200


class Batching(StoreBehind):
    """A store that can do many at once, and notes what it did, in which thread."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.commits: list[tuple[str, ...]] = []
        self.loads: list[int] = []
        self.looks = 0
        self.before_commit: Callable[[Sequence[Change]], object] = lambda _: None

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        self.looks += 1
        return super().due(work, now_ms, limit, realms)

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        self.loads.append(len(lookups))
        return [super(Batching, self).load(*lookup) for lookup in lookups]

    def commit(self, change: Change) -> bool:
        return self.commit_many([change])[0]

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        self.before_commit(changes)
        assert len(changes) == len({change.record.key for change in changes})
        self.commits.append(tuple(outcome(change) for change in changes))
        return [super(Batching, self).commit(change) for change in changes]


def outcome(change: Change) -> str:
    """What this change notes about a handler call."""
    (entry,) = change.changed_entries
    return entry.log[-1].outcome


def shop(orders: int = ORDERS) -> tuple[World, Batching]:
    """So many paid orders, and nothing noted yet."""
    store = Batching(MemoryStore())
    world = World(store, handlers_have_limits=True)
    store.before_commit = lambda _: None
    batched, store.commit_many = (
        store.commit_many,
        lambda changes: [  # type: ignore[method-assign]
            super(Batching, store).commit(change) for change in changes
        ],
    )
    for order in range(orders):
        paid_order(world, f"order-{order}")
    store.commit_many = batched  # type: ignore[method-assign]
    store.loads.clear()
    store.looks = 0
    return world, store


def deliver(world: World, number: int, awaited: bool, handler: Any) -> list[str]:
    """The outcomes of one pass, with so many calls at a time."""
    results: list[Result] = []
    jobs: dict[Work, int] = {"deliver": number}

    async def story() -> None:
        async with AsyncFlow(
            world.flow.store,
            world.settings,
            transport=AsyncSandboxTransport(world.xpay),
            clock=AsyncManualClock(world.clock),
            background=False,
        ) as flow:
            flow.on_success(handler)
            await flow.run(do_all_due(flow.context, flow.capabilities, jobs, results.append))

    if awaited:
        asyncio.run(story())
    else:
        flow = world.flow
        flow.on_success(handler)
        flow.run(do_all_due(flow.context, flow.capabilities, jobs, results.append))
    return [it.outcome if isinstance(it, HandlerResult) else type(it).__name__ for it in results]


@pytest.mark.parametrize("awaited", [False, True])
def test_jobs_of_a_pass_share_one_look_and_their_transactions(awaited: bool) -> None:
    """The end of some calls and the claims of the next are one commit; of names, one look."""
    world, store = shop()
    together = threading.Barrier(8, timeout=DEADLINE_S)
    assert ["done"] * ORDERS == deliver(world, 8, awaited, lambda _: together.wait())
    assert [ORDERS] == store.loads
    assert ("started",) * 8 == store.commits[0]
    assert ORDERS * 2 == sum(map(len, store.commits))
    assert {"started", "done"} in [set(commit) for commit in store.commits]
    assert store.looks <= 4


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("places", [1, 3])
def test_no_more_calls_are_claimed_than_handlers_may_run(awaited: bool, places: int) -> None:
    """Whenever something is committed, so many calls have begun and not ended; so a process that is
    killed has counted no attempt of a call that it has not made."""
    world, store = shop()
    called, most = set[str](), 0

    def before_commit(changes: Sequence[Change]) -> None:
        nonlocal most
        claimed = sum(outcome(change) == "started" for change in changes)
        begun = sum(commit.count("started") for commit in store.commits)
        # All that were claimed before are called by now, but for those that are just begun.
        most = max(most, begun + claimed - len(called))

    store.before_commit = before_commit
    outcomes = deliver(world, places, awaited, lambda payment: called.add(payment.intent_id))
    assert ["done"] * ORDERS == outcomes
    assert most <= places


@pytest.mark.parametrize("awaited", [False, True])
def test_a_transaction_of_many_that_fails_is_done_one_by_one(awaited: bool) -> None:
    """One record that cannot be written costs no other its claim, and its error ends the pass."""
    world, store = shop(8)
    (bad,) = world.flow.store.load("receipt:order-3")
    called: list[str] = []

    def before_commit(changes: Sequence[Change]) -> None:
        if any(change.record.key == bad.key for change in changes):
            raise StoreUnavailable("it cannot be written")

    store.before_commit = before_commit
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        deliver(world, 8, awaited, lambda payment: called.append(payment.receipt_id))
    assert 7 == len(called) == len(set(called))
    assert "order-3" not in called


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("at", range(1, 7))
def test_a_process_that_dies_between_two_transactions_loses_no_call(at: int) -> None:
    """What was not called is called by the next, with its first attempt; what was called and not
    recorded is called again under its key; and no innocent call is blamed for it twice."""
    world, store = shop(12)
    first: list[str] = []

    def before_commit(_: Sequence[Change]) -> None:
        if len(store.commits) == at:
            raise Killed

    store.before_commit = before_commit
    with pytest.raises(Killed):
        deliver(world, 2, False, lambda payment: first.append(payment.idempotency_key))
    store.before_commit = lambda _: None
    claimed = {
        entry.id: entry.tries
        for number in range(12)
        for record in store.history(f"receipt:order-{number}")
        for entry in record.outbox
    }
    # A thread that has begun a call may not have come to it yet.
    for _ in range(LOOKS_MAX):
        if {entry_id for entry_id, tries in claimed.items() if tries} <= set(first):
            break
        brief_wait()
    # No attempt was counted that was not made.
    assert {entry_id for entry_id, tries in claimed.items() if tries} <= set(first)
    world.advance(world.settings.lease_s)
    second: list[str] = []
    deliver(world, 2, False, lambda payment: second.append(payment.idempotency_key))
    ended = [
        entry
        for number in range(12)
        for record in store.history(f"receipt:order-{number}")
        for entry in record.outbox
        if entry.name == "on_success"
    ]
    assert ["done"] * 12 == [entry.status for entry in ended]
    assert {entry.id for entry in ended} == {*first, *second}
    assert all(entry.tries == claimed[entry.id] + (entry.id in second) for entry in ended)
    assert len(set(first) & set(second)) <= 4


def test_jobs_that_wait_for_a_place_are_left_when_the_worker_stops() -> None:
    """What was not claimed is left to others at once."""
    world, _ = shop()
    called: list[str] = []
    results: list[Result] = []
    flow, jobs = world.flow, dict[Work, int](deliver=1)
    flow.on_success(lambda payment: called.append(payment.intent_id))
    due = do_all_due(
        flow.context, flow.capabilities, jobs, results.append, stopping=lambda: bool(called)
    )
    assert (1, 1) == (flow.run(due), len(called))
    assert AHEAD > ORDERS, "all others were in progress"
    assert ORDERS - 1 == len(flow.store.due("deliver", world.clock.now_ms(), 100))


def test_a_payment_is_not_called_twice_at_once_by_two_passes() -> None:
    """Two passes of one process work on the same orders; each call is made once."""
    world, _ = shop()
    called: list[str] = []
    lock = threading.Lock()

    def handler(payment: Payment) -> None:
        with lock:
            called.append(payment.intent_id)

    flow, jobs = world.flow, dict[Work, int](deliver=4)
    flow.on_success(handler)

    def one_pass() -> None:
        flow.run(do_all_due(flow.context, flow.capabilities, jobs, lambda _: None))

    other = threading.Thread(target=one_pass, daemon=True)
    other.start()
    one_pass()
    other.join(DEADLINE_S)
    assert not other.is_alive()
    assert ORDERS == len(called) == len(set(called))
