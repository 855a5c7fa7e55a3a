"""How does a decision get into the store? Read, decide, commit on the version read, or try again.

Every flow that learns something goes through here.
"""

from __future__ import annotations

import attrs

from .. import events as ev
from ..decide import Decision, decide
from ..effects import Command, commit, load, now
from ..errors import InvalidValue, UnknownIntent
from ..events import Event
from ..intent import Intent
from ..lifecycle import LIFECYCLE
from ..records import Change, OutboxEntry, Record, RecordedEvent, aliases_of, change, intent_alias
from ..settings import Settings
from .context import FlowContext, retry


@attrs.frozen
class RecordResult:
    """A record as it is after a decision, and the decision."""

    record: Record
    intent: Intent
    decision: Decision


def record_event(name: str, event: Event, context: FlowContext) -> Command[RecordResult]:
    """Decide an event for the one intent filed under `name`, and make that durable.

    Raises:
        UnknownIntent: no intent, or more than one, has this name.
        StoreContended: others were faster in each of ten tries.
    """

    def attempt() -> Command[RecordResult | None]:
        record, intent = yield from load_intent(name, event)
        return (yield from try_to_record(record, intent, event, context))

    return (yield from retry(context, name, attempt))


def record_own_event(intent_id: str, kind: str, context: FlowContext) -> Command[str]:
    """Record an event of the shop's own lifecycle; returns the intent's state afterwards.

    Raises:
        InvalidValue: the lifecycle in force has no such event, or it is one of ours.
        UnknownIntent: no such intent.
    """
    if kind in LIFECYCLE.events or kind not in context.lifecycle.events:
        mine = sorted(set(context.lifecycle.events) - set(LIFECYCLE.events))
        raise InvalidValue(f"{kind!a} is not an event of your own lifecycle; there are {mine}")
    event = ev.own(kind, (yield from now()))
    result = yield from record_event(intent_alias(intent_id), event, context)
    return result.intent.state


def load_intent(name: str, event: Event | None = None) -> Command[tuple[Record, Intent]]:
    """The one record with an intent that is filed under `name`, to decide `event`."""
    loaded = yield from load(name, event.identity if event is not None else None)
    found = [r for r in loaded if r.intent is not None]
    if len(found) != 1 or found[0].intent is None:
        raise UnknownIntent(name)
    return found[0], found[0].intent


def try_to_record(
    record: Record, intent: Intent, event: Event, context: FlowContext
) -> Command[RecordResult | None]:
    """One try: None is a lost race. An event that is recorded already costs no write.

    Args:
        record: as it was loaded for this event.
    """
    now_ms = yield from now()
    decision = decide(intent, event, context.lifecycle)
    if decision.event is None:
        return RecordResult(record, intent, decision)
    after = with_decision(record, decision, now_ms, context)
    step = change(record, after)
    if not (yield from commit(step)):
        return None
    return RecordResult(step.record, decision.intent, decision)


def with_decision(record: Record, decision: Decision, now_ms: int, context: FlowContext) -> Record:
    """The record with the event, the snapshot and the due calls of a decision."""
    if decision.event is None:
        return record
    record, after, event = record.as_of(now_ms), decision.intent, decision.event
    recorded = RecordedEvent(
        # The checkout address opens the page, so it is a secret; the snapshot alone keeps it.
        event=event if event.url is None else attrs.evolve(event, url=None),
        disposition=decision.disposition,
        why=decision.why,
        at_ms=now_ms,
        version=record.version + 1,
    )
    entries = [
        OutboxEntry(
            id=":".join(filter(None, (after.id, handlers_due.name, handlers_due.subject))),
            name=handlers_due.name,
            subject=handlers_due.subject,
            next_at_ms=now_ms,
        )
        for handlers_due in decision.handlers_due
    ]
    reconcile_count, reconcile_at_ms = _next_reconcile(record, decision, now_ms, context.settings)
    decided = Record(
        key=record.key,
        version=record.version,
        intent=after,
        events=(*record.events, recorded),
        outbox=(*record.outbox, *entries),
        aliases=aliases_of(record.key, after),
        reconcile_count=reconcile_count,
        reconcile_at_ms=reconcile_at_ms,
        due_set_ms=record.due_set_ms,
        erased=record.erased,
    )
    is_as_due = not entries and reconcile_at_ms == record.reconcile_at_ms
    return decided if is_as_due else decided.set_at(now_ms)


def _next_reconcile(
    record: Record, decision: Decision, now_ms: int, settings: Settings
) -> tuple[int, int | None]:
    """How often xPay was polled, and when to poll next, now that something was learned."""
    before, after = record.intent, decision.intent
    if before is None:
        # Fresh: its creator calls xPay at once, so a worker waits until that must be over.
        return record.reconcile_count, now_ms + settings.create_lease_s * 1000
    if decision.reconcile_now and after.x_intent_ids:
        return record.reconcile_count, now_ms
    if needs_no_question(after) and not needs_no_question(before):
        return record.reconcile_count, None
    if after.is_paid and not before.is_paid:
        # A refund showed a payment of which no amount is known: poll at once.
        return 0, now_ms
    if after.x_intent_ids and not before.x_intent_ids:
        return 0, next_reconcile_ms(0, now_ms, settings)
    return record.reconcile_count, record.reconcile_at_ms


def needs_no_question(intent: Intent) -> bool:
    """What xPay would answer is known. A contradiction may make it worth one more question."""
    return intent.is_settled or intent.state == "rejected"


def next_reconcile_ms(reconcile_count: int, now_ms: int, settings: Settings) -> int | None:
    """When to poll for the `reconcile_count`-th time (from 0); None when the schedule has ended."""
    schedule = settings.reconcile_schedule_s
    return now_ms + schedule[reconcile_count] * 1000 if reconcile_count < len(schedule) else None


def reconcile_soon(name: str, context: FlowContext) -> Command[None]:
    """Have the intent reconciled at the first pause of the schedule, if not sooner."""

    def attempt() -> Command[bool]:
        record, _ = yield from load_intent(name)
        soon_ms = next_reconcile_ms(0, (yield from now()), context.settings)
        if soon_ms is None or (record.reconcile_at_ms or soon_ms + 1) <= soon_ms:
            return True
        sooner = attrs.evolve(record, reconcile_at_ms=soon_ms)
        return (yield from commit(change(record, sooner)))

    yield from retry(context, name, attempt)


def stored_attempt(record: Record, intent: Intent, now_ms: int, context: FlowContext) -> Change:
    """The first commit of an attempt: it exists here before xPay receives it."""
    stored = attrs.evolve(record, intent=None)
    decision = decide(intent, ev.own(ev.STORED, now_ms), context.lifecycle)
    return change(stored, with_decision(stored, decision, now_ms, context))
