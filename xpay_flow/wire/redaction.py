"""Which parts of a message may be stored? An allow-list: field by field, with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs

from ..masking import masked
from .strict_json import JSON, NO_TEXT, Members

# An id or a label of xPay's is shorter; a longer text is something else.
_CHARS_MAX: Final = 255


def _fact(value: JSON) -> JSON:
    """A number, a truth value, or an id or a time as text."""
    if isinstance(value, str):
        return _fit(value) if len(value) <= _CHARS_MAX else None
    return value if isinstance(value, bool | int | float) else None


_NUMBER: Final = re.compile(r"[0-9.,+\-eE ]{0,40}", re.ASCII)


def _number(value: JSON) -> JSON:
    """A number, also as text: one that makes no sense is what an operator has to look at."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return None
    return _fact(value)


def _word(value: JSON) -> JSON:
    """A code of xPay's. It is foreign text all the same, so what is personal in it is masked."""
    return masked(_fit(value)) if isinstance(value, str) and len(value) <= _CHARS_MAX else None


_LAST_FOUR: Final = re.compile(r"[0-9]{4}", re.ASCII)


def _last_four(value: JSON) -> JSON:
    """Exactly four digits: whatever else stands there may be a whole card number."""
    return value if isinstance(value, str) and _LAST_FOUR.fullmatch(value) else None


@attrs.frozen
class Kept:
    """A field that may be stored.

    Args:
        reason: what it is needed for.
        value: what is stored of its value; None leaves the field out.
        within: of an object or a list of objects, the fields that may be stored.
    """

    reason: str
    value: Callable[[JSON], JSON] = _fact
    within: Mapping[str, Kept] = attrs.field(factory=dict[str, "Kept"])


_Fields: TypeAlias = Mapping[str, Kept]

_CARD: Final[_Fields] = {
    "brand": Kept("customers ask with which card they paid", _word),
    "lastFourDigit": Kept("customers ask with which card they paid", _last_four),
    "country": Kept("shows why a bank has declined, and which fees are due", _word),
    "cardType": Kept("shows which fees are due", _word),
    "fundingType": Kept("the older name of cardType", _word),
}
_CHARGE: Final[_Fields] = {
    "status": Kept("shows which charge has failed", _word),
    "chargeTime": Kept("orders the charges"),
    "errorCode": Kept("shows why a charge has failed", _word),
    "paymentMetadata": Kept(
        "shows how a charge was paid",
        within={
            "paymentMethod": Kept("shows how a charge was paid", _word),
            "cardMetadata": Kept("customers ask with which card they paid", within=_CARD),
        },
    ),
}
# Everything else is left out: names, addresses, e-mail, phone, card numbers and expiry, the
# checkout's address, whatever the shop had sent, and fields that xPay may add one day.
KEPT: Final[_Fields] = {
    "eventId": Kept("names the event, so that a copy is recognised"),
    "eventType": Kept("shows what has happened"),
    "eventTime": Kept("shows when it has happened"),
    "intentId": Kept("names the payment at xPay"),
    "xIntentId": Kept("names the payment at xPay"),
    "receiptId": Kept("names the order"),
    "status": Kept("shows how the payment stands", _word),
    "amount": Kept("the money to compare", _number),
    "currency": Kept("the money to compare"),
    "presentmentCurrency": Kept("shows in which currency the customer paid"),
    "errorCode": Kept("shows why a charge has failed", _word),
    "paymentMethod": Kept("shows how it was paid", _word),
    "mode": Kept("shows whether money has moved", _word),
    "createdAt": Kept("shows when xPay made the intent"),
    "succeededAt": Kept("shows when it was paid"),
    "card": Kept("customers ask with which card they paid", within=_CARD),
    "chargeAttempts": Kept("shows what a customer has tried", within=_CHARGE),
    "succeededCharge": Kept("shows what a customer has paid with", within=_CHARGE),
    "refundId": Kept("names the refund, so that a copy is recognised"),
    "refundReferenceId": Kept("a bank finds the refund by it"),
    "refundedAt": Kept("shows when money went back"),
    "disputeId": Kept("names the dispute"),
    "subscriptionId": Kept("names the subscription of an event that fits no payment"),
    "intentAmount": Kept("the money of a subscription's cycle", _number),
    "intentCurrency": Kept("the money of a subscription's cycle"),
    "nextPaymentDate": Kept("shows when a subscription is charged next"),
    "remainingCycleCount": Kept("shows how long a subscription goes on"),
    "setupMethodId": Kept("names the set-up of an event that fits no payment"),
    "pmId": Kept("names a saved payment method"),
    "customerId": Kept("xPay's name for a customer, without which nothing can be charged"),
    "linkId": Kept("names the payment link of an event that fits no payment"),
    "paymentLinkId": Kept("names the payment link of an event that fits no payment"),
    # xPay's answers may be wrapped, and pages of a list are.
    "data": Kept("holds an answer's own fields"),
}


def without_secrets(raw: Members) -> dict[str, JSON]:
    """A copy fit for storing: the fields of `KEPT`, and no other.

    Text that no column can hold is shown as U+FFFD.
    """
    kept = _of(raw, KEPT)
    data = raw.get("data")
    if isinstance(data, dict):
        kept["data"] = _of(data, KEPT)
    elif isinstance(data, list):
        kept["data"] = [_of(item, KEPT) for item in data if isinstance(item, dict)]
    return kept


def _of(raw: Members, fields: _Fields) -> dict[str, JSON]:
    kept: dict[str, JSON] = {}
    for name, value in raw.items():
        field = fields.get(name)
        if field is None:
            continue
        if value is None:
            kept[name] = None
        elif field.within:
            if (inner := _within(value, field.within)) is not None:
                kept[name] = inner
        elif (stored := field.value(value)) is not None:
            kept[name] = stored
    return kept


def _within(value: JSON, fields: _Fields) -> JSON:
    if isinstance(value, dict):
        return _of(value, fields)
    if isinstance(value, list):
        return [_of(item, fields) for item in value if isinstance(item, dict)]
    return None


def storable(value: JSON) -> JSON:
    """All of a value, as text can hold it; to be compared by its digest, and not to be stored."""
    if isinstance(value, dict):
        return {_fit(name): storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return _fit(value) if isinstance(value, str) else value


def _fit(text: str) -> str:
    return NO_TEXT.sub("\ufffd", text)
