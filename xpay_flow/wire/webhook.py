"""Which event does a webhook report?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypedDict, TypeVar

import attrs

from .. import messages
from . import fields
from .refusal import refuse
from .strict_json import JSON, LIMITS, Limits, Members, parse_object

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class WebhookMessage:
    """One webhook event as it was written; whether it is true is the signature's business.

    `x_intent_id` is None for events that concern no intent, such as `setup_method.created`.
    `amount_minor` of `intent.refunded` is the refunded amount, not the intent's. `currency` has the
    form of a code, but need not be a known one. `metadata` holds the pairs whose value is a string.
    `event_time_ms` is 0 where it makes no sense. `ignored` names the fields that make none.
    """

    event_id: str
    event_type: str
    event_time_ms: int
    x_intent_id: str | None
    receipt_id: str | None
    status: str | None
    amount_minor: int | None
    currency: str | None
    error_code: str | None
    payment_method: str | None
    refund_id: str | None
    dispute_id: str | None
    metadata: Mapping[str, str] = attrs.field(repr=False)
    ignored: tuple[str, ...] = ()
    # Not shown: it may hold the customer's name, address and card.
    raw: dict[str, JSON] = attrs.field(repr=False)


# `eventTime` beyond the year 9999 is no time.
_TIME_MS_MAX: Final = 253_402_300_799_999


def read_webhook(body: bytes, *, limits: Limits = LIMITS) -> WebhookMessage:
    """The event in a webhook's raw body; types that we do not know pass.

    Identity, type, amount and currency are read strictly. Every other field that makes no sense
    is left out and named in `ignored`, and fields that we do not read are not judged at all.

    Raises:
        UntrustedMessage: the bytes are not strict JSON, or a field that matters makes no sense.
    """
    members = parse_object(body, limits=limits, rigour="fields")
    event_type = fields.required(fields.plain(members, "eventType"), "eventType")
    ignored: list[str] = []
    # Of a type that we do not know, it is not known either what its amounts mean.
    is_known = event_type in messages.INTENT_EVENT_TYPES
    strictly = fields.strictly if is_known else fields.or_ignored
    is_refund, is_dispute = event_type == messages.INTENT_REFUNDED, event_type in _DISPUTES
    return WebhookMessage(
        event_id=fields.required(fields.xpay_id(members, "eventId"), "eventId"),
        event_type=event_type,
        # The integration page: "Webhooks carry xIntentId"; every event page: `intentId`.
        x_intent_id=fields.xpay_id(members, "intentId", "xIntentId"),
        amount_minor=strictly(ignored, "amount", lambda: fields.amount_minor(members)),
        currency=strictly(ignored, "currency", lambda: fields.currency(members)),
        # What sets one refund or dispute apart from another; other events have none.
        refund_id=fields.xpay_id(members, "refundId") if is_refund else None,
        dispute_id=fields.xpay_id(members, "disputeId") if is_dispute else None,
        **_informing(members, ignored),
        ignored=tuple(ignored),
        raw=members,
    )


def read_unreadable(body: bytes, *, limits: Limits = LIMITS) -> WebhookMessage:
    """What can be read of a body that `read_webhook` refuses: enough to find whose it is.

    Raises:
        UntrustedMessage: the bytes are no JSON object.
    """
    members = parse_object(body, limits=limits, rigour="names")
    ignored: list[str] = []

    def read(name: str, reader: Callable[[], T | None]) -> T | None:
        return fields.or_ignored(ignored, name, reader)

    return WebhookMessage(
        event_id=read("eventId", lambda: fields.xpay_id(members, "eventId")) or "",
        event_type=read("eventType", lambda: fields.plain(members, "eventType")) or "unreadable",
        x_intent_id=read("intentId", lambda: fields.xpay_id(members, "intentId", "xIntentId")),
        amount_minor=read("amount", lambda: fields.amount_minor(members)),
        currency=read("currency", lambda: fields.currency(members)),
        refund_id=read("refundId", lambda: fields.xpay_id(members, "refundId")),
        dispute_id=read("disputeId", lambda: fields.xpay_id(members, "disputeId")),
        **_informing(members, ignored),
        ignored=tuple(ignored),
        raw=members,
    )


# Every field that is read. Two bodies that differ in others alone are copies of one event.
FIELDS_READ: Final[tuple[str, ...]] = (
    "eventId",
    "eventType",
    "eventTime",
    "intentId",
    "xIntentId",
    "receiptId",
    "status",
    "amount",
    "currency",
    "errorCode",
    "paymentMethod",
    "refundId",
    "disputeId",
    "metadata",
)
_DISPUTES: Final = frozenset(
    {
        messages.INTENT_DISPUTED,
        messages.INTENT_DISPUTE_UNDER_REVIEW,
        messages.INTENT_DISPUTE_WON,
        messages.INTENT_DISPUTE_LOST,
    }
)


class _Informing(TypedDict):
    """The fields that merely inform."""

    event_time_ms: int
    receipt_id: str | None
    status: str | None
    error_code: str | None
    payment_method: str | None
    metadata: Mapping[str, str]


def _informing(members: Members, ignored: list[str]) -> _Informing:
    def plain(name: str) -> str | None:
        return fields.or_ignored(ignored, name, lambda: fields.plain(members, name))

    return {
        "event_time_ms": fields.or_ignored(ignored, "eventTime", lambda: _event_time(members)) or 0,
        "receipt_id": fields.or_ignored(ignored, "receiptId", lambda: fields.receipt_id(members)),
        "status": plain("status"),
        "error_code": plain("errorCode"),
        "payment_method": plain("paymentMethod"),
        "metadata": fields.or_ignored(ignored, "metadata", lambda: fields.metadata(members)) or {},
    }


def _event_time(members: Members) -> int:
    value = members.get("eventTime")
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= _TIME_MS_MAX:
        refuse("bad-field", "eventTime is not a number of milliseconds")
    return value
