"""The customer pressed Pay: what now?

The attempt is stored with its idempotency key before xPay is called. A second click finds it and
goes on with it; the database refuses a second attempt in the same place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

import attrs

from .. import events as ev
from .. import messages as m
from .. import xpay_api
from ..checkout_request import CheckoutRequest
from ..effects import Command, commit, count, load, new_id, now
from ..errors import (
    AlreadyPaid,
    ConfigurationError,
    InvalidValue,
    OutcomeUnknown,
    ReceiptInUse,
    UntrustedMessage,
)
from ..intent import Intent
from ..money import COUNTED_DIFFERENTLY, exponent
from ..ports import FOUND_MAX
from ..records import Record, attempt_key, intent_alias, receipt_alias
from ..wire import IntentAnswer, checkout_url
from .context import FlowContext, retry
from .parking import attach_parked
from .recording import load_intent, record_event, stored_attempt

log = logging.getLogger("xpay_flow.checkout")

# xPay forgets a key after 24 hours; a repeat later than this could make a second intent.
REPEATABLE_MS = (m.IDEMPOTENCY_RETENTION_S - 3600) * 1000
# States in which an attempt does not stand in the way of another.
CLOSED = frozenset({"rejected", "cancelled"})


@attrs.frozen(kw_only=True)
class Checkout:
    """Where to send the customer.

    Args:
        url: xPay's page; opaque, and anyone with it can open it, so keep it out of logs.
        resumed: an open attempt for this receipt was found and continued.
    """

    url: str = attrs.field(repr=False)
    intent_id: str
    x_intent_id: str | None
    state: str
    resumed: bool


def start_checkout(
    request: CheckoutRequest, context: FlowContext, *, new_attempt: bool = False
) -> Command[Checkout]:
    """Make, or continue, the attempt to collect `request`, and say where to send the customer.

    Args:
        new_attempt: start another attempt although one is open. The customer could pay both.

    Raises:
        AlreadyPaid: the receipt is paid.
        ReceiptInUse: an open attempt is over other money.
        XPayRefused: xPay answered a definite error; the attempt is `rejected`.
        OutcomeUnknown: xPay's answer was lost. The attempt is stored; call again to go on with it.
        StoreError: the store failed; call again.
    """
    request.check_for(context.settings)
    request = _counted_as_xpay_counts(request, context)
    name = f"receipt {request.receipt_id}"
    attempt, resumed = yield from retry(
        context, name, lambda: _attempt(request, context, new_attempt)
    )
    return (yield from create_at_xpay(attempt, context, resumed=resumed))


def _counted_as_xpay_counts(request: CheckoutRequest, context: FlowContext) -> CheckoutRequest:
    """The request with the decimals that the settings give its currency, for texts.

    Raises:
        InvalidValue: `Money.of` counted the currency otherwise than the settings say.
    """
    money = request.money
    decimals = context.settings.decimals(money.currency)
    if decimals is None:
        if money.currency in COUNTED_DIFFERENTLY:
            _warn_of(money.currency)
        if money.decimals == exponent(money.currency):
            money = attrs.evolve(money, decimals=None)  # Not stored: it is the rule.
    elif money.decimals not in (None, decimals):
        raise InvalidValue(
            f"this money was made with {money.decimals} decimals, and currency_decimals gives "
            f"{money.currency} {decimals}: make it with flow.settings.money(…)"
        )
    else:
        money = attrs.evolve(money, decimals=decimals)
    return attrs.evolve(request, money=money)


@cache  # Once for each currency and process.
def _warn_of(currency: str) -> None:
    log.warning(
        "payment providers do not agree how many decimals %s has (ISO 4217: %d); ask xPay, "
        "and say so in XPAY_CURRENCY_DECIMALS, or amounts can be wrong by a factor",
        currency,
        exponent(currency),
    )


def _attempt(
    request: CheckoutRequest, context: FlowContext, new_attempt: bool
) -> Command[tuple[Record, bool] | None]:
    """The attempt to go on with, and whether it was stored before; None is a lost race."""
    attempts = yield from load(receipt_alias(request.receipt_id))
    _refuse_if_paid(attempts)
    now_ms = yield from now()
    open_attempt = None if new_attempt else _open_attempt(attempts, request, now_ms)
    if open_attempt is not None:
        return open_attempt, True
    if len(attempts) >= FOUND_MAX:
        raise InvalidValue(f"receipt {request.receipt_id!a} has {FOUND_MAX} attempts; use another")
    stored = yield from _store_attempt(request, len(attempts) + 1, context)
    return None if stored is None else (stored, False)


def _refuse_if_paid(attempts: Sequence[Record]) -> None:
    for record in attempts:
        if record.intent is not None and record.intent.is_paid:
            raise AlreadyPaid(record.intent.receipt_id, record.intent.id)


def _open_attempt(
    attempts: Sequence[Record], request: CheckoutRequest, now_ms: int
) -> Record | None:
    """The attempt to go on with, or None when a new one is safe."""
    found: Record | None = None
    for record in attempts:
        intent = record.intent
        if intent is not None and intent.state not in CLOSED and _is_usable(intent, now_ms):
            found = record
    if found is not None and found.intent is not None and found.intent.money != request.money:
        raise ReceiptInUse(request.receipt_id, found.intent.id)
    return found


def _is_usable(intent: Intent, now_ms: int) -> bool:
    """Its page is known, or its creation may still be repeated under the same key.

    An intent at xPay whose address was never handed out cannot be paid, so it is no obstacle.
    """
    repeatable = intent.request is not None
    return bool(intent.checkout_url) or (
        repeatable and now_ms - intent.created_at_ms < REPEATABLE_MS
    )


def _store_attempt(
    request: CheckoutRequest, attempt: int, context: FlowContext
) -> Command[Record | None]:
    """Store a new attempt; None when another call has just stored one in this place."""
    now_ms = yield from now()
    intent_id = yield from new_id("pi")
    intent = Intent(
        id=intent_id,
        receipt_id=request.receipt_id,
        attempt=attempt,
        money=request.money,
        realm=context.settings.realm,
        idempotency_key=f"{intent_id}:create",
        created_at_ms=now_ms,
        metadata=tuple(sorted(request.metadata.items())),
        request=request.to_request(intent_id, context.settings.metadata_key),
    )
    record = Record(key=attempt_key(request.receipt_id, attempt, context.settings.realm))
    step = stored_attempt(record, intent, now_ms, context)
    return step.record if (yield from commit(step)) else None


def create_at_xpay(record: Record, context: FlowContext, *, resumed: bool) -> Command[Checkout]:
    """Ask xPay to make the stored attempt, and file the answer. Safe to repeat."""
    intent = record.intent
    assert intent is not None
    if intent.checkout_url is not None:
        url = _still_allowed(intent.checkout_url, intent, context)
        return _checkout(intent, url, resumed=resumed)
    if intent.request is None:
        raise OutcomeUnknown("the checkout address of this attempt is not known", intent.id)
    key, intent_id = record.key, intent.id
    answer = yield from xpay_api.create_intent(
        intent.request, intent.idempotency_key, context.settings
    )
    answer = _believable(answer, intent, context, resumed=resumed)
    if isinstance(answer, xpay_api.Unclear):
        yield from count("create.unclear")
        raise OutcomeUnknown(answer.detail, intent_id, answered=answer.answered)
    now_ms = yield from now()
    if isinstance(answer, xpay_api.Refused):
        refusal = ev.refusal(answer.error_code, answer.description, now_ms)
        yield from record_event(key, refusal, context)
        raise answer.to_error()
    created = ev.from_create_answer(answer.answer, answer.url, now_ms)
    result = yield from record_event(key, created, context)
    yield from attach_parked(answer.answer.x_intent_id, context)
    if ev.CREATE_REFUSED in result.intent.kinds:
        # This attempt was closed meanwhile, and another may be open: one page per order.
        raise OutcomeUnknown("the attempt was closed while xPay was called; try again", intent_id)
    return _checkout(result.intent, answer.url, resumed=resumed)


def _believable(
    answer: xpay_api.Created | xpay_api.Refused | xpay_api.Unclear,
    intent: Intent,
    context: FlowContext,
    *,
    resumed: bool,
) -> xpay_api.Created | xpay_api.Refused | xpay_api.Unclear:
    """The answer, or `Unclear` where it cannot be what it seems."""
    if resumed and isinstance(answer, xpay_api.Refused) and answer.http_status == 400:
        # "Concurrent idempotent call: 400 or 409": the first request may still be running.
        return xpay_api.Unclear(f"xPay answered 400: {answer.description}", answered=True)
    if isinstance(answer, xpay_api.Created) and not _matches(answer.answer, intent, context):
        return xpay_api.Unclear("xPay answered about another order")
    return answer


def _matches(answer: IntentAnswer, intent: Intent, context: FlowContext) -> bool:
    """The answer names no other order, amount or intent than ours."""
    expected = {
        answer.receipt_id: intent.receipt_id,
        answer.amount_minor: intent.money.amount_minor,
        answer.currency: intent.money.currency,
        answer.metadata.get(context.settings.metadata_key): intent.id,
    }
    return all(answered is None or answered == ours for answered, ours in expected.items())


def _still_allowed(url: str, intent: Intent, context: FlowContext) -> str:
    """A stored address, which the settings admitted when it came.

    Raises:
        ConfigurationError: those of now do not.
    """
    settings = context.settings
    try:
        return checkout_url(
            url, settings.checkout_hosts, allow_loopback=settings.allow_loopback_checkout
        )
    except UntrustedMessage as error:
        raise ConfigurationError(
            f"the checkout address of {intent.id} was stored under other settings, and is refused "
            f"now ({error}): see checkout_hosts"
        ) from error


def _checkout(intent: Intent, url: str, *, resumed: bool) -> Checkout:
    return Checkout(
        url=url,
        intent_id=intent.id,
        x_intent_id=intent.x_intent_id,
        state=intent.state,
        resumed=resumed,
    )


def send_to_checkout(intent_id: str, context: FlowContext) -> Command[str]:
    """Record that the customer is being sent to the checkout, and return its address.

    Raises:
        UnknownIntent: no such intent.
        AlreadyPaid: there is nothing left to pay.
        OutcomeUnknown: the address is not known yet; start the checkout again.
        ConfigurationError: the settings admit the address no more.
    """
    name = intent_alias(intent_id)
    _, intent = yield from load_intent(name)
    url = intent.checkout_url
    if intent.is_paid:
        raise AlreadyPaid(intent.receipt_id, intent.id)
    if url is None:
        raise OutcomeUnknown("the checkout address of this attempt is not known", intent.id)
    url = _still_allowed(url, intent, context)
    yield from record_event(name, ev.own(ev.SENT_TO_CHECKOUT, (yield from now())), context)
    return url
