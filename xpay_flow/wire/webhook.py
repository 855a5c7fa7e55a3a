"""Which event does a webhook report?"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .. import messages
from . import fields
from .refusal import refuse
from .strict_json import JSON, LIMITS, Limits, Members, parse_object


@attrs.frozen(kw_only=True)
class WebhookMessage:
    """One webhook event as it was written; whether it is true is the signature's business.

    `x_intent_id` is None for events that concern no intent, such as `setup_method.created`.
    `amount_minor` of `intent.refunded` is the refunded amount, not the intent's. `currency` has the
    form of a code, but need not be a known one. `metadata` holds the pairs whose value is a string.
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
    metadata: Mapping[str, str]
    # Not shown: it may hold the customer's name, address and card.
    raw: dict[str, JSON] = attrs.field(repr=False)


def read_webhook(body: bytes, *, limits: Limits = LIMITS) -> WebhookMessage:
    """The event in a webhook's raw body; types that we do not know pass.

    Raises:
        UntrustedMessage: the bytes are not strict JSON, or a field that matters makes no sense.
    """
    members = parse_object(body, limits=limits)
    event_type = fields.required(fields.plain(members, "eventType"), "eventType")
    return WebhookMessage(
        event_id=fields.required(fields.xpay_id(members, "eventId"), "eventId"),
        event_type=event_type,
        # Documented types always carry `eventTime`; of types we do not know we demand less.
        event_time_ms=_event_time(members, required=event_type in messages.INTENT_EVENT_TYPES),
        # The integration page: "Webhooks carry xIntentId"; every event page: `intentId`.
        x_intent_id=fields.xpay_id(members, "intentId", "xIntentId"),
        receipt_id=fields.receipt_id(members),
        status=fields.plain(members, "status"),
        amount_minor=fields.amount_minor(members),
        currency=fields.currency(members),
        error_code=fields.label(members, "errorCode"),
        payment_method=fields.label(members, "paymentMethod"),
        refund_id=fields.xpay_id(members, "refundId"),
        dispute_id=fields.xpay_id(members, "disputeId"),
        metadata=fields.metadata(members),
        raw=members,
    )


def _event_time(members: Members, *, required: bool) -> int:
    value = members.get("eventTime")
    if value is None and not required:
        return 0
    if type(value) is not int or value < 0:
        refuse("bad-field", "eventTime is not a number of milliseconds")
    return value
