"""What does a shop hold in its hands? `Flow`, and `AsyncFlow` with the same words.

Both are faces: each method builds a flow, has it run, and wakes the loop that delivers due calls.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar
from weakref import finalize

import attrs

from . import drive, flows, timeline
from .background import (
    POLL_S,
    background_tasks,
    background_threads,
    end_all,
    log_unserved,
)
from .calls import inside
from .checkout_request import Address, CheckoutRequest, Customer, Name
from .default_ports import awaited_ports, blocking_ports
from .drive import READS, AsyncPorts, Ports
from .effects import Command, Query
from .endpoints import Pages, ReadRoute, WebRequest, WebResponse, overdue, route
from .event_loop import LoopOwner
from .flows import (
    Checkout,
    ErasureResult,
    FailedJob,
    FlowContext,
    HandlerResult,
    PaymentStatus,
    PurgeResult,
    ReconcileResult,
    UnservedWork,
    WebhookResult,
)
from .in_flight import AsyncInFlight, InFlight
from .job_pool import AT_ONCE, at_once
from .lifecycle import LIFECYCLE, Lifecycle
from .money import Money
from .ports import AsyncClock, AsyncStore, AsyncTransport, Clock, Ids, Store, Transport
from .records import OutboxEntry
from .registration import AsyncHandlerRegistration, HandlerRegistration
from .server_threads import report_missing_threads
from .settings import Settings, store_url
from .signing import Headers
from .stores import blocking_store, open_store
from .timeline import Timeline
from .watcher import AsyncWatcher, Watcher
from .xpay_client import AsyncXPayClient, XPayClient

log = logging.getLogger("xpay_flow.flow")

T = TypeVar("T")


def _resumed(shared: Checkout) -> Checkout:
    """The result for a press that came while another one was served."""
    return attrs.evolve(shared, resumed=True)


class Flow(HandlerRegistration):
    """Payments of a synchronous program. Threads may share one.

    Args:
        store: where intents live; see `Flow.open` for one named by a URL.
        settings: keys, limits and schedules.
        transport: how to reach xPay; httpx by default.
        background: deliver due calls, and reconcile, in threads of this process. Turn it off
            where `xpay-flow worker` does it, or where tests call `deliver` and `reconcile`.
        poll_s: how often those threads look for work that no call announced, in seconds.
        handlers_at_once: how many handlers those threads call at a time, if the store serves so
            many; see `xpay-flow worker --handlers-at-once` for workers.
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
        handlers_at_once: int = AT_ONCE,
    ) -> None:
        self.settings = settings
        self.context = FlowContext(settings, lifecycle)
        self.pages = pages or Pages()
        self.store = blocking_store(store)
        self.ports = blocking_ports(store, settings, transport=transport, clock=clock, ids=ids)
        self.handlers_at_once = at_once(handlers_at_once, self.store)
        self.xpay = XPayClient(self.run, settings)
        self._presses = InFlight[Checkout](2 * settings.create_budget_s)
        self._reader = store.reader()
        self._has_reported = False
        # By another clock than the machine's, time passes only where a query pauses by itself.
        self._watcher = Watcher(
            self.ports.shared.waiting, self.store, self._reader, self.ports.clock
        )
        self._reads = self._watcher.reads if clock is None else READS
        self._loops = background_threads(self, poll_s) if background else ()
        if background:
            report_missing_threads()

    @classmethod
    def open(cls, url: str | None = None, settings: Settings | None = None, **options: Any) -> Flow:
        """A flow on the store that `url` names, such as `sqlite:///payments.db`.

        Args:
            url: without it, `XPAY_STORE` names the store.
            settings: without them, `Settings.from_env()` reads them.
            options: further arguments of `Flow`.

        Raises:
            ConfigurationError: no store is known for this URL, or it cannot be used; or a
                variable is missing or wrong.
            StoreError: the store did not answer, or was written by another version.
        """
        url = url or store_url()
        settings = settings or Settings.from_env()
        return cls(blocking_store(open_store(url), url), settings, **options)

    @property
    def counters(self) -> Counter[str]:
        """What this process has counted: webhooks by disposition, refusals, handler outcomes."""
        return self.ports.shared.counters

    def run(self, flow: Command[T]) -> T:
        """Run a flow of your own with this flow's ports."""
        return drive.run(flow, self.ports)

    def query(self, flow: Query[T]) -> T:
        """Run a flow of your own that only reads, on the store's reader."""
        realms = self.ports.realms
        return drive.run_query(flow, self._reader, self.ports.clock, self._reads, realms)

    def start_checkout(
        self,
        *,
        receipt_id: Name,
        money: Money,
        callback_url: Address,
        cancel_url: Address | None = None,
        customer: Customer | Mapping[str, str | None] | None = None,
        description: str | None = None,
        metadata: Mapping[str, Name] | None = None,
        new_attempt: bool = False,
        **options: Any,
    ) -> Checkout:
        """Make, or continue, the attempt to collect `money` for an order. See `CheckoutRequest`.

        Send the customer to the answer's `url`. Calling it again for the same receipt continues
        the open attempt, so a double click costs nothing; simultaneous calls of one process make
        one call to xPay. Where something has changed, such as the amount, the open attempt is
        cancelled at xPay, and read afterwards, before another one is made.

        Raises:
            InvalidValue: a field is not what xPay takes; nothing was stored.
            AlreadyPaid: the receipt is paid, and not given back in full.
            ReceiptInUse: an open attempt differs, and could not be cancelled.
            TooManyRequests: the rate limit is used up for now; nothing was stored or sent.
            XPayRefused: xPay answered a definite error.
            OutcomeUnknown: xPay's answer was lost; call again to go on with the stored attempt.
            StoreError: the store failed; call again.
        """
        request = CheckoutRequest(
            receipt_id=receipt_id,
            money=money,
            callback_url=callback_url,
            cancel_url=cancel_url,
            customer=customer,
            description=description,
            metadata=metadata,
            **options,
        )

        def start() -> Checkout:
            return self.run(flows.start_checkout(request, self.context, new_attempt=new_attempt))

        about = request, new_attempt
        try:
            return self._presses.share(request.receipt_id, about, start, _resumed)
        finally:
            self._nudge()

    def send_to_checkout(self, intent_id: str) -> str:
        """Record that the customer is being sent to the checkout; returns its address."""
        return self.run(flows.send_to_checkout(intent_id, self.context))

    def receive_webhook(self, headers: Headers, body: bytes) -> WebhookResult:
        """Authenticate, decide and durably record one delivery; `body` is the exact bytes.

        Raises:
            UntrustedMessage: not xPay's, or not for us. Answer `error.status_hint`.
            StoreError: not recorded; answer 503 so that xPay sends it again.
        """
        result = self.run(flows.receive_webhook(headers, body, self.context))
        self._nudge()
        return result

    def status(self, x_intent_id: str, *, wait_s: float = 0) -> PaymentStatus:
        """How the payment stands, for the customer's browser. Cannot write."""
        self.start()
        return self.query(flows.status(x_intent_id, wait_s=wait_s))

    def timeline(self, name: str) -> Timeline:
        """What happened to one payment and why, by intent id, xPay's id or receipt id.

        Payments of other modes and accounts are shown, too, and marked: see `Timeline.is_ours`.

        Raises:
            UnknownIntent: nothing has this name.
        """
        realms = self.settings.realms
        found = timeline.only(self.query(flows.find(name)), name, realms)
        return timeline.timeline_of(found, realms)

    def recent(self, limit: int = 50) -> tuple[Timeline, ...]:
        """The records stored last, newest first; parked events among them.

        So are those of other modes and accounts, marked by `Timeline.is_ours`.
        """
        records = self.query(flows.recent_records(limit))
        return tuple(timeline.timeline_of(record, self.settings.realms) for record in records)

    def deliver(self, *, limit: int = 100) -> tuple[HandlerResult | FailedJob, ...]:
        """Call the handlers that are due now.

        Calls that a background thread has begun have ended, too, when this comes back, or
        `settings.close_timeout_s` is over: the process may end, or be frozen.

        A process that has not registered `on_success` leaves what it has no handler for to those
        that have; register all handlers wherever you register that one.
        """
        self.report_unserved_work()
        results = self.run(flows.deliver(self.context, limit=limit, capabilities=self.capabilities))
        for loop in self._loops[:1] if not inside.get() else ():
            loop.wait_idle(self.settings.close_timeout_s)
        return results

    def reconcile(self, *, limit: int | None = None) -> tuple[ReconcileResult | FailedJob, ...]:
        """Ask xPay about the intents that are due, within the rate limit."""
        self.report_unserved_work()
        results = self.run(flows.reconcile(self.context, limit=limit))
        if results:
            self._nudge()
        return results

    def unserved_work(self) -> tuple[UnservedWork, ...]:
        """What waits in modes and accounts that the settings name nowhere."""
        return self.run(flows.unserved_work(self.context))

    def report_unserved_work(self) -> None:
        """Log it as errors, once in this process: what delivers or reconciles looks first."""
        if not self._has_reported:
            log_unserved(self.unserved_work())
            self._has_reported = True

    def redeliver(self, name: str, entry_id: str) -> OutboxEntry:
        """Make a handler call due again that was given up or dropped."""
        entry = self.run(flows.redeliver(name, entry_id, self.context))
        self._nudge()
        return entry

    def erase(self, receipt_or_customer: str) -> tuple[ErasureResult, ...]:
        """Erase what is personal of an order's payments, or of all payments of a customer.

        Ids, amounts, states and the marks by which copies are recognised stay. Data that are still
        needed go as soon as they are not; see `ErasureResult.waits_for`.

        Args:
            receipt_or_customer: your receipt id, our intent id or xPay's id; or the e-mail address
                or xPay's customer id that `start_checkout` was given.

        Raises:
            UnknownIntent: there is no such payment.
            InvalidValue: it belongs to another mode or account.
            StoreError: something is left; erase it again.
        """
        return self.run(flows.erase(receipt_or_customer, self.context))

    def purge(self, older_than: timedelta) -> PurgeResult:
        """Erase what is personal of all payments, and of unmatched events, that are older.

        Args:
            older_than: the age of the attempt, or of the last unmatched event.

        Raises:
            InvalidValue: the age is not positive.
            StoreError: something is left; purge again.
        """
        return self.run(flows.purge(older_than.total_seconds(), self.context))

    def record(self, intent_id: str, kind: str) -> str:
        """Record an event of your own lifecycle; returns the intent's state afterwards."""
        return self.run(flows.record_own_event(intent_id, kind, self.context))

    def handle(self, request: WebRequest) -> WebResponse:
        """Answer one HTTP request to the library's routes; adapters call this.

        A webhook is answered 503 before xPay stops listening, between two store operations.
        """
        answer = route(request, self.context, self.pages)
        if isinstance(answer, ReadRoute):
            self.start()
            return self.query(answer.flow)
        deadline_ms = self.ports.clock.now_ms() + int(self.settings.webhook_deadline_s * 1000)
        response = drive.run(answer.flow, self.ports, deadline_ms=deadline_ms)
        if response.status == 200:
            # Only events wake us: strangers must not set the pace of requests to xPay.
            self._nudge()
        return response

    def start(self) -> None:
        """Start the background threads now rather than with the first request.

        Call it where your server starts, after a fork; `routes(flow)` does so where the framework
        has a start-up. May be called twice.
        """
        for loop in self._loops:
            loop.start()

    def close(self) -> None:
        """Deliver what this process has recorded, and close the store and the transport.

        With background threads only, and within `settings.close_timeout_s`: a handler under way
        ends, then what this process made due is delivered. The rest stays due for others. Calls
        that hang are left, and named in the log.
        """
        self._watcher.close()
        end_all(self._loops, self.settings.close_timeout_s)
        self.ports.shared.calls.report_left()
        for port in (self.ports.transport, self._reader, self.store):
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


