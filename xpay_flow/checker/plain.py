"""How is code checked that knows nothing of flows? It is given ports, and each call is an effect.

A *plain* function is written by hand against our store, transport, clock and ids, blocking or
awaiting, as in any other program. Here it becomes a flow: each call of a port is yielded as
an effect, and the answer is what the port returns.

    def webhook(request: WebRequest, ports: PlainPorts) -> int: ...

    flow = plain(webhook)(request)

What is fixed here and is not in life: of several tasks of one delivery, the first to call is
answered first; a time-out fires only when nothing else can go on; an awaited call that is cancelled
takes effect all the same, and tasks that are left when the answer is given take none.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any

import attrs

from xpay_flow.effects import (
    Command,
    Commit,
    Due,
    Exchange,
    History,
    Load,
    NewId,
    Now,
    Pause,
    Recent,
    RunHandler,
)
from xpay_flow.events import EventIdentity
from xpay_flow.payment import Payment
from xpay_flow.ports import HttpRequest
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, HandlerName, Work
from xpay_flow.settings import Settings
from xpay_flow.xpay_client import AsyncXPayClient, XPayClient

from .looped import OnLoop
from .parked import OnThread
from .replayed import PlainFlow, Thrown, received

AnyFlow = Generator[Any, Any, Any]
Ask = Callable[[Any], Any]


def plain(
    function: Callable[..., object], settings: Settings | None = None
) -> Callable[..., AnyFlow]:
    """A maker of flows: `plain(function)(*args)` runs `function(*args, ports)`.

    Args:
        function: plain or `async def`; its last argument is a `PlainPorts`.
        settings: for `ports.xpay`; those of the sandbox if there are none.
    """
    name = getattr(function, "__qualname__", repr(function))
    known = settings or Settings.sandbox()
    return functools.partial(_flow, function, name, known)


def _flow(function: Callable[..., Any], name: str, settings: Settings, *args: Any) -> AnyFlow:
    if is_async(function):
        return PlainFlow(
            OnLoop(lambda ask, now: function(*args, _awaited(ask, now, settings)), name)
        )
    return PlainFlow(OnThread(lambda ask: function(*args, _blocking(ask, settings)), name))


def is_async(function: Any) -> bool:
    """Calling it gives a coroutine."""
    call = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


# Each port only builds an effect and yields it. Where that means waiting, the method returns
# the answer; where it means awaiting, the same method returns what gives the answer when awaited.


class StorePort:
    """The store under check: `Store` of a blocking function, `AsyncStore` of an awaiting one."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def load(self, alias: str, event: EventIdentity | None = None) -> Any:
        return self._ask(Load(alias, event))

    def history(self, alias: str) -> Any:
        return self._ask(History(alias))

    def commit(self, change: Change) -> Any:
        return self._ask(Commit(change))

    def due(self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Any:
        return self._ask(Due(work, now_ms, limit, realms))

    def recent(self, limit: int, realms: Realms = EVERY_REALM, before: str = "") -> Any:
        return self._ask(Recent(limit, realms, before))

    def reader(self) -> ReaderPort:
        return ReaderPort(self._ask)


class ReaderPort:
    """The half that cannot write."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def load(self, alias: str, event: EventIdentity | None = None) -> Any:
        return self._ask(Load(alias, event))

    def history(self, alias: str) -> Any:
        return self._ask(History(alias))

    def recent(self, limit: int, realms: Realms = EVERY_REALM, before: str = "") -> Any:
        return self._ask(Recent(limit, realms, before))


class TransportPort:
    """The way to xPay: `Transport` or `AsyncTransport`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def send(self, request: HttpRequest) -> Any:
        """One exchange; raises NoAnswer."""
        return self._ask(Exchange(request))


class ClockPort:
    """The time in this world. It is read without awaiting, as in `AsyncClock`.

    Args:
        ask_now: performs what is never awaited.
    """

    def __init__(self, ask: Ask, ask_now: Ask) -> None:
        self._ask, self._ask_now = ask, ask_now

    def now_ms(self) -> int:
        now_ms: int = self._ask_now(Now())
        return now_ms

    def pause(self, seconds: float) -> Any:
        return self._ask(Pause(seconds))


class IdsPort:
    """Fresh names: `Ids`."""

    def __init__(self, ask_now: Ask) -> None:
        self._ask_now = ask_now

    def new(self, prefix: str) -> str:
        fresh: str = self._ask_now(NewId(prefix))
        return fresh


class HandlersPort:
    """The merchant's handlers. A call raises `HandlerFailed` when the handler does."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def call(self, name: HandlerName, payment: Payment) -> Any:
        return self._ask(RunHandler(name, payment))

    def on_success(self, payment: Payment) -> Any:
        return self.call("on_success", payment)

    def on_failed(self, payment: Payment) -> Any:
        return self.call("on_failed", payment)

    def on_refunded(self, payment: Payment) -> Any:
        return self.call("on_refunded", payment)

    def on_attention(self, payment: Payment) -> Any:
        return self.call("on_attention", payment)


@attrs.frozen(kw_only=True)
class PlainPorts:
    """The world of a plain function. In a coroutine everything but `now_ms` and `new` is awaited.

    Args:
        xpay: xPay's API over the transport; an `AsyncXPayClient` in a coroutine.
    """

    store: StorePort
    transport: TransportPort
    clock: ClockPort
    ids: IdsPort
    handlers: HandlersPort
    xpay: Any


def _ports(ask: Ask, ask_now: Ask, xpay: Any) -> PlainPorts:
    return PlainPorts(
        store=StorePort(ask),
        transport=TransportPort(ask),
        clock=ClockPort(ask, ask_now),
        ids=IdsPort(ask_now),
        handlers=HandlersPort(ask),
        xpay=xpay,
    )


def _blocking(ask: Ask, settings: Settings) -> PlainPorts:
    def answer(effect: Any) -> Any:
        return received(effect, ask(effect))

    def run(flow: Command[Any]) -> Any:
        try:
            effect = next(flow)
            while True:
                effect = _passed_on(flow, ask(effect))
        except StopIteration as end:
            return end.value

    return _ports(answer, answer, XPayClient(run, settings))


def _awaited(ask: Ask, ask_now: Ask, settings: Settings) -> PlainPorts:
    async def answer(effect: Any) -> Any:
        return received(effect, await ask(effect))

    def answer_now(effect: Any) -> Any:
        return received(effect, ask_now(effect))

    async def run(flow: Command[Any]) -> Any:
        try:
            effect = next(flow)
            while True:
                effect = _passed_on(flow, await ask(effect))
        except StopIteration as end:
            return end.value

    return _ports(answer, answer_now, AsyncXPayClient(run, settings))


def _passed_on(flow: Command[Any], answer: Any) -> Any:
    return flow.throw(answer.error) if isinstance(answer, Thrown) else flow.send(answer)
