"""What becomes of an event that belongs to no intent? It is parked until its owner appears.

An event is attached to its owner at the first chance: when it comes, when xPay's id of an intent
becomes known, or when a reconciliation of the parked record is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from ..decide import decide
from ..effects import Command, commit, history, load, now
from ..events import Event
from ..records import Record, RecordedEvent, change, intent_alias, receipt_alias, x_intent_alias
from .context import FlowContext, retry
from .recording import next_reconcile_ms, record_event, with_decision

# --- find the owner ------------------------------------------------------------------------------


def find_owner(event: Event) -> Command[Record | None]:
    """Whose event is this? Our id in the metadata, then xPay's id, then a receipt that fits one.

    The record is loaded to decide this event.

    Only what is proven to be for this merchant may claim an intent by a name that others can
    write: with an ECDSA signature alone, any merchant could put our id into their metadata.
    """
    identity = event.identity
    if event.intent_id and event.is_for_this_merchant:
        found = yield from load(intent_alias(event.intent_id), identity)
        if owner := _only(list(found)):
            return owner
    if event.x_intent_id:
        found = yield from load(x_intent_alias(event.x_intent_id), identity)
        if owner := _only([r for r in found if r.intent is not None]):
            return owner
    if event.receipt_id and event.x_intent_id and event.is_for_this_merchant:
        found = yield from load(receipt_alias(event.receipt_id), identity)
        return _only([r for r in found if _fits(r, event)])
    return None


def _only(found: list[Record]) -> Record | None:
    return found[0] if len(found) == 1 else None


def _fits(record: Record, event: Event) -> bool:
    """An attempt whose xPay id is not known yet could be the one this event is about."""
    intent = record.intent
    if intent is None or intent.x_intent_ids or event.intent_id:
        return False
    return event.amount_minor in (None, intent.money.amount_minor)


# --- park ----------------------------------------------------------------------------------------


def park(event: Event, context: FlowContext) -> Command[RecordedEvent | None]:
    """Keep an event for which there is no intent (yet); None is a lost race."""
    realm = context.settings.realm
    key = parking_key(event, realm)
    aliases = {key} | ({x_intent_alias(event.x_intent_id)} if event.x_intent_id else set[str]())
    now_ms = yield from now()
    recorded = RecordedEvent(
        event=event,
        disposition="unknown",
        why="no intent of ours fits; kept until one does",
        at_ms=now_ms,
        version=0,
    )
    reconcile_at_ms = next_reconcile_ms(0, now_ms, context.settings) if event.x_intent_id else None
    empty = Record(key=key, aliases=frozenset(aliases), unmatched_in=realm)
    if not (yield from append_unmatched(empty, recorded, reconcile_at_ms)):
        return None
    if event.x_intent_id:
        # The intent may have got this id just before we wrote: look again, see `attach_parked`.
        yield from attach_parked(event.x_intent_id, context)
    return recorded


def parking_key(event: Event, realm: str) -> str:
    """Where an unmatched event is kept: a record for each intent of xPay's, or for each event."""
    if event.x_intent_id:
        return f"parked:{realm}:{x_intent_alias(event.x_intent_id)}"
    return f"parked:{realm}:event:{event.event_id}"


def append_unmatched(
    empty: Record, recorded: RecordedEvent, reconcile_at_ms: int | None
) -> Command[bool]:
    """Add an event to a record without an intent; one that is recorded already costs no write.

    Args:
        empty: the record, as it is before the first event.
    """
    found = yield from load(empty.key, recorded.event.identity)
    record = found[0] if found else empty
    if any(known.id == recorded.id for known in record.events):
        return True
    recorded = attrs.evolve(recorded, version=record.version + 1)
    after = attrs.evolve(
        record,
        events=(*record.events, recorded),
        reconcile_at_ms=record.reconcile_at_ms or reconcile_at_ms,
    )
    return (yield from commit(change(record, after)))


# --- attach --------------------------------------------------------------------------------------


def attach_parked(x_intent_id: str, context: FlowContext) -> Command[None]:
    """Attach events that were parked under xPay's id to the intent that now has that id.

    Parking writes and then looks for the intent; a creation writes the id and then looks here. So
    whatever the interleaving, at least one of the two sees the other.
    """
    name = f"the parked record of {x_intent_id}"
    yield from retry(context, name, lambda: _try_to_attach(x_intent_id, context))


def _try_to_attach(x_intent_id: str, context: FlowContext) -> Command[bool]:
    name = x_intent_alias(x_intent_id)
    if not _can_attach((yield from load(name))):
        return True
    # Rare, so the whole history may be read: the parked events, and which the owner has.
    found = yield from history(name)
    if not _can_attach(found):
        return True
    owners, parked = _owners_and_parked(found)
    events = [recorded.event for record in parked for recorded in record.events]
    if not (yield from _attach(owners[0], events, context)):
        return False
    yield from _close(parked)
    return True


def _can_attach(found: Sequence[Record]) -> bool:
    """Events are parked under this name, and it is clear whose they are."""
    owners, parked = _owners_and_parked(found)
    return len(owners) == 1 and bool(parked)


def _owners_and_parked(found: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    return [r for r in found if r.intent is not None], [r for r in found if r.intent is None]


def _attach(record: Record, events: Iterable[Event], context: FlowContext) -> Command[bool]:
    """Record several events in one commit; events that are recorded already add nothing.

    Args:
        record: with its whole history.
    """
    now_ms = yield from now()
    after = record
    for event in events:
        assert after.intent is not None
        decision = decide(after.intent, event, context.lifecycle)
        after = with_decision(after, decision, now_ms, context)
    return after is record or (yield from commit(change(record, after)))


def _close(parked: Iterable[Record]) -> Command[None]:
    """Parked events that have an owner need none any more. Losing this race is harmless."""
    for record in parked:
        if record.reconcile_at_ms is not None:
            yield from commit(change(record, attrs.evolve(record, reconcile_at_ms=None)))


def attach_to_late_owner(parked: Record, context: FlowContext) -> Command[Record | None]:
    """The intent of parked events, if it has appeared meanwhile; then it has the events."""
    (whole,) = yield from history(parked.key)
    for recorded in whole.events:
        owner = yield from find_owner(recorded.event)
        if owner is None:
            continue
        yield from record_event(owner.key, recorded.event, context)
        if recorded.event.x_intent_id:
            yield from attach_parked(recorded.event.x_intent_id, context)
        return owner
    return None
