"""Is this body of create-intent one that xPay would take?

Types and limits are xPay's documented ones; where a page and live shops disagree, the setting
`strict_docs` decides. Everything wrong is one InvalidValue that names the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import attrs

from xpay_flow import messages, money
from xpay_flow.errors import InvalidValue, quoted

from .config import SandboxConfig
from .net import is_local_name

PAYMENT_METHODS = (
    "CARD",
    "APPLE_PAY",
    "GOOGLE_PAY",
    "PAYPAL",
    "AMAZON_PAY",
    "CASH_APP",
    "AFTERPAY",
    "KLARNA",
    "CARD_INSTALLMENT",
)
_ADDRESS_FIELDS = ("addressLine1", "addressLine2", "city", "state", "country", "postalCode")
# Nothing that could end a Location header or an attribute of a page.
_UNSAFE_IN_URL = re.compile(r"[\x00-\x20\x7f-\x9f\\<>\"]")

_Value = TypeVar("_Value")
Fields = Mapping[str, object]


@attrs.frozen(kw_only=True)
class Order:
    """The requested order, checked. `customer` is the object `customerDetails`."""

    amount_minor: int
    currency: str
    callback_url: str = attrs.field(repr=False)
    cancel_url: str | None = attrs.field(default=None, repr=False)
    receipt_id: str | None = None
    description: str | None = None
    customer: dict[str, Any] | None = attrs.field(default=None, repr=False)
    metadata: dict[str, str] | None = None
    payment_methods: tuple[str, ...] = ("CARD",)
    phone_number_required: bool = False
    customer_id: str | None = None

    @property
    def money(self) -> money.Money:
        return money.Money(self.amount_minor, self.currency)


def read_object(body: bytes) -> dict[str, object]:
    """The JSON object in a request's body; InvalidValue for anything else."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        # A lone surrogate can be read from JSON but never be written back as UTF-8.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise InvalidValue("Failed to read request") from None
    if not isinstance(value, dict):
        raise InvalidValue("Failed to read request")
    return cast("dict[str, object]", value)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def read_order(fields: Fields, config: SandboxConfig) -> Order:
    """The order in a create-intent body; InvalidValue names the first field that is wrong."""
    return Order(
        amount_minor=_amount(fields.get("amount"), config),
        currency=_currency(fields.get("currency"), config),
        callback_url=_callback_url(fields, config),
        cancel_url=_optional(fields, "cancelUrl", lambda v: read_url(v, "cancelUrl", config)),
        receipt_id=_optional(fields, "receiptId", _text("receiptId", config.text_chars_max)),
        description=_optional(fields, "description", _text("description", config.text_chars_max)),
        customer=_customer(fields, config),
        metadata=_optional(fields, "metadata", _metadata),
        payment_methods=_optional(fields, "paymentMethods", _methods) or ("CARD",),
        phone_number_required=_optional(fields, "phoneNumberRequired", _flag) or False,
        customer_id=_customer_id(fields),
    )


def _optional(fields: Fields, name: str, read: Callable[[object], _Value]) -> _Value | None:
    value = fields.get(name)
    return None if value is None else read(value)


def _amount(value: object, config: SandboxConfig) -> int:
    # "amount: integer, lowest unit": 19.99, "1999" and true are the classic mistakes.
    if type(value) is not int:
        raise InvalidValue("amount must be an integer in the lowest unit of the currency")
    if not config.minimum_minor <= value <= money.AMOUNT_MINOR_MAX:
        raise InvalidValue(
            f"amount must be from {config.minimum_minor} to {money.AMOUNT_MINOR_MAX}"
        )
    return value


def _currency(value: object, config: SandboxConfig) -> str:
    if type(value) is not str or len(value) != 3:
        raise InvalidValue("currency must be a code of 3 letters")
    money.exponent(value)
    if config.currencies is not None and value not in config.currencies:
        raise InvalidValue(f"currency {value} is not supported")
    return value


def _callback_url(fields: Fields, config: SandboxConfig) -> str:
    if fields.get("callbackUrl") is None:
        raise InvalidValue("callbackUrl is required")
    return read_url(fields["callbackUrl"], "callbackUrl", config)


def read_url(value: object, name: str, config: SandboxConfig) -> str:
    """An http(s) URL fit for a Location header; InvalidValue otherwise."""
    if type(value) is not str or not 0 < len(value) <= config.url_chars_max:
        raise InvalidValue(f"{name} must be a URL of at most {config.url_chars_max} characters")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidValue(f"{name} is not a URL") from None
    if parts.scheme not in ("http", "https") or not host or _UNSAFE_IN_URL.search(value):
        raise InvalidValue(f"{name} must be a full http or https URL")
    plain = is_local_name(host) or _is_private(host) or not config.https_except_localhost
    if parts.scheme == "http" and not plain:
        raise InvalidValue(f"{name} must use https unless it is on localhost or a private network")
    return value


