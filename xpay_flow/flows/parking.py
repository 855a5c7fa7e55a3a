"""What becomes of an event that belongs to no intent? It is parked until its owner appears.

An event is attached to its owner at the first chance: when it comes, when xPay's id of an intent
becomes known, or when a reconciliation of the parked record is due. Meanwhile nothing is silent: a
payment for a receipt of ours is named on the order at once, and every other event that is proven
to be this merchant's reaches `on_unmatched`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from .. import events as ev
from .. import xpay_api
from ..decide import decide
from ..effects import Command, commit, history, load, now
from ..errors import UntrustedMessage
from ..events import PAYMENT_KINDS, Event
from ..messages import PROBE_EVENT_TYPE
from ..records import (
    HandlerAttempt,
    OutboxEntry,
    Record,
    RecordedEvent,
    change,
    intent_alias,
    pending,
    receipt_alias,
    x_intent_alias,
)
from ..wire import IntentAnswer
from .context import FlowContext, retry
from .recording import next_reconcile_ms, record_event, with_decision

# --- find the owner ------------------------------------------------------------------------------


def find_owner(event: Event) -> Command[Record | None]:
    """Whose event is this? xPay's id, then our id in the metadata, then a receipt that fits one.

    The record is loaded to decide this event.

    What xPay's id is known to belong to, no other name can take away: metadata can be copied from
    one intent to another, and a receipt has many attempts. Only what is proven to be for this
    merchant may claim an intent by a name that others can write: with an ECDSA signature alone, any
    merchant could put our id into their metadata.
    """
    identity = event.identity
    if event.x_intent_id:
        found = yield from load(x_intent_alias(event.x_intent_id), identity)
        if owner := _only([r for r in found if r.intent is not None]):
            return owner
    if event.intent_id and event.is_for_this_merchant:
        found = yield from load(intent_alias(event.intent_id), identity)
        if owner := _only(list(found)):
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


# The reason of a refusal, beside those of `signing` and `wire`.
UNPROVEN_LIMIT: Final = "unproven-limit"
# An intent that is to appear has appeared by then; what is still parked is not ours.
UNMATCHED_AFTER_MS: Final = 3_600_000
# Anybody's events carry a good ECDSA signature. Of our own, few overtake the answer to a creation.
UNPROVEN_PER_DAY: Final = 1000
_DAY_MS: Final = 86_400_000


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
    order = yield from order_paid_elsewhere(event) if event.is_for_this_merchant else _nothing()
    entry = unmatched_entry(event, now_ms, context) if order is None else None
    reconcile_at_ms = next_reconcile_ms(0, now_ms, context.settings) if event.x_intent_id else None
    empty = Record(key=key, aliases=frozenset(aliases), unmatched_in=realm)
    if not (yield from append_unmatched(empty, recorded, reconcile_at_ms, entry)):
        return None
    if order is not None:
        yield from flag_paid_elsewhere(order, event, context)
    if event.x_intent_id:
        # The intent may have got this id just before we wrote: look again, see `attach_parked`.
        yield from attach_parked(event.x_intent_id, context)
    return recorded


def _nothing() -> Command[None]:
    yield from ()


def parking_key(event: Event, realm: str) -> str:
    """Where an unmatched event is kept: a record for each intent of xPay's, or for each event."""
    if event.x_intent_id:
        return f"parked:{realm}:{x_intent_alias(event.x_intent_id)}"
    return f"parked:{realm}:event:{event.event_id}"


def unmatched_entry(event: Event, now_ms: int, context: FlowContext) -> OutboxEntry | None:
    """The call of `on_unmatched` that this event makes due, if it may raise one."""
    quiet = (*context.settings.quiet_event_types, PROBE_EVENT_TYPE)
    if not event.is_for_this_merchant or event.type in quiet:
        return None
    return OutboxEntry(
        id=f"on_unmatched:{event.event_key}",
        name="on_unmatched",
        subject=event.event_key,
        next_at_ms=now_ms + UNMATCHED_AFTER_MS if event.x_intent_id else now_ms,
    )


def append_unmatched(
    empty: Record,
    recorded: RecordedEvent,
    reconcile_at_ms: int | None,
    entry: OutboxEntry | None,
) -> Command[bool]:
    """Add an event to a record without an intent; one that is recorded already costs no write.

    Args:
        empty: the record, as it is before the first event.
        entry: the call that the event makes due.

    Raises:
        UntrustedMessage: too many came today that an ECDSA signature alone proves.
    """
    found = yield from load(empty.key, recorded.event.identity)
    record = found[0] if found else empty
    if any(known.id == recorded.id for known in record.events):
        return True
    if not recorded.event.is_for_this_merchant:
        room = yield from _take_room(empty.unmatched_in, recorded.at_ms)
        if not room:
            return False
    recorded, known = attrs.evolve(recorded, version=record.version + 1), record
    record = record.as_of(recorded.at_ms)
    after = attrs.evolve(
        record,
        events=(*record.events, recorded),
        outbox=(*record.outbox, entry) if entry is not None else record.outbox,
        reconcile_at_ms=record.reconcile_at_ms or reconcile_at_ms,
    )
    return (yield from commit(change(known, after.set_at(recorded.at_ms))))


