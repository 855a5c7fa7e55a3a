"""What do these bytes say? Strict JSON, and xPay's webhooks, answers and addresses read out of it.

Whatever the bytes are, only `UntrustedMessage` is raised. Fields that carry money, identity or
state are read strictly; fields that merely inform are None when they make no sense, since an odd
label must not cost us the news. Nothing is dropped: the whole object stays in `raw`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Final, Literal, NoReturn, TypeAlias, get_args
from urllib.parse import SplitResult, urlsplit

import attrs

from . import messages
from .errors import UntrustedMessage
from .money import AMOUNT_MINOR_MAX

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Members: TypeAlias = Mapping[str, JSON]

Reason = Literal[
    "empty",
    "too-large",
    "too-deep",
    "too-many-values",
    "not-utf8",
    "not-json",
    "not-an-object",
    "duplicate-key",
    "bad-number",
    "bad-text",
    "bad-field",
    "bad-checkout-url",
]
REASONS: Final = frozenset[str](get_args(Reason))


def _refuse(reason: Reason, detail: str = "") -> NoReturn:
    # The cause is cut off: a decoding error carries the whole foreign text with it.
    raise UntrustedMessage(reason, detail) from None


@attrs.frozen(kw_only=True)
class Limits:
    """How much is read at all. Strings are bounded by the body alone."""

    # An event is about 500 bytes and a full page of the list about 100 kB.
    body_bytes_max: int = 1024 * 1024
    # The deepest documented object, a charge's card, is at five; the page adds two.
    depth_max: int = 16
    # Metadata, the widest object, has at most 50 pairs.
    members_max: int = 256
    # A full page of 100 intents, each with a dozen charge attempts, stays below.
    values_max: int = 32_768


LIMITS: Final = Limits()

# --- webhooks ------------------------------------------------------------------------------------

# Documented types always carry `eventTime`; of types we do not know we demand less.
_KNOWN_EVENT_TYPES: Final = frozenset(
    {
        messages.INTENT_CREATED,
        messages.INTENT_CHECKOUT_OPENED,
        messages.INTENT_INCOMPLETE,
        messages.INTENT_FAILED,
        messages.INTENT_SUCCESS,
        messages.INTENT_REFUNDED,
        messages.INTENT_DISPUTED,
        messages.INTENT_DISPUTE_UNDER_REVIEW,
        messages.INTENT_DISPUTE_WON,
        messages.INTENT_DISPUTE_LOST,
    }
)


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
    event_type = _required(_plain(members, "eventType"), "eventType")
    return WebhookMessage(
        event_id=_required(_id(members, "eventId"), "eventId"),
        event_type=event_type,
        event_time_ms=_event_time(members, required=event_type in _KNOWN_EVENT_TYPES),
        # "Webhooks carry xIntentId" says the integration page; every event page says `intentId`.
        x_intent_id=_id(members, "intentId", "xIntentId"),
        receipt_id=_receipt_id(members),
        status=_plain(members, "status"),
        amount_minor=_amount(members),
        currency=_currency(members),
        error_code=_label(members, "errorCode"),
        payment_method=_label(members, "paymentMethod"),
        refund_id=_id(members, "refundId"),
        dispute_id=_id(members, "disputeId"),
        metadata=_metadata(members),
        raw=members,
    )


def canonical_json(value: JSON) -> str:
    """One text per value, whatever the white space and the order of keys it arrived with."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: JSON) -> str:
    """32 hex digits that tell "the same event again" from "the same event id, other content"."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


# --- xPay's answers ------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class IntentAnswer:
    """An intent as create-intent, get-intent or the list shows it.

    `status` is kept as written, known or not. `error_code` is that of the last failed charge,
    `payment_method` that of the charge that succeeded; both are None unless xPay was asked for
    charges. `fwd_url` opens the checkout for whoever holds it, and has not been checked here: see
    `checkout_url`.
    """

    x_intent_id: str
    status: str
    amount_minor: int | None
    currency: str | None
    receipt_id: str | None
    fwd_url: str | None = attrs.field(repr=False)
    metadata: Mapping[str, str]
    error_code: str | None
    payment_method: str | None
    presentment_currency: str | None
    created_at_ms: int | None
    succeeded_at_ms: int | None
    raw: dict[str, JSON] = attrs.field(repr=False)


def read_intent(body: bytes) -> IntentAnswer:
    """The intent in an answer of xPay's API. Raises UntrustedMessage."""
    members = parse_object(body)
    wrapped = members.get("data")
    # No page of xPay shows a wrapper, but merchants' code expects to meet one.
    if isinstance(wrapped, dict) and not members.keys() & {"xIntentId", "intentId"}:
        return _intent(wrapped)
    return _intent(members)


