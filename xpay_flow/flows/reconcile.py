"""No news came: what does xPay say when asked?

Slowly and within a budget: each open intent has a schedule, a pass takes a bounded number of
intents, and every request waits for its turn under the rate limit.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .. import events as ev
from .. import xpay
from ..decide import decide
from ..effects import Command, commit, count, load, now
from ..errors import OutcomeUnknown, XPayRefused
from ..intent import Intent
from ..records import Record, change
from ..wire import IntentAnswer
from .checkout import REPEATABLE_MS, create_at_xpay
from .filing import (
    Rules,
    adopt,
    file_event,
    next_question_ms,
    with_decision,
)
from .passes import Unworkable, work_through
from .webhook import find_owner

# A list can lag behind a creation whose answer was an error; by then it should not.
LISTED_AFTER_MS = 120_000
# Clocks disagree: the window in which xPay may say that it made our intent.
CLOCK_SKEW_MS = 300_000
LIST_PAGES_MAX = 5


@attrs.frozen(kw_only=True)
class Asked:
    """What one question to xPay brought.

    Args:
        outcome: `learned`, `nothing new`, `unclear`, `refused`, `created`, `adopted`, `nobody's`.
    """

    key: str
    intent_id: str | None
    outcome: str
    state: str | None = None


def reconcile(rules: Rules, *, limit: int | None = None) -> Command[tuple[Asked | Unworkable, ...]]:
    """Ask xPay about the intents that are due, longest due first; at most `limit` of them."""
    batch = limit or rules.settings.ask_batch
    return (yield from work_through("ask", lambda key: ask_record(key, rules), batch))


def ask_record(key: str, rules: Rules) -> Command[Sequence[Asked]]:
    """Ask about one record; nothing when another process has just taken it."""
    found = yield from load(key)
    record = (yield from _claim(found[0], rules)) if found else None
    if record is None:
        return ()
    is_last = record.asks >= len(rules.settings.ask_schedule_s)
    asked = yield from _ask(record, rules)
    yield from count(f"ask.{asked.outcome}")
    if is_last:
        yield from _end_of_schedule(key, rules)
    return (asked,)


def _ask(record: Record, rules: Rules) -> Command[Asked]:
    if record.intent is None:
        return (yield from _look_for_owner(record, rules))
    if not record.intent.x_intent_ids:
        return (yield from _resolve_creation(record, record.intent, rules))
    asked = _asked(record, "nothing new")
    for x_intent_id in record.intent.x_intent_ids:
        asked = yield from _ask_about(asked, x_intent_id, rules)
    return asked


def _claim(record: Record, rules: Rules) -> Command[Record | None]:
    """Set the time of the next question before asking this one, so that no two processes ask."""
    now_ms = yield from now()
    due_ms = record.due_at_ms("ask")
    if due_ms is None or due_ms > now_ms:
        # Another process asked, or the answer came, since the list of what is due was made.
        return None
    asks = record.asks + 1
    next_ms = next_question_ms(asks, now_ms, rules.settings)
    if next_ms is None:
        # The last question: if we die over it, it is asked again; `_end_of_schedule` ends it.
        next_ms = now_ms + rules.settings.lease_s * 1000
    intent = record.intent
    if intent is not None and now_ms - intent.created_at_ms >= REPEATABLE_MS:
        # It can be sent no more, and holds the customer's data.
        intent = attrs.evolve(intent, request=None)
    step = change(record, attrs.evolve(record, intent=intent, asks=asks, ask_at_ms=next_ms))
    return step.record if (yield from commit(step)) else None


def _end_of_schedule(key: str, rules: Rules) -> Command[None]:
    """The last question is answered: say what stayed open, and ask no more."""
    for _ in rules.tries:
        record = (yield from load(key))[0]
        now_ms = yield from now()
        if record.ask_at_ms is None or record.asks < len(rules.settings.ask_schedule_s):
            return
        after = record
        open_question = _open_question(record.intent)
        if record.intent is not None and open_question is not None:
            decision = decide(record.intent, ev.own(open_question, now_ms), rules.lifecycle)
            after = with_decision(record, decision, now_ms, rules)
        if (yield from commit(change(record, attrs.evolve(after, ask_at_ms=None)))):
            return


def _open_question(intent: Intent | None) -> str | None:
    """What a person must ask xPay, since we got no answer."""
    if intent is None:
        return None
    if intent.is_paid and not intent.is_settled:
        return ev.AMOUNT_UNRESOLVED
    return ev.CREATE_UNRESOLVED if intent.state == "initiated" else None


def _asked(record: Record, outcome: str) -> Asked:
    """What a question brought, where it left this record."""
    intent = record.intent
    return Asked(
        key=record.key,
        intent_id=intent.id if intent else None,
        outcome=outcome,
        state=intent.state if intent else None,
    )


def _ask_about(asked: Asked, x_intent_id: str, rules: Rules) -> Command[Asked]:
    answer = yield from xpay.get_intent(x_intent_id, rules.settings)
    if isinstance(answer, xpay.Unclear):
        return attrs.evolve(asked, outcome="unclear")
    if isinstance(answer, xpay.Refused):
        return attrs.evolve(asked, outcome="refused")
    report = ev.from_report(answer, (yield from now()))
    filed = yield from file_event(asked.key, report, rules)
    return _asked(filed.record, "learned" if filed.decision.event is not None else "nothing new")


def _look_for_owner(parked: Record, rules: Rules) -> Command[Asked]:
    """Parked news: has its intent appeared meanwhile?"""
    for fact in parked.facts:
        owner = yield from find_owner(fact.event)
        if owner is None:
            continue
        yield from file_event(owner.key, fact.event, rules)
        if fact.event.x_intent_id:
            yield from adopt(fact.event.x_intent_id, rules)
        return Asked(
            key=parked.key,
            intent_id=owner.intent.id if owner.intent else None,
            outcome="adopted",
        )
    return Asked(key=parked.key, intent_id=None, outcome="nobody's")


def _resolve_creation(record: Record, intent: Intent, rules: Rules) -> Command[Asked]:
    """The answer to a creation is missing: repeat it, or, where that cannot help, look for it."""
    now_ms = yield from now()
    key, age_ms, answered = record.key, now_ms - intent.created_at_ms, False
    if age_ms < REPEATABLE_MS:
        try:
            made = yield from create_at_xpay(record, rules, resumed=True)
        except XPayRefused:
            return (yield from _asked_and_left(key, "refused"))
        except OutcomeUnknown as error:
            answered = error.answered
        else:
            return Asked(key=key, intent_id=made.intent_id, outcome="created", state=made.state)
    if age_ms >= LISTED_AFTER_MS and (answered or age_ms >= REPEATABLE_MS):
        outcome = yield from _look_it_up(key, intent, rules)
    else:
        outcome = "unclear"
    return (yield from _asked_and_left(key, outcome))


def _asked_and_left(key: str, outcome: str) -> Command[Asked]:
    """What a question brought, whatever it did to the record."""
    return _asked((yield from load(key))[0], outcome)


def _look_it_up(key: str, intent: Intent, rules: Rules) -> Command[str]:
    """xPay answers errors to the key, or has forgotten it: does it list such an intent?

    If it does not, nobody ever got an address to pay at, and the attempt is closed as refused. If
    it was made all the same, its events will beat that (and be named).
    """
    answer = yield from _find_listed(intent, rules)
    now_ms = yield from now()
    if isinstance(answer, xpay.Unclear | xpay.Refused):
        return "unclear"
    if answer is None:
        why = "xPay answers no creation under this key, and lists no such intent"
        yield from file_event(key, ev.refusal("not_created", why, now_ms), rules)
        return "refused"
    yield from file_event(key, ev.from_report(answer, now_ms), rules)
    yield from adopt(answer.x_intent_id, rules)
    return "learned"


def _find_listed(
    intent: Intent, rules: Rules
) -> Command[IntentAnswer | xpay.Unclear | xpay.Refused | None]:
    """The intent at xPay that carries our id, among those listed with our receipt and money."""
    offset: str | None = None
    for _ in range(LIST_PAGES_MAX):
        page = yield from xpay.list_intents(
            rules.settings,
            start_ms=intent.created_at_ms - CLOCK_SKEW_MS,
            end_ms=intent.created_at_ms + REPEATABLE_MS + CLOCK_SKEW_MS,
            offset=offset,
        )
        if isinstance(page, xpay.Unclear | xpay.Refused):
            return page
        for item in page.intents:
            if not _could_be(item, intent):
                continue
            answer = yield from xpay.get_intent(item.x_intent_id, rules.settings)
            if isinstance(answer, xpay.Unclear | xpay.Refused):
                return answer
            if answer.metadata.get(rules.settings.metadata_key) == intent.id:
                return answer
        if page.offset is None:
            return None
        offset = page.offset
    return xpay.Unclear("the list is too long to be searched")


def _could_be(item: IntentAnswer, intent: Intent) -> bool:
    money = (intent.money.amount_minor, intent.money.currency)
    return (item.receipt_id, (item.amount_minor, item.currency)) == (intent.receipt_id, money)
