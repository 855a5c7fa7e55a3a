"""Which order is xPay to collect money for?

What a shop passes in is taken or refused here, before anything is stored: our own reader must be
able to read every text of ours again, and what a customer typed must not cost the payment.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias, cast
from urllib.parse import urlsplit
from uuid import UUID

import attrs

from . import messages as m
from .errors import InvalidValue, UntrustedMessage, quoted
from .intent import Intent
from .masking import masked
from .money import Money
from .settings import Settings
from .settings.live import is_near
from .wire import parse_object
from .wire.fields import CONTROL
from .wire.strict_json import NO_TEXT

# "contactNumber: E.164 string", newest copy of the create-intent page.
_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
# How people write between the digits of a phone number.
_PHONE_MARKS: Final = re.compile(r"[ ().\-/\u00a0]")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# No limit is documented for free text; this one keeps a row a row.
TEXT_CHARS_MAX = 1000
# No limit is documented for a name or an address line; longer ones are no names.
LINE_CHARS_MAX: Final = 255
# Enough to see a change, too little to tell for sure whose e-mail address it is.
DIGEST_CHARS: Final = 8
# What browsers and proxies carry everywhere.
URL_CHARS_MAX: Final = 2048
# ISO 3166-1 alpha-2; xPay refuses a creation with another code.
_COUNTRIES: Final = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR "
    "BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ "
    "EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW "
    "GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY "
    "KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV "
    "MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY "
    "QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG "
    "TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM "
    "ZW"
)
COUNTRIES: Final = frozenset(_COUNTRIES.split())


class UrlObject(Protocol):
    """An address of a framework's own type, such as Starlette's `URL`; its text is used."""

    @property
    def scheme(self) -> str: ...


# What names an order or a page, as shops keep them.
Name: TypeAlias = str | int | UUID
Address: TypeAlias = str | UrlObject


def _name(given: object) -> Any:
    """An order's number or UUID as text; anything else is left to the checks."""
    is_number = isinstance(given, int) and not isinstance(given, bool)
    return str(given) if is_number or isinstance(given, UUID) else given


def _address(given: object) -> Any:
    return str(given) if not isinstance(given, str) and hasattr(given, "scheme") else given


def _check_text(
    field: str, text: object, *, chars_max: int, chars_min: int = 0, one_line: bool = True
) -> None:
    """Refuse a text that our own reader would refuse; no error quotes a customer's."""
    if not isinstance(text, str):
        raise InvalidValue(f"{field} must be text, not {type(text).__name__}")
    if not chars_min <= len(text) <= chars_max:
        raise InvalidValue(f"{field} must have {chars_min} to {chars_max} characters")
    if NO_TEXT.search(text):
        raise InvalidValue(f"{field} holds NUL or half a surrogate pair, which no answer may hold")
    if one_line and CONTROL.search(text):
        raise InvalidValue(f"{field} holds a line end or another control character")


def _line(given: object) -> Any:
    """A field that was left empty in a form is a field that is not known."""
    return None if isinstance(given, str) and not given.strip() else given


def _phone(given: object) -> Any:
    """The number as E.164; None where it cannot be read as one.

    It only helps the customer to fill a form at xPay, and must not cost the payment.
    """
    number = _PHONE_MARKS.sub("", given) if isinstance(given, str) else ""
    number = "+" + number[2:] if number.startswith("00") else number
    return number if _E164.fullmatch(number) else None


def _country(given: object) -> Any:
    return _line(given.upper() if isinstance(given, str) else given)