def _take_room(realm: str, now_ms: int) -> Command[bool]:
    """One of today's places for an unproven event; False is a lost race. A record counts them."""
    key = f"unproven:{realm}:{now_ms // _DAY_MS}"
    found = yield from load(key)
    empty = Record(key=key, aliases=frozenset({key}), unmatched_in=realm)
    record = found[0] if found else empty
    if record.version >= UNPROVEN_PER_DAY:
        detail = f"{UNPROVEN_PER_DAY} events that fit nothing and that ECDSA alone proves, today"
        raise UntrustedMessage(UNPROVEN_LIMIT, detail)
    return (yield from commit(change(record, record)))


# --- paid elsewhere ------------------------------------------------------------------------------


def order_paid_elsewhere(event: Event) -> Command[Record | None]:
    """The attempt to flag, if this is a payment for a receipt of ours that no attempt has made.

    The caller knows that the event is this merchant's and that no intent of ours is its owner.
    """
    if event.kind not in PAYMENT_KINDS or event.receipt_id is None:
        return None
    found = yield from load(receipt_alias(event.receipt_id))
    attempts = [(record, record.intent) for record in found if record.intent is not None]
    if any(not i.x_intent_ids and i.state != "rejected" for _, i in attempts):
        # It could be this attempt's, whose answer is not known yet. Parked events are looked at
        # again.
        return None
    flagged = [record for record, i in attempts if _payment_name(event) in i.paid_elsewhere]
    return next(iter([*flagged, *(record for record, _ in reversed(attempts))]), None)


def flag_paid_elsewhere(order: Record, event: Event, context: FlowContext) -> Command[None]:
    """Name the payment on the order; once, however often it is reported."""
    flag = ev.own(ev.PAID_ELSEWHERE, (yield from now()), subject=_payment_name(event))
    yield from record_event(order.key, flag, context)


def _payment_name(event: Event) -> str:
    return event.x_intent_id or event.event_id


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
    events = [ev.without_metadata(r.event) for record in parked for r in record.events]
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
    now_ms = yield from now()
    for record in parked:
        closed = attrs.evolve(record, reconcile_at_ms=None)
        for entry in pending(record.outbox):
            end = HandlerAttempt(
                at_ms=now_ms,
                version=record.version + 1,
                outcome="dropped",
                error="its payment has appeared",
            )
            closed = closed.with_entry(attrs.evolve(entry, status="dropped", log=entry.logged(end)))
        if closed != record:
            yield from commit(change(record, closed))


def attach_to_late_owner(parked: Record, context: FlowContext) -> Command[Record | None]:
    """The intent of parked events, if it has appeared meanwhile; then it has the events.

    If not, a payment for a receipt of ours is named on the order.
    """
    (whole,) = yield from history(parked.key)
    for recorded in whole.events:
        owner = yield from find_owner(recorded.event)
        if owner is None:
            yield from _look_elsewhere(recorded.event, context)
            continue
        yield from record_event(owner.key, ev.without_metadata(recorded.event), context)
        if recorded.event.x_intent_id:
            yield from attach_parked(recorded.event.x_intent_id, context)
        return owner
    return None


def _look_elsewhere(event: Event, context: FlowContext) -> Command[None]:
    order = yield from order_paid_elsewhere(event)
    if order is None:
        return
    if not event.is_for_this_merchant and not (yield from _xpay_confirms(event, context)):
        return
    yield from flag_paid_elsewhere(order, event, context)


def _xpay_confirms(event: Event, context: FlowContext) -> Command[bool]:
    """Whether xPay answers, to our keys, that this intent is paid for this receipt."""
    if event.x_intent_id is None:
        return False
    answer = yield from xpay_api.get_intent(event.x_intent_id, context.settings)
    if not isinstance(answer, IntentAnswer):
        return False
    report = ev.from_report(answer, 0)
    return report.kind in PAYMENT_KINDS and report.receipt_id == event.receipt_id


def forgotten_if_unproven(parked: Record) -> Command[Record]:
    """The record as it is after its schedule: what ECDSA alone proves is kept by its key only."""
    (whole,) = yield from history(parked.key)
    if any(recorded.event.is_for_this_merchant for recorded in whole.events):
        return parked
    return attrs.evolve(parked, aliases=frozenset({parked.key}))