def read_intent_page(body: bytes) -> tuple[tuple[IntentAnswer, ...], str | None]:
    """The intents of one page of the list, and the cursor of the next page or None.

    "Stop when `metadata.offset` is absent or null"; an empty cursor ends the list, too.
    Raises UntrustedMessage.
    """
    members = parse_object(body)
    items = members.get("data")
    if not isinstance(items, list):
        _refuse("bad-field", "data is not a list")
    intents = tuple(_intent(item) for item in items if isinstance(item, dict))
    if len(intents) != len(items):
        _refuse("bad-field", "data holds something else than intents")
    paging = _object(members, "metadata")
    offset = paging.get("offset")
    if not isinstance(offset, str | None):
        _refuse("bad-field", "metadata.offset is not a string")
    return intents, offset or None


# Enough for a person to understand, too little to fill a log.
_ERROR_CHARS_MAX: Final = 200


def read_error(status: int, body: bytes) -> tuple[str, str]:
    """xPay's code and words for an error, each one line of at most 200 characters. Never raises.

    Where the body names no code, it is `http_` and the status.
    """
    try:
        members = parse_object(body)
    except UntrustedMessage:
        members = {}
    nested = members.get("error")
    # The server-to-server API nests: {"error": {"code": …, "message": …}}.
    inner = nested if isinstance(nested, dict) else {}
    start = body[: 4 * _ERROR_CHARS_MAX].decode("utf-8", "replace")
    code = _first_line(members.get("errorCode"), inner.get("code"))
    words = _first_line(members.get("errorDescription"), inner.get("message"), start)
    return code or f"http_{status}", words or "no description"


# The page's address and `secret` open the checkout; the rest is personal data we have no use for.
_SECRET_NAMES: Final = frozenset(
    {"fwdUrl", "secret", "customerDetails", "expiryMonth", "expiryYear"}
)


def without_secrets(raw: Members) -> dict[str, JSON]:
    """A copy fit for storing: at any depth, no checkout address, personal data or card expiry.

    Brand and last four digits of a card stay: they are what a customer asks about.
    """
    return {name: _stripped(value) for name, value in raw.items() if name not in _SECRET_NAMES}


def _stripped(value: JSON) -> JSON:
    if isinstance(value, dict):
        return without_secrets(value)
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return value


def _intent(members: dict[str, JSON]) -> IntentAnswer:
    return IntentAnswer(
        x_intent_id=_required(_id(members, "xIntentId", "intentId"), "xIntentId"),
        status=_required(_plain(members, "status"), "status"),
        amount_minor=_amount(members),
        currency=_currency(members),
        receipt_id=_receipt_id(members),
        fwd_url=_address(members),
        metadata=_metadata(members),
        error_code=_last_error_code(members),
        payment_method=_method_of_success(members),
        presentment_currency=_label(members, "presentmentCurrency"),
        created_at_ms=_moment(members.get("createdAt")),
        succeeded_at_ms=_moment(members.get("succeededAt")),
        raw=members,
    )


# --- the checkout's address ----------------------------------------------------------------------

_URL_CHARS_MAX: Final = 2048
# Printable ASCII without the space and without what browsers repair instead of refusing. Other
# alphabets are out: a host that looks like xPay's is not xPay's.
_URL: Final = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII)


def checkout_url(fwd_url: str, allowed_hosts: Collection[str], *, allow_loopback: bool) -> str:
    """`fwd_url`, unchanged, if a customer may be sent there.

    Args:
        fwd_url: the address that xPay handed out; a secret, so no error quotes it.
        allowed_hosts: exact names, or suffixes with a leading dot such as ".xpaycheckout.com".
        allow_loopback: also accept http and https on this machine, as the sandbox uses.

    Raises:
        UntrustedMessage: anything else.
    """
    parts, port = _split_url(fwd_url)
    host = parts.hostname or ""
    if allow_loopback and parts.scheme in ("http", "https") and _is_loopback(host):
        return fwd_url
    if parts.scheme != "https":
        _refuse("bad-checkout-url", "it is not https")
    if not _HOST.fullmatch(host) or not _is_allowed(host, allowed_hosts):
        _refuse("bad-checkout-url", "its host is not one of checkout_hosts")
    if port not in (None, 443):
        _refuse("bad-checkout-url", "it names a port")
    return fwd_url


