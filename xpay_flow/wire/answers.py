"""What does xPay's API answer: an intent, a page of them, or an error?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeVar

import attrs

from ..errors import UntrustedMessage
from ..masking import masked
from . import fields
from .refusal import refuse
from .strict_json import JSON, Members, parse_object

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class IntentAnswer:
    """An intent as create-intent, get-intent or the list shows it.

    Identity, status, amount and currency are read strictly; every other field that makes no sense
    is None and named in `ignored`. `status` is kept as written, known or not. `error_code` is that
    of the last failed charge, `payment_method` that of the charge that succeeded; both are None
    unless the request wanted charges. `fwd_url` is a secret, since it opens the checkout, and has
    not been checked here: see `checkout_url`.
    """

    x_intent_id: str
    status: str
    amount_minor: int | None
    currency: str | None
    receipt_id: str | None
    fwd_url: str | None = attrs.field(repr=False)
    metadata: Mapping[str, str] = attrs.field(repr=False)
    error_code: str | None
    payment_method: str | None
    presentment_currency: str | None
    created_at_ms: int | None
    succeeded_at_ms: int | None
    ignored: tuple[str, ...] = ()
    raw: dict[str, JSON] = attrs.field(repr=False)


def read_intent(body: bytes) -> IntentAnswer:
    """The intent in an answer of xPay's API. Raises UntrustedMessage."""
    members = parse_object(body, rigour="fields")
    wrapped = members.get("data")
    # No page of xPay shows a wrapper, but merchants' code expects to meet one.
    if isinstance(wrapped, dict) and not members.keys() & {"xIntentId", "intentId"}:
        return _intent(wrapped)
    return _intent(members)


def read_intent_page(body: bytes) -> tuple[tuple[IntentAnswer, ...], str | None]:
    """The intents of one page of the list, and the cursor of the next page or None.

    Raises UntrustedMessage.
    """
    members = parse_object(body, rigour="fields")
    items = fields.objects(members.get("data"), "data")
    return tuple(_intent(item) for item in items), fields.next_cursor(members)


# Enough to understand, too little to fill a log.
_ERROR_CHARS_MAX: Final = 200


def read_error(status: int, body: bytes) -> tuple[str, str]:
    """xPay's code and words for an error, each one line of at most 200 characters. Never raises.

    What is personal in them is masked: they quote what the customer has typed.

    Where the body names no code, it is `http_` and the status.
    """
    try:
        members = parse_object(body)
    except UntrustedMessage:
        members = {}
    nested = members.get("error")
    # The server-to-server API nests: {"error": {"code": …, "message": …}}.
    inner = nested if isinstance(nested, dict) else {}
    # Of an object that holds no words, the rest may be what the customer has typed.
    start = "" if members else body[: 4 * _ERROR_CHARS_MAX].decode("utf-8", "replace")
    code = _first_line(members.get("errorCode"), inner.get("code"))
    words = _first_line(members.get("errorDescription"), inner.get("message"), start)
    return code or f"http_{status}", words or "no description"


def _intent(members: dict[str, JSON]) -> IntentAnswer:
    ignored: list[str] = []

    def read(name: str, reader: Callable[[], T]) -> T | None:
        return fields.or_ignored(ignored, name, reader)

    return IntentAnswer(
        x_intent_id=fields.required(fields.xpay_id(members, "xIntentId", "intentId"), "xIntentId"),
        status=fields.required(fields.plain(members, "status"), "status"),
        amount_minor=fields.amount_minor(members),
        currency=fields.currency(members),
        receipt_id=read("receiptId", lambda: fields.receipt_id(members)),
        fwd_url=read("fwdUrl", lambda: _address(members)),
        metadata=read("metadata", lambda: fields.metadata(members)) or {},
        error_code=_last_error_code(members, ignored),
        payment_method=read("succeededCharge", lambda: _method_of_success(members)),
        presentment_currency=read(
            "presentmentCurrency", lambda: fields.plain(members, "presentmentCurrency")
        ),
        created_at_ms=read("createdAt", lambda: fields.moment_ms(members, "createdAt")),
        succeeded_at_ms=read("succeededAt", lambda: fields.moment_ms(members, "succeededAt")),
        ignored=tuple(dict.fromkeys(ignored)),
        raw=members,
    )


def _address(members: Members) -> str | None:
    value = members.get("fwdUrl")
    return value if isinstance(value, str | None) else refuse("bad-field", "fwdUrl is not text")


def _last_error_code(members: Members, ignored: list[str]) -> str | None:
    """Of the last failed charge that has a code that can be read."""
    name = "chargeAttempts"
    attempts = members.get(name)
    if not isinstance(attempts, list):
        ignored.extend([name] if attempts is not None else [])
        return None
    for attempt in reversed(attempts):
        if isinstance(attempt, dict) and attempt.get("status") == "FAILED":
            code = fields.or_ignored(ignored, name, partial(fields.plain, attempt, "errorCode"))
            if code is not None:
                return code
    return None


def _method_of_success(members: Members) -> str | None:
    used = fields.nested(fields.nested(members, "succeededCharge"), "paymentMetadata")
    return fields.plain(used, "paymentMethod")


def _first_line(*candidates: JSON) -> str:
    text = next((c for c in candidates if isinstance(c, str) and c.strip()), "")
    # Masked before it is cut: half an e-mail address shows whose it is, too.
    line = masked("".join(c if c.isprintable() else " " for c in text[: 4 * _ERROR_CHARS_MAX]))
    return line[:_ERROR_CHARS_MAX].strip()
