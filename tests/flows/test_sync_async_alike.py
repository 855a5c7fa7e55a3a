"""That `run` and `arun` perform every effect alike: the same stories end in the same records.

Each story is run three times: by Flow, by AsyncFlow over a blocking store, and by AsyncFlow over
a store that is async itself.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import attrs
import pytest

from xpay_flow import drive, effects
from xpay_flow.effects import Command
from xpay_flow.errors import OutcomeUnknown, XPayFlowError
from xpay_flow.events import EventIdentity
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.money import Money
from xpay_flow.payment import Payment
from xpay_flow.ports import HttpRequest, HttpResponse, Store
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work
from xpay_flow.sandbox import FaultPlan, SandboxConfig
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import (
    WEBHOOK_URL,
    AsyncManualClock,
    AsyncSandboxTransport,
    World,
)

from .kit import send_webhook, success_of

# --- three kinds of shop -------------------------------------------------------------------------


class AwaitedStore:
    """A store whose every method is a coroutine, as a driver for a database would have it."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    async def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        await asyncio.sleep(0)
        return self._inner.load(alias, event)

    async def history(self, alias: str) -> Sequence[Record]:
        return self._inner.history(alias)

    async def recent(self, limit: int, realms: Realms = EVERY_REALM) -> Sequence[Record]:
        return self._inner.recent(limit, realms)  # type: ignore[attr-defined,no-any-return]

    async def blank_payloads(self, key: str) -> None:
        self._inner.blank_payloads(key)  # type: ignore[attr-defined]

    async def scrub(self) -> None:
        self._inner.scrub()  # type: ignore[attr-defined]

    async def commit(self, change: Change) -> bool:
        await asyncio.sleep(0)
        return self._inner.commit(change)

    async def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return self._inner.due(work, now_ms, limit, realms)

    def reader(self) -> AwaitedStore:
        return self


class Blocking:
    """An AsyncFlow that a test may call without awaiting."""

    def __init__(self, flow: AsyncFlow, runner: asyncio.Runner) -> None:
        self._flow, self._runner = flow, runner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._flow, name)
        if not inspect.iscoroutinefunction(member):
            return member

        def called(*args: Any, **options: Any) -> Any:
            return self._runner.run(member(*args, **options))

        return called


def awaited(world: World, store: Any, runner: asyncio.Runner) -> Any:
    flow = AsyncFlow(
        store,
        world.settings,
        transport=AsyncSandboxTransport(world.xpay),
        clock=AsyncManualClock(world.clock),
        ids=world.ids,
        background=False,
    )
    for name in ("on_success", "on_failed", "on_refunded", "on_attention"):
        getattr(flow, name)(lambda payment, name=name: world.calls.append((name, payment)))
    return Blocking(flow, runner)


Make = Callable[[FaultPlan | None], World]


@pytest.fixture
def makes() -> Iterator[dict[str, Make]]:
    with asyncio.Runner() as runner:

        def sync(faults: FaultPlan | None) -> World:
            config = SandboxConfig(webhook_url=WEBHOOK_URL, rate_limit=None)
            return World(faults=faults, config=config)

        def over_threads(faults: FaultPlan | None) -> World:
            world = sync(faults)
            world.flow = awaited(world, MemoryStore(), runner)
            return world

        def all_async(faults: FaultPlan | None) -> World:
            world = sync(faults)
            world.flow = awaited(world, AwaitedStore(MemoryStore()), runner)
            return world

        yield {"sync": sync, "over threads": over_threads, "async": all_async}


# --- stories -------------------------------------------------------------------------------------


def story_of_a_purchase(world: World) -> None:
    checkout = world.start_checkout(metadata={"basket": "7"})
    world.start_checkout(metadata={"basket": "7"})
    world.flow.send_to_checkout(checkout.intent_id)
    x_intent_id = checkout.x_intent_id or ""
    world.xpay.open_checkout(x_intent_id)
    world.xpay.decline(x_intent_id)
    world.settle()
    world.flow.status(x_intent_id, wait_s=1)
    world.xpay.pay(x_intent_id)
    world.settle()
    world.xpay.refund(x_intent_id, 5)
    world.xpay.dispute(x_intent_id)
    world.settle()


def story_of_a_lost_answer(world: World) -> None:
    world.xpay.set_faults(FaultPlan.from_dict({"api": [{"fault": "lose_answer", "times": 3}]}))
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    world.advance(31)
    world.flow.reconcile()
    (intent,) = world.xpay.intents()
    world.xpay.pay(intent.x_intent_id)
    world.advance(61)
    world.flow.reconcile()
    world.flow.deliver()