def _split_url(url: str) -> tuple[SplitResult, int | None]:
    # Looked at before it is split: the splitter silently removes tabs and line ends.
    if len(url) > _URL_CHARS_MAX or not _URL.fullmatch(url):
        _refuse("bad-checkout-url", "it is too long, or holds characters that no address has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        _refuse("bad-checkout-url", "it cannot be read")
    if not parts.hostname or "@" in parts.netloc or parts.netloc.endswith(":"):
        _refuse("bad-checkout-url", "its host is missing or disguised")
    return parts, port


def _is_allowed(host: str, allowed_hosts: Collection[str]) -> bool:
    # `host` begins with no dot, so it is longer than a suffix that it ends with.
    return any(
        host.endswith(allowed) if allowed.startswith(".") else host == allowed
        for allowed in map(str.lower, allowed_hosts)
    )


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "::1"):
        return True
    try:
        # Only the plain dotted form is read: "127.1" and "0177.0.0.1" are refused.
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


# --- one field -----------------------------------------------------------------------------------

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
# Refund amounts are strings in requests and integers in answers, so either may come back.
_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _required(value: str | None, name: str) -> str:
    return value if value is not None else _refuse("bad-field", f"{name} is missing")


def _plain(members: Members, name: str) -> str | None:
    """A string of 1 to 255 characters, none of them a control character."""
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= messages.ID_CHARS_MAX:
        _refuse("bad-field", f"{name} is not a string of 1 to {messages.ID_CHARS_MAX} characters")
    if _CONTROL.search(value):
        _refuse("bad-field", f"{name} holds a control character")
    return value


def _id(members: Members, *names: str) -> str | None:
    """An id of xPay's, which may be written under several names but has one value."""
    found = {value for name in names if (value := _plain(members, name)) is not None}
    if len(found) > 1:
        _refuse("bad-field", f"{' and '.join(names)} differ")
    value = next(iter(found), None)
    # It becomes a part of a path when we ask for it.
    if value is not None and "/" in value:
        _refuse("bad-field", f"{names[0]} holds a slash")
    return value


def _receipt_id(members: Members) -> str | None:
    # The shop's own word: a slash is fine ("INV/2026/7"), and an empty one says nothing.
    return None if members.get("receiptId") == "" else _plain(members, "receiptId")


def _label(members: Members, name: str) -> str | None:
    """A word for people to read; one that makes no sense is None."""
    value = members.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= messages.ID_CHARS_MAX:
        return None
    return None if _CONTROL.search(value) else value


def _amount(members: Members) -> int | None:
    value = members.get("amount")
    if value is None:
        return None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    # By exact type: true and 2500.0 equal integers, but whoever writes them does not mean cents.
    if type(value) is not int or not 0 <= value <= AMOUNT_MINOR_MAX:
        _refuse("bad-field", f"amount is not an integer from 0 to {AMOUNT_MINOR_MAX}")
    return value


def _currency(members: Members) -> str | None:
    value = members.get("currency")
    if value is None:
        return None
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        _refuse("bad-field", "currency is not three upper-case letters")
    return value


def _event_time(members: Members, *, required: bool) -> int:
    value = members.get("eventTime")
    if value is None and not required:
        return 0
    if type(value) is not int or value < 0:
        _refuse("bad-field", "eventTime is not a number of milliseconds")
    return value


def _metadata(members: Members) -> dict[str, str]:
    pairs = _object(members, "metadata")
    return {name: value for name, value in pairs.items() if isinstance(value, str)}


def _object(members: Members, name: str) -> dict[str, JSON]:
    value = members.get(name)
    if value is None:
        return {}
    return value if isinstance(value, dict) else _refuse("bad-field", f"{name} is not an object")


def _address(members: Members) -> str | None:
    value = members.get("fwdUrl")
    return value if isinstance(value, str | None) else _refuse("bad-field", "fwdUrl is not text")


