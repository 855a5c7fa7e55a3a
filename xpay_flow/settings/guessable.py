"""Can this key be guessed? A guessed signing key forges payments.

What is easy to guess is taken out: words that forms and documentation are filled with, runs such as
`1234` or `aaaa`, and repetitions. What is left must be long enough. A key that chance has made
loses next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_LEFT_CHARS_MIN: Final = 8

# As parts of any text, so only words that chance hardly makes.
_WORDS: Final = (
    *("changeme", "change_me", "change-me", "placeholder", "password", "passwd", "passphrase"),
    *("signature", "signing", "webhook", "secret", "private", "public", "merchant", "account"),
    *("sandbox", "production", "development", "example", "default", "dummy", "sample", "testing"),
    *("xpaycheckout", "xpay_flow", "xpay", "checkout", "payment", "insert", "replace", "qwerty"),
    *("letmein", "1q2w3e4r", "q1w2e3r4", "welcome", "iloveyou", "monkey", "foobar", "hunter2"),
    *("correcthorsebatterystaple", "loremipsum", "whatever", "something", "deadbeef", "cafebabe"),
)
# Between separators only.
_SHORT_WORDS: Final = frozenset(
    (
        *("a", "an", "and", "api", "app", "be", "bar", "baz", "change", "demo", "dev", "endpoint"),
        *("foo", "for", "from", "goes", "here", "hmac", "in", "is", "it", "key", "keys", "live"),
        *("me", "mode", "my", "no", "of", "or", "our", "pk", "prod", "shop", "sk", "staging"),
        *("test", "the", "this", "to", "todo", "token", "use", "value", "whk", "whsec", "your"),
    )
)
_WORD: Final = re.compile("|".join(sorted(map(re.escape, _WORDS), key=len, reverse=True)))
# Keys that lie beside each other, and both alphabets.
_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "abcdefghijklmnopqrstuvwxyz", "01234567890")
_RUN_CHARS_MIN: Final = 3


def is_guessable(key: str) -> bool:
    """Whether too little is left of a key without what is easy to guess."""
    return len(_left(key)) < _LEFT_CHARS_MIN


def _left(key: str) -> str:
    parts = re.split(r"[^a-z0-9]+", _WORD.sub("-", key.lower()))
    kept = "".join(part for part in parts if part not in _SHORT_WORDS)
    return _without_runs(_once(kept))


def _once(text: str) -> str:
    """Of a text that is one block again and again, the block."""
    # A text is within itself, doubled, at the place where its block ends.
    period = (text + text).find(text, 1)
    return text[:period] if 0 < period < len(text) else text


def _without_runs(text: str) -> str:
    """Only the first character of `aaaa`, `1234`, `dcba` or `asdf`."""
    left, at = "", 0
    while at < len(text):
        end = max(_run_end(text, at, step) for step in (_same, _next, _previous))
        left, at = left + text[at], (end if end - at >= _RUN_CHARS_MIN else at + 1)
    return left


def _run_end(text: str, at: int, follows: Callable[[str, str], bool]) -> int:
    end = at + 1
    while end < len(text) and follows(text[end - 1], text[end]):
        end += 1
    return end


def _same(one: str, other: str) -> bool:
    return one == other


def _next(one: str, other: str) -> bool:
    return any(one + other in row for row in _ROWS)


def _previous(one: str, other: str) -> bool:
    return _next(other, one)
