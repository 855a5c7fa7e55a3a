"""In which language does the return page speak? The texts of each, and the choice between them.

`languages/` holds one file for each language that we ship, all with the names of `en.json`.
`reviewed_by` is empty until a native speaker has read the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeAlias

from ..errors import ConfigurationError
from ..money import Money

Words: TypeAlias = Mapping[str, str]

SHIPPED: Final = ("en", "es", "hi", "fr", "de", "ar", "pt", "ja")

_TAG: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}", re.ASCII)
# RFC 9110: a language range, and how much it is wanted.
_RANGE: Final = re.compile(
    r"\s*([a-z0-9-]+)\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?)\s*)?", re.ASCII | re.IGNORECASE
)
# Browsers send a handful of languages.
_RANGES_MAX: Final = 20
_ACCEPT_CHARS_MAX: Final = 1000
# More would be another page.
_WORD_CHARS_MAX: Final = 500


@cache
def shipped(language: str) -> Words:
    """The texts of one of our files."""
    text = (files("xpay_flow.browser") / "languages" / f"{language}.json").read_text("utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def words_of(language: str, own: Words) -> Words:
    """The texts of a language: ours, if we ship it, with those of the shop.

    Raises:
        ConfigurationError: a text is missing, unknown or too long, or this is no language.
    """
    if language in SHIPPED and not own:
        return dict(shipped(language))  # Checked by our tests; the checker makes many pages.
    if not _TAG.fullmatch(language):
        raise ConfigurationError(f"{language!a} is no language tag, such as es or pt-BR")
    base = language.partition("-")[0].lower()
    found = {**(shipped(base) if base in SHIPPED else {"reviewed_by": ""}), **own}
    for problem, names in (
        ("lacks", shipped("en").keys() - found.keys()),
        ("has an unknown", found.keys() - shipped("en").keys()),
        ("has no usable", {name for name, text in found.items() if not _is_usable(name, text)}),
    ):
        if names:
            raise ConfigurationError(f"words[{language!a}] {problem} text {min(names)!a}")
    return found


def _is_usable(name: str, text: Any) -> bool:
    if name == "direction":
        return text in ("ltr", "rtl")
    is_short = isinstance(text, str) and len(text) <= _WORD_CHARS_MAX
    return is_short and (bool(text.strip()) or name in ("reviewed_by", "thousands"))


def choose(accepted: str, offered: Sequence[str]) -> str:
    """The one of the offered languages that fits `Accept-Language` best; the first if none does.

    "Lookup", as RFC 4647 has it: `de-AT` is content with `de`; and `pt` with `pt-BR`.
    """
    for wanted in _wanted(accepted):
        parts = wanted.split("-")
        for length in range(len(parts), 0, -1):
            prefix = "-".join(parts[:length])
            for language in offered:
                if f"{language.lower()}-".startswith(f"{prefix}-"):
                    return language
    return offered[0]


def _wanted(accepted: str) -> list[str]:
    ranges = accepted[:_ACCEPT_CHARS_MAX].split(",")[:_RANGES_MAX]
    found = [match for match in map(_RANGE.fullmatch, ranges) if match]
    weighed = [(float(match[2] or 1), match[1].lower()) for match in found]
    # Stable: of two that are wanted equally, the first counts.
    weighed.sort(key=lambda pair: -pair[0])
    return [wanted for weight, wanted in weighed if weight]


def amount_in_words(money: Money, words: Words) -> str:
    """`1.299,00 EUR`: as the language writes numbers, and never parted at the end of a line."""
    number, _, code = str(money).partition(" ")
    whole, point, rest = number.partition(".")
    grouped = f"{int(whole):,}".replace(",", words["thousands"])
    return f"{grouped}{words['decimal'] if point else ''}{rest}\u00a0{code}"
