"""How does a decision get into the store? Read, decide, commit on the version read, or try again.

Every flow that learns something goes through here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

from .. import events as ev
from ..decide import Decision, decide
from ..effects import Command, commit, load, now
from ..errors import InvalidValue, StoreContended, UnknownIntent
from ..events import Event
from ..intent import Intent
from ..lifecycle import LIFECYCLE, Lifecycle
from ..records import (
    Change,
    OutboxEntry,
    Record,
    RecordedEvent,
    aliases_of,
    change,
    intent_alias,
    x_intent_alias,
)
from ..settings import Settings

T = TypeVar("T")

# Deliveries of one intent that truly overlap are few: each loser of a race reads again and finds
# the winner's commit. More losses than this mean that something else is wrong.
COMMIT_TRIES = 10


@attrs.frozen
class FlowContext:
    """What every flow is told: the operator's settings and the lifecycle in force.

    Args:
        tries: gone through once for each commit, again after each race that it lost.
    """

    settings: Settings
    lifecycle: Lifecycle = LIFECYCLE
    tries: Iterable[object] = range(COMMIT_TRIES)


@attrs.frozen
class RecordResult:
    """A record as it is after a decision, and the decision."""

    record: Record
    intent: Intent
    decision: Decision


def retry(attempt: Callable[[], Command[T | None]], context: FlowContext, name: str) -> Command[T]:
    """Run an attempt again after each lost race, which it reports as None or False.

    Each attempt starts with empty hands: it reads everything again.

    Args:
        name: what is contended for, in the words of the error.

    Raises:
        StoreContended: others were faster in each of ten tries.
    """
    result = None
    for _ in context.tries:
        result = yield from attempt()
        if result:
            return result
    raise StoreContended(f"{name} changed under each of {COMMIT_TRIES} tries")


def record_event(name: str, event: Event, context: FlowContext) -> Command[RecordResult]:
    """Decide upon an event for the one intent filed under `name`, and make that durable.

    Raises:
        UnknownIntent: no intent, or more than one, has this name.
        StoreContended: others were faster in each of ten tries.
    """

    def attempt() -> Command[RecordResult | None]:
        record, intent = yield from load_intent(name)
        return (yield from try_to_record(record, intent, event, context))

    return (yield from retry(attempt, context, name))


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


def load_intent(name: str) -> Command[tuple[Record, Intent]]:
    """The one record with an intent that is filed under `name`."""
    found = [r for r in (yield from load(name)) if r.intent is not None]
    if len(found) != 1 or found[0].intent is None:
        raise UnknownIntent(name)
    return found[0], found[0].intent


def try_to_record(
    record: Record, intent: Intent, event: Event, context: FlowContext
) -> Command[RecordResult | None]:
    """One try: None is a lost race. News that is on file already costs no write."""
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
    """The record with the fact, the snapshot and the owed effects of a decision."""
    if decision.event is None:
        return record
    after, event = decision.intent, decision.event
    recorded = RecordedEvent(
        # The checkout address opens the page for whoever holds it; the snapshot alone keeps it.
        event=event if event.url is None else attrs.evolve(event, url=None),
        disposition=decision.disposition,
        why=decision.why,
        at_ms=now_ms,
        version=record.version + 1,
    )
    owed = (
        OutboxEntry(
            id=":".join(filter(None, (after.id, handlers_due.name, handlers_due.subject))),
            name=handlers_due.name,
            subject=handlers_due.subject,
            next_at_ms=now_ms,
        )
        for handlers_due in decision.handlers_due
    )
    reconcile_count, reconcile_at_ms = _next_reconcile(record, after, now_ms, context.settings)
    return Record(
        key=record.key,
        version=record.version,
        intent=after,
        events=(*record.events, recorded),
        outbox=(*record.outbox, *owed),
        aliases=aliases_of(record.key, after),
        reconcile_count=reconcile_count,
        reconcile_at_ms=reconcile_at_ms,
    )


def _next_reconcile(
    record: Record, after: Intent, now_ms: int, settings: Settings
) -> tuple[int, int | None]:
    """How often xPay was asked, and when to ask next, now that something was learned."""
    before = record.intent
    if before is None:
        # Fresh: whoever stores it asks at once, so a worker waits until that must be over.
        return record.reconcile_count, now_ms + settings.create_lease_s * 1000
    if after.is_settled or after.state == "rejected":
        return record.reconcile_count, None
    if after.is_paid and not before.is_paid:
        # A refund showed a payment of which no amount is known: ask at once.
        return 0, now_ms
    if after.x_intent_ids and not before.x_intent_ids:
        return 0, next_reconcile_ms(0, now_ms, settings)
    return record.reconcile_count, record.reconcile_at_ms


def next_reconcile_ms(reconcile_count: int, now_ms: int, settings: Settings) -> int | None:
    """When to ask for the `reconcile_count`-th time (from 0); None when the schedule has ended."""
    schedule = settings.reconcile_schedule_s
    return now_ms + schedule[reconcile_count] * 1000 if reconcile_count < len(schedule) else None


def attach_parked(x_intent_id: str, context: FlowContext) -> Command[None]:
    """Give news that was parked under xPay's id to the intent that now has that id.

    Parking writes and then looks for the intent; a creation writes the id and then looks here. So
    whatever the interleaving, at least one of the two sees the other.
    """
    name = f"the parked record of {x_intent_id}"
    yield from retry(lambda: _try_to_attach(x_intent_id, context), context, name)


def _try_to_attach(x_intent_id: str, context: FlowContext) -> Command[bool]:
    found = yield from load(x_intent_alias(x_intent_id))
    owners = [r for r in found if r.intent is not None]
    parked = [r for r in found if r.intent is None]
    if len(owners) != 1 or not parked:
        return True
    events = [recorded.event for record in parked for recorded in record.events]
    if not (yield from _attach(owners[0], events, context)):
        return False
    yield from _close(parked)
    return True


def _attach(record: Record, events: Iterable[Event], context: FlowContext) -> Command[bool]:
    """File several events in one commit; events on file already add nothing."""
    now_ms = yield from now()
    after = record
    for event in events:
        assert after.intent is not None
        decision = decide(after.intent, event, context.lifecycle)
        after = with_decision(after, decision, now_ms, context)
    return after is record or (yield from commit(change(record, after)))


def _close(parked: Iterable[Record]) -> Command[None]:
    """Parked news that has an owner needs no more looking for one. Losing this race is harmless."""
    for record in parked:
        if record.reconcile_at_ms is not None:
            yield from commit(change(record, attrs.evolve(record, reconcile_at_ms=None)))


def stored_attempt(record: Record, intent: Intent, now_ms: int, context: FlowContext) -> Change:
    """The first commit of an attempt: it exists here before xPay hears of it."""
    stored = attrs.evolve(record, intent=None)
    decision = decide(intent, ev.own(ev.STORED, now_ms), context.lifecycle)
    return change(stored, with_decision(stored, decision, now_ms, context))
