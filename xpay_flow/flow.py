"""What does a shop hold in its hands? `Flow`, and `AsyncFlow` with the same words.

Both are faces: each method builds a flow, has it run, and wakes whoever delivers what is owed.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, cast, overload

import attrs

from . import drive, flows, timeline
from .background import BackgroundTask, BackgroundThread
from .checkout_request import CheckoutRequest, Customer
from .drive import EFFECTS, AsyncPorts, EffectTable, Ports, Shared
from .effects import Command, Commit, Load, Query
from .endpoints import Pages, ReadRoute, WebRequest, WebResponse, overdue, route
from .errors import ConfigurationError, InvalidValue
from .events import own
from .flows import (
    Checkout,
    FailedJob,
    FlowContext,
    HandlerResult,
    PaymentStatus,
    ReconcileResult,
    WebhookResult,
)
from .flows.outbox import WorkerCapabilities
from .handlers import Handler, PaymentHandler
from .lifecycle import LIFECYCLE, Lifecycle
from .money import Money
from .payment import Payment
from .ports import (
    AsyncClock,
    AsyncStore,
    AsyncTransport,
    BatchCommitting,
    BatchLoading,
    Clock,
    Ids,
    RowLocking,
    Store,
    Transactional,
    Transport,
)
from .rate_limit import RateLimiter
from .records import HandlerName, OutboxEntry, intent_alias
from .settings import Settings
from .signing import Headers
from .stores import blocking_store, open_store
from .stores.coalescing import coalesced_commit, coalesced_load
from .stores.threaded import ThreadedStore
from .system import AsyncSystemClock, RandomIds, SystemClock
from .timeline import Timeline
from .xpay_client import AsyncXPayClient, XPayClient

T = TypeVar("T")
H = TypeVar("H", bound=Callable[[Payment], Any])
W = TypeVar("W", bound=Callable[[Payment, Any], Any])

log = logging.getLogger("xpay_flow.flow")

# How often the loops look for work that nobody announced: left over, retried, or due to be asked.
POLL_S = 5.0


class _Face(Generic[H]):
    """What the two faces share: the rules, and the registration of handlers."""

    store: Any
    ports: Any

    def __init__(
        self,
        settings: Settings,
        lifecycle: Lifecycle,
        ids: Ids | None,
        pages: Pages | None,
    ) -> None:
        self.settings = settings
        self.pages = pages or Pages()
        self.context = FlowContext(settings, lifecycle)
        self.shared = Shared(
            ids=ids or RandomIds(), rate_limiter=RateLimiter(settings.requests_per_minute)
        )

    @property
    def counters(self) -> Counter[str]:
        """What this process has counted: webhooks by disposition, refusals, handler outcomes."""
        return self.shared.counters

    @overload
    def on_success(self, handler: H) -> H: ...
    @overload
    def on_success(self, *, transactional: Literal[True]) -> Callable[[W], W]: ...
    def on_success(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what fulfils an order. Called at least once for each paid intent, always with
        the same `payment.idempotency_key`; owed once.

        With `transactional=True` the handler is given the store's transaction, too, and what it
        writes there takes effect exactly once. This holds for the other handlers as well.

        Raises:
            ConfigurationError: the store has no transaction for handlers.
        """
        return self._registered("on_success", handler, transactional)

    @overload
    def on_failed(self, handler: H) -> H: ...
    @overload
    def on_failed(self, *, transactional: Literal[True]) -> Callable[[W], W]: ...
    def on_failed(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what hears of a failed attempt: once for an intent, and not the last word."""
        return self._registered("on_failed", handler, transactional)

    @overload
    def on_refunded(self, handler: H) -> H: ...
    @overload
    def on_refunded(self, *, transactional: Literal[True]) -> Callable[[W], W]: ...
    def on_refunded(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what hears of each refund, once for each refund id."""
        return self._registered("on_refunded", handler, transactional)

    @overload
    def on_attention(self, handler: H) -> H: ...
    @overload
    def on_attention(self, *, transactional: Literal[True]) -> Callable[[W], W]: ...
    def on_attention(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what calls a person, once for each `payment.reason`."""
        return self._registered("on_attention", handler, transactional)

    def _registered(self, name: HandlerName, handler: Any, transactional: bool) -> Any:
        if handler is None and not transactional:
            raise ConfigurationError(f"write @flow.{name}, or {name}(transactional=True)")
        if transactional and not isinstance(self.store, Transactional):
            raise ConfigurationError(
                f"{name}(transactional=True) needs a store that is Transactional, and "
                f"{type(self.store).__name__} is not: it has no method commit_with"
            )

        def register(handler: Any) -> Any:
            prepare = self._in_transaction if transactional else self._plain
            self.ports.handlers[name] = Handler(prepare(name, handler), transactional)
            return handler

        return register if handler is None else register(handler)

    def _plain(self, name: HandlerName, handler: Callable[..., Any], /) -> Callable[..., Any]:
        """The handler as the driver calls it. Raises ConfigurationError where it could not."""
        raise NotImplementedError

    def _in_transaction(
        self, name: HandlerName, handler: Callable[..., Any], /
    ) -> Callable[..., Any]:
        """The same, for one that is given the store's transaction."""
        raise NotImplementedError

    @property
    def handlers(self) -> frozenset[HandlerName]:
        """The handlers that are registered in this process."""
        return frozenset(self.ports.handlers)

    @property
    def capabilities(self) -> WorkerCapabilities:
        """What this process delivers with: its handlers, and what its store can do for them."""
        return WorkerCapabilities(
            handlers=self.handlers,
            transactional=frozenset(
                name for name, handler in self.ports.handlers.items() if handler.transactional
            ),
            row_locks=isinstance(self.store, RowLocking) and self.store.can_lock,
        )

    def _own_event(self, kind: str) -> None:
        if kind in LIFECYCLE.events or kind not in self.context.lifecycle.events:
            mine = sorted(set(self.context.lifecycle.events) - set(LIFECYCLE.events))
            raise InvalidValue(f"{kind!a} is not an event of your own lifecycle; there are {mine}")


def _checkout_request(
    receipt_id: str,
    money: Money,
    callback_url: str,
    cancel_url: str | None,
    customer: Customer | Mapping[str, str] | None,
    description: str | None,
    metadata: Mapping[str, str] | None,
    options: Mapping[str, Any],
) -> CheckoutRequest:
    if isinstance(customer, Mapping):
        unknown = set(customer) - {field.name for field in attrs.fields(Customer)}
        if unknown:
            raise InvalidValue(f"customer has no field {sorted(unknown)[0]!a}; see Customer")
        customer = Customer(**customer)
    return CheckoutRequest(
        receipt_id=receipt_id,
        money=money,
        callback_url=callback_url,
        cancel_url=cancel_url,
        customer=customer,
        description=description,
        metadata=metadata or {},
        **options,
    )


class Flow(_Face[PaymentHandler]):
    """Payments of a synchronous program. Threads may share one.

    Args:
        store: where intents live; see `Flow.open` for one named by a URL.
        settings: keys, limits and schedules.
        transport: how to reach xPay; httpx by default.
        background: deliver what is owed, and ask xPay, in threads of this process. Turn it off
            where `xpay-flow worker` does it, or where tests call `deliver` and `reconcile`.
        poll_s: how often those threads look for work that nobody announced, in seconds.
    """

    store: Store
    ports: Ports

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        lifecycle: Lifecycle = LIFECYCLE,
        pages: Pages | None = None,
        background: bool = True,
        poll_s: float = POLL_S,
    ) -> None:
        super().__init__(settings, lifecycle, ids, pages)
        self.store = blocking_store(store)
        self._transport = transport or _httpx_transport(settings)
        self.ports = Ports(
            store=store,
            transport=self._transport,
            clock=clock or SystemClock(),
            shared=self.shared,
        )
        self.xpay = XPayClient(self.run, settings)
        self._reader = store.reader()
        self._loops: list[BackgroundThread] = []
        if background:
            self._loops = [
                BackgroundThread("xpay-flow deliver", self._deliver_if_registered, poll_s),
                BackgroundThread("xpay-flow reconcile", self._reconcile, poll_s),
            ]

    @classmethod
    def open(cls, url: str, settings: Settings, **options: Any) -> Flow:
        """A flow on the store that `url` names, such as `sqlite:///payments.db`.

        Raises:
            ConfigurationError: no store is known for this URL, or it cannot be used.
            StoreError: the store did not answer, or was written by another version.
        """
        return cls(blocking_store(open_store(url), url), settings, **options)

    def _plain(self, name: HandlerName, handler: Callable[..., Any], /) -> Callable[..., Any]:
        _refuse_coroutine(name, handler)
        return handler

    _in_transaction = _plain

    def run(self, flow: Command[T]) -> T:
        """Run a flow of your own with this flow's ports."""
        return drive.run(flow, self.ports)

    def query(self, flow: Query[T]) -> T:
        """Run a flow of your own that only reads, on the store's reader."""
        return drive.run_query(flow, self._reader, self.ports.clock)

    def start_checkout(
        self,
        *,
        receipt_id: str,
        money: Money,
        callback_url: str,
        cancel_url: str | None = None,
        customer: Customer | Mapping[str, str] | None = None,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        new_attempt: bool = False,
        **options: Any,
    ) -> Checkout:
        """Make, or continue, the attempt to collect `money` for an order. See `CheckoutRequest`.

        Send the customer to the answer's `url`. Calling it again for the same receipt continues
        the open attempt, so a double click costs nothing.

        Raises:
            InvalidValue: a field is not what xPay takes; nothing was stored.
            AlreadyPaid: the receipt is paid.
            ReceiptInUse: an open attempt is over other money.
            XPayRefused: xPay answered a definite error.
            OutcomeUnknown: xPay's answer was lost; call again to go on with the stored attempt.
            StoreError: the store failed; call again.
        """
        request = _checkout_request(
            receipt_id, money, callback_url, cancel_url, customer, description, metadata, options
        )
        try:
            return self.run(flows.start_checkout(request, self.context, new_attempt=new_attempt))
        finally:
            self._nudge()

    def send_to_checkout(self, intent_id: str) -> str:
        """Record that the customer is being sent to the checkout; returns its address."""
        return self.run(flows.send_to_checkout(intent_id, self.context))

    def receive_webhook(self, headers: Headers, body: bytes) -> WebhookResult:
        """Authenticate, decide upon and durably record one delivery; `body` is the exact bytes.

        Raises:
            UntrustedMessage: not xPay's, or not for us. Answer `error.status_hint`.
            StoreError: not recorded; answer 503 so that xPay sends it again.
        """
        result = self.run(flows.receive_webhook(headers, body, self.context))
        self._nudge()
        return result

    def status(self, x_intent_id: str, *, wait_s: float = 0) -> PaymentStatus:
        """How the payment stands, for the customer's browser. Cannot write."""
        return self.query(flows.status(x_intent_id, wait_s=wait_s))

    def timeline(self, name: str) -> Timeline:
        """What happened to one payment and why, by intent id, xPay's id or receipt id.

        Raises:
            UnknownIntent: nothing has this name.
        """
        return timeline.timeline_of(timeline.only(self.query(flows.find(name)), name))

    def recent(self, limit: int = 50) -> tuple[Timeline, ...]:
        """The records stored last, newest first; parked news among them."""
        records = self.query(flows.recent_records(limit))
        return tuple(timeline.timeline_of(record) for record in records)

    def deliver(self, *, limit: int = 100) -> tuple[HandlerResult | FailedJob, ...]:
        """Call the handlers that are owed now.

        A process that has not registered `on_success` leaves what it has no handler for to those
        that have; register all handlers wherever you register that one.
        """
        return self.run(flows.deliver(self.context, limit=limit, capabilities=self.capabilities))

    def reconcile(self, *, limit: int | None = None) -> tuple[ReconcileResult | FailedJob, ...]:
        """Ask xPay about the intents that are due, within the rate limit."""
        results = self.run(flows.reconcile(self.context, limit=limit))
        if results:
            self._nudge()
        return results

    def redeliver(self, name: str, entry_id: str) -> OutboxEntry:
        """Owe a handler call again that was given up or dropped."""
        entry = self.run(flows.redeliver(name, entry_id))
        self._nudge()
        return entry

    def record(self, intent_id: str, kind: str) -> str:
        """Record an event of your own lifecycle; returns the intent's state afterwards."""
        self._own_event(kind)
        event = own(kind, self.ports.clock.now_ms())
        return self.run(
            flows.record_event(intent_alias(intent_id), event, self.context)
        ).intent.state

    def handle(self, request: WebRequest) -> WebResponse:
        """Answer one HTTP request to the library's routes; adapters call this.

        A webhook is answered 503 before xPay stops listening, between two store operations.
        """
        answer = route(request, self.context, self.pages)
        if isinstance(answer, ReadRoute):
            return self.query(answer.flow)
        deadline_ms = self.ports.clock.now_ms() + int(self.settings.webhook_deadline_s * 1000)
        response = drive.run(answer.flow, self.ports, deadline_ms=deadline_ms)
        if response.status == 200:
            # Only news wakes us: strangers must not set the pace at which xPay is asked.
            self._nudge()
        return response

    def start(self) -> None:
        """Start the background threads now rather than at the first news: call it at start-up."""
        for loop in self._loops:
            loop.nudge()

    def close(self) -> None:
        """Let the background threads finish, and close the store and the transport."""
        for loop in self._loops:
            loop.stop()
        for port in (self._transport, self._reader, self.store):
            if callable(close := getattr(port, "close", None)):
                close()

    def __enter__(self) -> Flow:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _nudge(self) -> None:
        for loop in self._loops:
            loop.nudge()

    def _deliver_if_registered(self) -> None:
        # A process that registered nothing leaves what is owed to those that can deliver it.
        if self.handlers:
            _warn(self.deliver())

    def _reconcile(self) -> None:
        _warn(self.reconcile())


class AsyncFlow(_Face[Callable[[Payment], Any]]):
    """Payments of an asynchronous program: the words of `Flow`, awaited.

    Args:
        store: an async store, or a blocking one, which is then called in threads.
        group_commit: have webhooks that arrive while another is being written down share the next
            transaction. By default, where the store can; see `xpay_flow.ports.BatchCommitting`.
    """

    store: AsyncStore | Store
    ports: AsyncPorts

    def __init__(
        self,
        store: AsyncStore | Store,
        settings: Settings,
        *,
        transport: AsyncTransport | None = None,
        clock: AsyncClock | None = None,
        ids: Ids | None = None,
        lifecycle: Lifecycle = LIFECYCLE,
        pages: Pages | None = None,
        background: bool = True,
        poll_s: float = POLL_S,
        group_commit: bool | None = None,
    ) -> None:
        super().__init__(settings, lifecycle, ids, pages)
        self.store = store
        self._transport = transport or _async_httpx_transport(settings)
        self.ports = AsyncPorts(
            store=_awaited(store),
            transport=self._transport,
            clock=clock or AsyncSystemClock(),
            shared=self.shared,
        )
        self.ports.table = {**EFFECTS, **_coalesced(store, self.ports.store, group_commit)}
        self.xpay = AsyncXPayClient(self.run, settings)
        self._reader = self.ports.store.reader()
        self._loops: list[BackgroundTask] = []
        if background:
            self._loops = [
                BackgroundTask("xpay-flow deliver", self._deliver_if_registered, poll_s),
                BackgroundTask("xpay-flow reconcile", self._reconcile, poll_s),
            ]

    @classmethod
    def open(cls, url: str, settings: Settings, **options: Any) -> AsyncFlow:
        """A flow on the store that `url` names; see `Flow.open`."""
        return cls(open_store(url), settings, **options)

    def _plain(self, _: HandlerName, handler: Callable[..., Any], /) -> Callable[..., Any]:
        return _awaited_handler(handler)

    def _in_transaction(
        self, name: HandlerName, handler: Callable[..., Any], /
    ) -> Callable[..., Any]:
        if isinstance(self.ports.store, ThreadedStore):
            _refuse_coroutine(name, handler, "its store is called in threads; use")
        elif not inspect.iscoroutinefunction(handler):
            raise ConfigurationError(
                f"{name} must be a coroutine: its store is awaited, and so is what it writes there"
            )
        return handler

    async def run(self, flow: Command[T]) -> T:
        """Run a flow of your own with this flow's ports."""
        return await drive.arun(flow, self.ports)

    async def query(self, flow: Query[T]) -> T:
        """Run a flow of your own that only reads, on the store's reader."""
        return await drive.arun_query(flow, self._reader, self.ports.clock)

    async def start_checkout(
        self,
        *,
        receipt_id: str,
        money: Money,
        callback_url: str,
        cancel_url: str | None = None,
        customer: Customer | Mapping[str, str] | None = None,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        new_attempt: bool = False,
        **options: Any,
    ) -> Checkout:
        """See `Flow.start_checkout`."""
        request = _checkout_request(
            receipt_id, money, callback_url, cancel_url, customer, description, metadata, options
        )
        try:
            return await self.run(
                flows.start_checkout(request, self.context, new_attempt=new_attempt)
            )
        finally:
            self._nudge()

    async def send_to_checkout(self, intent_id: str) -> str:
        """See `Flow.send_to_checkout`."""
        return await self.run(flows.send_to_checkout(intent_id, self.context))

    async def receive_webhook(self, headers: Headers, body: bytes) -> WebhookResult:
        """See `Flow.receive_webhook`."""
        result = await self.run(flows.receive_webhook(headers, body, self.context))
        self._nudge()
        return result

    async def status(self, x_intent_id: str, *, wait_s: float = 0) -> PaymentStatus:
        """See `Flow.status`."""
        return await self.query(flows.status(x_intent_id, wait_s=wait_s))

    async def timeline(self, name: str) -> Timeline:
        """See `Flow.timeline`."""
        return timeline.timeline_of(timeline.only(await self.query(flows.find(name)), name))

    async def recent(self, limit: int = 50) -> tuple[Timeline, ...]:
        """See `Flow.recent`."""
        records = await self.query(flows.recent_records(limit))
        return tuple(timeline.timeline_of(record) for record in records)

    async def deliver(self, *, limit: int = 100) -> tuple[HandlerResult | FailedJob, ...]:
        """See `Flow.deliver`."""
        return await self.run(
            flows.deliver(self.context, limit=limit, capabilities=self.capabilities)
        )

    async def reconcile(
        self, *, limit: int | None = None
    ) -> tuple[ReconcileResult | FailedJob, ...]:
        """See `Flow.reconcile`."""
        results = await self.run(flows.reconcile(self.context, limit=limit))
        if results:
            self._nudge()
        return results

    async def redeliver(self, name: str, entry_id: str) -> OutboxEntry:
        """See `Flow.redeliver`."""
        entry = await self.run(flows.redeliver(name, entry_id))
        self._nudge()
        return entry

    async def record(self, intent_id: str, kind: str) -> str:
        """See `Flow.record`."""
        self._own_event(kind)
        event = own(kind, self.ports.clock.now_ms())
        result = await self.run(flows.record_event(intent_alias(intent_id), event, self.context))
        return result.intent.state

    async def handle(self, request: WebRequest) -> WebResponse:
        """See `Flow.handle`. A webhook is answered 503 before xPay stops listening."""
        answer = route(request, self.context, self.pages)
        if isinstance(answer, ReadRoute):
            return await self.query(answer.flow)
        try:
            async with asyncio.timeout(self.settings.webhook_deadline_s):
                response = await self.run(answer.flow)
        except TimeoutError:
            return overdue()
        if response.status == 200:
            self._nudge()
        return response

    async def start(self) -> None:
        """See `Flow.start`."""
        self._nudge()

    async def close(self) -> None:
        """See `Flow.close`."""
        for loop in self._loops:
            await loop.stop()
        for port in (self._transport, self._reader, self.store):
            for name in ("aclose", "close"):
                if callable(close := getattr(port, name, None)):
                    if inspect.isawaitable(closed := close()):
                        await closed
                    break

    async def __aenter__(self) -> AsyncFlow:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _nudge(self) -> None:
        for loop in self._loops:
            loop.nudge()

    async def _deliver_if_registered(self) -> None:
        if self.handlers:
            _warn(await self.deliver())

    async def _reconcile(self) -> None:
        _warn(await self.reconcile())


def _warn(results: Sequence[object]) -> None:
    """What a pass could not work on stays due, and is due to be looked at by a person."""
    for result in results:
        if isinstance(result, FailedJob):
            log.error("%s of %s failed, and stays due: %s", result.work, result.key, result.error)


def _httpx_transport(settings: Settings) -> Transport:
    # Imported here: httpx takes longer to import than all the rest together.
    from .httpx_transport import HttpxTransport

    return HttpxTransport(settings)


def _async_httpx_transport(settings: Settings) -> AsyncTransport:
    from .httpx_transport import AsyncHttpxTransport

    return AsyncHttpxTransport(settings)


def _awaited(store: AsyncStore | Store) -> AsyncStore:
    if inspect.iscoroutinefunction(store.commit) != inspect.iscoroutinefunction(store.load):
        raise ConfigurationError(
            f"{type(store).__name__} is half awaited: write all its methods with `async def`, "
            "or none of them"
        )
    if inspect.iscoroutinefunction(store.load):
        return cast(AsyncStore, store)
    return ThreadedStore(cast(Store, store))


def _coalesced(store: object, awaited: AsyncStore, group_commit: bool | None) -> EffectTable:
    """How this store is asked by many at once, where it can answer many at once."""
    rows: dict[type, Callable[[Any, Any], object]] = {}
    if isinstance(store, BatchLoading):
        load = coalesced_load(awaited)
        rows[Load] = lambda effect, _: load(effect.alias)
    can_commit = isinstance(store, BatchCommitting)
    if group_commit and not can_commit:
        raise ConfigurationError(
            f"group_commit needs a store that is BatchCommitting, and {type(store).__name__} is "
            "not: it has no method commit_many"
        )
    if can_commit and group_commit is not False:
        commit = coalesced_commit(awaited)
        rows[Commit] = lambda effect, _: commit(effect.change)
    return rows


def _refuse_coroutine(
    name: HandlerName, handler: Callable[..., object], why: str = "use AsyncFlow, or"
) -> None:
    if inspect.iscoroutinefunction(handler):
        raise ConfigurationError(f"{name} is a coroutine; {why} a plain function")


def _awaited_handler(handler: Callable[[Payment], Any]) -> Callable[[Payment], Any]:
    if inspect.iscoroutinefunction(handler):
        return handler

    def called(payment: Payment) -> Any:
        try:
            return handler(payment)
        except StopIteration as error:
            # It could not leave the thread: a future refuses it, and would never end.
            raise RuntimeError(f"the handler raised StopIteration: {error}") from error

    async def in_thread(payment: Payment) -> object:
        # A plain function may block, and must not hold up the event loop.
        returned = await asyncio.to_thread(called, payment)
        return await returned if inspect.isawaitable(returned) else returned

    return in_thread
