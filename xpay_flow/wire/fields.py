"""How is one field of a message read? Readers that webhooks and answers share.

A field that is absent or null is None. One that makes no sense raises UntrustedMessage, unless it
is read with `or_ignored`: no payment may be lost over a field that decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from .. import messages
from ..errors import UntrustedMessage
from ..money import AMOUNT_MINOR_MAX
from .refusal import refuse
from .strict_json import JSON, NO_TEXT, Members

T = TypeVar("T")

# What no name or label of ours or xPay's holds: control characters, and halves of a character.
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
# Refund amounts are strings in requests and integers in answers, so either may come back.
_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


def or_ignored(ignored: list[str], name: str, read: Callable[[], T]) -> T | None:
    """What `read` reads; None, and the field's name among the ignored, where it makes no sense."""
    try:
        return read()
    except UntrustedMessage:
        ignored.append(name)
        return None


def strictly(_: list[str], __: str, read: Callable[[], T]) -> T:
    """What `read` reads, or its refusal: the other way to read a field."""
    return read()


def required(value: str | None, name: str) -> str:
    """`value`, which must be there; `name` is for the error."""
    return value if value is not None else refuse("bad-field", f"{name} is missing")


def plain(members: Members, name: str) -> str | None:
    """A string of 1 to 255 characters, none of them a control character."""
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= messages.ID_CHARS_MAX:
        refuse("bad-field", f"{name} is not a string of 1 to {messages.ID_CHARS_MAX} characters")
    if CONTROL.search(value):
        refuse("bad-field", f"{name} holds a control character")
    return value


def xpay_id(members: Members, *names: str) -> str | None:
    """An id of xPay's, which may be written under several names but has one value."""
    value = None
    for name in names:
        found = plain(members, name)
        if value is not None and found not in (None, value):
            refuse("bad-field", f"{' and '.join(names)} differ")
        value = value or found
    # It becomes a part of a path when we request it, and "." and ".." would change that path.
    if value is not None and ("/" in value or value in (".", "..")):
        refuse("bad-field", f"{names[0]} holds a slash, or is a step in a path")
    return value


def receipt_id(members: Members) -> str | None:
    """The shop's own word: a slash is fine ("INV/2026/7"), and an empty one is None."""
    return None if members.get("receiptId") == "" else plain(members, "receiptId")


def amount_minor(members: Members) -> int | None:
    """Whole minor units, as an integer or as its digits in a string."""
    value = members.get("amount")
    if value is None:
        return None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    # By exact type: true and 2500.0 equal integers, but they are not written for cents.
    if type(value) is not int or not 0 <= value <= AMOUNT_MINOR_MAX:
        refuse("bad-field", f"amount is not an integer from 0 to {AMOUNT_MINOR_MAX}")
    return value


def currency(members: Members) -> str | None:
    """Three upper-case letters; whether they are a code of ISO 4217 is not looked up."""
    value = members.get("currency")
    if value is None:
        return None
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        refuse("bad-field", "currency is not three upper-case letters")
    return value


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment_ms(members: Members, name: str) -> int | None:
    """Milliseconds since 1970: `createdAt` is ISO 8601 in create and get, a number in the list."""
    value = members.get(name)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            refuse("bad-field", f"{name} is no moment")
        # All documented examples end in +00:00, so a moment without an offset is UTC.
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        value = (aware - _EPOCH) // timedelta(milliseconds=1)
    if value is not None and (type(value) is not int or value < 0):
        refuse("bad-field", f"{name} is no moment")
    return value


def metadata(members: Members) -> dict[str, str]:
    """The pairs whose value is text, as xPay documents all of them to be."""
    pairs = nested(members, "metadata")
    return {
        name: value
        for name, value in pairs.items()
        if isinstance(value, str) and not NO_TEXT.search(value)
    }


def nested(members: Members, name: str) -> dict[str, JSON]:
    """An object inside the object; an absent one is empty."""
    value = members.get(name)
    if value is None:
        return {}
    return value if isinstance(value, dict) else refuse("bad-field", f"{name} is not an object")


def objects(value: JSON, name: str) -> list[dict[str, JSON]]:
    """A list of objects; `name` is for the error."""
    if not isinstance(value, list):
        refuse("bad-field", f"{name} is not a list")
    found = [item for item in value if isinstance(item, dict)]
    return found if len(found) == len(value) else refuse("bad-field", f"{name} holds no objects")


def next_cursor(members: Members) -> str | None:
    """The cursor of the next page. "Stop when `metadata.offset` is absent or null"; or empty."""
    offset = nested(members, "metadata").get("offset")
    if not isinstance(offset, str | None):
        refuse("bad-field", "metadata.offset is not a string")
    return offset or None
