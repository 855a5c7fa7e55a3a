"""What did code of schema version 1 write? The rows of records that had no realm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xpay_flow.records import Change
from xpay_flow.stores.rows import entry_row, event_row, intent_row


def put_as_version_1(
    step: Change, execute: Callable[[str, Mapping[str, Any]], object], prefix: str = ""
) -> None:
    """The first commit of a record, by named values, as version 1 wrote it."""
    record = step.record
    head = intent_row(record)
    assert head.pop("realm") == ""
    assert head.pop("due_set_ms") is None
    assert "realm" not in str(head["document"])
    rows = [("intents", head)]
    rows += [("events", event_row(record.key, event)) for event in step.new_events]
    rows += [("outbox", entry_row(record.key, entry)) for entry in step.changed_entries]
    rows += [("aliases", {"record_key": record.key, "alias": a}) for a in record.aliases]
    for table, row in rows:
        values = ", ".join(f":{column}" for column in row)
        execute(f"INSERT INTO {prefix}{table} ({', '.join(row)}) VALUES ({values})", row)
