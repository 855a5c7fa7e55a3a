"""The page of what is stored of xPay's messages: the allow-list, with the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xpay_flow.wire import KEPT
from xpay_flow.wire.redaction import Kept

from .markdown import code, table

INTRODUCTION = """\
Of a webhook, and of an answer of xPay's API, these fields are stored with the event, and no others.
Other fields are left out, whatever they are called: names, e-mail addresses, card numbers.
Words are masked: an e-mail address, a phone number or a card number in one is replaced by `[…]`.
`lastFourDigit` is stored if it is four digits.

Your own `metadata` come back in every event, and are stored once, with the payment.
With an event they are stored only if it fits no payment, since they show whose it is.
Of a body that carries a good signature and is no JSON object, size and digest are stored.

How to erase what is stored of a customer is on [its own page](../how-to/forget-a-customer.md).
"""


def kept_page() -> str:
    rows = table(("Field", "Why"), ((code(name), kept.reason) for name, kept in _all(KEPT)))
    return f"# What is stored of xPay's messages\n\n{INTRODUCTION}\n{rows}\n"


def _all(fields: Mapping[str, Kept], above: str = "") -> Iterator[tuple[str, Kept]]:
    for name, kept in fields.items():
        yield above + name, kept
        yield from _all(kept.within, f"{above}{name}.")
