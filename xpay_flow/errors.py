"""What can go wrong, split by whose fault it is.

    XPayFlowError
    ├── MerchantError            your code or your configuration
    │   ├── ConfigurationError   a setting is missing, weak or contradictory
    │   ├── InvalidValue         a value that must not exist, like Money(19.99) (also ValueError)
    │   ├── MissingExtra         an optional dependency is not installed (also ImportError)
    │   ├── UnknownIntent        no intent is filed under the name you gave
    │   ├── AlreadyPaid          the order you want to charge is paid
    │   └── ReceiptInUse         the order has an open attempt that differs, and stays open
    ├── XPayError                xPay's message, refusal or absence
    │   ├── UntrustedMessage     the one error for bytes that xPay would not send
    │   ├── XPayRefused          xPay answered with a definite error
    │   ├── OutcomeUnknown       xPay did not answer, or not in a way that settles the question
    │   └── TooManyRequests      xPay's rate limit is used up; nothing was stored or sent
    └── StoreError               the storage behind us
        ├── StoreUnavailable     it did not answer, or not in time
        ├── StoreContended       the same intent was changed by others, again and again
        └── SchemaMismatch       it was written by another version of this library

Details are attributes. `status_hint` is what an HTTP endpoint should answer.
"""

from __future__ import annotations

import math
from typing import ClassVar

from .masking import masked, text_of

# An error text may quote foreign input; a log line must stay a line.
QUOTED_CHARS_MAX = 80
# The length to which an error of other code is cut before it is stored: a line, not a page.
ERROR_CHARS_MAX = 500


def quoted(foreign: object) -> str:
    """`foreign` in a form that is safe inside a message: one line, ASCII, at most 80 characters."""
    text = ascii(foreign)
    return text if len(text) <= QUOTED_CHARS_MAX else text[: QUOTED_CHARS_MAX - 1] + "…"


def error_text(error: BaseException) -> str:
    """Any error as one bounded line, for logs and timelines; what is personal in it is masked."""
    text = masked(f"{type(error).__name__}: {text_of(error)}")
    return " ".join(text.split())[:ERROR_CHARS_MAX]


class XPayFlowError(Exception):
    """The root: catch it to catch everything this library raises on purpose."""

    status_hint: ClassVar[int] = 500


class MerchantError(XPayFlowError):
    """Your code or your configuration requires something that cannot be done."""


class ConfigurationError(MerchantError):
    """A setting is missing, weak or contradictory; the text names it and what to do."""


class InvalidValue(MerchantError, ValueError):
    """A value was refused at construction; the text names the field and the reason."""

    status_hint = 400


class MissingExtra(MerchantError, ImportError):
    """An optional dependency is missing; the text names the extra to install."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} needs an extra: pip install 'xpay-flow[{extra}]'")
        self.extra = extra


class UnknownIntent(MerchantError, LookupError):
    """No intent is filed under this name."""

    status_hint = 404

    def __init__(self, name: str) -> None:
        super().__init__(f"no intent is filed under {quoted(name)}")
        self.name = name


class AlreadyPaid(MerchantError):
    """The order is paid: there is nothing left to charge.

    `differences` are the fields in which this request is not the paid one: if money or customer
    are among them, the receipt id may be that of an older order.
    """

    status_hint = 409

    def __init__(self, receipt_id: str, intent_id: str, differences: tuple[str, ...] = ()) -> None:
        text = f"receipt {quoted(receipt_id)} is already paid by intent {intent_id}"
        if differences:
            text += (
                f", with other values of {', '.join(differences)}; if this is another order, its "
                "receipt id was used before: give each order an id of its own"
            )
        super().__init__(text)
        self.receipt_id = receipt_id
        self.intent_id = intent_id
        self.differences = differences


class ReceiptInUse(MerchantError):
    """The order has an open attempt that differs, and its page could not be closed.

    `differences` are the fields that differ. The customer can still pay the other page.
    """

    status_hint = 409

    def __init__(
        self, receipt_id: str, intent_id: str, differences: tuple[str, ...], reason: str
    ) -> None:
        super().__init__(
            f"receipt {quoted(receipt_id)} has an open attempt {intent_id} with other values of "
            f"{', '.join(differences)}, and {reason}; the customer could pay both. "
            "Try again, use a new receipt id, or pass new_attempt=True knowingly"
        )
        self.receipt_id = receipt_id
        self.intent_id = intent_id
        self.differences = differences


class XPayError(XPayFlowError):
    """xPay's message, refusal or absence."""

    status_hint = 502


class UntrustedMessage(XPayError):
    """The only error that foreign bytes can cause.

    `reason` is one of a closed set of short words, fit for a counter's label.
    """

    status_hint = 400

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class XPayRefused(XPayError):
    """xPay answered with a definite error: nothing was created, no money can move.

    `error_code` and `error_description` are xPay's own words, shortened.
    """

    def __init__(self, http_status: int, error_code: str, error_description: str) -> None:
        super().__init__(f"xPay refused ({http_status} {error_code}): {error_description}")
        self.http_status = http_status
        self.error_code = error_code
        self.error_description = error_description


class OutcomeUnknown(XPayError):
    """xPay's answer was lost or settles nothing.

    The attempt is stored and will be resolved with the same idempotency key, by webhook or by
    reconciliation. Calling again later is safe. `intent_id` is None where no intent is concerned;
    `answered` is True if xPay answered, but settled nothing.
    """

    status_hint = 503

    def __init__(
        self, detail: str, intent_id: str | None = None, *, answered: bool = False
    ) -> None:
        super().__init__(detail)
        self.intent_id = intent_id
        self.answered = answered


class TooManyRequests(XPayError):
    """xPay's rate limit is used up for longer than a customer waits; nothing was stored or sent.

    `retry_after_s` is when it is worth trying again: answer 503 with it as `Retry-After`.
    """

    status_hint = 503

    def __init__(self, wait_s: float) -> None:
        self.retry_after_s = max(1, math.ceil(wait_s))
        super().__init__(
            "more customers come than xPay's rate limit lets through; try again in "
            f"{self.retry_after_s} s"
        )


class StoreError(XPayFlowError):
    """The storage behind us failed; what was acknowledged before is safe."""

    status_hint = 503


class StoreUnavailable(StoreError):
    """The store did not answer, or not in time; whether a commit took effect is not known."""


class StoreContended(StoreError):
    """One intent was changed by others in each of a bounded number of tries."""


class SchemaMismatch(StoreError):
    """The stored schema is not the one this version writes; the text names what to do."""

    status_hint = 500
