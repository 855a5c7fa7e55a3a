"""No event came: how are open payments reconciled with xPay?

Slowly and within a budget: each open intent has a schedule, a pass takes a bounded number of
intents, and every request waits for its turn under the rate limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs

from .. import events as ev
from .. import xpay_api
from ..decide import decide
from ..effects import Command, commit, count, load, now
from ..errors import OutcomeUnknown, StoreContended, XPayRefused
from ..intent import Intent
from ..records import Record, change
from ..settings import Settings
from ..wire import IntentAnswer
from .checkout import REPEATABLE_MS, create_at_xpay
from .context import FlowContext, retry
from .parking import attach_parked, attach_to_late_owner, forgotten_if_unproven
from .recording import needs_no_question, record_event, with_decision
from .work_queue import FailedJob, work_through

# A list can lag behind a creation whose answer was an error; by then it should not.
LISTED_AFTER_MS = 120_000
# Clocks disagree: the window in which xPay may say that it made our intent.
CLOCK_SKEW_MS = 300_000
LIST_PAGES_MAX = 5


@attrs.frozen(kw_only=True)
class ReconcileResult:
    """The result of one reconciliation with xPay.

    Args:
        outcome: `learned`, `nothing new`, `unclear`, `refused`, `created`, `attached`, `unmatched`.
    """

    key: str
    intent_id: str | None
    outcome: str
    state: str | None = None


def reconcile(
    context: FlowContext, *, limit: int | None = None
) -> Command[tuple[ReconcileResult | FailedJob, ...]]:
    """Ask xPay about the intents that are due, longest due first; at most `limit` of them."""
    batch = limit or context.settings.reconcile_batch
    return (yield from work_through("reconcile", lambda key: reconcile_record(key, context), batch))


def reconcile_record(key: str, context: FlowContext) -> Command[Sequence[ReconcileResult]]:
    """Ask about one record; nothing when another process has just taken it."""
    found = yield from load(key)
    record = (yield from _claim(found[0], context)) if found else None
    if record is None:
        return ()
    result = yield from _reconcile(record, context)
    yield from count(f"reconcile.{result.outcome}")
    if _is_late(record, context.settings) or _is_over(record, context.settings):
        yield from _end_of_schedule(key, context)
    return (result,)


def _is_late(record: Record, settings: Settings) -> bool:
    """The last question of the first schedule is sent: what is open now needs an operator."""
    return record.reconcile_count >= len(settings.reconcile_schedule_s)


def _is_over(record: Record, settings: Settings) -> bool:
    """The last question of all is sent, or the one about a contradiction."""
    settled = record.intent is not None and needs_no_question(record.intent)
    return settled or record.reconcile_count >= len(_schedule(record, settings))


def _schedule(record: Record, settings: Settings) -> tuple[int, ...]:
    """The pauses before each question: the second schedule is for pages that can be paid late."""
    intent = record.intent
    if intent is None or not intent.x_intent_ids or intent.state == "cancelled":
        return settings.reconcile_schedule_s
    return settings.reconcile_schedule_s + settings.late_reconcile_schedule_s


def _reconcile(record: Record, context: FlowContext) -> Command[ReconcileResult]:
    if record.intent is None:
        return (yield from _look_for_owner(record, context))
    if not record.intent.x_intent_ids:
        return (yield from _resolve_creation(record, record.intent, context))
    result = _result(record, "nothing new")
    for x_intent_id in record.intent.x_intent_ids:
        result = yield from _read_status(result, x_intent_id, context)
    return result


def _claim(record: Record, context: FlowContext) -> Command[Record | None]:
    """Set the time of the next request before this one is sent, so that one process sends it."""
    now_ms = yield from now()
    if not record.is_due("reconcile", now_ms):
        # Another process sent it, or the answer came, since the list of what is due was made.
        return None
    reconcile_count = record.reconcile_count + 1
    schedule = _schedule(record, context.settings)
    if reconcile_count < len(schedule):
        next_ms = now_ms + schedule[reconcile_count] * 1000
    else:
        # The last request: if we die over it, it is sent again; `_end_of_schedule` ends it.
        next_ms = now_ms + context.settings.lease_s * 1000
    intent = record.intent
    if intent is not None and now_ms - intent.created_at_ms >= REPEATABLE_MS:
        # It can be sent no more, and holds the customer's data.
        intent = attrs.evolve(intent, request=None)
    claimed = attrs.evolve(
        record.as_of(now_ms),
        intent=intent,
        reconcile_count=reconcile_count,
        reconcile_at_ms=next_ms,
    )
    step = change(record, claimed.set_at(now_ms))
    return step.record if (yield from commit(step)) else None


def _end_of_schedule(key: str, context: FlowContext) -> Command[None]:
    """The last question of a schedule is answered: record what stayed open."""
    with suppress(StoreContended):  # Then it stays due, and ends the next time.
        yield from retry(context, key, lambda: _try_to_end(key, context))


def _try_to_end(key: str, context: FlowContext) -> Command[bool]:
    record = (yield from load(key))[0]
    now_ms = yield from now()
    is_over = _is_over(record, context.settings)
    if record.reconcile_at_ms is None or not (is_over or _is_late(record, context.settings)):
        return True
    after = record
    open_question = _open_question(record.intent)
    if record.intent is not None and open_question is not None:
        decision = decide(record.intent, ev.own(open_question, now_ms), context.lifecycle)
        after = with_decision(record, decision, now_ms, context)
    elif record.intent is None:
        after = yield from forgotten_if_unproven(record)
    if is_over:
        after = attrs.evolve(after, reconcile_at_ms=None).set_at(now_ms)
    return after == record or (yield from commit(change(record, after)))


def _open_question(intent: Intent | None) -> str | None:
    """What an operator must clear up with xPay; None if that is recorded already."""
    if intent is None:
        return None
    if needs_no_question(intent) or intent.state == "cancelled":
        return None
    if intent.is_paid:
        question = ev.AMOUNT_UNRESOLVED
    elif intent.state == "initiated":
        question = ev.CREATE_UNRESOLVED
    else:
        question = ev.STILL_OPEN
    return None if question in intent.kinds else question


def _result(record: Record, outcome: str) -> ReconcileResult:
    """What a question brought, where it left this record."""
    intent = record.intent
    return ReconcileResult(
        key=record.key,
        intent_id=intent.id if intent else None,
        outcome=outcome,
        state=intent.state if intent else None,
    )


def _read_status(
    before: ReconcileResult, x_intent_id: str, context: FlowContext
) -> Command[ReconcileResult]:
    answer = yield from xpay_api.get_intent(x_intent_id, context.settings, xpay_api.BACKGROUND)
    if isinstance(answer, xpay_api.Unclear):
        return attrs.evolve(before, outcome="unclear")
    if isinstance(answer, xpay_api.Refused):
        return attrs.evolve(before, outcome="refused")
    report = ev.from_report(answer, (yield from now()))
    result = yield from record_event(before.key, report, context)
    return _result(result.record, "learned" if result.decision.event is not None else "nothing new")


def _look_for_owner(parked: Record, context: FlowContext) -> Command[ReconcileResult]:
    """Parked events: has their intent appeared meanwhile?"""
    owner = yield from attach_to_late_owner(parked, context)
    if owner is None:
        return ReconcileResult(key=parked.key, intent_id=None, outcome="unmatched")
    return ReconcileResult(
        key=parked.key, intent_id=owner.intent.id if owner.intent else None, outcome="attached"
    )


def _resolve_creation(
    record: Record, intent: Intent, context: FlowContext
) -> Command[ReconcileResult]:
    """The answer to a creation is missing: repeat it, or, where that cannot help, look for it."""
    now_ms = yield from now()
    key, age_ms, answered = record.key, now_ms - intent.created_at_ms, False
    if age_ms < REPEATABLE_MS:
        try:
            made = yield from create_at_xpay(
                record, context, resumed=True, pace=xpay_api.BACKGROUND
            )
        except XPayRefused:
            return (yield from _reconciled_as(key, "refused"))
        except OutcomeUnknown as error:
            answered = error.answered
        else:
            return ReconcileResult(
                key=key, intent_id=made.intent_id, outcome="created", state=made.state
            )
    if age_ms >= LISTED_AFTER_MS and (answered or age_ms >= REPEATABLE_MS):
        outcome = yield from _look_it_up(key, intent, context)
    else:
        outcome = "unclear"
    return (yield from _reconciled_as(key, outcome))


def _reconciled_as(key: str, outcome: str) -> Command[ReconcileResult]:
    """What a question brought, whatever it did to the record."""
    return _result((yield from load(key))[0], outcome)


def _look_it_up(key: str, intent: Intent, context: FlowContext) -> Command[str]:
    """xPay answers errors to the key, or has forgotten it: does it list such an intent?

    If it does not, no address was ever handed out, and the attempt is closed as refused. If
    it was made all the same, its events will beat that (and be named).
    """
    answer = yield from _find_listed(intent, context)
    now_ms = yield from now()
    if isinstance(answer, xpay_api.Unclear | xpay_api.Refused):
        return "unclear"
    if answer is None:
        why = "xPay answers no creation under this key, and lists no such intent"
        yield from record_event(key, ev.refusal("not_created", why, now_ms), context)
        return "refused"
    yield from record_event(key, ev.from_report(answer, now_ms), context)
    yield from attach_parked(answer.x_intent_id, context)
    return "learned"


def _find_listed(
    intent: Intent, context: FlowContext
) -> Command[IntentAnswer | xpay_api.Unclear | xpay_api.Refused | None]:
    """The intent at xPay that carries our id, among those listed with our receipt and money."""
    offset: str | None = None
    for _ in range(LIST_PAGES_MAX):
        page = yield from xpay_api.list_intents(
            context.settings,
            xpay_api.BACKGROUND,
            start_ms=intent.created_at_ms - CLOCK_SKEW_MS,
            end_ms=intent.created_at_ms + REPEATABLE_MS + CLOCK_SKEW_MS,
            offset=offset,
        )
        if isinstance(page, xpay_api.Unclear | xpay_api.Refused):
            return page
        for item in page.intents:
            if not _could_be(item, intent):
                continue
            answer = yield from xpay_api.get_intent(
                item.x_intent_id, context.settings, xpay_api.BACKGROUND
            )
            if isinstance(answer, xpay_api.Unclear | xpay_api.Refused):
                return answer
            if answer.metadata.get(context.settings.metadata_key) == intent.id:
                return answer
        if page.offset is None:
            return None
        offset = page.offset
    return xpay_api.Unclear("the list is too long to be searched")


def _could_be(item: IntentAnswer, intent: Intent) -> bool:
    money = (intent.money.amount_minor, intent.money.currency)
    return (item.receipt_id, (item.amount_minor, item.currency)) == (intent.receipt_id, money)
