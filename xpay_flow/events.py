"""What is an event, and where does it come from?

An `Event` is one report about an intent: a webhook, an answer of xPay's API, or an act of
our own. However it came, `decide` reads the same fields, and copies have the same identity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Literal

import attrs

from . import messages as m
from .masking import masked
from .wire import (
    FIELDS_READ,
    JSON,
    IntentAnswer,
    WebhookMessage,
    canonical_json,
    digest,
    storable,
    without_secrets,
)

Source = Literal["webhook", "answer", "merchant"]

# Names of our own events hold a slash, which no id of xPay's does (`wire` refuses it): so none of
# them can be taken for a webhook's.

# Kinds of our own making. Webhooks about an intent use xPay's event type as their kind.
STORED: Final = "stored"
SENT_TO_CHECKOUT: Final = "sent_to_checkout"
HANDLER_GAVE_UP: Final = "handler_gave_up"
# xPay gave no answer in time: whether it made the intent, or which amount was paid.
CREATE_UNRESOLVED: Final = "create_unresolved"
AMOUNT_UNRESOLVED: Final = "amount_unresolved"
# Another attempt for the same receipt is paid as well.
PAID_TWICE: Final = "paid_twice"
# The order's receipt is paid through an intent of xPay's that no attempt of ours made.
PAID_ELSEWHERE: Final = "paid_elsewhere"
# The schedule of reconciliations has ended, and the payment is still open.
STILL_OPEN: Final = "still_open"
# Answers of xPay's API.
CREATE_ANSWERED: Final = "create_answered"
CREATE_REFUSED: Final = "create_refused"
REPORT_OPEN: Final = "report.open"
REPORT_FAILED: Final = "report.failed"
REPORT_CANCELLED: Final = "report.cancelled"
REPORT_SUCCESS: Final = "report.success"
REPORT_REFUNDED: Final = "report.refunded"
REPORT_PARTIALLY_REFUNDED: Final = "report.partially_refunded"
REPORT_DISPUTED: Final = "report.disputed"
REPORT_DISPUTE_UNDER_REVIEW: Final = "report.dispute_under_review"
REPORT_DISPUTE_WON: Final = "report.dispute_won"
REPORT_DISPUTE_LOST: Final = "report.dispute_lost"
# Authenticated, and of a type that this version has no rule for.
UNKNOWN: Final = "unknown"
# Authenticated, and names an intent of ours, but a field that decides cannot be read.
UNREADABLE: Final = "unreadable"

# "Keep unknown statuses as they are and treat them as open": all others are REPORT_OPEN.
REPORT_KINDS: Final = {
    m.STATUS_FAILED: REPORT_FAILED,
    m.STATUS_CANCELLED: REPORT_CANCELLED,
    m.STATUS_SUCCESS: REPORT_SUCCESS,
    m.STATUS_REFUNDED: REPORT_REFUNDED,
    m.STATUS_PARTIALLY_REFUNDED: REPORT_PARTIALLY_REFUNDED,
    m.STATUS_DISPUTED: REPORT_DISPUTED,
    m.STATUS_DISPUTE_UNDER_REVIEW: REPORT_DISPUTE_UNDER_REVIEW,
    m.STATUS_DISPUTE_WON: REPORT_DISPUTE_WON,
    m.STATUS_DISPUTE_LOST: REPORT_DISPUTE_LOST,
}

# "Treat all four as paid, with a dispute, when get-intent shows them."
DISPUTE_REPORTS: Final = frozenset(
    {REPORT_DISPUTED, REPORT_DISPUTE_UNDER_REVIEW, REPORT_DISPUTE_WON, REPORT_DISPUTE_LOST}
)
# Events that show a payment together with its amount.
PAID_KINDS: Final = DISPUTE_REPORTS | frozenset(
    {m.INTENT_SUCCESS, REPORT_SUCCESS, REPORT_REFUNDED, REPORT_PARTIALLY_REFUNDED}
)
# A refund shows that there was a payment, but not of which amount: the state is `success`, yet
# `on_success` waits for proof of the amount, which reconciliation looks for (decision 0003).
PAYMENT_KINDS: Final = PAID_KINDS | {m.INTENT_REFUNDED}
FAILED_KINDS: Final = frozenset({m.INTENT_FAILED, REPORT_FAILED})
REFUND_REPORTS: Final = frozenset({REPORT_REFUNDED, REPORT_PARTIALLY_REFUNDED})


@attrs.frozen
class EventIdentity:
    """What all copies of one event share: its id, and a digest of its content."""

    event_id: str
    digest: str

    @property
    def key(self) -> str:
        return f"{self.event_id}#{self.digest}"


@attrs.frozen(kw_only=True)
class Event:
    """One report about an intent.

    Args:
        kind: the row of the lifecycle table that decides it.
        type: the word its source used, such as `intent.success`.
        event_id: xPay's `eventId`, or a name of our own for answers and acts.
        digest: of what is read of the content, so that one id with two contents is seen.
        at_ms: when it happened, by its source; epoch milliseconds.
        proof: why we believe it: `hmac:0` (index of the key), `ecdsa`, `api`, `own`.
        intent_id: our own id, where the message carried it in its metadata.
        payload: what may be kept of the message, as JSON: see `wire.redaction`. Of what is signed
            and is no JSON object, size and digest.
        ignored: names of fields that made no sense and were left out.
        url: the checkout address of a create answer; never stored with the event.
    """

    kind: str
    type: str
    source: Source
    event_id: str
    digest: str = ""
    at_ms: int
    proof: str = "own"
    intent_id: str | None = None
    x_intent_id: str | None = None
    receipt_id: str | None = None
    status: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    error_code: str | None = None
    payment_method: str | None = None
    refund_id: str | None = None
    dispute_id: str | None = None
    payload: str = attrs.field(default="", repr=False)
    ignored: tuple[str, ...] = ()
    url: str | None = attrs.field(default=None, repr=False, eq=False)

    @property
    def identity(self) -> EventIdentity:
        """What a store needs to find its copies, and other contents under its id."""
        return EventIdentity(self.event_id, self.digest)

    @property
    def event_key(self) -> str:
        """The identity of the event: the same for every copy, another for another content."""
        return f"{self.event_id}#{self.digest}"

    @property
    def is_for_this_merchant(self) -> bool:
        """An ECDSA signature alone proves that xPay sent it, not that it was meant for us."""
        return self.proof != "ecdsa"


def from_webhook(message: WebhookMessage, proof: str, metadata_key: str) -> Event:
    """The event in an authenticated webhook."""
    kind = message.event_type if message.event_type in m.INTENT_EVENT_TYPES else UNKNOWN
    intent_id = message.metadata.get(metadata_key)
    content = [message.event_type, message.event_time_ms, intent_id, *_content(message)]
    return _from_message(message, proof, intent_id, kind, message.event_id, digest(content))


def from_unreadable(message: WebhookMessage, proof: str, metadata_key: str) -> Event:
    """The event in an authenticated webhook of which a field that decides cannot be read.

    Its id is not xPay's: the event may come again, readable.
    """
    read = storable({name: message.raw[name] for name in FIELDS_READ if name in message.raw})
    intent_id = message.metadata.get(metadata_key)
    return _from_message(message, proof, intent_id, UNREADABLE, f"unreadable/{digest(read)}", "")


def _from_message(
    message: WebhookMessage,
    proof: str,
    intent_id: str | None,
    kind: str,
    event_id: str,
    digest: str,
) -> Event:
    return Event(
        kind=kind,
        type=message.event_type,
        source="webhook",
        event_id=event_id,
        digest=digest,
        at_ms=message.event_time_ms,
        proof=proof,
        intent_id=intent_id,
        x_intent_id=message.x_intent_id,
        receipt_id=message.receipt_id,
        status=_word(message.status),
        amount_minor=message.amount_minor,
        currency=message.currency,
        error_code=_word(message.error_code),
        payment_method=_word(message.payment_method),
        refund_id=message.refund_id,
        dispute_id=message.dispute_id,
        payload=canonical_json(without_secrets(message.raw)),
        ignored=message.ignored,
    )


def _word(foreign: str | None) -> str | None:
    """A code of xPay's. It is foreign text all the same, so what is personal in it is masked."""
    return foreign if foreign is None or foreign.isalpha() else masked(foreign)


