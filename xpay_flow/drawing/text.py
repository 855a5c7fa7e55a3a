"""How does foreign text get into a picture? Cut, on one line, and without a way out of it."""

from __future__ import annotations

import re
import unicodedata
from html import escape

# Control characters are not XML, and directional marks would turn the text around them.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PLAIN_IN_MERMAID = re.compile(r"[\w .,()/+=→…−'-]")


def cut(text: str, chars_max: int) -> str:
    """`text` as one visible line of at most `chars_max` characters."""
    # Cut first: what is thrown away anyway need not be looked at, however long it is.
    text = text if len(text) <= chars_max else text[: chars_max - 1] + "…"
    return "".join("�" if unicodedata.category(c) in _HIDDEN else c for c in text)


def xml(text: str, chars_max: int) -> str:
    """`text`, cut and escaped for an element or an attribute."""
    return escape(cut(text, chars_max), quote=True)


def mermaid(text: str, chars_max: int) -> str:
    """`text`, cut, with everything that Mermaid could take for syntax as an entity."""
    return "".join(
        c if _PLAIN_IN_MERMAID.fullmatch(c) else f"#{ord(c)};" for c in cut(text, chars_max)
    )


def elapsed(ms: int) -> str:
    """A time after the first entry: `+0.25 s`, `+2 min 05 s`, `+3 h 10 min`, `+2 d 4 h`."""
    # Clocks of several processes may disagree, so a later entry can have an earlier time.
    sign, ms = ("−", -ms) if ms < 0 else ("+", ms)
    if ms < 60_000:
        return f"{sign}{ms / 1000:.2f} s"
    seconds = ms // 1000
    if seconds < 3600:
        return f"{sign}{seconds // 60} min {seconds % 60:02} s"
    hours = seconds // 3600
    if hours < 48:
        return f"{sign}{hours} h {seconds % 3600 // 60:02} min"
    return f"{sign}{hours // 24} d {hours % 24} h"
