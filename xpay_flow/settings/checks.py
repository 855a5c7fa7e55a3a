"""Can this one value be meant?

Each check returns what is wrong and what to do, as the end of a sentence, or None. Since a key may
stand in the wrong place, no sentence quotes the value.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Final, TypeAlias, cast
from urllib.parse import urlsplit

from .. import messages
from ..errors import ConfigurationError, InvalidValue
from ..money import DECIMALS_MAX, exponent
from ..realm import ACCOUNT_CHARS_MAX
from ..signing import SignaturePolicy

Check: TypeAlias = Callable[[object], "str | None"]

_KEY_CHARS_MIN: Final = 8
# What documentation and forms are pre-filled with. A guessed key can forge a payment.
_WELL_KNOWN_KEYS: Final = frozenset(
    {
        "changeme",
        "change-me",
        "change_me",
        "default",
        "example",
        "password",
        "placeholder",
        "private_key",
        "public_key",
        "secret",
        "signing_key",
        "signing-key",
        "test",
        "test_key",
        "test_private_key",
        "test_public_key",
        "test_secret",
        "test_signing_key",
        "webhook_secret",
        "whsec_test",
        "your_private_key",
        "your_public_key",
        "your_signing_key",
    }
)


def key(value: object) -> str | None:
    """For API keys and signing keys: not empty, not torn by copying, not guessable."""
    if not isinstance(value, str):
        return "must be a string"
    if not value.strip():
        return "is empty: copy it from xPay's dashboard"
    if not value.isascii():
        return "holds a character that is not ASCII, which may only look like one: copy it again"
    if not value.isprintable() or re.search(r"\s", value):
        return "holds white space or a control character: copy it again, without line ends"
    if value.lower() in _WELL_KNOWN_KEYS:
        return "is a placeholder that is easy to guess: use the one from xPay's dashboard"
    if len(value) < _KEY_CHARS_MIN or len(set(value)) < _KEY_CHARS_MIN // 2:
        return f"is too short or too uniform: a key has at least {_KEY_CHARS_MIN} mixed characters"
    return None


def public_key(value: object) -> str | None:
    """For the API key that HTTP Basic authentication ends at the first colon."""
    if isinstance(value, str) and ":" in value:
        return "holds a colon: give the public key alone, the private one separately"
    return key(value)


_ACCOUNT: Final = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{ACCOUNT_CHARS_MAX - 1}}}"


def optional_account(value: object) -> str | None:
    """For the name of an account, which may be left out."""
    if isinstance(value, str) and re.fullmatch(rf"({_ACCOUNT})?", value, re.ASCII):
        return None
    return f"must be 1 to {ACCOUNT_CHARS_MAX} letters, digits, '.', '_' or '-'"


def earlier_account(value: object) -> str | None:
    """For an earlier name or an earlier public key; what a key may be, a name may be, too."""
    if isinstance(value, str) and value and optional_account(value) is None:
        return None
    return public_key(value)


def other_account(value: object) -> str | None:
    """For the account of another process, with or without its mode."""
    if isinstance(value, str) and re.fullmatch(rf"((live|sandbox)/)?{_ACCOUNT}", value, re.ASCII):
        return None
    return "must be the name of an account, with or without its mode, as in sandbox/my-shop"


def event_type(value: object) -> str | None:
    """For a type of events, as xPay writes it."""
    if isinstance(value, str) and re.fullmatch(r"\w+(\.\w+)+", value, re.ASCII):
        return None
    return "must be types of events such as subscription.cycle_charged"


def one_of(*words: str) -> Check:
    """For a choice."""

    def check(value: object) -> str | None:
        return None if value in words else f"must be one of {', '.join(words)}"

    return check


def whole(low: int, high: int) -> Check:
    """For an integer from `low` to `high`, which a bool is not."""

    def check(value: object) -> str | None:
        if type(value) is int and low <= value <= high:
            return None
        return f"must be a whole number from {low} to {high}"

    return check


def seconds(low: float, high: float) -> Check:
    """For a time from `low` to `high`, whole or not; NaN lies nowhere."""

    def check(value: object) -> str | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"must be a number of seconds from {low} to {high}"

    return check


def tuple_of(check_item: Check, *, what: str, empty: bool = False) -> Check:
    """For a tuple whose items all pass `check_item`; `what` is their name in the error."""

    def check(value: object) -> str | None:
        # A single string is refused: it would pass for a tuple of letters.
        if not isinstance(value, tuple):
            return f"must be a tuple of {what}"
        items = cast("tuple[object, ...]", value)
        if not items:
            return None if empty else f"is empty: give at least one of {what}"
        found = ((place, check_item(item)) for place, item in enumerate(items, start=1))
        return next((f"number {place} {text}" for place, text in found if text), None)

    return check


def base_url(value: object) -> str | None:
    """For the address in front of an API's paths, in either mode."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,255}", value, re.ASCII):
        return "must be an address such as https://api.xpaycheckout.com"
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return "cannot be read as an address"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must begin with https:// and a host"
    if "@" in parts.netloc:
        return "holds a user name: keys have their own settings"
    if {".", ".."} & set(parts.path.split("/")) or "\\" in value:
        return "has . or .. in its path, or a backslash"
    if parts.query or parts.fragment or value.endswith(("/", "?", "#")):
        return "must end after the host or path: without slash, query or fragment"
    return None


def api_host(value: object) -> str | None:
    """For a host, which may be an address of IP."""
    if isinstance(value, str) and re.fullmatch(r"[a-z0-9.:-]{1,255}", value, re.ASCII):
        return None
    return "must be a host in lower case, without port"


def checkout_host(value: object) -> str | None:
    """For a host, or the end that hosts have in common."""
    labels = r"[a-z0-9-]+(\.[a-z0-9-]+)"
    if isinstance(value, str) and re.fullmatch(rf"{labels}*|\.{labels}+", value, re.ASCII):
        return None
    return "must be a host in lower case, or a suffix such as .xpaycheckout.com"


def ecdsa_key(value: object) -> str | None:
    """For a key that signatures are checked by. Raises MissingExtra without `cryptography`."""
    if isinstance(value, str):
        # Read in full, so that a bad key or a missing package stops the start, not a webhook.
        with contextlib.suppress(ConfigurationError):
            SignaturePolicy(ecdsa_public_keys=(value,), require="ecdsa")
            return None
    return "must be a P-256 key in base64, or the word xpay for the key that xPay has published"


def metadata_key(value: object) -> str | None:
    """For a name in xPay's metadata that needs no quoting anywhere."""
    pattern = rf"[A-Za-z0-9_.-]{{1,{messages.METADATA_KEY_CHARS_MAX}}}"
    if isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII):
        return None
    return f"must be 1 to {messages.METADATA_KEY_CHARS_MAX} letters, digits, '_', '.' or '-'"


def currency_decimals(value: object) -> str | None:
    """For a currency and the number of its decimals at xPay."""
    code, _, digits = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(rf"[0-{DECIMALS_MAX}]", digits, re.ASCII):
        return "must be a code and its number of decimals, such as ISK:2"
    try:
        exponent(code)
    except InvalidValue:
        return "names no currency of ISO 4217: write a code and its decimals, such as ISK:2"
    return None
