"""What happened to one payment, and why? Its recorded events and handler attempts, in order.

A timeline is derived from the record and stored nowhere, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import attrs

from .errors import UnknownIntent
from .events import Event
from .intent import Intent
from .realm import EVERY_REALM, UNNAMED, Realms
from .records import HandlerAttempt, OutboxEntry, Record, RecordedEvent

Who = Literal["shop", "xPay", "handler"]

# How an event reached us, in words.
_BY: dict[str, str] = {"webhook": "webhook", "answer": "API answer", "merchant": "own act"}


@attrs.frozen(kw_only=True)
class Entry:
    """One line of a timeline.

    Args:
        at_ms: when we recorded it.
        version: of the record that first held it; entries are in its order.
        who: the sender or actor.
        what: the event's type, or the handler's name.
        how: `webhook`, `API answer`, `own act`, or `try 2 of handler`.
        verdict: a disposition, or how a try ended.
        why: one sentence.
        happened_at_ms: when it happened, if its source gives a time.
        details: amounts, codes and ids that the event carried, in order.
    """

    at_ms: int
    version: int
    who: Who
    what: str
    how: str
    verdict: str
    why: str
    happened_at_ms: int | None = None
    details: tuple[tuple[str, str], ...] = ()


@attrs.frozen(kw_only=True)
class Timeline:
    """One record and its entries. `intent` is None for parked events.

    Args:
        realm: the mode and account that it belongs to.
        is_ours: they are those of the flow that shows it, which works on no others.
    """

    key: str
    intent: Intent | None
    entries: tuple[Entry, ...]
    outbox: tuple[OutboxEntry, ...]
    realm: str = UNNAMED
    is_ours: bool = True

    def to_json(self) -> dict[str, Any]:
        """The timeline as plain values, for `--json` and pages, without the checkout address."""
        return {
            "key": self.key,
            "realm": self.realm,
            "is_ours": self.is_ours,
            "intent": summary(self.intent) if self.intent else None,
            "entries": [attrs.asdict(entry) for entry in self.entries],
            "outbox": [attrs.asdict(entry) for entry in self.outbox],
        }


def summary(intent: Intent) -> dict[str, Any]:
    """The intent as plain values, without what opens the checkout and without personal data."""
    return {
        "intent_id": intent.id,
        "x_intent_id": intent.x_intent_id,
        "receipt_id": intent.receipt_id,
        "attempt": intent.attempt,
        "state": intent.state,
        "amount_minor": intent.money.amount_minor,
        "currency": intent.money.currency,
        "amount": str(intent.money),
        "refunded_minor": intent.refunded_minor,
        "refund_status": intent.refund_status,
        "dispute_status": intent.dispute_status,
        "attention": list(intent.attention),
        "error_code": intent.failure.word if intent.failure else None,
        "payment_method": intent.payment_method.word if intent.payment_method else None,
        "created_at_ms": intent.created_at_ms,
    }


def timeline_of(record: Record, realms: Realms = EVERY_REALM) -> Timeline:
    """The timeline of one record, for an operator of these realms."""
    # Within one commit the handler attempt comes first: a handler that is given up causes the
    # event of giving up.
    entries = [step for due in record.outbox for step in _outbox_entries(due)]
    entries += [_event_entry(recorded) for recorded in record.events]
    # The order in which the store took them. Clocks of several processes may disagree with it.
    entries.sort(key=lambda entry: entry.version)
    return Timeline(
        key=record.key,
        intent=record.intent,
        entries=tuple(entries),
        outbox=record.outbox,
        realm=record.realm,
        is_ours=record.realm in realms,
    )


def only(records: Sequence[Record], name: str, realms: Realms = EVERY_REALM) -> Record:
    """The record found under a name: of several attempts, the last; those of `realms` go first.

    Raises:
        UnknownIntent: there is none.
    """
    if not records:
        raise UnknownIntent(name)
    ours = [record for record in records if record.realm in realms]
    return (ours or records)[-1]


def _event_entry(recorded: RecordedEvent) -> Entry:
    event = recorded.event
    return Entry(
        at_ms=recorded.at_ms,
        version=recorded.version,
        who="shop" if event.source == "merchant" else "xPay",
        what=event.type,
        how=_BY[event.source],
        verdict=recorded.disposition,
        why=recorded.why,
        happened_at_ms=event.at_ms if event.source == "webhook" else None,
        details=tuple(_carried(event)),
    )


def _carried(event: Event) -> Iterator[tuple[str, str]]:
    if event.amount_minor is not None:
        yield "amount", f"{event.amount_minor} {event.currency or ''} (minor units)"
    for name in ("status", "error_code", "payment_method", "refund_id", "dispute_id"):
        value = getattr(event, name)
        if value is not None and value != event.type:
            yield name, str(value)
    if event.source == "webhook":
        yield "event_id", event.event_id
        yield "proof", event.proof


def _outbox_entries(entry: OutboxEntry) -> Iterator[Entry]:
    tries = 0
    for attempt in entry.log:
        tries += attempt.outcome == "started"
        yield _try_entry(entry, attempt, tries)


def _try_entry(entry: OutboxEntry, attempt: HandlerAttempt, tries: int) -> Entry:
    return Entry(
        at_ms=attempt.at_ms,
        version=attempt.version,
        who="handler",
        what=f"{entry.name} ({entry.subject})" if entry.subject else entry.name,
        how=f"try {tries}" if tries else "outbox",
        verdict=attempt.outcome,
        why=attempt.error,
    )
