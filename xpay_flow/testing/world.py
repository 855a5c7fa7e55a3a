"""How do a flow and the local xPay meet without sockets and without waiting?

    world = World()
    checkout = world.start_checkout(receipt_id="order-42", money=Money(1999, "USD"))
    world.xpay.pay(checkout.x_intent_id)
    world.settle()               # deliver webhooks, run handlers, until nothing is due now

Time stands still until `world.advance(seconds)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from xpay_flow.errors import StoreError, XPayFlowError
from xpay_flow.flow import Flow
from xpay_flow.flows import Checkout, PaymentStatus
from xpay_flow.money import Money
from xpay_flow.payment import Payment, UnmatchedEvent
from xpay_flow.ports import HttpRequest, HttpResponse, NoAnswer, Store
from xpay_flow.sandbox import (
    NO_ANSWER,
    Delivery,
    FaultPlan,
    Request,
    Sandbox,
    SandboxConfig,
    VirtualClock,
)
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore

WEBHOOK_URL = "http://127.0.0.1:8000/xpay/webhook"


class ManualClock:
    """The flow's clock, moved together with the sandbox's. Pausing moves it too."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def pause(self, seconds: float) -> None:
        self._clock.advance(seconds)


class AsyncManualClock(ManualClock):
    """The same for an event loop."""

    async def pause(self, seconds: float) -> None:  # type: ignore[override]  # the async namesake
        self._clock.advance(seconds)


class CountingIds:
    """`pi_1`, `pi_2` …: the same run has the same names each time.

    Claims are counted apart: how often a test delivers is not seen in the names of its intents.
    """

    def __init__(self) -> None:
        self._given = Counter[bool]()

    def new(self, prefix: str) -> str:
        is_claim = prefix == "claim"
        self._given[is_claim] += 1
        return f"{prefix}_{self._given[is_claim]}"


class SandboxTransport:
    """Carries requests to a sandbox in this process."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def send(self, request: HttpRequest) -> HttpResponse:
        url = urlsplit(request.url)
        response = self._sandbox.handle(
            Request(request.method, url.path, url.query, request.headers, request.body)
        )
        if response is NO_ANSWER:
            raise NoAnswer("the sandbox broke the connection")
        return HttpResponse(response.status, dict(response.headers), response.body)


class AsyncSandboxTransport:
    """The same for an event loop."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._transport = SandboxTransport(sandbox)

    async def send(self, request: HttpRequest) -> HttpResponse:
        return self._transport.send(request)


class World:
    """A shop, its flow and a local xPay, in one process and under one clock.

    Args:
        store: the shop's; memory by default.
        faults: what goes wrong at xPay.
        flow_type: what the shop holds; a test may give one that stops half way.
        handlers_have_limits: handlers are called in threads of their own, and left at their time
            limit, which is real time.
        settings: changes to `Settings.sandbox()`.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        faults: FaultPlan | None = None,
        seed: int = 0,
        config: SandboxConfig | None = None,
        flow_type: Callable[..., Flow] = Flow,
        handlers_have_limits: bool = False,
        **settings: Any,
    ) -> None:
        self.handlers_have_limits = handlers_have_limits
        self.clock = VirtualClock()
        self.xpay = Sandbox(
            config or SandboxConfig(webhook_url=WEBHOOK_URL),
            clock=self.clock,
            faults=faults,
            seed=seed,
        )
        self.settings = Settings.sandbox(**({"requests_per_minute": 600} | settings))
        self.calls: list[tuple[str, Payment]] = []
        self.unmatched: list[UnmatchedEvent] = []
        self.ids = CountingIds()
        self.flow_type = flow_type
        self.flow = self.new_flow(store or MemoryStore())

    def new_flow(self, store: Store) -> Flow:
        """Another process of the shop: the same store, xPay and ledger of handler calls."""
        flow = self.flow_type(
            store,
            self.settings,
            transport=SandboxTransport(self.xpay),
            clock=ManualClock(self.clock),
            ids=self.ids,
            background=False,
        )
        flow.ports.shared.calls.in_callers_thread = not self.handlers_have_limits
        flow.on_success(lambda payment: self.calls.append(("on_success", payment)))
        flow.on_failed(lambda payment: self.calls.append(("on_failed", payment)))
        flow.on_refunded(lambda payment: self.calls.append(("on_refunded", payment)))
        flow.on_dispute(lambda payment: self.calls.append(("on_dispute", payment)))
        flow.on_attention(lambda payment: self.calls.append(("on_attention", payment)))
        flow.on_unmatched(self.unmatched.append)
        return flow

    def start_checkout(
        self, receipt_id: str = "order-42", money: Money | None = None, **options: Any
    ) -> Checkout:
        """A checkout of this shop, with the fields that seldom matter filled in."""
        return self.flow.start_checkout(
            receipt_id=receipt_id,
            money=money or Money(1999, "USD"),
            callback_url="https://shop.example/thanks",
            customer={"name": "Ada Example", "email": "ada@example.org"},
            **options,
        )

    def post(self, delivery: Delivery) -> int | None:
        """Carry one webhook to the shop; the status that the shop answers."""
        try:
            self.flow.receive_webhook(delivery.headers, delivery.body)
        except XPayFlowError as error:
            return 503 if isinstance(error, StoreError) else error.status_hint
        return 200

    def deliver_webhooks(self) -> int:
        """Carry every webhook that is due now; how many."""
        return self.xpay.deliver_due(self.post)

    def settle(self) -> None:
        """Carry webhooks and call handlers until nothing is due at this moment."""
        while self.deliver_webhooks() or self.flow.deliver():
            pass

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def status(self, x_intent_id: str | None) -> PaymentStatus:
        """The status that the customer's browser receives."""
        return self.flow.status(x_intent_id or "")

    def called(self, name: str) -> list[str]:
        """The idempotency keys with which a handler was called, in order."""
        return [payment.idempotency_key for called, payment in self.calls if called == name]
