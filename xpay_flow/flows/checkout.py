"""The customer pressed Pay: what now?

The attempt is stored with its idempotency key before xPay is called. A second click finds it and
goes on with it; the database refuses a second attempt in the same place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import Final

import attrs

from .. import events as ev
from .. import messages as m
from .. import xpay_api
from ..checkout_request import CheckoutRequest
from ..effects import Command, acquire_rate_limit, commit, count, load, new_id, now, pause
from ..errors import (
    AlreadyPaid,
    ConfigurationError,
    InvalidValue,
    OutcomeUnknown,
    ReceiptInUse,
    StoreContended,
    TooManyRequests,
    UntrustedMessage,
    XPayRefused,
)
from ..intent import Intent
from ..money import COUNTED_DIFFERENTLY, exponent
from ..ports import FOUND_MAX
from ..records import Record, attempt_key, change, intent_alias, receipt_alias
from ..wire import IntentAnswer, checkout_url
from .context import FlowContext, retry
from .parking import attach_parked
from .recording import load_intent, reconcile_soon, record_event, stored_attempt

log = logging.getLogger("xpay_flow.checkout")

# xPay forgets a key after 24 hours; a repeat later than this could make a second intent.
REPEATABLE_MS = (m.IDEMPOTENCY_RETENTION_S - 3600) * 1000
# A customer waits so long for an answer to a question about an old page; xPay's are quick.
ASK_WITHIN_S: Final = 5.0
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

    An open attempt for other terms is cancelled at xPay first, and read afterwards.

    Args:
        new_attempt: start another attempt although one is open. The customer could pay both.

    Raises:
        AlreadyPaid: the receipt is paid.
        ReceiptInUse: an open attempt has other terms, and could not be cancelled.
        TooManyRequests: the rate limit is used up for now; nothing was stored or sent.
        XPayRefused: xPay answered a definite error; the attempt is `rejected`.
        OutcomeUnknown: xPay's answer was lost. The attempt is stored; call again to go on with it.
        StoreError: the store failed; call again.
    """
    request.check_for(context.settings)
    request = _counted_as_xpay_counts(request, context)
    return (yield from _Press(request, context, new_attempt).serve())


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


@attrs.frozen(eq=False)
class _Open:
    """An attempt that the customer may still pay, or whose creation may be repeated."""

    record: Record
    differences: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.record.key

    @property
    def intent(self) -> Intent:
        assert self.record.intent is not None
        return self.record.intent


@attrs.define
class _Press:
    """One press of Pay: looks at the attempts, and does the next thing, until there is a page.

    Args:
        _has_turn: a turn under the rate limit has come that no request has used yet.
        _queried: attempts that were queried at xPay during this press.
        _gone: of these, the ones that xPay does not know (any more).
    """

    _request: CheckoutRequest
    _context: FlowContext
    _new_attempt: bool
    _has_turn: bool = False
    _queried: set[str] = attrs.Factory(set[str])
    _gone: set[str] = attrs.Factory(set[str])

    def serve(self) -> Command[Checkout]:
        name = f"receipt {self._request.receipt_id}"
        # Each round closes or queries another attempt, and there are FOUND_MAX of them.
        for _ in range(2 * FOUND_MAX):
            found, is_new = yield from retry(self._context, name, self._attempt)
            checkout = yield from self._serve_from(found, is_new=is_new)
            if checkout is not None:
                return checkout
        raise StoreContended(f"{name} has a new open attempt at each look")

    def _attempt(self) -> Command[tuple[_Open, bool] | None]:
        """The attempt to go on with, and whether it is new; None is a lost race."""
        attempts = yield from load(receipt_alias(self._request.receipt_id))
        _refuse_if_paid(attempts, self._request)
        now_ms = yield from now()
        found = None if self._new_attempt else self._choose(attempts, now_ms)
        if found is not None:
            return found, False
        if len(attempts) >= FOUND_MAX:
            yield from _set_aside(attempts, self._request.receipt_id)
            return None
        yield from self._take_turn()
        number = 1 + max((r.intent.attempt for r in attempts if r.intent), default=0)
        stored = yield from _store_attempt(self._request, number, self._context)
        return None if stored is None else (_Open(stored), True)

    def _choose(self, attempts: Sequence[Record], now_ms: int) -> _Open | None:
        """The newest open attempt, those with the same terms first."""
        found: _Open | None = None
        for record in attempts:
            intent = record.intent
            if intent is None or record.key in self._gone or not _is_open(intent, now_ms):
                continue
            one = _Open(record, self._request.differences(intent))
            if found is None or not one.differences or found.differences:
                found = one
        return found

    def _take_turn(self) -> Command[None]:
        """Wait for a turn under the rate limit for the creation, before anything is stored.

        Raises:
            TooManyRequests: no customer waits that long.
        """
        if self._has_turn:
            return
        patience_s = self._context.settings.rush_wait_s
        wait_s = yield from acquire_rate_limit(patience_s)
        if wait_s > patience_s:
            yield from count("checkout.too_many")
            raise TooManyRequests(wait_s)
        if wait_s > 0:
            yield from pause(wait_s)
        self._has_turn = True

    def _serve_from(self, found: _Open, *, is_new: bool) -> Command[Checkout | None]:
        """The page to hand out; None: look again."""
        intent, url = found.intent, found.intent.checkout_url
        if url is None:
            return (yield from self._create(found, is_new=is_new))
        if found.differences:
            yield from self._close(found)
            return None
        now_ms = yield from now()
        age_ms = now_ms - intent.created_at_ms
        is_fresh = 0 <= age_ms < self._context.settings.page_check_after_s * 1000
        if found.key in self._queried or is_fresh:
            return _checkout(intent, _still_allowed(url, intent, self._context), resumed=True)
        if not (yield from self._ask(found)):
            # Better a page that may be dead than none; the reconciler queries it soon.
            yield from reconcile_soon(found.key, self._context)
        return None

    def _create(self, found: _Open, *, is_new: bool) -> Command[Checkout | None]:
        """Make the attempt at xPay, or repeat that under its key."""
        yield from self._take_turn()
        pace, self._has_turn = xpay_api.Pace(has_turn=True), False
        try:
            checkout = yield from create_at_xpay(
                found.record, self._context, resumed=not is_new, pace=pace
            )
        except XPayRefused:
            if found.differences:
                return None  # It is closed, and the next look makes a new one.
            raise
        except OutcomeUnknown as error:
            if found.differences:
                raise self._in_use(found, "whether xPay made its page is not known yet") from error
            raise
        # What differs has a page now, which is to be closed.
        return None if found.differences else checkout

    def _ask(self, found: _Open) -> Command[bool]:
        """Query how an attempt stands at xPay, and record the answer; whether one came in time."""
        self._queried.add(found.key)
        for x_intent_id in found.intent.x_intent_ids:
            pace = xpay_api.Pace(within_s=ASK_WITHIN_S)
            answer = yield from xpay_api.get_intent(x_intent_id, self._context.settings, pace)
            if isinstance(answer, IntentAnswer):
                report = ev.from_report(answer, (yield from now()))
                yield from record_event(found.key, report, self._context)
            elif isinstance(answer, xpay_api.Refused) and answer.http_status == 404:
                yield from count("checkout.gone")
                self._gone.add(found.key)
            else:
                yield from count("checkout.unclear")
                return False
        return True

    def _close(self, found: _Open) -> Command[None]:
        """Cancel at xPay what differs, and read it afterwards, so that one page can be paid.

        Raises:
            ReceiptInUse: it is not proven to be closed.
        """
        if found.key in self._queried:
            raise self._in_use(found, "xPay shows its page as open still")
        for x_intent_id in found.intent.x_intent_ids:
            pace = xpay_api.Pace(within_s=ASK_WITHIN_S)
            # Whatever this is answered, only the reading counts.
            yield from xpay_api.cancel_intent(x_intent_id, self._context.settings, pace)
        if not (yield from self._ask(found)):
            yield from reconcile_soon(found.key, self._context)
            raise self._in_use(found, "xPay did not say whether its page is closed")

    def _in_use(self, found: _Open, reason: str) -> ReceiptInUse:
        return ReceiptInUse(found.intent.receipt_id, found.intent.id, found.differences, reason)