def _moment(value: JSON) -> int | None:
    """Milliseconds since 1970: `createdAt` is ISO 8601 in create and get, a number in the list."""
    if type(value) is int:
        return value if value >= 0 else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    # All documented examples end in +00:00, so a moment without an offset is UTC.
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return _moment((aware - _EPOCH) // timedelta(milliseconds=1))


def _last_error_code(members: Members) -> str | None:
    attempts = members.get("chargeAttempts")
    if not isinstance(attempts, list):
        return None
    failed = (a for a in reversed(attempts) if isinstance(a, dict) and a.get("status") == "FAILED")
    return next((code for a in failed if (code := _label(a, "errorCode"))), None)


def _method_of_success(members: Members) -> str | None:
    charge = members.get("succeededCharge")
    used = charge.get("paymentMetadata") if isinstance(charge, dict) else None
    return _label(used, "paymentMethod") if isinstance(used, dict) else None


def _first_line(*candidates: JSON) -> str:
    text = next((c for c in candidates if isinstance(c, str) and c.strip()), "")
    line = "".join(c if c.isprintable() else " " for c in text[:_ERROR_CHARS_MAX])
    return line.strip()


# --- strict JSON ---------------------------------------------------------------------------------


_INT_MAX: Final = 2**63 - 1
_INT_CHARS_MAX: Final = len(str(-_INT_MAX))
# A double holds seventeen digits; other languages print decimals with a few dozen.
_FLOAT_CHARS_MAX: Final = 64

# A string literal. Every quantifier is possessive and an unclosed literal runs to the end, so that
# the scan is linear whatever the text.
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")
# What no UTF-8 and what no column of PostgreSQL can hold.
_NO_TEXT: Final = re.compile("[\ud800-\udfff\x00]")


def parse_object(body: bytes, *, limits: Limits = LIMITS) -> dict[str, JSON]:
    """The JSON object that is the whole of `body`, in UTF-8 without a byte order mark.

    Stricter than the standard in what could be read in two ways or hurts later: no key twice, no
    NaN or Infinity, no integer beyond 64 bits, no lone surrogate, no NUL. Floats stay floats, and
    the readers of amounts refuse them.

    Raises:
        UntrustedMessage: anything else, with a reason out of `REASONS`.
    """
    text = _decoded(body, limits)
    _check_shape(text, limits)
    try:
        value: JSON = _decoder(limits.members_max).decode(text)
    except json.JSONDecodeError as error:
        _refuse("not-json", f"at character {error.pos}")
    if not isinstance(value, dict):
        _refuse("not-an-object")
    # Without an escape, a string holds what UTF-8 let through; most bodies have none.
    if "\\u" in text and any(_NO_TEXT.search(string) for string in _strings(value)):
        _refuse("bad-text", "a lone surrogate or NUL")
    return value


def _decoded(body: bytes, limits: Limits) -> str:
    if not body:
        _refuse("empty")
    if len(body) > limits.body_bytes_max:
        _refuse("too-large", f"{len(body)} bytes")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse("not-utf8", f"at byte {error.start}")
    if text.startswith("\ufeff"):
        _refuse("bad-text", "a byte order mark")
    if "\x00" in text:
        _refuse("bad-text", "NUL")
    return text


def _check_shape(text: str, limits: Limits) -> None:
    """Bounds nesting and number of values before the parser, which recurses, sees the text."""
    if _openings(text) <= limits.depth_max and _values(text) <= limits.values_max:
        return  # even if brackets inside strings are counted, as for every usual webhook
    skeleton = _STRING.sub("", text)
    if _values(skeleton) > limits.values_max:
        _refuse("too-many-values")
    depth = 0
    for bracket in _BRACKET.findall(skeleton):
        depth += 1 if bracket in "[{" else -1
        if depth > limits.depth_max:
            _refuse("too-deep")


def _openings(text: str) -> int:
    return text.count("{") + text.count("[")


def _values(text: str) -> int:
    # Each value stands first in the text or follows a comma or an opening bracket.
    return text.count(",") + _openings(text) + 1


# A program uses one or two sets of limits.
@lru_cache(maxsize=8)
def _decoder(members_max: int) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=partial(_members, members_max=members_max),
        parse_int=_int,
        parse_float=_float,
        parse_constant=_constant,
    )


def _members(pairs: list[tuple[str, JSON]], *, members_max: int) -> dict[str, JSON]:
    if len(pairs) > members_max:
        _refuse("too-many-values", "in one object")
    members = dict(pairs)
    if len(members) != len(pairs):
        _refuse("duplicate-key")
    return members


def _int(digits: str) -> int:
    # The length first: Python itself refuses, with another error, to convert very long ones.
    if len(digits) > _INT_CHARS_MAX or abs(value := int(digits)) > _INT_MAX:
        _refuse("bad-number", "an integer beyond 2**63 - 1")
    return value


def _float(digits: str) -> float:
    if len(digits) > _FLOAT_CHARS_MAX or not math.isfinite(value := float(digits)):
        _refuse("bad-number", "a float that no double holds")
    return value


def _constant(name: str) -> NoReturn:
    _refuse("bad-number", name)


def _strings(value: JSON) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for member in value.values():
            yield from _strings(member)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
