"""The local xPay as one object: answers requests, lets customers act, and has webhooks to send.

It does no I/O: a test drives it directly, `xpay_flow.sandbox.web` over sockets. The same seed,
clock and calls give the same ids, faults and answers; only ECDSA signatures are random.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from xpay_flow import messages
from xpay_flow.errors import InvalidValue, UnknownIntent

from .acts import Acts
from .api import Api
from .cards import Card
from .clock import Clock, SystemClock
from .config import SandboxConfig
from .deliveries import Attempt, Delivery, Event
from .endpoints import Endpoint, Endpoints
from .exchange import NO_ANSWER, NoAnswer, Request, Response
from .faults import ApiFault, FaultDice, FaultPlan
from .ids import Ids
from .ledger import DisputeStage, Intent, Ledger, Refund
from .order import PAYMENT_METHODS
from .outbox import Outbox
from .payloads import Json

SURPRISE_TYPE = "intent.sandbox_surprise"
EVENT_TYPE_CHARS_MAX = 100


class Sandbox:
    """xPay Server and xPay Checkout in memory.

    Args:
        config: every setting; the default suits a first try.
        clock: the machine's clock unless a `VirtualClock` is given.
        faults: what goes wrong; nothing by default.
        seed: determines ids and the dice of the faults. By default one made by chance, so that a
            sandbox that is started again repeats no id.

    Every method may be called from any thread. Acts raise UnknownIntent for an unknown id
    and InvalidValue for what cannot happen, such as paying twice.
    """

    def __init__(
        self,
        config: SandboxConfig | None = None,
        *,
        clock: Clock | None = None,
        faults: FaultPlan | None = None,
        seed: int | None = None,
    ) -> None:
        self.config = config or SandboxConfig()
        self.clock: Clock = clock or SystemClock()
        self._lock = threading.RLock()
        self.seed = secrets.randbits(48) if seed is None else seed
        self._dice = FaultDice(faults or FaultPlan(), self.seed)
        ids = Ids(self.seed, self.config.id_chars)
        self._ledger = Ledger(self.config, ids)
        self._endpoints = Endpoints(self.config, ids)
        self._outbox = Outbox(self.config, ids, self._endpoints)
        self._acts = Acts(self.config, self.clock, self._ledger, self._announce)
        self._api = Api(self.config, self.clock, self._ledger, self._acts, self._endpoints)

    # The merchant's API

    def handle(self, request: Request) -> Response | NoAnswer:
        """Answers one request of the merchant API, or NO_ANSWER where a fault breaks the line."""
        with self._lock:
            fault = self._dice.on_call(request.method, request.path)
            name = fault.fault if fault else None
            if name == "lose_request":
                return NO_ANSWER
            if fault and name == "error_text" and not fault.took_effect:
                return _proxy_error()
            response = self._api.answer(request, fault)
            if name == "lose_answer":
                return NO_ANSWER
            return _proxy_error() if name == "error_text" else response

    # What the customer does

    def open_checkout(self, x_intent_id: str) -> Intent:
        """The checkout page is opened."""
        with self._lock:
            return self._acts.open(x_intent_id)

    def pay(
        self,
        x_intent_id: str,
        method: str = "CARD",
        *,
        card: Card | None = None,
        customer: Json | None = None,
        despite_cancel: bool = False,
    ) -> Intent:
        """A charge works. `customer` comes from the page where the merchant sent none.

        `despite_cancel` is the charge that was running when the merchant cancelled.
        """
        with self._lock:
            return self._acts.pay(
                x_intent_id,
                method=_method(method),
                card=card,
                customer=customer,
                despite_cancel=despite_cancel,
            )

    def decline(
        self,
        x_intent_id: str,
        error_code: str = "insufficient_funds",
        *,
        method: str = "CARD",
        card: Card | None = None,
    ) -> Intent:
        """A charge is refused; the customer may try again."""
        with self._lock:
            return self._acts.decline(
                x_intent_id, error_code=error_code, method=_method(method), card=card
            )

    def cancel_by_customer(self, x_intent_id: str) -> str:
        """The customer gives up on the page; returns where the browser goes.

        No page of xPay documents that this changes the status, so by default it does not.
        """
        with self._lock:
            if self.config.customer_cancel_changes_status:
                self._acts.cancel(x_intent_id)
            return self.return_url(x_intent_id, cancelled=True)

    def return_url(self, x_intent_id: str, cancelled: bool = False) -> str:
        """The merchant's URL with `xpay_intent_id` after its own query and before its fragment."""
        order = self.intent(x_intent_id).order
        url = (cancelled and order.cancel_url) or order.callback_url
        base, hash_mark, fragment = url.partition("#")
        joint = "?" if "?" not in base else "" if base.endswith(("?", "&")) else "&"
        parameter = f"{messages.RETURN_PARAMETER}={quote(x_intent_id, safe='')}"
        return f"{base}{joint}{parameter}{hash_mark}{fragment}"

    # What xPay, the merchant's dashboard and the bank do

    def cancel(self, x_intent_id: str) -> Intent:
        """The intent is cancelled in xPay's dashboard."""
        with self._lock:
            return self._acts.cancel(x_intent_id)

    def refund(self, x_intent_id: str, amount_minor: int | None = None) -> Refund:
        """Gives back a part of a payment, or what is left of it, in xPay's dashboard."""
        with self._lock:
            return self._acts.refund(x_intent_id, amount_minor, "dashboard")

    def dispute(self, x_intent_id: str, *, in_status: bool | None = None) -> Intent:
        """The customer's bank disputes the payment.

        `in_status` has the intent's status show it, as `DISPUTED` and so on; by default the
        configuration's `dispute_changes_status` decides.
        """
        with self._lock:
            return self._acts.dispute(x_intent_id, in_status)

    def settle_dispute(self, x_intent_id: str, stage: DisputeStage) -> Intent:
        """The dispute comes under review, is won or is lost."""
        if stage not in ("under_review", "won", "lost"):
            raise InvalidValue("a dispute comes under_review, is won or is lost")
        with self._lock:
            return self._acts.settle_dispute(x_intent_id, stage)

    def send_raw_event(self, event_type: str, fields: Json | None = None) -> Event:
        """Sends an event of any type and content, signed like every other."""
        if not 0 < len(event_type) <= EVENT_TYPE_CHARS_MAX:
            raise InvalidValue(f"an event type has 1 to {EVENT_TYPE_CHARS_MAX} characters")
        with self._lock:
            return self._announce(event_type, dict(fields or {}))

    # Looking

    def intent(self, x_intent_id: str) -> Intent:
        """The intent of this id; UnknownIntent where there is none."""
        with self._lock:
            return self._ledger.get(x_intent_id)

    def intents(self) -> list[Intent]:
        """All intents, oldest first."""
        with self._lock:
            return self._ledger.all()

    def status(self, x_intent_id: str) -> str:
        """The status that the API reports for an intent."""
        with self._lock:
            return self._ledger.status(self._ledger.get(x_intent_id))

    def checkout_id_of(self, x_intent_id: str) -> str:
        """The id inside `fwdUrl`, which is not the intent's."""
        return self.intent(x_intent_id).checkout_id

    def fwd_url(self, x_intent_id: str) -> str:
        """The address of the checkout page."""
        return self._api.objects.fwd_url(self.intent(x_intent_id))

    def intent_by_checkout_id(self, checkout_id: str) -> Intent:
        """The intent whose `fwdUrl` holds this id."""
        with self._lock:
            return self._ledger.by_checkout_id(checkout_id)

    def endpoints(self) -> list[Endpoint]:
        """The registered webhook endpoints."""
        with self._lock:
            return self._endpoints.all()

    def events(self) -> list[Event]:
        """All events, oldest first."""
        with self._lock:
            return self._outbox.events()

    def delivery_log(self) -> list[Attempt]:
        """The outcome of every attempt to deliver a webhook, oldest first."""
        with self._lock:
            return self._outbox.log()

    @property
    def ecdsa_public_key(self) -> str | None:
        """Base64 SPKI of the key behind `xpay-private-signature`; None without `cryptography`."""
        with self._lock:
            return self._outbox.ecdsa.public_key

    # Faults

    @property
    def faults(self) -> FaultPlan:
        """The plan in force."""
        return self._dice.plan

    def set_faults(self, plan: FaultPlan) -> None:
        """Puts another plan in force; its rules start counting from nothing."""
        with self._lock:
            self._dice = FaultDice(plan, self.seed)

    def add_fault(self, rule: ApiFault) -> None:
        """Puts one more rule for calls in force; those in force go on counting.

        Rules that have struck as often as they may are dropped.
        """
        with self._lock:
            self._dice.add(rule)

    def expire_keys(self) -> int:
        """Forgets every idempotency key, as xPay does after 24 hours; returns how many."""
        with self._lock:
            return self._api.expire_keys()

    # Webhooks

    def due(self, now_ms: int | None = None) -> list[Delivery]:
        """The webhooks to send now, in order; calling twice gives the same ones."""
        with self._lock:
            return self._outbox.due(self.clock.now_ms() if now_ms is None else now_ms)

    def next_due_at_ms(self) -> int | None:
        """When the next webhook is to be sent; None when none waits."""
        with self._lock:
            return self._outbox.next_due_at_ms()

    def outcome(self, delivery: Delivery, http_status: int | None) -> None:
        """Reports the merchant's status code, or None where none came; any 2xx ends the retries."""
        with self._lock:
            self._outbox.outcome(delivery, http_status, self.clock.now_ms())

    def deliver_due(self, post: Callable[[Delivery], int | None]) -> int:
        """Carries every due webhook through `post` and returns how many; new ones included."""
        count = 0
        while due := self.due():
            for delivery in due:
                self.outcome(delivery, post(delivery))
                count += 1
        return count

    def redeliver(self, event_id: str) -> int:
        """Sends an event again, as xPay's dashboard might; returns to how many endpoints."""
        with self._lock:
            event = self._outbox.event(event_id)
            if event is None:
                raise UnknownIntent(event_id)
            return self._outbox.redeliver(event, self.clock.now_ms())

    def _announce(self, event_type: str, fields: dict[str, Any]) -> Event:
        now_ms = self.clock.now_ms()
        faults = self._dice.on_event(event_type)
        event = self._outbox.announce(event_type, fields, faults, now_ms)
        if any(rule.fault == "unknown_type" for rule in faults):
            named = {"intentId": fields.get("intentId")}
            self._outbox.announce(SURPRISE_TYPE, named, (), now_ms)
        return event


def _method(method: str) -> str:
    if method not in PAYMENT_METHODS:
        raise InvalidValue(f"a payment method is one of {', '.join(PAYMENT_METHODS)}")
    return method


def _proxy_error() -> Response:
    """A 500 that is not xPay's: a page of HTML from something in between."""
    body = b"<html><body><h1>500 Internal Server Error</h1></body></html>"
    return Response(500, {"content-type": "text/html"}, body)