def _is_private(host: str) -> bool:
    """A phone on the desk and a container reach the shop under such a host."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal"))


def _text(name: str, chars_max: int) -> Callable[[object], str]:
    def read(value: object) -> str:
        if type(value) is not str or len(value) > chars_max:
            raise InvalidValue(f"{name} must be a string of at most {chars_max} characters")
        return value

    return read


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise InvalidValue("phoneNumberRequired must be true or false")
    return value


def _customer_id(fields: Fields) -> str | None:
    """`customerId`; the other optional fields of the pages are checked here and not kept."""
    _optional(fields, "storeFrontId", _text("storeFrontId", messages.ID_CHARS_MAX))
    _optional(fields, "customerReferenceId", _text("customerReferenceId", messages.ID_CHARS_MAX))
    if type(fields.get("tokenise", False)) not in (bool, type(None)):
        raise InvalidValue("tokenise must be true or false")
    return _optional(fields, "customerId", _text("customerId", messages.ID_CHARS_MAX))


def _metadata(value: object) -> dict[str, str]:
    """ "At most 50 pairs, key up to 40 characters, value a string up to 500 characters"."""
    if not isinstance(value, dict):
        raise InvalidValue("metadata must be an object")
    pairs = cast("dict[str, object]", value)
    if len(pairs) > messages.METADATA_PAIRS_MAX:
        raise InvalidValue(f"metadata must have at most {messages.METADATA_PAIRS_MAX} pairs")
    return {_metadata_key(key): _metadata_value(key, value) for key, value in pairs.items()}


def _metadata_key(key: str) -> str:
    if len(key) > messages.METADATA_KEY_CHARS_MAX:
        raise InvalidValue(
            f"metadata key {quoted(key)} is longer than {messages.METADATA_KEY_CHARS_MAX}"
        )
    return key


def _metadata_value(key: str, value: object) -> str:
    if type(value) is not str or len(value) > messages.METADATA_VALUE_CHARS_MAX:
        raise InvalidValue(
            f"metadata value of {quoted(key)} must be a string of at most "
            f"{messages.METADATA_VALUE_CHARS_MAX} characters"
        )
    return value


def _methods(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidValue("paymentMethods must be an array")
    methods = cast("list[object]", value)
    for method in methods:
        if method not in PAYMENT_METHODS:
            raise InvalidValue(f"paymentMethods: {quoted(method)} is not a payment method")
    # Repeats are dropped, the order is the merchant's.
    return tuple(dict.fromkeys(cast("list[str]", methods)))


def _customer(fields: Fields, config: SandboxConfig) -> dict[str, Any] | None:
    """`customerDetails`: listed as required, left out by a shop whose checkout works."""
    value = fields.get("customerDetails")
    if value is None:
        if config.strict_docs:
            raise InvalidValue("customerDetails is required")
        return None
    if not isinstance(value, dict):
        raise InvalidValue("customerDetails must be an object")
    details = cast("dict[str, object]", value)
    read: dict[str, Any] = {}
    for name in ("name", "email"):
        if (text := details.get(name)) is not None:
            read[name] = _text(f"customerDetails.{name}", config.text_chars_max)(text)
    if (phone := details.get("contactNumber")) is not None:
        read["contactNumber"] = _phone(phone, config)
    if (address := details.get("customerAddress")) is not None:
        read["customerAddress"] = _address(address, config)
    return read


def _phone(value: object, config: SandboxConfig) -> str:
    # "Number in, string out" on the oldest pages; E.164 in the newest examples.
    if type(value) is int and not config.strict_docs:
        value = str(value) if abs(value) < 10**15 else ""
    if type(value) is not str or not 0 < len(value) <= 32:
        raise InvalidValue("customerDetails.contactNumber must be a string such as +14155550100")
    if config.strict_docs and not re.fullmatch(r"\+[1-9]\d{7,14}", value):
        raise InvalidValue("customerDetails.contactNumber must be in the form +14155550100")
    return value


def _address(value: object, config: SandboxConfig) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidValue("customerDetails.customerAddress must be an object")
    address = cast("dict[str, object]", value)
    read = {
        name: _text(f"customerDetails.customerAddress.{name}", config.text_chars_max)(text)
        for name in _ADDRESS_FIELDS
        if (text := address.get(name)) is not None
    }
    # The oldest pages used the full name of the country, the newest two letters (ISO 3166-1).
    if config.strict_docs and not re.fullmatch("[A-Z]{2}", read.get("country", "")):
        raise InvalidValue("customerDetails.customerAddress.country must be two letters")
    return read
