"""Which order is xPay to collect money for?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from . import messages as m
from .errors import InvalidValue, quoted
from .money import Money

# "contactNumber: E.164 string", newest copy of the create-intent page.
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# No limit is documented for free text; this one keeps a row a row.
TEXT_CHARS_MAX = 1000


@attrs.frozen(kw_only=True)
class Customer:
    """Who pays, as xPay's `customerDetails`.

    Args:
        contact_number: E.164, such as `+14155550100`.
        country: two letters of ISO 3166-1.

    Raises:
        InvalidValue: a field has not the form that xPay documents.
    """

    name: str
    email: str
    contact_number: str | None = None
    country: str | None = None
    postal_code: str | None = None
    address_line_1: str | None = None
    address_line_2: str | None = None
    city: str | None = None
    state: str | None = None

    def __attrs_post_init__(self) -> None:
        if "@" not in self.email:
            raise InvalidValue(f"customer.email has no @: {quoted(self.email)}")
        if self.contact_number is not None and not _E164.fullmatch(self.contact_number):
            raise InvalidValue(
                "customer.contact_number must be E.164, such as +14155550100, "
                f"not {quoted(self.contact_number)}"
            )
        if self.country is not None and not re.fullmatch("[A-Z]{2}", self.country):
            raise InvalidValue(
                f"customer.country must be two capital letters, such as US: {quoted(self.country)}"
            )

    def to_wire(self) -> dict[str, Any]:
        """The object in xPay's words, without unknown fields."""
        address = {
            "country": self.country,
            "postalCode": self.postal_code,
            "addressLine1": self.address_line_1,
            "addressLine2": self.address_line_2,
            "city": self.city,
            "state": self.state,
        }
        details = {
            "name": self.name,
            "email": self.email,
            "contactNumber": self.contact_number,
            "customerAddress": _known(address) or None,
        }
        return _known(details)


def _customer(given: Customer | Mapping[str, str] | None) -> Customer | None:
    if not isinstance(given, Mapping):
        return given
    unknown = set(given) - {field.name for field in attrs.fields(Customer)}
    if unknown:
        raise InvalidValue(f"customer has no field {sorted(unknown)[0]!a}; see Customer")
    return Customer(**given)


def _metadata(given: Mapping[str, str] | None) -> Mapping[str, str]:
    return given or {}


@attrs.frozen(kw_only=True)
class CheckoutRequest:
    """One order to collect money for.

    Args:
        receipt_id: the shop's order id; 1 to 255 characters. One order is paid once.
        money: more than zero.
        callback_url: where the browser comes back to. https, except on this machine.
        cancel_url: where it comes back to when the customer cancels; else `callback_url`.
        customer: the customer, as far as you know them, or a mapping of `Customer`'s fields. xPay
            lists it as required.
        description: shown to the customer.
        metadata: your own strings; xPay returns them in every event. At most 49 pairs, since one
            carries our intent id; keys up to 40 characters, values up to 500.
        payment_methods: such as `("CARD", "APPLE_PAY")`; xPay's default is cards.
        customer_id: xPay's `cus_…`, to offer and keep that customer's cards.

    Raises:
        InvalidValue: names the field and what it should be.
    """

    receipt_id: str
    money: Money
    callback_url: str
    cancel_url: str | None = None
    customer: Customer | None = attrs.field(default=None, converter=_customer)
    description: str | None = None
    metadata: Mapping[str, str] = attrs.field(default=None, converter=_metadata, hash=False)
    payment_methods: tuple[str, ...] = ()
    phone_number_required: bool = False
    customer_id: str | None = None

    def __attrs_post_init__(self) -> None:
        if not 0 < len(self.receipt_id) <= m.ID_CHARS_MAX or not self.receipt_id.isprintable():
            raise InvalidValue("receipt_id must be 1 to 255 printable characters")
        if not self.money.amount_minor:
            raise InvalidValue("money must be more than zero to be collected")
        if self.description is not None and len(self.description) > TEXT_CHARS_MAX:
            raise InvalidValue(f"description must have at most {TEXT_CHARS_MAX} characters")
        _check_url("callback_url", self.callback_url)
        if self.cancel_url is not None:
            _check_url("cancel_url", self.cancel_url)
        _check_metadata(self.metadata)
        try:
            self.to_request("", "").encode()
        except UnicodeEncodeError:
            raise InvalidValue("a text holds half a surrogate pair, which UTF-8 has not") from None

    def to_request(self, intent_id: str, metadata_key: str) -> str:
        """The body of create-intent, as text: a repeat must send identical bytes."""
        body = {
            "amount": self.money.amount_minor,
            "currency": self.money.currency,
            "receiptId": self.receipt_id,
            "description": self.description,
            "callbackUrl": self.callback_url,
            "cancelUrl": self.cancel_url,
            "customerDetails": self.customer.to_wire() if self.customer else None,
            "customerId": self.customer_id,
            "paymentMethods": list(self.payment_methods) or None,
            "phoneNumberRequired": self.phone_number_required or None,
            "metadata": {**self.metadata, metadata_key: intent_id},
        }
        return json.dumps(_known(body), ensure_ascii=False, separators=(",", ":"))


def _known(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _check_url(field: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise InvalidValue(f"{field} is not a URL: {quoted(url)}") from None
    if not host or not url.isprintable() or " " in url:
        raise InvalidValue(f"{field} must be an absolute URL, not {quoted(url)}")
    # Merchants register http://localhost while developing, and xPay takes it.
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise InvalidValue(f"{field} must be https (http only on localhost): {quoted(url)}")


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) >= m.METADATA_PAIRS_MAX:
        raise InvalidValue(f"metadata must have fewer than {m.METADATA_PAIRS_MAX} pairs")
    for key, value in metadata.items():
        if type(key) is not str or not 0 < len(key) <= m.METADATA_KEY_CHARS_MAX:
            raise InvalidValue(f"metadata key must be 1 to 40 characters: {quoted(key)}")
        if type(value) is not str or len(value) > m.METADATA_VALUE_CHARS_MAX:
            raise InvalidValue(f"metadata[{quoted(key)}] must be a string of up to 500 characters")
