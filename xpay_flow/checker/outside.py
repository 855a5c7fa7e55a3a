"""The environment of the shop: xPay, the customer, the clock, and what handlers did to the world.

A value, so that a search can go back to it. Written from xPay's documentation, small, and strict
about what may happen; it answers in the same bytes as the real one, which the real code reads.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import attrs

from xpay_flow import messages as m
from xpay_flow.ports import HttpRequest, HttpResponse
from xpay_flow.settings import Settings

# 2026-01-05T09:30:00Z, as good as any.
START_MS = 1_767_605_400_000
# "Twice" is all that matters; counting on would make the number of states endless.
CALLS_COUNTED_MAX = 2

# What may be wrong with an authentic webhook.
FLAWS = ("wrong amount", "wrong currency", "foreign", "unknown type", "other content")

Delivery = Literal["pending", "acknowledged", "dropped"]
# One thing that happens to the world: a word, and what it is about.
Happening = tuple[Any, ...]


@attrs.frozen
class XIntent:
    """An intent at xPay.

    Args:
        reachable: the customer has its address.
        failures: how many charges failed; `paid`: one worked.
        refunds: how many halves of the money went back.
        disputed: the customer's bank disputes the payment.
        cancelled: it cannot be paid any more.
    """

    number: int
    idempotency_key: str
    request: str
    reachable: bool = False
    failures: int = 0
    paid: bool = False
    refunds: int = 0
    disputed: bool = False
    cancelled: bool = False

    @property
    def id(self) -> str:
        return f"in_{self.number}"

    @property
    def order(self) -> dict[str, Any]:
        order: dict[str, Any] = json.loads(self.request)
        return order

    @property
    def status(self) -> str:
        if self.paid:
            return (m.STATUS_SUCCESS, m.STATUS_PARTIALLY_REFUNDED, m.STATUS_REFUNDED)[self.refunds]
        if self.cancelled:
            return m.STATUS_CANCELLED
        return m.STATUS_FAILED if self.failures else m.STATUS_CREATED


@attrs.frozen
class XEvent:
    """One webhook event: its type, its intent, and what is wrong with it.

    Args:
        flaw: nothing, or why it should not be believed: `forged` (wrong signature),
            `wrong amount`, `wrong currency`, `foreign` (another merchant's intent), `unknown type`,
            `other content` (the id of another event).
    """

    event_type: str
    x_number: int
    nth: int = 1
    flaw: str = ""

    @property
    def event_id(self) -> str:
        word = self.event_type.rpartition(".")[2]
        mark = "" if self.flaw in ("", "other content", "forged") else f"_{self.flaw[:5].strip()}"
        return f"whe_{word}_{self.x_number}_{self.nth}{mark}"

    def __str__(self) -> str:
        number = f" #{self.nth}" if self.nth > 1 else ""
        return f"{self.event_type}{number}" + (f" ({self.flaw})" if self.flaw else "")


@attrs.frozen
class Outside:
    """Everything outside the shop's store and its running flows.

    Args:
        clicks: how often Pay was pressed.
        passages: how often time went on since the last of `ACTS`, where that has a limit.
        events: every event of xPay's, and the state of its delivery.
        calls: (handler, idempotency key, how often it was called to the end).
        reports_creation: xPay sends `intent.created`.
        key: which of the shop's webhook secrets xPay signs with.
        crashed: an error that escaped from a flow and is none of ours.
        unrepeatable: why a handler that was called cannot be repeated.
    """

    now_ms: int = START_MS
    clicks: int = 0
    forwards: int = 0
    intents: tuple[XIntent, ...] = ()
    events: tuple[tuple[XEvent, Delivery], ...] = ()
    calls: tuple[tuple[str, str, int], ...] = ()
    reports_creation: bool = False
    key: int = 0
    passages: int = 0
    crashed: str = ""
    unrepeatable: str = ""

    def intent(self, number: int) -> XIntent:
        return self.intents[number - 1]

    def with_intent(self, changed: XIntent) -> Outside:
        intents = tuple(changed if i.number == changed.number else i for i in self.intents)
        return attrs.evolve(self, intents=intents)

    def with_event(self, event: XEvent) -> Outside:
        """One more delivery of xPay's is pending."""
        events: tuple[tuple[XEvent, Delivery], ...] = (*self.events, (event, "pending"))
        return attrs.evolve(self, events=tuple(sorted(events, key=lambda pair: str(pair[0]))))

    def with_delivery(self, event: XEvent, delivery: Delivery) -> Outside:
        """The delivery of one event is in this state."""
        known = self if any(n == event for n, _ in self.events) else self.with_event(event)
        changed = tuple((n, delivery if n == event else d) for n, d in known.events)
        return attrs.evolve(self, events=changed)

    def with_call(self, name: str, key: str) -> Outside:
        """A handler was called to its end."""
        counts = {(called, at): count for called, at, count in self.calls}
        counts[name, key] = min(counts.get((name, key), 0) + 1, CALLS_COUNTED_MAX)
        calls = tuple(sorted((*at, count) for at, count in counts.items()))
        return attrs.evolve(self, calls=calls)


def happened(outside: Outside, happening: Happening) -> Outside:
    """The world after one thing more."""
    word, *about = happening
    after = HAPPENINGS[word](outside, *about)
    # From each act of a customer or an operator on, a shop has its time to follow.
    return attrs.evolve(after, passages=0) if word in ACTS and after.passages else after


def _pressed(outside: Outside) -> Outside:
    return attrs.evolve(outside, clicks=outside.clicks + 1)


def _forwarded(outside: Outside) -> Outside:
    return attrs.evolve(outside, forwards=outside.forwards + 1)


def _at(outside: Outside, now_ms: int) -> Outside:
    return attrs.evolve(outside, now_ms=now_ms)


def _later(outside: Outside, ms: int, passages: int = 0) -> Outside:
    passed = outside.passages + passages
    return attrs.evolve(outside, now_ms=outside.now_ms + ms, passages=passed)


def _rotated(outside: Outside) -> Outside:
    return attrs.evolve(outside, key=1)


def _crashed(outside: Outside, error: str) -> Outside:
    return attrs.evolve(outside, crashed=error)


def _unrepeatable(outside: Outside, why: str) -> Outside:
    return attrs.evolve(outside, unrepeatable=why)


def _refunded(outside: Outside, number: int, part: int) -> Outside:
    refunds = min(part, 2)
    after = outside.with_intent(attrs.evolve(outside.intent(number), refunds=refunds))
    return after.with_event(XEvent(m.INTENT_REFUNDED, number, part))


def _disputed(outside: Outside, number: int) -> Outside:
    after = outside.with_intent(attrs.evolve(outside.intent(number), disputed=True))
    return after.with_event(XEvent(m.INTENT_DISPUTED, number))


def _cancelled(outside: Outside, number: int) -> Outside:
    return outside.with_intent(attrs.evolve(outside.intent(number), cancelled=True))


def _reachable(outside: Outside, number: int) -> Outside:
    return outside.with_intent(attrs.evolve(outside.intent(number), reachable=True))


def charge(outside: Outside, number: int, works: bool) -> Outside:
    """The customer tries to pay on the page of one intent; xPay will send an event."""
    intent = outside.intent(number)
    if works:
        after = outside.with_intent(attrs.evolve(intent, paid=True))
        return after.with_event(XEvent(m.INTENT_SUCCESS, number))
    failures = intent.failures + 1
    after = outside.with_intent(attrs.evolve(intent, failures=failures))
    return after.with_event(XEvent(m.INTENT_FAILED, number, failures))


HAPPENINGS: dict[str, Callable[..., Outside]] = {
    "pressed": _pressed,
    "sent_to_checkout": _forwarded,
    "at": _at,
    "later": _later,
    "charged": charge,
    "refunded": _refunded,
    "disputed": _disputed,
    "cancelled": _cancelled,
    "rotated": _rotated,
    "delivery": Outside.with_delivery,
    "reachable": _reachable,
    "called": Outside.with_call,
    "crashed": _crashed,
    "unrepeatable": _unrepeatable,
}


# Each happens a few times at most.
ACTS: Final = frozenset({"pressed", "charged", "refunded", "disputed", "cancelled", "rotated"})


def flawed(outside: Outside) -> Iterator[XEvent]:
    """Events that xPay could send, and that should not be believed."""
    known = {event for event, _ in outside.events}
    for intent in outside.intents:
        for flaw in FLAWS:
            event = XEvent(m.INTENT_SUCCESS, intent.number, 1, flaw)
            if event not in known and (flaw != "other content" or intent.paid):
                yield event


def answer(outside: Outside, request: HttpRequest) -> tuple[HttpResponse, Outside]:
    """xPay's answer to a request, and the world after it took effect."""
    url = urlsplit(request.url)
    if request.method == "POST" and url.path == m.CREATE_INTENT_PATH:
        return _created(outside, request)
    if request.method == "POST" and url.path.startswith(m.CANCEL_INTENT_PATH):
        return _cancel_answer(outside, url.path.removeprefix(m.CANCEL_INTENT_PATH))
    if request.method == "GET" and url.path.startswith(m.GET_INTENT_PATH):
        wanted = url.path.removeprefix(m.GET_INTENT_PATH)
        for intent in outside.intents:
            if intent.id == wanted:
                return _json(200, _intent_json(intent)), outside
    if request.method == "GET" and url.path == m.LIST_INTENTS_PATH and parse_qs(url.query):
        return _json(
            200, {"data": [_intent_json(i) for i in outside.intents], "metadata": {}}
        ), outside
    return _json(404, NOT_FOUND), outside


NOT_FOUND = {"errorCode": m.RESOURCE_NOT_FOUND, "errorDescription": "No such object"}
CANNOT_CANCEL = {"errorCode": m.BAD_REQUEST, "errorDescription": "It is paid"}


def _cancel_answer(outside: Outside, x_intent_id: str) -> tuple[HttpResponse, Outside]:
    for intent in outside.intents:
        if intent.id == x_intent_id:
            if intent.paid:
                return _json(400, CANNOT_CANCEL), outside
            return _json(200, {}), _cancelled(outside, intent.number)
    return _json(404, NOT_FOUND), outside


def _created(outside: Outside, request: HttpRequest) -> tuple[HttpResponse, Outside]:
    key = dict(request.headers).get(m.IDEMPOTENCY_HEADER, "")
    known = [i for i in outside.intents if key and i.idempotency_key == key]
    if known:
        intent, after = known[0], outside
    else:
        intent = XIntent(len(outside.intents) + 1, key, request.body.decode())
        after = attrs.evolve(outside, intents=(*outside.intents, intent))
        if outside.reports_creation:
            after = after.with_event(XEvent(m.INTENT_CREATED, intent.number))
    # A repeat is answered with the first answer, so the status is the one at creation.
    shown = _intent_json(intent) | {"status": m.STATUS_CREATED, "fwdUrl": fwd_url(intent)}
    return _json(200, shown), after


def fwd_url(intent: XIntent) -> str:
    """The address of the checkout; its id is another one than the intent's, as at xPay."""
    return f"https://pay.xpaycheckout.com/c/{intent.number:016d}"


def _intent_json(intent: XIntent) -> dict[str, Any]:
    order = intent.order
    return {
        "xIntentId": intent.id,
        "status": intent.status,
        "amount": order["amount"],
        "currency": order["currency"],
        "receiptId": order.get("receiptId"),
        "metadata": order.get("metadata", {}),
    }


def refund_minor(amount_minor: int, part: int) -> int:
    """The money of a refund: the first half, the second, or all at once (3)."""
    first = amount_minor // 2
    return (first, amount_minor - first, amount_minor)[part - 1]


def _json(status: int, value: object) -> HttpResponse:
    body = json.dumps(value, separators=(",", ":")).encode()
    return HttpResponse(status, {"content-type": "application/json"}, body)


def delivery(
    outside: Outside, event: XEvent, settings: Settings, **instead: str
) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Headers and body of one delivery, signed with the shop's key.

    Args:
        instead: members of the body that differ from what this xPay would write.
    """
    members = dict(_members(outside, event, settings)) | instead
    body = json.dumps(members, separators=(",", ":")).encode()
    secrets = settings.webhook_secrets
    key = "not the key of this shop" if event.flaw == "forged" else secrets[outside.key]
    signature = hmac.new(key.encode(), body, hashlib.sha512).digest()
    return ((m.HMAC_HEADER, base64.b64encode(signature).decode()),), body


def _members(outside: Outside, event: XEvent, settings: Settings) -> Iterator[tuple[str, Any]]:
    order = outside.intent(event.x_number).order
    foreign = event.flaw == "foreign"
    yield "eventId", event.event_id
    yield "eventType", "intent.rewarded" if event.flaw == "unknown type" else event.event_type
    yield "eventTime", START_MS + event.nth
    yield "intentId", "in_of_another" if foreign else f"in_{event.x_number}"
    yield "receiptId", "another-order" if foreign else order.get("receiptId")
    yield "status", event.event_type.rpartition(".")[2].upper()
    amount = order["amount"]
    if event.event_type == m.INTENT_REFUNDED:
        yield "refundId", f"rf_{event.x_number}_{event.nth}"
        amount = refund_minor(amount, event.nth)
    if event.event_type == m.INTENT_DISPUTED:
        yield "disputeId", f"dp_{event.x_number}"
    yield "amount", amount + (event.flaw in ("wrong amount", "other content"))
    yield "currency", "JPY" if event.flaw == "wrong currency" else order["currency"]
    if event.event_type == m.INTENT_FAILED:
        yield "errorCode", "insufficient_funds"
    metadata = dict(order.get("metadata", {}))
    if foreign:
        metadata[settings.metadata_key] = "pi_of_another"
    yield "metadata", metadata
