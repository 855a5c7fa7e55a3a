"""What do the tests of the flows share? Ports that misbehave, drivers that stop, forged webhooks.

A test decides which port does what, and when; nothing here decides what is right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from itertools import chain
from typing import Any, Literal, TypeVar, cast

import attrs

from xpay_flow import drive, messages
from xpay_flow.drive import Ports
from xpay_flow.effects import Command, Effect, WithSlot
from xpay_flow.errors import SchemaMismatch, StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.flow import Flow
from xpay_flow.ports import (
    HttpRequest,
    HttpResponse,
    NoAnswer,
    Reader,
    RecentListing,
    Store,
    Transport,
)
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, OutboxEntry, Record, Work
from xpay_flow.sandbox import SandboxConfig
from xpay_flow.sandbox.signer import EcdsaSigner, hmac_signature
from xpay_flow.testing.world import WEBHOOK_URL, ManualClock, World

T = TypeVar("T")
When = Literal["before", "after"]

SIGNING_KEY = SandboxConfig().signing_key
# The clock stands still in most tests, so that a rate limit per second would never end.
UNHURRIED = SandboxConfig(webhook_url=WEBHOOK_URL, rate_limit=None)


# --- stopping half way ---------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone. Not an `Exception`, so that no flow can live through it."""


class Fuse:
    """Counts effects and stops the process at one of them, before or after it is performed."""

    def __init__(self) -> None:
        self.seen = 0
        self._at: int | None = None
        self._when: When = "before"

    def set(self, at: int, when: When) -> None:
        """Blow at the `at`-th effect from now, counted from 0."""
        self._at, self._when = self.seen + at, when

    def defuse(self) -> None:
        self._at = None

    def guard(self, act: Callable[[], T]) -> T:
        here = self.seen == self._at
        self.seen += 1
        if here and self._when == "before":
            raise Crash
        answer = act()
        if here:
            raise Crash
        return answer


class FusedFlow(Flow):
    """A process of the shop that a fuse may stop at any effect of any command."""

    fuse: Fuse

    def run(self, flow: Command[T]) -> T:
        def performed(effect: Effect) -> object:
            return self.fuse.guard(lambda: drive.perform(effect, self.ports))

        return driven(flow, performed)


def driven(flow: Command[T], answer_to: Callable[[Effect], object]) -> T:
    """Run a flow with a performer of one's own."""
    steps = stepwise(flow, answer_to)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(T, end.value)


def stepwise(flow: Command[T], answer_to: Callable[[Effect], object]) -> Generator[Effect, None, T]:
    """Run a flow one effect at a time; yields each effect once it has been performed.

    What is done within a slot is taken apart, too; a slot itself is always free.
    """
    try:
        effect = next(flow)
        while True:
            effect_now = effect
            try:
                if isinstance(effect_now, WithSlot):
                    answer = yield from stepwise(effect_now.flow, answer_to)
                else:
                    answer = answer_to(effect_now)
            except Exception as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
            yield effect_now
    except StopIteration as end:
        return cast(T, end.value)


def at_once(
    first: Command[Any], second: Command[Any], ports: Ports, turns: Sequence[int]
) -> tuple[bool, bool]:
    """Let two processes take turns: `turns[0]` effects of the first, `turns[1]` of the second, …

    What is left of both is done at the end, the first before the second. Returns which of them
    had ended before that.
    """
    flows = [
        stepwise(flow, lambda effect: drive.perform(effect, ports)) for flow in (first, second)
    ]
    ended = [False, False]
    for place, effects in enumerate(turns):
        for _ in range(effects):
            ended[place % 2] = ended[place % 2] or _is_at_end(flows[place % 2])
    early = (ended[0], ended[1])
    for place in (0, 1):
        while not ended[place]:
            ended[place] = _is_at_end(flows[place])
    return early


def _is_at_end(steps: Generator[Effect, None, Any]) -> bool:
    try:
        next(steps)
    except StopIteration:
        return True
    return False


# --- stores that misbehave -----------------------------------------------------------------------


