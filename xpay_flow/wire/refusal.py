"""How are bytes refused? With one error, for one of a closed set of reasons."""

from __future__ import annotations

from typing import Final, Literal, NoReturn, get_args

from ..errors import UntrustedMessage

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


def refuse(reason: Reason, detail: str = "") -> NoReturn:
    """Raises UntrustedMessage. `detail` quotes nothing that is foreign or secret."""
    # The cause is cut off: a decoding error carries the whole foreign text with it.
    raise UntrustedMessage(reason, detail) from None
