"""Which columns does SQL see of a record? Those to search and count by, beside the document.

The document alone is read back. The columns repeat it in a form that an index, a report or an
operator with a prompt can use. Times are epoch milliseconds.
"""

from __future__ import annotations

import json
from typing import Final, TypeAlias

from xpay_flow.events import EventIdentity
from xpay_flow.intent import Intent
from xpay_flow.ports import LOCKED
from xpay_flow.records import OutboxEntry, Record, RecordedEvent, without_payload

from .codec import head_to_document, part_to_document, to_text

Row: TypeAlias = dict[str, str | int | None]

_INTENT_COLUMNS: Final = (
    "intent_id",
    "receipt_id",
    "attempt",
    "x_intent_id",
    "state",
    "amount_minor",
    "currency",
    "refunded_minor",
    "refund_status",
    "dispute_status",
    "attention",
    "created_at_ms",
)
# How the document of an outbox entry ends that `is_locked`: its log is written last.
LOCKED_ENDING: Final = f'"outcome":"started","error":"{LOCKED}"}}]}}'
# The first columns are the identity, the others may change.
INTENT_COLUMNS: Final = (
    "record_key",
    "version",
    "realm",
    *_INTENT_COLUMNS,
    "deliver_at_ms",
    "reconcile_at_ms",
    "due_set_ms",
    "document",
)
EVENT_COLUMNS: Final = (
    "record_key",
    "event_key",
    "kind",
    "type",
    "source",
    "event_id",
    "at_ms",
    "disposition",
    "why",
    "document",
)
OUTBOX_COLUMNS: Final = (
    "record_key",
    "entry_id",
    "name",
    "subject",
    "status",
    "tries",
    "next_at_ms",
    "document",
)

# The greatest integer of a column. Single amounts stay far below; a sum of thousands might not.
_INTEGER_MAX: Final = 2**63 - 1


def intent_row(record: Record) -> Row:
    """The record without events and outbox; a parked event has no intent, so those are null."""
    intent = record.intent
    return {
        "record_key": record.key,
        "version": record.version,
        "realm": record.realm,
        **(_intent_columns(intent) if intent else dict.fromkeys(_INTENT_COLUMNS)),
        "deliver_at_ms": record.deliver_at_ms,
        "reconcile_at_ms": record.reconcile_at_ms,
        "due_set_ms": record.due_set_ms,
        "document": to_text(head_to_document(record)),
    }


def _intent_columns(intent: Intent) -> Row:
    return {
        "intent_id": intent.id,
        "receipt_id": intent.receipt_id,
        "attempt": intent.attempt,
        "x_intent_id": intent.x_intent_id,
        "state": intent.state,
        "amount_minor": intent.money.amount_minor,
        "currency": intent.money.currency,
        "refunded_minor": min(intent.refunded_minor, _INTEGER_MAX),
        "refund_status": intent.refund_status,
        "dispute_status": intent.dispute_status,
        "attention": json.dumps(intent.attention) if intent.attention else None,
        "created_at_ms": intent.created_at_ms,
    }


def event_row(record_key: str, recorded: RecordedEvent) -> Row:
    """One event of a record."""
    return {
        "record_key": record_key,
        "event_key": recorded.id,
        "kind": recorded.event.kind,
        "type": recorded.event.type,
        "source": recorded.event.source,
        "event_id": recorded.event.event_id,
        "at_ms": recorded.at_ms,
        "disposition": recorded.disposition,
        "why": recorded.why,
        "document": to_text(part_to_document(recorded)),
    }


# Which row of an event is rewritten, and with what.
BLANKED: Final = ("document", "record_key", "event_key")


def blanked_rows(whole: Record) -> list[dict[str, str]]:
    """For each recorded event with a payload, its identity and its document without one."""
    return [
        {
            "document": to_text(part_to_document(without_payload(recorded))),
            "record_key": whole.key,
            "event_key": recorded.id,
        }
        for recorded in whole.events
        if recorded.event.payload
    ]


# What is sent to find an event's contents; see `alike`.
ALIKE: Final = ("key", "id", "first", "beyond")


def alike(event: EventIdentity) -> dict[str, str]:
    """How the keys of an event's contents are found: its own key, and a range of an index.

    Keys are compared byte by byte. So those that begin with the id and "#" are the ones from there
    to the id and "$", which is the next character; ids that hold a "#" themselves are distinguished
    by `id`.
    """
    return {
        "key": event.key,
        "id": event.event_id,
        "first": f"{event.event_id}#",
        "beyond": f"{event.event_id}$",
    }


def entry_row(record_key: str, entry: OutboxEntry) -> Row:
    """One outbox entry of a record."""
    return {
        "record_key": record_key,
        "entry_id": entry.id,
        "name": entry.name,
        "subject": entry.subject,
        "status": entry.status,
        "tries": entry.tries,
        "next_at_ms": entry.next_at_ms,
        "document": to_text(part_to_document(entry)),
    }
