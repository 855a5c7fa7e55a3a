"""What does plain SQL see of a record? Columns to search and count by, beside the document.

The document alone is read back. The columns say the same in a form that an index, a report or a
person with a prompt can use. Times are epoch milliseconds.
"""

from __future__ import annotations

import json
from typing import Final, TypeAlias

from xpay_flow.intent import Intent
from xpay_flow.ports import HELD
from xpay_flow.records import Fact, Owed, Record

from .codec import head_to_document, part_to_document, to_text

Row: TypeAlias = dict[str, str | int | None]

_OF_INTENT: Final = (
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
# How the document of an effect ends that `is_held`: its log is the last that is written of it.
HELD_ENDING: Final = f'"outcome":"started","error":"{HELD}"}}]}}'
# The first columns are the identity, the others may change.
INTENT_COLUMNS: Final = (
    "record_key",
    "version",
    *_OF_INTENT,
    "deliver_at_ms",
    "ask_at_ms",
    "document",
)
FACT_COLUMNS: Final = (
    "record_key",
    "fact_id",
    "kind",
    "type",
    "source",
    "event_id",
    "at_ms",
    "disposition",
    "why",
    "document",
)
EFFECT_COLUMNS: Final = (
    "record_key",
    "effect_id",
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
    """The record without facts and effects; parked news has no intent, so those are null."""
    intent = record.intent
    return {
        "record_key": record.key,
        "version": record.version,
        **(_intent_columns(intent) if intent else dict.fromkeys(_OF_INTENT)),
        "deliver_at_ms": record.deliver_at_ms,
        "ask_at_ms": record.ask_at_ms,
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


def fact_row(record_key: str, fact: Fact) -> Row:
    """One fact of a record."""
    return {
        "record_key": record_key,
        "fact_id": fact.id,
        "kind": fact.event.kind,
        "type": fact.event.type,
        "source": fact.event.source,
        "event_id": fact.event.event_id,
        "at_ms": fact.at_ms,
        "disposition": fact.disposition,
        "why": fact.why,
        "document": to_text(part_to_document(fact)),
    }


def effect_row(record_key: str, effect: Owed) -> Row:
    """One owed effect of a record."""
    return {
        "record_key": record_key,
        "effect_id": effect.id,
        "name": effect.name,
        "subject": effect.subject,
        "status": effect.status,
        "tries": effect.tries,
        "next_at_ms": effect.next_at_ms,
        "document": to_text(part_to_document(effect)),
    }