@attrs.frozen(kw_only=True)
class Customer:
    """Who pays, as xPay's `customerDetails`.

    A field that is empty or white space counts as not given. No field is shown by `repr`.

    Args:
        name, email: as far as you know them; a guest may have neither.
        contact_number: E.164, such as `+14155550100`. A number that cannot be read as one is
            dropped: it is no reason to refuse a payment.
        country: two letters of ISO 3166-1, in any case.

    Raises:
        InvalidValue: a field has not the form that xPay documents. Customers' texts are not quoted.
    """

    name: str | None = attrs.field(default=None, converter=_line, repr=False)
    email: str | None = attrs.field(default=None, converter=_line, repr=False)
    contact_number: str | None = attrs.field(default=None, converter=_phone, repr=False)
    country: str | None = attrs.field(default=None, converter=_country, repr=False)
    postal_code: str | None = attrs.field(default=None, converter=_line, repr=False)
    address_line_1: str | None = attrs.field(default=None, converter=_line, repr=False)
    address_line_2: str | None = attrs.field(default=None, converter=_line, repr=False)
    city: str | None = attrs.field(default=None, converter=_line, repr=False)
    state: str | None = attrs.field(default=None, converter=_line, repr=False)

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(Customer):
            value = getattr(self, field.name)
            if value is not None:
                _check_text(f"customer.{field.name}", value, chars_max=LINE_CHARS_MAX)
        if self.email is not None and "@" not in self.email:
            raise InvalidValue("customer.email has no @")
        if self.country is not None and self.country not in COUNTRIES:
            hint = "; the United Kingdom is GB" if self.country == "UK" else ""
            raise InvalidValue(
                f"customer.country must be two letters of ISO 3166-1, such as US{hint}"
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


def _customer(given: Customer | Mapping[str, str | None] | None) -> Customer | None:
    if not isinstance(given, Mapping):
        return given
    unknown = set(given) - {field.name for field in attrs.fields(Customer)}
    if unknown:
        raise InvalidValue(f"customer has no field {sorted(unknown)[0]!a}; see Customer")
    return Customer(**given)


def _metadata(given: Mapping[str, Name] | None) -> Mapping[str, str]:
    return {key: _name(value) for key, value in (given or {}).items()}


def _methods(given: object) -> Any:
    """A list is as good as a tuple; one string would be a tuple of letters, and is refused."""
    if not isinstance(given, list | tuple):
        raise InvalidValue("payment_methods must be a tuple, such as ('CARD',)")
    return tuple(cast("list[object] | tuple[object, ...]", given))


@attrs.frozen(kw_only=True)
class CheckoutRequest:
    """One order to collect money for.

    Args:
        receipt_id: the shop's order id, as text, number or UUID; 1 to 255 characters. One order
            is paid once.
        money: more than zero.
        callback_url: where the browser comes back to. https, except on this machine, and in
            sandbox mode in a private network. A URL object counts as its text.
        cancel_url: where it comes back to when the customer cancels; else `callback_url`.
        customer: the customer, as far as you know them, or a mapping of `Customer`'s fields. xPay
            lists it as required.
        description: shown to the customer.
        metadata: your own texts, numbers and UUIDs; xPay returns them in every event. At most 49
            pairs, since one carries our intent id; keys up to 40 characters, values up to 500.
        payment_methods: such as `("CARD", "APPLE_PAY")`; xPay's default is cards.
        customer_id: xPay's `cus_…`, to offer and keep that customer's cards.

    Raises:
        InvalidValue: names the field and what it should be.
    """

    receipt_id: str = attrs.field(converter=_name)
    money: Money
    callback_url: str = attrs.field(converter=_address, repr=False)
    cancel_url: str | None = attrs.field(default=None, converter=_address, repr=False)
    customer: Customer | None = attrs.field(default=None, converter=_customer, repr=False)
    description: str | None = attrs.field(default=None, repr=False)
    metadata: Mapping[str, str] = attrs.field(
        default=None, converter=_metadata, hash=False, repr=False
    )
    payment_methods: tuple[str, ...] = attrs.field(default=(), converter=_methods)
    phone_number_required: bool = False
    customer_id: str | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        _check_text("receipt_id", self.receipt_id, chars_min=1, chars_max=m.ID_CHARS_MAX)
        if not self.money.amount_minor:
            raise InvalidValue("money must be more than zero to be collected")
        if self.description is not None:
            _check_text("description", self.description, chars_max=TEXT_CHARS_MAX, one_line=False)
        _check_url("callback_url", self.callback_url)
        if self.cancel_url is not None:
            _check_url("cancel_url", self.cancel_url)
        _check_metadata(self.metadata)
        for method in self.payment_methods:
            _check_text("payment_methods", method, chars_min=1, chars_max=LINE_CHARS_MAX)
        if self.customer_id is not None:
            _check_text("customer_id", self.customer_id, chars_min=1, chars_max=m.ID_CHARS_MAX)
        try:
            # The last word has the reader of xPay's answers, in which all of this comes back.
            parse_object(self.to_request("", "").encode())
        except (UnicodeEncodeError, UntrustedMessage) as error:
            raise InvalidValue(f"xPay's answer could not be read: {error}") from None

    def check_for(self, settings: Settings) -> None:
        """Refuse what these settings do not allow.

        Raises:
            InvalidValue: an address is http in live mode, or metadata use our own key.
        """
        for field, url in (("callback_url", self.callback_url), ("cancel_url", self.cancel_url)):
            if url and settings.mode == "live" and _is_http_elsewhere(url):
                raise InvalidValue(f"{field} must be https in live mode: {quoted(masked(url))}")
        if settings.metadata_key in self.metadata:
            raise InvalidValue(
                f"metadata[{settings.metadata_key!a}] is where our intent id travels: use another "
                "key, or set XPAY_METADATA_KEY"
            )

    def terms(self) -> tuple[tuple[str, str], ...]:
        """A digest of each field that a second request for this receipt may change, by name.

        Short, and of this receipt only, so that people in different orders are not linked by it.
        """
        customer = self.customer or Customer()
        fields: dict[str, object] = {
            "callback_url": self.callback_url,
            "cancel_url": self.cancel_url,
            "customer.email": customer.email,
            "customer": attrs.astuple(attrs.evolve(customer, email=None)),
            "customer_id": self.customer_id,
            "description": self.description,
            "metadata": sorted(self.metadata.items()),
            "payment_methods": self.payment_methods,
            "phone_number_required": self.phone_number_required,
        }
        return tuple((name, term_digest(self.receipt_id, value)) for name, value in fields.items())

    def differences(self, intent: Intent) -> tuple[str, ...]:
        """The fields in which this request is not the one that `intent` was made for."""
        mine = dict(self.terms())
        changed = (name for name, digest in intent.terms if mine.get(name) != digest)
        return (*(("money",) if intent.money != self.money else ()), *changed)

    def to_request(self, intent_id: str, metadata_key: str) -> str:
        """The body of create-intent, as text: a repeat must send identical bytes."""
        body = {
            "amount": self.money.amount_minor,
            "currency": self.money.currency,
            "receiptId": self.receipt_id,
            "description": self.description,
            "callbackUrl": self.callback_url,
            "cancelUrl": self.cancel_url,
            "customerDetails": (self.customer.to_wire() or None) if self.customer else None,
            "customerId": self.customer_id,
            "paymentMethods": list(self.payment_methods) or None,
            "phoneNumberRequired": self.phone_number_required or None,
            "metadata": {**self.metadata, metadata_key: intent_id},
        }
        return json.dumps(_known(body), ensure_ascii=False, separators=(",", ":"))


def term_digest(receipt_id: str, value: object) -> str:
    """What is kept of a field of a request, to see whether another one has the same there."""
    text = json.dumps(value)
    return hmac.digest(receipt_id.encode(), text.encode(), "sha256").hex()[:DIGEST_CHARS]


def _known(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _check_url(field: str, url: object) -> None:
    _check_text(field, url, chars_min=1, chars_max=URL_CHARS_MAX)
    assert isinstance(url, str)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidValue(f"{field} is not a URL: {quoted(masked(url))}") from None
    if not host or not url.isprintable() or " " in url:
        raise InvalidValue(f"{field} must be an absolute URL, not {quoted(masked(url))}")
    # Merchants register http://localhost while developing, and xPay takes it.
    if parts.scheme != "https" and not (parts.scheme == "http" and is_near(host)):
        raise InvalidValue(
            f"{field} must be https (http only on this machine, and in sandbox mode in a private "
            f"network): {quoted(masked(url))}"
        )


def _is_http_elsewhere(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) >= m.METADATA_PAIRS_MAX:
        raise InvalidValue(f"metadata must have fewer than {m.METADATA_PAIRS_MAX} pairs")
    for key, value in metadata.items():
        _check_text("a key of metadata", key, chars_min=1, chars_max=m.METADATA_KEY_CHARS_MAX)
        field = f"metadata[{quoted(key)}]"
        _check_text(field, value, chars_max=m.METADATA_VALUE_CHARS_MAX, one_line=False)