def story_of_a_refusal(world: World) -> None:
    for money in (Money(1, "USD"), Money(500, "USD"), Money(600, "USD")):
        world.calls.append((error_of(partial(world.start_checkout, money=money)), NO_PAYMENT))
    for name in ("pi_2", "pi_1", "pi_9"):
        world.calls.append((error_of(partial(world.flow.send_to_checkout, name)), NO_PAYMENT))


def story_of_strangers(world: World) -> None:
    send_webhook(world, "intent.created", intentId="in_foreign")
    send_webhook(world, "setup_method.success", "whe_2")
    body = b"{"
    world.calls.append((error_of(lambda: world.flow.receive_webhook({}, body)), NO_PAYMENT))
    world.advance(60)
    world.flow.reconcile()


def story_of_failing_handlers(world: World) -> None:
    def fails(payment: Payment) -> None:
        world.calls.append(("failed", payment))
        raise ValueError("no\npaper")

    world.flow.on_success(fails)
    x_intent_id = world.start_checkout().x_intent_id or ""
    send_webhook(world, "intent.success", "whe_1", **success_of(world, x_intent_id, amount=1))
    send_webhook(world, "intent.success", "whe_2", **success_of(world, x_intent_id))
    for seconds in (0, 5, 30, 120, 600, 3600, 21_600, 86_400, 86_400):
        world.advance(seconds)
        world.flow.deliver()
    world.flow.redeliver("receipt:order-42", "pi_1:on_success")


def story_of_a_bad_week(world: World) -> None:
    world.xpay.set_faults(FaultPlan.random(7))
    for number in range(6):
        error_of(partial(world.start_checkout, f"order-{number}"))
    for number, intent in enumerate(world.xpay.intents()):
        (world.xpay.decline if number % 3 == 0 else world.xpay.pay)(intent.x_intent_id)
    for _ in range(20):
        world.settle()
        world.advance(900)
        world.flow.reconcile()


NO_PAYMENT: Any = None
STORIES = (
    story_of_a_purchase,
    story_of_a_lost_answer,
    story_of_a_refusal,
    story_of_strangers,
    story_of_failing_handlers,
    story_of_a_bad_week,
)


def error_of(act: Callable[[], object]) -> str:
    """What an act came to, as a text."""
    try:
        return repr(act())
    except XPayFlowError as error:
        return repr(error)


def ending(world: World) -> dict[str, Any]:
    return {
        "timelines": [timeline.to_json() for timeline in world.flow.recent(99)],
        "calls": world.calls,
        "counters": dict(world.flow.counters),
        "time": world.clock.now_ms(),
        "xpay": [
            (one.x_intent_id, world.xpay.status(one.x_intent_id)) for one in world.xpay.intents()
        ],
        "webhooks": [(one.event_type, one.http_status) for one in world.xpay.delivery_log()],
    }


@pytest.mark.parametrize(
    "story", STORIES, ids=lambda story: story.__name__.removeprefix("story_of_")
)
def test_a_story_ends_alike(story: Callable[[World], None], makes: dict[str, Make]) -> None:
    """Timelines, calls, counters and the passing of time are equal, to the last field."""
    ends = {}
    for name, make in makes.items():
        world = make(None)
        story(world)
        ends[name] = ending(world)
    assert ends["sync"]["timelines"]
    assert ends["sync"] == ends["over threads"]
    assert ends["sync"] == ends["async"]


# --- effect by effect ----------------------------------------------------------------------------


# Performed only on a store that declares a capability, which the one in memory does not.
# `Each` is performed as often as it has jobs; see test_handlers_at_once.
OF_SOME_STORES = {"Each", "Versions", "RunInTransaction", "WithLock", "Orphaned"}


