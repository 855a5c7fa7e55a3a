"""How is a shop's own app tested as a whole? Its routes, its handlers and its store, with a local
xPay in the same process.

    with shop_world("shop.main:app") as world:
        world.client.post("/orders/42/pay")      # the customer presses Pay
        world.pay()                              # and pays on xPay's page
        world.settle()                           # webhooks arrive, handlers are called
        assert "paid" in world.client.get("/orders/42").text

Time stands still until the test moves it, and nothing opens a socket. The pytest plugin makes this
the fixture `xpay_world`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import httpx

from xpay_flow import flows
from xpay_flow.errors import UnknownIntent
from xpay_flow.flows import PaymentStatus
from xpay_flow.import_target import named
from xpay_flow.payment import Payment, UnmatchedEvent
from xpay_flow.records import OutboxEntry, Record
from xpay_flow.sandbox import Delivery, Sandbox, VirtualClock
from xpay_flow.sandbox.ledger import Intent as Sold
from xpay_flow.timeline import Timeline

from .arrivals import Arranger, Arrivals
from .mounted import BASE_URL, FROM_XPAY, Mounted, client_of, mounted
from .takeover import AnyFlow, When, flow_behind, sandbox_for, taken_over

T = TypeVar("T")

WEBHOOK: Final = "/xpay/webhook"
# How many steps of time `settle` takes at most, whatever the seconds.
STEPS_MAX: Final = 200
# An answer that our endpoint does not give to a webhook: something else stands in its way.
_NOT_OURS: Final = frozenset({301, 302, 303, 307, 308, 403, 404, 405})
# A failure needs no answer: the customer may try again on the same page.
_NEEDS_NO_HANDLER: Final = frozenset({"on_failed"})


class ShopTestFailed(AssertionError):
    """Something about the shop is wrong that no line of the test looks at."""


@contextmanager
def shop_world(
    app: Any = None,
    *,
    webhook: str = WEBHOOK,
    arrivals: Arrivals | None = None,
    unhandled: Collection[str] = (),
    note: Callable[[str], object] = lambda _: None,
) -> Generator[ShopWorld, None, None]:
    """A shop's app, its flow, and a local xPay, under one clock.

    Args:
        app: ASGI, WSGI, an aiohttp application, or `module:app`; nothing in a Django project.
        webhook: the path at which xPay's events arrive.
        arrivals: the order in which they arrive, with copies and losses.
        unhandled: handlers that the shop leaves out on purpose, such as `on_attention`.
        note: given a line for each webhook that has arrived, batch by batch, for reports.

    Raises:
        ConfigurationError: the app or its flow was not found, or is in live mode.
        ShopTestFailed: at the end, a handler was due that the shop has not registered; or fewer
            webhooks were lost than `arrivals` wants.
    """
    if isinstance(app, str):
        app, _ = named(app, "MODULE:APP, such as shop.main:app")
    with ExitStack() as stack:
        # Found before the app starts: its own start-up may use the flow.
        flow = _flow_of(app, webhook)
        clock, calls = VirtualClock(), Calls()
        xpay = sandbox_for(flow, webhook, clock)
        stack.enter_context(taken_over(flow, xpay, clock, calls.note))
        served = stack.enter_context(mounted(app))
        client = stack.enter_context(client_of(served))
        arranger = Arranger(arrivals or Arrivals())
        world = ShopWorld(flow, xpay, clock, client, served, calls, arranger, note)
        yield world
        world.check_end(unhandled)


def _flow_of(app: Any, webhook: str) -> AnyFlow:
    with mounted(app, lifespan=False) as unstarted:
        return flow_behind(unstarted, webhook)


class ShopWorld:
    """What a test of a whole shop holds. Made by `shop_world`.

    Attributes:
        client: a customer's browser, an `httpx.Client` on the app.
        xpay: the local xPay, a `xpay_flow.sandbox.Sandbox`.
        flow: the shop's own, for as long as the test lasts.
        clock: `advance(seconds)` lets time pass, for the flow and for xPay.
        handler_fault: the next call of a handler fails, `before` or `after` it has done its work,
            as if its process had died there; it is tried again later.

    Where a payment is named, a receipt id or xPay's id will do; without a name it is the newest.
    """

    def __init__(
        self,
        flow: AnyFlow,
        xpay: Sandbox,
        clock: VirtualClock,
        client: httpx.Client,
        app: Mounted,
        calls: Calls,
        arranger: Arranger,
        note: Callable[[str], object],
    ) -> None:
        self.flow, self.xpay, self.clock, self.client = flow, xpay, clock, client
        self._app, self._arranger, self._note, self._calls = app, arranger, note, calls

    # --- what the customer and xPay do ---

    def intent(self, name: str | None = None) -> Sold:
        """A payment as xPay has it.

        Raises:
            UnknownIntent: xPay has none of this name.
        """
        for sold in reversed(self.xpay.intents()):
            if name in (None, sold.x_intent_id, sold.order.receipt_id):
                return sold
        raise UnknownIntent(name or "no checkout was started")

    def pay(self, name: str | None = None) -> None:
        """The customer opens xPay's page and pays there."""
        sold = self.intent(name)
        self.xpay.open_checkout(sold.x_intent_id)
        self.xpay.pay(sold.x_intent_id)

    def decline(self, name: str | None = None, error_code: str = "insufficient_funds") -> None:
        """The customer opens xPay's page, and the card is declined."""
        sold = self.intent(name)
        self.xpay.open_checkout(sold.x_intent_id)
        self.xpay.decline(sold.x_intent_id, error_code)

    def refund(self, name: str | None = None, amount_minor: int | None = None) -> None:
        """The merchant gives back a part of a payment, or what is left of it, at xPay."""
        self.xpay.refund(self.intent(name).x_intent_id, amount_minor)

    def come_back(self, name: str | None = None) -> httpx.Response:
        """The customer returns to the shop's page, as xPay sends them; the shop's answer."""
        url = urlsplit(self.xpay.return_url(self.intent(name).x_intent_id))
        return self.client.get(f"{url.path}?{url.query}")

    def event(
        self, event_type: str, name: str | None = None, *, signed: bool = True, **fields: Any
    ) -> httpx.Response:
        """Deliver an event of any type and content at once; the answer of the shop's route.

        Args:
            fields: in addition to the payment's own, or in place of them; None leaves one out.
            signed: False is a forgery, which has a signature that fits other bytes.
        """
        sold = self.intent(name) if self.xpay.intents() else None
        content = {**(_fields_of(sold) if sold is not None else {}), **fields}
        waiting = {delivery.number for delivery in self.xpay.due()}
        self.xpay.send_raw_event(
            event_type, {key: value for key, value in content.items() if value is not None}
        )
        (delivery,) = (each for each in self.xpay.due() if each.number not in waiting)
        answer = self._sent(delivery, b"" if signed else b" ")
        self.xpay.outcome(delivery, answer.status_code if signed else 200)
        return answer

    # --- time, webhooks and handlers ---

    def advance(self, seconds: float) -> None:
        """Let time pass; `settle` then does what has become due."""
        self.clock.advance(seconds)

    def settle(self, seconds: float = 0) -> None:
        """Deliver webhooks, call handlers and query xPay, until nothing is due.

        Args:
            seconds: let so much time pass meanwhile, and do what becomes due in it.
        """
        self._settle_now()
        step = max(1.0, seconds / STEPS_MAX)
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step
            self._settle_now()

    def _settle_now(self) -> None:
        while self.deliver_webhooks() or self.deliver() or self.reconcile():
            pass

    def deliver_webhooks(self) -> int:
        """Carry the webhooks that are due to the shop's route, as they arrive; how many."""
        lines: list[str] = []
        while due := self.xpay.due():
            for delivery, fate in self._arranger.arrange(due):
                # Of a loss xPay learns nothing, and sends it no more.
                status = 200 if fate == "lost" else self.post(delivery)
                answered = "" if fate == "lost" else f", answered {status}"
                lines.append(f"{delivery.event_type} {delivery.event_id}: {fate}{answered}")
                if fate != "copy":
                    self.xpay.outcome(delivery, status)
        if lines:
            self._note("\n".join(lines))
        return len(lines)

    def post(self, delivery: Delivery) -> int:
        """Carry one webhook to the shop's route; the status of its answer.

        Raises:
            ShopTestFailed: it is not our endpoint that has answered.
        """
        answer = self._sent(delivery)
        if answer.status_code in _NOT_OURS:
            raise ShopTestFailed(
                f"xPay's webhook was answered {answer.status_code} at "
                f"{urlsplit(delivery.url).path}, and not by xpay-flow: it needs a route without "
                "logins, CSRF tokens and redirects"
            )
        return answer.status_code

    def deliver(self) -> int:
        """Call the handlers that are due now; how many calls were made."""
        context, capabilities = self.flow.context, self.flow.capabilities
        results = self.run(self.flow.run(flows.deliver(context, capabilities=capabilities)))
        return sum(getattr(result, "outcome", "failed") != "pending" for result in results)

    def reconcile(self) -> int:
        """Query xPay about the payments for which that is due now; how many."""
        return len(self.run(self.flow.run(flows.reconcile(self.flow.context))))

    @property
    def handler_fault(self) -> When | None:
        return self._calls.fault

    @handler_fault.setter
    def handler_fault(self, when: When | None) -> None:
        self._calls.fault = when

    # --- looking ---

    @property
    def calls(self) -> Sequence[tuple[str, Payment | UnmatchedEvent]]:
        """Every call of a handler, with what it was given."""
        return self._calls.made

    def status(self, name: str | None = None) -> PaymentStatus:
        """The status that the customer's browser is shown."""
        return self.run(self.flow.status(self.intent(name).x_intent_id))

    def timeline(self, name: str | None = None) -> Timeline:
        """What happened to a payment, and why."""
        return self.run(self.flow.timeline(self.intent(name).x_intent_id))

    def called(self, name: str) -> list[str]:
        """The receipt ids with which a handler was called, in order."""
        return [
            payment.receipt_id
            for called, payment in self.calls
            if called == name and isinstance(payment, Payment)
        ]

    def run(self, result: T | Awaitable[T]) -> T:
        """The result of a call of `flow`, whether it is a `Flow` or an `AsyncFlow`."""
        return self._app.run(result) if inspect.isawaitable(result) else result

    # --- the end ---

    def forgotten(self) -> list[str]:
        """Calls that were due and that no handler of the shop's was there for, in words."""
        return [
            f"{entry.name} was due for {_name_of(record)}"
            for record in self._records()
            for entry in record.outbox
            if _is_forgotten(entry, self.flow.handlers)
        ]

    def check_end(self, unhandled: Collection[str] = ()) -> None:
        """What must hold when a test ends; see `shop_world`."""
        left_out = _NEEDS_NO_HANDLER | frozenset(unhandled)
        found = [text for text in self.forgotten() if text.split()[0] not in left_out]
        if found:
            raise ShopTestFailed(
                f"{'; '.join(found)}, and the shop has no such handler: register it with "
                f"@flow.{found[0].split()[0]}, or allow it: xpay_unhandled"
            )
        if self._arranger.left_to_lose:
            raise ShopTestFailed(
                "fewer webhooks were lost than the test wants (lost): it has delivered too few "
                "that decide anything"
            )

    def _records(self) -> Iterable[Record]:
        seen: dict[str, Record] = {}
        for name in {event.x_intent_id for event in self.xpay.events()} - {None}:
            try:
                found = self.run(self.flow.query(flows.find(cast(str, name))))
            except UnknownIntent:
                continue
            seen.update((record.key, record) for record in found)
        return seen.values()

    def _sent(self, delivery: Delivery, more: bytes = b"") -> httpx.Response:
        url = httpx.URL(BASE_URL).join(urlsplit(delivery.url).path)
        return self._app.send(
            httpx.Request(
                "POST",
                url,
                headers=list(delivery.headers),
                content=delivery.body + more,
                extensions={FROM_XPAY: True},
            )
        )


class HandlerStopped(Exception):
    """The test has the handler's process stop here."""


class Calls:
    """The calls of the shop's handlers, and the fault of the next one."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Payment | UnmatchedEvent]] = []
        self.fault: When | None = None

    def note(self, when: When, name: str, payment: Payment | UnmatchedEvent) -> None:
        """A handler is about to be called, or has just come back."""
        if when == "before":
            self.made.append((name, payment))
        if self.fault == when:
            self.fault = None
            raise HandlerStopped(f"{when} the work of {name}")


def _fields_of(sold: Sold) -> dict[str, Any]:
    return {
        "intentId": sold.x_intent_id,
        "receiptId": sold.order.receipt_id,
        "amount": sold.order.amount_minor,
        "currency": sold.order.currency,
        "metadata": sold.order.metadata,
    }


def _is_forgotten(entry: OutboxEntry, handlers: Collection[str]) -> bool:
    is_missing = bool(entry.log) and entry.log[-1].outcome == "missing"
    return is_missing or (entry.status == "pending" and entry.name not in handlers)


def _name_of(record: Record) -> str:
    return record.key if record.intent is None else record.intent.receipt_id
