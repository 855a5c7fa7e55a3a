"""What does xPay's API answer about money on its way back: one refund, or those of an intent?"""

from __future__ import annotations

import attrs

from . import fields
from .refusal import refuse
from .strict_json import JSON, parse_object, parse_value


@attrs.frozen(kw_only=True)
class RefundAnswer:
    """A refund as xPay shows it: one of ours, of the dashboard or of xPay's support.

    Identity and amount are read strictly. `refunded_at_ms` is when xPay processed it: the
    customer has the money days later. `ignored` names what was there and made no sense.
    """

    refund_id: str
    x_intent_id: str
    amount_minor: int
    currency: str | None
    refunded_at_ms: int | None
    ignored: tuple[str, ...] = ()
    raw: dict[str, JSON] = attrs.field(repr=False)


def read_refund(body: bytes) -> RefundAnswer:
    """The refund in an answer of xPay's API. Raises UntrustedMessage."""
    return _refund(parse_object(body, rigour="fields"))


def read_refunds(body: bytes) -> tuple[tuple[RefundAnswer, ...], str | None]:
    """The refunds of an intent, and the cursor of the next page or None.

    "Refunds-of-an-intent returns a bare JSON array", so there is no cursor; a page like those of
    every other list is read, too. Raises UntrustedMessage.
    """
    value = parse_value(body, rigour="fields")
    if isinstance(value, dict):
        items, offset = fields.objects(value.get("data"), "data"), fields.next_cursor(value)
    else:
        items, offset = fields.objects(value, "the answer"), None
    return tuple(_refund(item) for item in items), offset


def _refund(members: dict[str, JSON]) -> RefundAnswer:
    amount_minor = fields.amount_minor(members)
    ignored: list[str] = []
    refunded_at_ms = fields.or_ignored(
        ignored, "refundedAt", lambda: fields.moment_ms(members, "refundedAt")
    )
    return RefundAnswer(
        refund_id=fields.required(fields.xpay_id(members, "refundId"), "refundId"),
        x_intent_id=fields.required(fields.xpay_id(members, "intentId", "xIntentId"), "intentId"),
        amount_minor=(
            amount_minor if amount_minor is not None else refuse("bad-field", "amount is missing")
        ),
        currency=fields.currency(members),
        refunded_at_ms=refunded_at_ms,
        ignored=tuple(ignored),
        raw=members,
    )
