"""A clock that is set back, or ahead and back, delays nothing beyond a pause of its schedule."""

from __future__ import annotations

from typing import Any

import pytest

from xpay_flow.errors import OutcomeUnknown
from xpay_flow.ports import NoAnswer
from xpay_flow.rate_limit import RateLimiter
from xpay_flow.records import CLOCK_SKEW_MS
from xpay_flow.sandbox import SandboxConfig
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import World

from .kit import SettableClock, paid_order, scripted, send_webhook, the_record

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
DEAF = SandboxConfig(webhook_url=None, rate_limit=None)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    if request.param == "memory":
        yield MemoryStore()
    else:
        with SQLiteStore(tmp_path / "payments.db") as opened:
            yield opened


def world_with_clock(store: Any, **options: Any) -> tuple[World, SettableClock]:
    world = World(store, config=DEAF, **options)
    clock = SettableClock(world.clock)
    world.flow.ports.clock = clock
    return world, clock


JUMPS = pytest.mark.parametrize("back_ms", [CLOCK_SKEW_MS + 1, HOUR_MS, YEAR_MS])


@JUMPS
def test_deliver_makes_a_first_call_at_once_when_the_clock_was_set_back(
    store: Any, back_ms: int
) -> None:
    """The payment was recorded by the clock that was ahead."""
    world, clock = world_with_clock(store)
    send_paid(world)
    clock.back_ms += back_ms
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")
    assert () == world.flow.deliver()


@JUMPS
def test_deliver_tries_again_by_its_schedule_when_the_clock_was_set_back(
    store: Any, back_ms: int
) -> None:
    """One try at once, and then the pauses are those of the schedule again, and no shorter."""
    world, clock = world_with_clock(store, retry_schedule_s=(5, 30, 120))
    tries = failing(world)
    send_paid(world)
    world.flow.deliver()
    clock.back_ms += back_ms
    for pause_s in (0, 29, 1, 119, 1):
        world.advance(pause_s)
        world.flow.deliver()
        world.flow.deliver()
    assert 4 == len(tries)


@JUMPS
def test_deliver_takes_over_a_lease_of_the_future(store: Any, back_ms: int) -> None:
    """The worker that claimed the call died, and the clock was set back."""
    world, clock = world_with_clock(store)
    send_paid(world)

    def dies(_: Any) -> None:
        raise KeyboardInterrupt

    world.flow.on_success(dies)
    with pytest.raises(KeyboardInterrupt):
        world.flow.deliver()
    clock.back_ms += back_ms
    calls: list[Any] = []
    world.flow.on_success(calls.append)
    world.flow.deliver()
    assert 1 == len(calls)


@pytest.mark.parametrize("ahead_ms", [0, 1, CLOCK_SKEW_MS])
def test_deliver_leaves_a_lease_to_a_worker_whose_clock_is_a_little_ahead(
    store: Any, ahead_ms: int
) -> None:
    """Hosts differ by seconds, and a call must not run twice because of that."""
    world, clock = world_with_clock(store)
    send_paid(world)
    calls: list[Any] = []

    def slow(payment: Any) -> None:
        calls.append(payment)
        other = world.new_flow(store)
        other.on_success(slow)
        behind = SettableClock(world.clock)
        behind.back_ms = clock.back_ms + ahead_ms
        other.ports.clock = behind
        other.deliver()

    world.flow.on_success(slow)
    world.flow.deliver()
    assert 1 == len(calls)


@JUMPS
def test_reconcile_queries_at_once_and_then_by_its_schedule_when_the_clock_was_set_back(
    store: Any, back_ms: int
) -> None:
    """A lost webhook is noticed as if the clock had gone on."""
    world, clock = world_with_clock(store)
    world.start_checkout()
    clock.back_ms += back_ms
    asked = []
    for _ in range(5):
        asked.append(len(world.flow.reconcile()))
        world.advance(60)
    assert [1, 0, 1, 0, 0] == asked


@pytest.mark.parametrize("back_ms", [HOUR_MS, YEAR_MS])
def test_reconcile_resolves_a_creation_whose_lease_is_of_the_future(
    store: Any, back_ms: int
) -> None:
    """The customer's process died over the creation, and the clock was set back."""
    world, clock = world_with_clock(store)
    transport = scripted(world, *3 * [NoAnswer("lost")])
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    clock.back_ms += back_ms
    world.flow.reconcile()
    assert 4 <= len(transport.requests)
    intent = the_record(world).intent
    assert intent is not None
    assert "created" == intent.state


def test_an_event_of_a_clock_that_was_set_back_leaves_no_call_behind(store: Any) -> None:
    """What is recorded now makes the times believed again, so it must mend the old ones, too."""
    world, clock = world_with_clock(store)
    x_intent_id = send_paid(world)
    clock.back_ms += HOUR_MS
    refund = {"refundId": "rf_1", "amount": 1, "currency": "USD"}
    send_webhook(world, "intent.refunded", intentId=x_intent_id, **refund)
    world.flow.deliver()
    assert {"on_success", "on_refunded"} == {name for name, _ in world.calls}


def test_a_clock_that_was_ahead_for_a_while_delays_nothing(store: Any) -> None:
    """A process wrote by a clock a year ahead; another, or a corrected one, goes on at once."""
    world, clock = world_with_clock(store, retry_schedule_s=(5, 30))
    tries = failing(world)
    clock.back_ms -= YEAR_MS
    send_paid(world)
    world.flow.deliver()
    clock.back_ms += YEAR_MS
    world.flow.deliver()
    assert 2 == len(tries)
    world.advance(30)
    world.flow.deliver()
    assert 3 == len(tries)


def test_a_parked_event_of_a_clock_that_was_set_back_is_reported(store: Any) -> None:
    """`on_unmatched` waits an hour for the intent, and not for the clock."""
    world, clock = world_with_clock(store)
    send_webhook(world, "intent.success", intentId="in_theirs", receiptId="link-1")
    clock.back_ms += YEAR_MS
    world.flow.deliver()
    assert 1 == len(world.unmatched)


@pytest.mark.parametrize("jump_ms", [-YEAR_MS, -HOUR_MS, HOUR_MS, YEAR_MS])
def test_the_rate_limiter_waits_no_longer_for_a_clock_that_jumps(jump_ms: int) -> None:
    """Either way, and back again: a turn is at most as many spacings away as turns were taken."""
    limiter = RateLimiter(60)
    now_ms = YEAR_MS
    for at_ms in (now_ms, now_ms + jump_ms, now_ms):
        assert limiter.acquire(at_ms) <= 3


def send_paid(world: World) -> str:
    x_intent_id = paid_order(world, "order-42")
    send_success(world, x_intent_id)
    return x_intent_id


def send_success(world: World, x_intent_id: str) -> None:
    fields = {"amount": 1999, "currency": "USD", "intentId": x_intent_id}
    send_webhook(world, "intent.success", "whe_paid", **fields)


def failing(world: World) -> list[Any]:
    tries: list[Any] = []

    def handler(payment: Any) -> None:
        tries.append(payment)
        raise RuntimeError("no paper")

    world.flow.on_success(handler)
    return tries
