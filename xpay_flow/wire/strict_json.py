"""Which JSON value are these bytes? One that can be read in one way only, or none."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Final, Literal, NoReturn, TypeAlias

import attrs

from ..errors import UntrustedMessage
from .refusal import refuse

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Members: TypeAlias = Mapping[str, JSON]


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


# What is refused: everything odd; what could be read in two ways; nothing that has one object.
Rigour: TypeAlias = Literal["all", "fields", "names"]


def parse_object(
    body: bytes, *, limits: Limits = LIMITS, rigour: Rigour = "all"
) -> dict[str, JSON]:
    """The JSON object that is the whole of `body`, in UTF-8 without a byte order mark.

    Stricter than the standard in what could be read in two ways or hurts later: no key twice, no
    NaN or Infinity, no integer beyond 64 bits, no lone surrogate, no NUL. Floats stay floats, and
    the readers of amounts refuse them.

    Args:
        rigour: with `fields`, numbers and text that nothing can hold pass, for the readers of
            fields to judge: such a number is a float, the greatest one if need be. With `names`,
            of a key that comes twice the last counts, too: nothing that decides may be read so.

    Raises:
        UntrustedMessage: anything else, with a reason out of `wire.REASONS`.
    """
    value = parse_value(body, limits=limits, rigour=rigour)
    return value if isinstance(value, dict) else refuse("not-an-object")


def parse_value(body: bytes, *, limits: Limits = LIMITS, rigour: Rigour = "all") -> JSON:
    """The JSON value that is the whole of `body`: see `parse_object`."""
    text = _decoded(body, limits)
    _check_shape(text, limits)
    try:
        value: JSON = _decoder(limits.members_max, rigour).decode(text)
    except json.JSONDecodeError as error:
        refuse("not-json", f"at character {error.pos}")
    # Without an escape, a string holds what UTF-8 let through; most bodies have none.
    if (
        rigour == "all"
        and "\\u" in text
        and any(NO_TEXT.search(string) for string in _strings(value))
    ):
        refuse("bad-text", "a lone surrogate or NUL")
    return value


def is_json_object(body: bytes) -> bool:
    """Whether `parse_object` reads these bytes."""
    try:
        parse_object(body)
    except UntrustedMessage:
        return False
    return True


# Made once: `json.dumps` makes an encoder for each call that has options.
_canonical: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def canonical_json(value: JSON) -> str:
    """One text per value, whatever the white space and the order of keys it arrived with."""
    return _canonical(value)


def digest(value: JSON) -> str:
    """32 hex digits that differ between a copy and the same event id with other content."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


_INT_MAX: Final = 2**63 - 1
_INT_CHARS_MAX: Final = len(str(-_INT_MAX))
# A double holds seventeen digits; other languages print decimals with a few dozen.
_FLOAT_CHARS_MAX: Final = 64

# A string literal. Every quantifier is possessive and an unclosed literal runs to the end, so that
# the scan is linear whatever the text.
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")
# What no UTF-8 and what no column of PostgreSQL can hold.
NO_TEXT: Final = re.compile("[\ud800-\udfff\x00]")


def _decoded(body: bytes, limits: Limits) -> str:
    if not body:
        refuse("empty")
    if len(body) > limits.body_bytes_max:
        refuse("too-large", f"{len(body)} bytes")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse("not-utf8", f"at byte {error.start}")
    if text.startswith("\ufeff"):
        refuse("bad-text", "a byte order mark")
    if "\x00" in text:
        refuse("bad-text", "NUL")
    return text


def _check_shape(text: str, limits: Limits) -> None:
    """Bounds nesting and number of values before the parser, which recurses, sees the text."""
    if _openings(text) <= limits.depth_max and _values(text) <= limits.values_max:
        return  # even if brackets inside strings are counted, as for every usual webhook
    skeleton = _STRING.sub("", text)
    if _values(skeleton) > limits.values_max:
        refuse("too-many-values")
    depth = 0
    for bracket in _BRACKET.findall(skeleton):
        depth += 1 if bracket in "[{" else -1
        if depth > limits.depth_max:
            refuse("too-deep")


def _openings(text: str) -> int:
    return text.count("{") + text.count("[")


def _values(text: str) -> int:
    # Each value stands first in the text or follows a comma or an opening bracket.
    return text.count(",") + _openings(text) + 1


# A program uses one or two sets of limits.
@lru_cache(maxsize=8)
def _decoder(members_max: int, rigour: Rigour) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=partial(_members, members_max=members_max, once=rigour != "names"),
        parse_int=_int if rigour == "all" else _any_int,
        parse_float=_float if rigour == "all" else _any_float,
        parse_constant=_constant,
    )


def _members(pairs: list[tuple[str, JSON]], *, members_max: int, once: bool) -> dict[str, JSON]:
    if len(pairs) > members_max:
        refuse("too-many-values", "in one object")
    members = dict(pairs)
    if once and len(members) != len(pairs):
        refuse("duplicate-key")
    return members


def _int(digits: str) -> int:
    # The length first: Python itself refuses, with another error, to convert very long ones.
    if len(digits) > _INT_CHARS_MAX or abs(value := int(digits)) > _INT_MAX:
        refuse("bad-number", "an integer beyond 2**63 - 1")
    return value


def _float(digits: str) -> float:
    if len(digits) > _FLOAT_CHARS_MAX or not math.isfinite(value := float(digits)):
        refuse("bad-number", "a float that no double holds")
    return value


def _any_int(digits: str) -> int | float:
    if len(digits) <= _INT_CHARS_MAX and abs(value := int(digits)) <= _INT_MAX:
        return value
    return _any_float(digits)


def _any_float(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else math.copysign(sys.float_info.max, value)


def _constant(name: str) -> NoReturn:
    refuse("bad-number", name)


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