class AsyncFlow(AsyncHandlerRegistration):
    """Payments of an asynchronous program: the words of `Flow`, awaited.

    It belongs to the event loop that uses it. When that one has ended, another may use it; while it
    runs, another is refused with ConfigurationError before anything is stored or sent.

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
        handlers_at_once: int = AT_ONCE,
        group_commit: bool | None = None,
    ) -> None:
        self.settings = settings
        self.context = FlowContext(settings, lifecycle)
        self.pages = pages or Pages()
        self.store = store
        self.ports = awaited_ports(
            store,
            settings,
            transport=transport,
            clock=clock,
            ids=ids,
            group_commit=group_commit,
        )
        self.handlers_at_once = at_once(handlers_at_once, store)
        self.xpay = AsyncXPayClient(self.run, settings)
        self._presses = AsyncInFlight[Checkout](2 * settings.create_budget_s)
        self._reader = self.ports.store.reader()
        self._has_reported = False
        self._has_own_clock = clock is not None
        self._poll_s = poll_s if background else None
        self._owner = LoopOwner("this AsyncFlow", self._begin)
        self._begin()
        if background:
            self._unclosed = finalize(self, _report_unclosed, self._owner, self.ports.shared)

    def _begin(self) -> None:
        """Make what belongs to one event loop; in a further one, this is made anew."""
        self._watcher = AsyncWatcher(
            self.ports.shared.waiting, self.ports.store, self._reader, self.ports.clock
        )
        self._reads = READS if self._has_own_clock else self._watcher.reads
        self._loops = () if self._poll_s is None else background_tasks(self, self._poll_s)

    def _enter(self) -> None:
        """The running event loop uses this flow. Raises ConfigurationError if another one does."""
        self._owner.enter()
        for port in (self.ports.transport, self.store):
            if callable(enter := getattr(port, "enter_event_loop", None)):
                enter()

    @classmethod
    def open(
        cls, url: str | None = None, settings: Settings | None = None, **options: Any
    ) -> AsyncFlow:
        """A flow on the store that `url` names; see `Flow.open`."""
        url = url or store_url()
        return cls(open_store(url), settings or Settings.from_env(), **options)

    @property
    def counters(self) -> Counter[str]:
        """See `Flow.counters`."""
        return self.ports.shared.counters

    async def run(self, flow: Command[T]) -> T:
        """Run a flow of your own with this flow's ports."""
        self._enter()
        return await drive.arun(flow, self.ports)

    async def query(self, flow: Query[T]) -> T:
        """Run a flow of your own that only reads, on the store's reader."""
        self._enter()
        realms, clock = self.ports.realms, self.ports.clock
        return await drive.arun_query(flow, self._reader, clock, self._reads, realms)

    async def start_checkout(
        self,
        *,
        receipt_id: Name,
        money: Money,
        callback_url: Address,
        cancel_url: Address | None = None,
        customer: Customer | Mapping[str, str | None] | None = None,
        description: str | None = None,
        metadata: Mapping[str, Name] | None = None,
        new_attempt: bool = False,
        **options: Any,
    ) -> Checkout:
        """See `Flow.start_checkout`."""
        request = CheckoutRequest(
            receipt_id=receipt_id,
            money=money,
            callback_url=callback_url,
            cancel_url=cancel_url,
            customer=customer,
            description=description,
            metadata=metadata,
            **options,
        )

        def start() -> Awaitable[Checkout]:
            return self.run(flows.start_checkout(request, self.context, new_attempt=new_attempt))

        about = request, new_attempt
        try:
            return await self._presses.share(request.receipt_id, about, start, _resumed)
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
        await self.start()
        return await self.query(flows.status(x_intent_id, wait_s=wait_s))

    async def timeline(self, name: str) -> Timeline:
        """See `Flow.timeline`."""
        realms = self.settings.realms
        found = timeline.only(await self.query(flows.find(name)), name, realms)
        return timeline.timeline_of(found, realms)

    async def recent(self, limit: int = 50) -> tuple[Timeline, ...]:
        """See `Flow.recent`."""
        records = await self.query(flows.recent_records(limit))
        return tuple(timeline.timeline_of(record, self.settings.realms) for record in records)

    async def deliver(self, *, limit: int = 100) -> tuple[HandlerResult | FailedJob, ...]:
        """See `Flow.deliver`."""
        await self.report_unserved_work()
        results = await self.run(
            flows.deliver(self.context, limit=limit, capabilities=self.capabilities)
        )
        for loop in self._loops[:1] if not inside.get() else ():
            await loop.wait_idle(self.settings.close_timeout_s)
        return results

    async def reconcile(
        self, *, limit: int | None = None
    ) -> tuple[ReconcileResult | FailedJob, ...]:
        """See `Flow.reconcile`."""
        await self.report_unserved_work()
        results = await self.run(flows.reconcile(self.context, limit=limit))
        if results:
            self._nudge()
        return results

    async def unserved_work(self) -> tuple[UnservedWork, ...]:
        """See `Flow.unserved_work`."""
        return await self.run(flows.unserved_work(self.context))

    async def report_unserved_work(self) -> None:
        """See `Flow.report_unserved_work`."""
        if not self._has_reported:
            log_unserved(await self.unserved_work())
            self._has_reported = True

    async def redeliver(self, name: str, entry_id: str) -> OutboxEntry:
        """See `Flow.redeliver`."""
        entry = await self.run(flows.redeliver(name, entry_id, self.context))
        self._nudge()
        return entry

    async def erase(self, receipt_or_customer: str) -> tuple[ErasureResult, ...]:
        """See `Flow.erase`."""
        return await self.run(flows.erase(receipt_or_customer, self.context))

    async def purge(self, older_than: timedelta) -> PurgeResult:
        """See `Flow.purge`."""
        return await self.run(flows.purge(older_than.total_seconds(), self.context))

    async def record(self, intent_id: str, kind: str) -> str:
        """See `Flow.record`."""
        return await self.run(flows.record_own_event(intent_id, kind, self.context))

    async def handle(self, request: WebRequest) -> WebResponse:
        """See `Flow.handle`. A webhook is answered 503 before xPay stops listening."""
        answer = route(request, self.context, self.pages)
        if isinstance(answer, ReadRoute):
            await self.start()
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
        self._enter()
        for loop in self._loops:
            loop.start()

    async def close(self) -> None:
        """See `Flow.close`."""
        self._owner.enter()
        if self._loops:
            self._unclosed.detach()
        await self._watcher.close()
        for loop in self._loops:
            loop.end(self.settings.close_timeout_s)
        for loop in self._loops:
            await loop.wait_end()
        self.ports.shared.calls.report_left()
        for port in (self.ports.transport, self._reader, self.store):
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


def _report_unclosed(owner: LoopOwner, shared: drive.Shared) -> None:
    """Tasks have ended with their event loop, without a word; `close` would have delivered."""
    left = len(shared.recorded.keys())
    if left and owner.is_of_this_process:
        log.warning(
            "an AsyncFlow was not closed: handler calls of %d payment(s) that this process has "
            "recorded stay due for the next process that works; await flow.close() at the end",
            left,
        )