class StoreBehind:
    """A store that hands everything on to another one, to be changed in one place."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return self.inner.load(alias, event)

    def history(self, alias: str) -> Sequence[Record]:
        return self.inner.history(alias)

    def commit(self, change: Change) -> bool:
        return self.inner.commit(change)

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return self.inner.due(work, now_ms, limit, realms)

    def reader(self) -> Reader:
        return self.inner.reader()


class CountingStore(StoreBehind):
    """Counts reads and writes, and keeps what was written."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.loads = 0
        self.changes: list[Change] = []

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        self.loads += 1
        return super().load(alias, event)

    def history(self, alias: str) -> Sequence[Record]:
        self.loads += 1
        return super().history(alias)

    def commit(self, change: Change) -> bool:
        done = super().commit(change)
        if done:
            self.changes.append(change)
        return done


class UnwritableStore(StoreBehind):
    """Whatever writes, or takes work, fails the test."""

    def commit(self, change: Change) -> bool:
        raise AssertionError(f"a query wrote {change.record.key}")

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        raise AssertionError(f"a query took work: {work}")

    def recent(self, limit: int, realms: Realms = EVERY_REALM) -> Sequence[Record]:
        assert isinstance(self.inner, RecentListing)
        return self.inner.recent(limit, realms)

    def reader(self) -> Reader:
        # Itself, so that a query that found its way to the writing half would be caught.
        return self


class BreakingStore(StoreBehind):
    """Breaks at some of its commits (from 1), before they take effect or after."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.commits = 0
        self.breaks: dict[int, When] = {}

    def break_next(self, when: When) -> None:
        self.breaks[self.commits + 1] = when

    def commit(self, change: Change) -> bool:
        self.commits += 1
        when = self.breaks.get(self.commits)
        if when == "before":
            raise StoreUnavailable("the disk is full")
        done = super().commit(change)
        if when == "after":
            raise StoreUnavailable("the connection broke after the commit")
        return done


class RivalledStore(StoreBehind):
    """A rival is always faster: it acts just before each commit."""

    def __init__(self, inner: Store, rival: Callable[[Change], object]) -> None:
        super().__init__(inner)
        self.rival = rival
        self.commits = 0
        self._busy = False

    def commit(self, change: Change) -> bool:
        if self._busy:
            return super().commit(change)
        self.commits += 1
        self._busy = True
        try:
            self.rival(change)
        finally:
            self._busy = False
        return super().commit(change)


def touch(store: Store, key: str) -> None:
    """Commit a record as it is: a rival whose event was not ours."""
    record = store.history(key)[0]
    step = Change(
        record=attrs.evolve(record, version=record.version + 1), expected_version=record.version
    )
    assert store.commit(step)


# --- transports that misbehave -------------------------------------------------------------------

Answer = HttpResponse | NoAnswer


class ScriptedTransport:
    """Gives the scripted answers, then hands on to the real one. Keeps every request."""

    def __init__(self, inner: Transport, *answers: Answer) -> None:
        self._inner = inner
        self._answers = list(answers)
        self.requests: list[HttpRequest] = []
        self.before: Callable[[HttpRequest], object] = lambda request: None

    def then(self, *answers: Answer) -> None:
        self._answers.extend(answers)

    def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        self.before(request)
        if not self._answers:
            return self._inner.send(request)
        answer = self._answers.pop(0)
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    @property
    def keys(self) -> list[str | None]:
        """The idempotency key of each request."""
        return [request.headers.get(messages.IDEMPOTENCY_HEADER) for request in self.requests]


def scripted(world: World, *answers: Answer) -> ScriptedTransport:
    """Put a script before the world's transport."""
    transport = ScriptedTransport(world.flow.ports.transport, *answers)
    world.flow.ports.transport = transport
    return transport


def answer(status: int, value: object, headers: dict[str, str] | None = None) -> HttpResponse:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return HttpResponse(status, headers or {}, body)


def error(status: int, code: str, description: str = "", **headers: str) -> HttpResponse:
    return answer(status, {"errorCode": code, "errorDescription": description}, dict(headers))


# --- webhooks by hand ----------------------------------------------------------------------------


def body_of(event_type: str, event_id: str = "whe_hand", **fields: Any) -> bytes:
    """The bytes of an event as xPay writes them."""
    head = {"eventId": event_id, "eventType": event_type, "eventTime": 1_767_605_400_000}
    return json.dumps({**head, **fields}, separators=(",", ":"), ensure_ascii=False).encode()


