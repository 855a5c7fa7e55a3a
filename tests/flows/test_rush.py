"""That customers in a rush are served at the rate that xPay allows, or refused at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpay_flow import messages
from xpay_flow.errors import OutcomeUnknown, TooManyRequests, XPayRefused
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.flows import Checkout
from xpay_flow.in_flight import AsyncInFlight, InFlight
from xpay_flow.money import Money
from xpay_flow.ports import HttpRequest, HttpResponse
from xpay_flow.rate_limit import RateLimiter
from xpay_flow.sandbox import SandboxConfig
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.limits import within_s
from xpay_flow.testing.world import World

from .kit import answer, error, quiet_world, scripted

ORDER: dict[str, Any] = {
    "money": Money(1999, "USD"),
    "callback_url": "https://shop.example/thanks",
}


# --- the limiter ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("per_minute", "requests", "seconds"), [(600, 10, 1), (60, 5, 5)])
def test_rate_limiter_lets_no_more_than_the_limit_into_any_window(
    per_minute: int, requests: int, seconds: int
) -> None:
    """Ten in any second by default; at sixty a minute, five in any five seconds."""
    rate_limiter = RateLimiter(per_minute)
    turns_s = [rate_limiter.acquire(0) for _ in range(6 * requests)]
    assert [0.0] * requests == turns_s[:requests]
    assert all(
        later - sooner >= seconds
        for sooner, later in zip(turns_s, turns_s[requests:], strict=False)
    )
    assert turns_s[-1] <= 5 * seconds * RateLimiter.MARGIN + 0.001


def test_rate_limiter_takes_no_turn_for_one_who_does_not_wait() -> None:
    """A wait that is too long is named, and leaves the line as it was."""
    rate_limiter = RateLimiter(600)
    for _ in range(10):
        rate_limiter.acquire(0)
    assert (
        rate_limiter.acquire(0, 0.5)
        == rate_limiter.acquire(0, 0.5)
        == rate_limiter.acquire(0)
        > 0.5
    )


def in_background(limiter: RateLimiter, now_ms: int) -> float:
    return limiter.acquire(now_ms, background=True)


def test_rate_limiter_gives_background_work_no_turn_that_is_waited_for() -> None:
    """At most half of a window, and none while a customer is in line."""
    rate_limiter = RateLimiter(600)
    waits_s = [in_background(rate_limiter, 0) for _ in range(7)]
    assert [0.0] * 5 == waits_s[:5]
    assert all(wait_s > 0 for wait_s in waits_s[5:])
    assert [0.0] * 5 == [rate_limiter.acquire(0) for _ in range(5)]
    assert rate_limiter.acquire(0) > 0
    assert in_background(rate_limiter, 1) > 1


def test_rate_limiter_counts_requests_when_they_leave() -> None:
    """What a busy process sends late does not meet the next ten at xPay."""
    rate_limiter = RateLimiter(600)
    assert [0.0] * 10 == [rate_limiter.leave(900) for _ in range(10)]
    assert 0.95 == pytest.approx(rate_limiter.leave(1000))
    assert 0.0 == rate_limiter.leave(1950)


def test_rate_limiter_is_held_by_429_for_longer_each_time() -> None:
    """A quarter of a second, then twice as long, or as long as xPay asks; peace forgives."""
    rate_limiter = RateLimiter(600)
    rate_limiter.hold(0, None)
    assert 0.25 == rate_limiter.acquire(0)
    rate_limiter.hold(300, None)
    assert 0.5 == rate_limiter.leave(300)
    rate_limiter.hold(1000, 7)
    assert 7.0 == rate_limiter.acquire(1000)
    rate_limiter.hold(60_000, None)
    assert 0.25 == rate_limiter.leave(60_000)
    for _ in range(2000):
        rate_limiter.hold(60_000, None)
    assert RateLimiter.HOLD_S_MAX == rate_limiter.leave(60_000)


@given(st.lists(st.integers(-10_000_000, 10_000_000), min_size=1, max_size=30))
def test_rate_limiter_survives_clocks_that_jump(jumps_ms: list[int]) -> None:
    """Whatever the clock does, no turn is further away than the requests before it explain."""
    rate_limiter, now_ms = RateLimiter(600), 10**12
    for number, jump_ms in enumerate(jumps_ms):
        now_ms += jump_ms
        assert 0 <= rate_limiter.acquire(now_ms) <= number * rate_limiter.window_s + 0.001


# --- a rush --------------------------------------------------------------------------------------


def test_start_checkout_serves_a_rush_at_default_settings_within_the_wait() -> None:
    """Sixty customers at once: all get their page within six seconds, and xPay sees no excess."""
    world = World(requests_per_minute=Settings.sandbox().requests_per_minute)
    start_ms = world.clock.now_ms()
    for _ in range(50):
        # Fifty others are in line already; threads would wait beside each other, not in turn.
        world.flow.ports.shared.rate_limiter.acquire(start_ms)
    world.start_checkout()
    assert world.clock.now_ms() - start_ms <= 6000


def test_start_checkout_refuses_at_once_who_would_wait_too_long() -> None:
    """A clear error with the time to come again; nothing is stored, and nothing made later."""
    world = World()
    transport = scripted(world)
    for _ in range(100):
        world.flow.ports.shared.rate_limiter.acquire(world.clock.now_ms())
    started_ms = world.clock.now_ms()
    with pytest.raises(TooManyRequests, match="try again in") as caught:
        world.start_checkout()
    assert (503, True) == (caught.value.status_hint, 5 < caught.value.retry_after_s <= 12)
    assert started_ms == world.clock.now_ms()
    assert () == world.flow.recent()
    world.advance(3600)
    world.flow.reconcile()
    assert ([], []) == (transport.requests, list(world.xpay.intents()))
    assert "created" == world.start_checkout().state


def test_a_page_that_is_known_needs_no_turn() -> None:
    """Whoever presses again is served in any rush."""
    world = World()
    first = world.start_checkout()
    for _ in range(100):
        world.flow.ports.shared.rate_limiter.acquire(world.clock.now_ms())
    assert first.url == world.start_checkout().url


def test_429_is_the_judge_of_the_rate() -> None:
    """xPay lets through less than we thought: all are served, later, by their own keys."""
    config = SandboxConfig(webhook_url="http://127.0.0.1:8000/xpay/webhook")
    world = World(
        config=attrs.evolve(config, rate_limit=attrs.evolve(config.rate_limit, requests=2))
    )
    for number in range(6):
        world.start_checkout(f"order-{number}")
    assert 6 == len(world.xpay.intents())


def test_429_holds_up_all_requests_of_the_process() -> None:
    """Another customer does not run into the same wall."""
    world = quiet_world(create_tries=1)
    scripted(world, error(429, messages.RATE_LIMIT_EXCEEDED, "", **{"retry-after": "3"}))
    with pytest.raises(OutcomeUnknown):
        world.start_checkout("order-1")
    started_ms = world.clock.now_ms()
    world.start_checkout("order-2")
    assert 3000 == world.clock.now_ms() - started_ms


# --- presses for one order -----------------------------------------------------------------------


class Slow:
    """An xPay that answers when it is let go, and counts requests."""

    def __init__(self) -> None:
        self.requests = 0
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.reply: HttpResponse | None = None

    def send(self, request: HttpRequest) -> HttpResponse:
        self.requests += 1
        self.reached.set()
        self.go_on.wait(30)
        page = "https://pay.xpaycheckout.com/?xpay_intent_id=1"
        made = {"xIntentId": f"in_{self.requests}", "status": "CREATED", "fwdUrl": page}
        return self.reply or answer(200, made)


def slow_flow() -> tuple[Flow, Slow]:
    xpay = Slow()
    return Flow(MemoryStore(), Settings.sandbox(), transport=xpay, background=False), xpay


def presses(flow: Flow, xpay: Slow, orders: list[dict[str, Any]]) -> list[Any]:
    """What each of these presses was answered; all but the first came during the first."""

    def press(order: dict[str, Any]) -> Any:
        try:
            return flow.start_checkout(**order)
        except Exception as raised:
            return raised

    with ThreadPoolExecutor(len(orders)) as pool:
        first = pool.submit(press, orders[0])
        assert xpay.reached.wait(30)
        others = [pool.submit(press, order) for order in orders[1:]]
        xpay.go_on.set()
        return [first.result(30), *(other.result(30) for other in others)]


def test_simultaneous_presses_for_one_order_make_one_call() -> None:
    """Fifty presses while xPay takes its time: one request, one page for all."""
    flow, xpay = slow_flow()
    served = presses(flow, xpay, [{"receipt_id": "order-42", **ORDER}] * 50)
    assert 1 == xpay.requests
    assert 1 == len({checkout.url for checkout in served})
    assert {True, False} >= {checkout.resumed for checkout in served}


def test_simultaneous_presses_share_a_refusal() -> None:
    """What xPay refuses is refused to all of them, by one request."""
    flow, xpay = slow_flow()
    xpay.reply = error(400, messages.BAD_REQUEST, "no such country")
    refused = presses(flow, xpay, [{"receipt_id": "order-42", **ORDER}] * 2)
    assert [XPayRefused, XPayRefused] == [type(one) for one in refused]


def test_simultaneous_presses_for_two_orders_are_two_calls() -> None:
    """Sharing is by order."""
    flow, xpay = slow_flow()
    orders = [{"receipt_id": name, **ORDER} for name in ("order-1", "order-2")]
    assert 2 == len({checkout.intent_id for checkout in presses(flow, xpay, orders)})
    assert 2 == xpay.requests


def test_simultaneous_presses_of_coroutines_make_one_call() -> None:
    """The same in an event loop; a press that is cancelled leaves the others served."""
    reached, go_on = asyncio.Event, asyncio.Event
    requests: list[HttpRequest] = []

    async def press_all() -> list[Any]:
        at_xpay, let_go = reached(), go_on()

        class Awaited:
            async def send(self, request: HttpRequest) -> HttpResponse:
                requests.append(request)
                at_xpay.set()
                async with asyncio.timeout(30):
                    await let_go.wait()
                page = "https://pay.xpaycheckout.com/?xpay_intent_id=1"
                return answer(200, {"xIntentId": "in_1", "status": "CREATED", "fwdUrl": page})

        async with AsyncFlow(
            MemoryStore(), Settings.sandbox(), transport=Awaited(), background=False
        ) as flow:

            def press() -> asyncio.Task[Checkout]:
                return asyncio.ensure_future(flow.start_checkout(receipt_id="order-42", **ORDER))

            first = press()
            async with asyncio.timeout(30):
                await at_xpay.wait()
            others = [press() for _ in range(10)]
            await asyncio.sleep(0)
            others[0].cancel()
            let_go.set()
            return await asyncio.gather(first, *others, return_exceptions=True)

    served = asyncio.run(press_all())
    assert isinstance(served[1], asyncio.CancelledError)
    assert 1 == len({one.url for one in served if isinstance(one, Checkout)})
    assert (1, 10) == (len(requests), sum(isinstance(one, Checkout) for one in served))


def test_in_flight_goes_on_when_the_first_press_was_interrupted() -> None:
    """Ctrl+C in one thread is nobody else's: the follower makes the call itself."""
    shared, begun, interrupt = InFlight[str](30), threading.Event(), threading.Event()

    def interrupted() -> str:
        begun.set()
        interrupt.wait(30)
        raise KeyboardInterrupt

    def lead() -> None:
        with pytest.raises(KeyboardInterrupt):
            shared.share("order", "terms", interrupted, str)

    def follow() -> str:
        assert begun.wait(30)
        threading.Timer(0.05, interrupt.set).start()
        return shared.share("order", "terms", lambda: "mine", str)

    assert "mine" == within_s(60, lead, follow)[1]


def test_async_in_flight_goes_on_when_the_first_press_was_cancelled() -> None:
    """A customer who closed the tab does not take the others along."""

    async def both() -> str:
        shared, begun = AsyncInFlight[str](30), asyncio.Event()

        async def hang() -> str:
            begun.set()
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
            return "never"

        async def mine() -> str:
            return "mine"

        leading = asyncio.ensure_future(shared.share("order", "terms", hang, str))
        async with asyncio.timeout(30):
            await begun.wait()
        following = asyncio.ensure_future(shared.share("order", "terms", mine, str))
        await asyncio.sleep(0)
        leading.cancel()
        async with asyncio.timeout(30):
            return await following

    assert "mine" == asyncio.run(both())