def _refuse_if_paid(attempts: Sequence[Record], request: CheckoutRequest) -> None:
    for record in attempts:
        intent = record.intent
        if intent is not None and intent.is_paid and not intent.is_given_back:
            raise AlreadyPaid(intent.receipt_id, intent.id, request.differences(intent))


def _is_open(intent: Intent, now_ms: int) -> bool:
    """Its page is known, or its creation may still be repeated under the same key.

    An intent at xPay whose address was never handed out cannot be paid, so it is no obstacle.
    """
    if intent.state in CLOSED or intent.is_paid:
        return False
    repeatable = intent.request is not None
    return bool(intent.checkout_url) or (
        repeatable and now_ms - intent.created_at_ms < REPEATABLE_MS
    )


def _set_aside(attempts: Sequence[Record], receipt_id: str) -> Command[None]:
    """Attempts that ended unpaid do not count: but for the last, they lose the receipt's name.

    Raises:
        InvalidValue: all others are open or paid.
    """
    newest = max(r.intent.attempt for r in attempts if r.intent)
    ended = [
        record
        for record in attempts
        if record.intent is not None
        and record.intent.state in CLOSED
        and record.intent.attempt != newest
    ]
    if not ended:
        raise InvalidValue(f"receipt {receipt_id!a} has {FOUND_MAX} attempts; use another")
    for record in ended:
        aliases = record.aliases - {receipt_alias(receipt_id)}
        yield from commit(change(record, attrs.evolve(record, aliases=aliases)))


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
        terms=request.terms(),
        request=request.to_request(intent_id, context.settings.metadata_key),
    )
    record = Record(key=attempt_key(request.receipt_id, attempt, context.settings.realm))
    step = stored_attempt(record, intent, now_ms, context)
    return step.record if (yield from commit(step)) else None


def create_at_xpay(
    record: Record,
    context: FlowContext,
    *,
    resumed: bool,
    pace: xpay_api.Pace = xpay_api.CALLER,
) -> Command[Checkout]:
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
        intent.request, intent.idempotency_key, context.settings, pace
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
    if ev.CREATE_REFUSED in result.intent.kinds or result.intent.state in CLOSED:
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
        OutcomeUnknown: the address is not known yet, or is closed; start the checkout again.
        ConfigurationError: the settings admit the address no more.
    """
    name = intent_alias(intent_id)
    _, intent = yield from load_intent(name)
    url = intent.checkout_url
    if intent.is_paid:
        raise AlreadyPaid(intent.receipt_id, intent.id)
    if url is None:
        raise OutcomeUnknown("the checkout address of this attempt is not known", intent.id)
    if intent.state in CLOSED:
        raise OutcomeUnknown("the page of this attempt is closed; start again", intent.id)
    url = _still_allowed(url, intent, context)
    yield from record_event(name, ev.own(ev.SENT_TO_CHECKOUT, (yield from now())), context)
    return url