def signed(body: bytes, key: str = SIGNING_KEY) -> dict[str, str]:
    """The headers that make these bytes xPay's, for this merchant."""
    return {messages.HMAC_HEADER: hmac_signature(key, body)}


def ecdsa_signed(body: bytes, signer: EcdsaSigner) -> dict[str, str]:
    """Headers that prove xPay, and not for which merchant."""
    signature = signer.signature(body)
    assert signature is not None
    return {messages.ECDSA_HEADER: signature}


def send_webhook(world: World, event_type: str, event_id: str = "whe_hand", **fields: Any) -> Any:
    """Bring one authentic webhook to the shop; what it made of it."""
    body = body_of(event_type, event_id, **fields)
    return world.flow.receive_webhook(signed(body), body)


def success_of(world: World, x_intent_id: str | None, **fields: Any) -> dict[str, Any]:
    """The fields of an honest `intent.success`, with changes."""
    order = world.xpay.intent(x_intent_id or "").order
    members = {
        "intentId": x_intent_id,
        "receiptId": order.receipt_id,
        "status": "SUCCESS",
        "amount": order.amount_minor,
        "currency": order.currency,
        "metadata": order.metadata,
    }
    return {**members, **fields}


# --- looking -------------------------------------------------------------------------------------


def the_record(world: World, name: str = "receipt:order-42") -> Record:
    """The one record filed under an alias."""
    (record,) = world.flow.store.history(name)
    return record


def story(world: World, name: str = "order-42") -> list[tuple[str, str]]:
    """What happened and what was made of it, in order."""
    return [(entry.what, entry.verdict) for entry in world.flow.timeline(name).entries]


def outbox_entries(record: Record, name: str) -> list[OutboxEntry]:
    return [effect for effect in record.outbox if effect.name == name]


def recorded(records: Sequence[Record]) -> list[str]:
    """The event ids of all webhooks on file, with repeats."""
    events = chain.from_iterable(record.events for record in records)
    return [recorded.event.event_id for recorded in events if recorded.event.source == "webhook"]


# What xPay's page does not word: the answer to a key whose first request is still running.
STILL_RUNNING = "A request with this Idempotency-Key is already being processed"


class SlowCreation:
    """xPay is slow with one creation; repeats of its key are answered that it is running."""

    def __init__(
        self, inner: Transport, busy: HttpResponse, meanwhile: Callable[[], object]
    ) -> None:
        self._inner, self._busy, self._meanwhile = inner, busy, meanwhile
        self._key: str | None = None
        self._began = False

    def send(self, request: HttpRequest) -> HttpResponse:
        key = request.headers.get(messages.IDEMPOTENCY_HEADER)
        if key is not None and key == self._key:
            return self._busy
        if key is None or self._began:
            return self._inner.send(request)
        self._began, self._key = True, key
        self._meanwhile()
        self._key = None
        return self._inner.send(request)


HOUR_S = 3600


DAY_S = 24 * HOUR_S


# No webhook ever arrives.
DEAF = SandboxConfig(rate_limit=None)


def quiet_world(**options: Any) -> World:
    return World(**({"config": UNHURRIED} | options))


def paid_order(world: World, receipt_id: str) -> str:
    """An order whose payment is on file and whose handler is due; xPay's id."""
    x_intent_id = world.start_checkout(receipt_id).x_intent_id
    assert x_intent_id is not None
    world.xpay.pay(x_intent_id)
    world.deliver_webhooks()
    return x_intent_id


class UnreadableRecord(StoreBehind):
    """One record was written by a newer version, as in any rolling release."""

    bad = ""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        if self.bad and any(r.key == self.bad for r in super().load(alias)):
            raise SchemaMismatch("a stored Intent has a member that is not known to this version")
        return super().load(alias, event)


class SettableClock(ManualClock):
    """The clock of a machine that can be set back."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.back_ms = 0
        self.pauses = 0

    def now_ms(self) -> int:
        return super().now_ms() - self.back_ms

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        super().pause(seconds)
