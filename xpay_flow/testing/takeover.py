"""How does a shop's own flow come into a test's world? By other ports, for as long as it lasts.

The adapters hold the flow that the shop has made, so it is this very object that reaches the
local xPay instead of the real one, by a clock that stands still, without loops in the background.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any, Final, Literal, TypeAlias
from unittest.mock import patch

import attrs
import httpx

from xpay_flow.background import BackgroundThread, end_all
from xpay_flow.endpoints import WebResponse
from xpay_flow.errors import ConfigurationError
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.handlers import Handler
from xpay_flow.messages import RETURN_PARAMETER
from xpay_flow.payment import Payment, UnmatchedEvent
from xpay_flow.ports import AsyncClock, Clock, HttpRequest, HttpResponse, Ids, Transport
from xpay_flow.sandbox import Sandbox, SandboxConfig, VirtualClock
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.system import RandomIds

from .mounted import BASE_URL, Mounted
from .world import (
    AsyncManualClock,
    CountingIds,
    ManualClock,
    SandboxTransport,
)

AnyFlow: TypeAlias = Flow | AsyncFlow
When: TypeAlias = Literal["before", "after"]
# Given "before" or "after", the name of a handler, and what it is called with. What it raises is
# raised in the handler's place.
Called: TypeAlias = Callable[[When, str, Payment | UnmatchedEvent], object]

LOCAL_XPAY: Final = "http://127.0.0.1:4010"
SIGNING_KEY: Final = "sandbox_signing_key_0123456789"
# Loops that the shop has started at its import end within this time.
LOOPS_END_S: Final = 10.0


def flow_behind(app: Mounted, webhook: str) -> AnyFlow:
    """The flow that answers at this address of an app. Nothing is stored or sent.

    Raises:
        ConfigurationError: no flow is mounted there.
    """
    found: list[AnyFlow] = []

    def start(flow: Flow) -> None:
        found.append(flow)

    async def astart(flow: AsyncFlow) -> None:
        found.append(flow)

    def query(_: Flow, __: object) -> WebResponse:
        return WebResponse(status=204, headers=())

    async def aquery(_: AsyncFlow, __: object) -> WebResponse:
        return WebResponse(status=204, headers=())

    path = f"{webhook.removesuffix('/').removesuffix('/webhook')}/payment-status"
    url = httpx.URL(BASE_URL).join(f"{path}?{RETURN_PARAMETER}=in_unknown")
    with (
        patch.multiple(Flow, start=start, query=query),
        patch.multiple(AsyncFlow, start=astart, query=aquery),
    ):
        answer = app.send(httpx.Request("GET", url))
    if not found:
        raise ConfigurationError(
            f"no routes(flow) of this app answer at {path} (status {answer.status_code}): name the "
            "path of the webhook, such as /xpay/webhook (pytest: xpay_webhook; doctor: --webhook)"
        )
    return found[0]


def sandbox_for(flow: AnyFlow, webhook: str, clock: VirtualClock) -> Sandbox:
    """A local xPay at which the flow's own keys are known."""
    config = SandboxConfig(
        public_key=flow.settings.public_key,
        private_key=flow.settings.private_key,
        signing_key=SIGNING_KEY,
        checkout_base_url=LOCAL_XPAY,
        webhook_url=f"http://127.0.0.1:8000{webhook}",
        # By a clock that stands still, the limit of a second would be that of the test.
        rate_limit=None,
    )
    # A store that outlives the test must not meet an id twice.
    return Sandbox(config, clock=clock, seed=0 if _is_in_memory(flow) else None)


@contextmanager
def taken_over(
    flow: AnyFlow, xpay: Sandbox, clock: VirtualClock, called: Called
) -> Generator[None, None, None]:
    """A block in which `flow` works with this xPay and this clock; afterwards it is as it was.

    Its store stays the shop's, with an account of the test's own, so that payments of other tests
    are neither found nor delivered. A store in memory begins empty.

    Raises:
        ConfigurationError: the flow is in live mode.
    """
    if flow.settings.mode == "live":
        raise ConfigurationError(
            "the app's flow is in live mode, and tests write payments into its store: "
            "run them with XPAY_MODE=sandbox and a store of their own"
        )
    is_in_memory = _is_in_memory(flow)
    with with_ports(
        flow,
        store=MemoryStore() if is_in_memory else flow.store,
        settings=_settings_of_test(flow.settings),
        transport=SandboxTransport(xpay),
        clock=ManualClock(clock),
        async_clock=AsyncManualClock(clock),
        ids=CountingIds() if is_in_memory else RandomIds(),
    ):
        if isinstance(flow, Flow):
            # In the test's thread, where its database connection and its transaction are.
            flow.ports.shared.calls.in_callers_thread = True
        handlers = flow.ports.handlers
        for name, handler in handlers.items():
            handlers[name] = _watched(name, handler, called)
        yield


@contextmanager
def with_ports(
    flow: AnyFlow,
    *,
    store: Any,
    settings: Settings,
    transport: Transport,
    clock: Clock | None = None,
    async_clock: AsyncClock | None = None,
    ids: Ids | None = None,
) -> Generator[None, None, None]:
    """A block in which a shop's own flow has these ports, its handlers, and no background loops.

    It is the very object that the adapters hold. Closing it meanwhile closes nothing.
    """
    kept = dict(vars(flow))
    _end_loops(flow)
    common: Any = {
        "ids": ids,
        "lifecycle": flow.context.lifecycle,
        "pages": flow.pages,
        "background": False,
    }
    try:
        # Not a further flow: what the adapters hold is this one.
        if isinstance(flow, Flow):
            Flow.__init__(flow, store, settings, transport=transport, clock=clock, **common)
            vars(flow)["close"] = _left_open
        else:
            awaited = _Awaited(transport)
            AsyncFlow.__init__(
                flow, store, settings, transport=awaited, clock=async_clock, **common
            )
            vars(flow)["close"] = _aleft_open
        flow.ports.handlers.update(kept["ports"].handlers)
        yield
    finally:
        vars(flow).clear()
        vars(flow).update(kept)


class _Awaited:
    """A transport of this process, for an event loop."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: HttpRequest) -> HttpResponse:
        return self._transport.send(request)


def _left_open() -> None:
    """The end of an app must not close the store that the next test needs."""


async def _aleft_open() -> None:
    """See `_left_open`."""


def _settings_of_test(settings: Settings) -> Settings:
    return attrs.evolve(
        settings,
        base_url=LOCAL_XPAY,
        account=f"test-{token_hex(6)}",
        webhook_secrets=(SIGNING_KEY,),
        require_signature="hmac",
    )


def _is_in_memory(flow: AnyFlow) -> bool:
    return type(flow.store) is MemoryStore


def has_background(flow: AnyFlow) -> bool:
    """Whether the flow itself calls handlers, in threads or tasks of its process."""
    own = vars(flow)
    return bool(own["_loops"]) or own.get("_poll_s") is not None


def _end_loops(flow: AnyFlow) -> None:
    """A shop that has started them would have them work in the middle of a test."""
    loops = [loop for loop in vars(flow)["_loops"] if isinstance(loop, BackgroundThread)]
    end_all(loops, LOOPS_END_S)


def _watched(name: str, handler: Handler, called: Called) -> Handler:
    def call(payment: Any, *more: Any) -> Any:
        called("before", name, payment)
        result = handler.call(payment, *more)
        if inspect.isawaitable(result):
            return ended(payment, result)
        called("after", name, payment)
        return result

    async def ended(payment: Any, result: Awaitable[object]) -> None:
        await result
        called("after", name, payment)

    return attrs.evolve(handler, call=call)
