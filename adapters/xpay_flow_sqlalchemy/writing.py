"""How is a change put down, on a database that takes one statement at a time?

The first statement decides who wins: the unique key of a new record, or the version of a known one,
whose row is then ours until the end of the transaction. What follows is safe from other writers.
PostgreSQL gets all of it in one statement, see `postgresql`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from xpay_flow.records import Change, Record
from xpay_flow.stores.batches import put_each
from xpay_flow.stores.rows import (
    INTENT_COLUMNS,
    OUTBOX_COLUMNS,
    Row,
    blanked_rows,
    entry_row,
    event_row,
    intent_row,
)

from .tables import Tables


class Writing:
    """The statements that write, built once for a set of tables."""

    def __init__(self, tables: Tables) -> None:
        intents, outbox, aliases = tables.intents, tables.outbox, tables.aliases
        self._put_new = insert(intents)
        self._put_next = (
            update(intents)
            .where(
                intents.c.record_key == bindparam("known_key"),
                intents.c.version == bindparam("expected_version"),
            )
            .values({name: bindparam(name) for name in INTENT_COLUMNS[1:]})
        )
        self._put_event = insert(tables.events)
        self._put_entry = insert(outbox)
        self._replace_entry = (
            update(outbox)
            .where(
                outbox.c.record_key == bindparam("known_key"),
                outbox.c.entry_id == bindparam("known_id"),
            )
            .values({name: bindparam(name) for name in OUTBOX_COLUMNS[2:]})
        )
        self._aliases = select(aliases.c.alias).where(
            aliases.c.record_key == bindparam("known_key")
        )
        self._put_alias = insert(aliases)
        self._drop_alias = delete(aliases).where(
            aliases.c.record_key == bindparam("known_key"),
            aliases.c.alias == bindparam("known_alias"),
        )

    def commit(self, connection: Connection, change: Change) -> bool:
        """Put the change down, in the connection's transaction; False is a lost race."""
        return self.put(connection, change)

    def commit_many(self, connection: Connection, changes: Sequence[Change]) -> Sequence[bool]:
        """Put these changes down, of records that all differ; False is a lost race."""
        return put_each(changes, partial(self.put, connection))

    def acknowledge(self, connection: Connection) -> None:
        """A commit that has returned counts."""

    def put(self, connection: Connection, change: Change) -> bool:
        """As `commit`; it is durable only after the connection's own commit."""
        if not self._put_head(connection, change):
            return False
        key = change.record.key
        if events := [event_row(key, recorded) for recorded in change.new_events]:
            connection.execute(self._put_event, events)
        for entry in change.changed_entries:
            self._put_outbox_entry(connection, entry_row(key, entry))
        self._put_aliases(connection, change)
        return True

    def _put_head(self, connection: Connection, change: Change) -> bool:
        row = intent_row(change.record)
        if not change.expected_version:
            try:
                connection.execute(self._put_new, row)
            except IntegrityError:
                # No column is left empty, so it is the key: another made this record. Of the
                # transaction, these databases undo the statement only.
                return False
            return True
        known = {"known_key": row.pop("record_key"), "expected_version": change.expected_version}
        return connection.execute(self._put_next, {**known, **row}).rowcount == 1

    def _put_outbox_entry(self, connection: Connection, row: Row) -> None:
        known: dict[str, Any] = {"known_key": row["record_key"], "known_id": row["entry_id"]}
        rest = {name: row[name] for name in OUTBOX_COLUMNS[2:]}
        if not connection.execute(self._replace_entry, {**known, **rest}).rowcount:
            connection.execute(self._put_entry, row)

    def _put_aliases(self, connection: Connection, change: Change) -> None:
        key, wanted = change.record.key, change.record.aliases
        known = set(connection.execute(self._aliases, {"known_key": key}).scalars())
        if new := [{"record_key": key, "alias": alias} for alias in sorted(wanted - known)]:
            connection.execute(self._put_alias, new)
        if old := [{"known_key": key, "known_alias": alias} for alias in sorted(known - wanted)]:
            connection.execute(self._drop_alias, old)


def blank(connection: Connection, tables: Tables, whole: Record) -> None:
    """Empty the payloads of a record's events, in the connection's transaction."""
    events = tables.events
    for row in blanked_rows(whole):
        connection.execute(
            update(events)
            .where(
                events.c.record_key == row["record_key"],
                events.c.event_key == row["event_key"],
            )
            .values(document=row["document"])
        )