def _content(read: WebhookMessage | IntentAnswer) -> list[JSON]:
    """What is read of a message: two that differ in other fields alone are copies."""
    content: list[JSON] = [
        read.x_intent_id,
        read.receipt_id,
        read.status,
        read.amount_minor,
        read.currency,
        read.error_code,
        read.payment_method,
    ]
    if isinstance(read, WebhookMessage):
        content += [read.refund_id, read.dispute_id]
    return content


def from_create_answer(answer: IntentAnswer, url: str, at_ms: int) -> Event:
    """xPay made the intent and answered its id and address."""
    return attrs.evolve(
        _from_answer(CREATE_ANSWERED, answer, at_ms),
        event_id="answer/create",
        digest=answer.x_intent_id,
        url=url,
    )


def from_report(answer: IntentAnswer, at_ms: int) -> Event:
    """xPay's API reported how an intent stands.

    An identical answer is the same event, so frequent polling adds nothing to the history.
    """
    event = _from_answer(REPORT_KINDS.get(answer.status, REPORT_OPEN), answer, at_ms)
    return attrs.evolve(event, event_id="answer/get", digest=digest(_content(answer)))


def _from_answer(kind: str, answer: IntentAnswer, at_ms: int) -> Event:
    return Event(
        kind=kind,
        type=masked(answer.status),
        source="answer",
        event_id="",
        at_ms=at_ms,
        proof="api",
        x_intent_id=answer.x_intent_id,
        receipt_id=answer.receipt_id,
        status=_word(answer.status),
        amount_minor=answer.amount_minor,
        currency=answer.currency,
        error_code=_word(answer.error_code),
        payment_method=_word(answer.payment_method),
        payload=canonical_json(without_secrets(answer.raw)),
        ignored=answer.ignored,
    )


def refusal(error_code: str, description: str, at_ms: int) -> Event:
    """xPay answered the creation with a definite error."""
    return Event(
        kind=CREATE_REFUSED,
        type=error_code,
        source="answer",
        event_id="answer/refused",
        at_ms=at_ms,
        proof="api",
        error_code=error_code,
        payload=canonical_json({"errorCode": error_code, "errorDescription": description}),
    )


def with_metadata(event: Event, metadata: Mapping[str, str]) -> Event:
    """An unmatched event as it is kept: the shop's own texts show whose it is."""
    if not metadata:
        return event
    texts: dict[str, JSON] = {**metadata}
    kept: dict[str, JSON] = {**json.loads(event.payload), "metadata": texts}
    return attrs.evolve(event, payload=canonical_json(kept))


def without_metadata(event: Event) -> Event:
    """An event that was unmatched, as it is kept with its payment."""
    if '"metadata"' not in event.payload:
        return event
    kept = json.loads(event.payload)
    kept.pop("metadata", None)
    return attrs.evolve(event, payload=canonical_json(kept))


def own(kind: str, at_ms: int, *, subject: str = "", payload: str = "") -> Event:
    """An act of ours; the same act on the same subject is the same event."""
    return Event(
        kind=kind,
        type=kind,
        source="merchant",
        event_id=f"own/{kind}",
        digest=subject,
        at_ms=at_ms,
        payload=payload,
    )
