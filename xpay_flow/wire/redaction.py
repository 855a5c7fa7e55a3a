"""Which parts of a message may be stored?"""

from __future__ import annotations

from typing import Final

from .strict_json import JSON, NO_TEXT, Members

# The page's address and `secret` open the checkout; the rest is personal data we have no use for.
_SECRET_NAMES: Final = frozenset(
    {"fwdUrl", "secret", "customerDetails", "expiryMonth", "expiryYear"}
)


def without_secrets(raw: Members) -> dict[str, JSON]:
    """A copy fit for storing: at any depth, no checkout address, personal data or card expiry.

    Brand and last four digits of a card stay: customers ask about them. What no column can hold
    is shown as U+FFFD.
    """
    return {
        _fit(name): _fit(value) if isinstance(value, str) else _stripped(value)
        for name, value in raw.items()
        if name not in _SECRET_NAMES
    }


def _fit(text: str) -> str:
    return NO_TEXT.sub("\ufffd", text)


def _stripped(value: JSON) -> JSON:
    if isinstance(value, dict):
        return without_secrets(value)
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return _fit(value) if isinstance(value, str) else value