def every_effect(world: World) -> list[effects.Effect]:
    """One effect of each kind, against a world with one paid order."""
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.deliver_webhooks()
    (record,) = said_records(world)
    payment = Payment(
        idempotency_key="k",
        intent_id="pi_1",
        x_intent_id=None,
        receipt_id="order-42",
        attempt=1,
        money=Money(1, "USD"),
        state="success",
        metadata={},
    )
    after = attrs.evolve(record, version=record.version + 1)
    request = HttpRequest("GET", world.settings.base_url + "/nowhere", {})
    return [
        effects.Load("receipt:order-42"),
        effects.History("receipt:order-42"),
        effects.Recent(5),
        effects.Now(),
        effects.Pause(1.5),
        effects.WaitForChange(record.key, record.version, 1.5),
        effects.Commit(Change(record=after, expected_version=record.version)),
        effects.Commit(Change(record=after, expected_version=record.version)),
        effects.BlankPayloads(record.key),
        effects.Scrub(),
        effects.Due("deliver", world.clock.now_ms() + 1, 5),
        effects.Due("reconcile", world.clock.now_ms() + 10**7, 5),
        effects.NewId("pi"),
        *[effects.AcquireRateLimit()] * 8,
        effects.AcquireRateLimit(background=True),
        *[effects.LeaveRateLimit()] * 11,
        effects.HoldRequests(3.0),
        effects.LeaveRateLimit(),
        effects.AcquireRateLimit(),
        effects.Exchange(request),
        effects.Count("something"),
        effects.RunHandler("on_success", payment),
        effects.RunHandler("on_failed", payment),
        effects.WithSlot("attempt:1:order-42", _find(), alone=False, patience_s=1),
        effects.WithSlot("attempt:1:order-42", _find(), alone=True, patience_s=1),
        effects.EnterPlace(),
        effects.LeavePlace(),
    ]


def said_records(world: World) -> list[Record]:
    found: list[Record] = list(world.flow.query(_find()))
    return found


def _find() -> effects.Query[Sequence[Record]]:
    return (yield from effects.history("receipt:order-42"))


def test_every_effect_has_the_same_answer(makes: dict[str, Make]) -> None:
    """One by one, whichever driver performs it; no kind of effect is left out."""
    answers: dict[str, list[object]] = {}
    kinds: set[str] = set()
    for name, make in makes.items():
        world = make(None)
        requested = every_effect(world)
        answers[name] = [comparable(answer) for answer in world.flow.run(_each(requested))]
        kinds = {type(effect).__name__ for effect in requested}
    assert {kind.__name__ for kind in effects.Effect.__args__} - OF_SOME_STORES == kinds
    assert answers["sync"] == answers["over threads"] == answers["async"]


def _each(requested: Sequence[effects.Effect]) -> Command[list[object]]:
    answered: list[object] = []
    for effect in requested:
        answered.append((yield effect))
    return answered


def comparable(answer: object) -> object:
    return (answer.status, answer.body) if isinstance(answer, HttpResponse) else answer


def test_the_two_faces_have_the_same_words() -> None:
    """Every public method of Flow is one of AsyncFlow, with the same parameters."""
    words = [n for n, member in vars(Flow).items() if n[0] != "_" and callable(member)]
    for name in words:
        one, other = (
            inspect.signature(getattr(Flow, name)),
            inspect.signature(getattr(AsyncFlow, name)),
        )
        assert list(one.parameters) == list(other.parameters), name
    assert words == [n for n, member in vars(AsyncFlow).items() if n[0] != "_" and callable(member)]


def test_an_error_of_a_port_reaches_the_flow_where_it_asked() -> None:
    """Both drivers throw it in at the yield, so that a flow may handle it and go on."""

    def careful() -> Command[str]:
        try:
            yield effects.Load("x")
        except LookupError as error:
            return f"handled {error}"
        return "no error"

    class Broken:
        def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
            raise LookupError(alias)

    class AsyncBroken:
        async def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
            raise LookupError(alias)

    world = World()
    ports = attrs.evolve(world.flow.ports, store=Broken())  # type: ignore[arg-type]
    assert "handled x" == drive.run(careful(), ports)
    async_ports: Any = drive.AsyncPorts(
        store=AsyncBroken(),  # type: ignore[arg-type]
        transport=AsyncSandboxTransport(world.xpay),
        clock=AsyncManualClock(world.clock),
        shared=world.flow.ports.shared,
    )
    assert "handled x" == asyncio.run(drive.arun(careful(), async_ports))


def test_a_cancelled_task_leaves_no_flow_half_open() -> None:
    """The event loop gives up on a flow in the middle: the generator is closed."""
    closed: list[bool] = []

    def patient() -> Command[None]:
        try:
            while True:
                yield effects.Now()
                yield effects.Pause(1)
        finally:
            closed.append(True)

    class Slow(AsyncManualClock):
        async def pause(self, seconds: float) -> None:  # type: ignore[override]  # as its parent
            await asyncio.Event().wait()

    async def given_up() -> None:
        world = World()
        ports = drive.AsyncPorts(
            store=AwaitedStore(MemoryStore()),
            transport=AsyncSandboxTransport(world.xpay),
            clock=Slow(world.clock),
            shared=world.flow.ports.shared,
        )
        task = asyncio.ensure_future(drive.arun(patient(), ports))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(given_up())
    assert [True] == closed
