"""Which tables do we use? The same columns on each database, as in the SQLite file.

A test compares these definitions with the result of the newest migration.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)

from xpay_flow.stores.rows import EVENT_COLUMNS, INTENT_COLUMNS, OUTBOX_COLUMNS

from .columns import KEY_CHARS, PART_CHARS, Counter, Document, Name, Words
from .names import Names

_NUMBERS: Final = frozenset(
    {"version", "attempt", "amount_minor", "refunded_minor", "tries"}
    | {"created_at_ms", "deliver_at_ms", "reconcile_at_ms", "due_set_ms", "at_ms", "next_at_ms"}
)
_LONG: Final = {"document": Document, "why": Words, "attention": Words}
_PARTS: Final = ("event_key", "entry_id", "subject")


class Tables:
    """Our tables, in `metadata`: your own, if you want to query them or Alembic to know them."""

    def __init__(self, metadata: MetaData | None = None, names: Names | None = None) -> None:
        self.names = names or Names()
        self.metadata = MetaData() if metadata is None else metadata
        self.intents = self._table(
            "intents",
            _counter("seq"),
            *(_column(name, optional=_may_be_null(name)) for name in INTENT_COLUMNS),
            UniqueConstraint("record_key", name=self.names.of("intents_key")),
        )
        for work in ("deliver", "reconcile"):
            self._due_index(work)
        set_ms = self.intents.c.due_set_ms
        Index(
            self.names.of("intents_due_set"),
            self.intents.c.realm,
            set_ms,
            postgresql_where=set_ms.is_not(None),
            sqlite_where=set_ms.is_not(None),
        )
        self.events = self._table(
            "events",
            _counter("seq"),
            *(_column(name, self._owner(name)) for name in EVENT_COLUMNS),
            UniqueConstraint("record_key", "event_key", name=self.names.of("events_once")),
        )
        self.outbox = self._table(
            "outbox",
            _counter("seq"),
            *(_column(name, self._owner(name)) for name in OUTBOX_COLUMNS),
            UniqueConstraint("record_key", "entry_id", name=self.names.of("outbox_once")),
        )
        self.aliases = self._table(
            "aliases",
            Column("alias", Name(KEY_CHARS), primary_key=True),
            Column("record_key", Name(KEY_CHARS), *self._owner("record_key"), primary_key=True),
            Index(self.names.of("aliases_of_record"), "record_key"),
        )
        # One row for each version that the schema has had; see `schema`.
        self.schema_versions = self._table(
            "schema",
            Column("version", Integer, primary_key=True, autoincrement=False),
            Column("oldest_code", Integer, nullable=False),
        )

    def _table(self, name: str, *items: Any) -> Table:
        return Table(self.names.of(name), self.metadata, *items, schema=self.names.schema)

    def _owner(self, column: str) -> tuple[ForeignKey, ...]:
        if column != "record_key":
            return ()
        return (ForeignKey(self.intents.c.record_key),)

    def _due_index(self, work: str) -> None:
        # Most records have nothing due, and then they are not in these at all (in MySQL's, they
        # are: it has no partial indexes).
        due = self.intents.c[f"{work}_at_ms"]
        Index(
            self.names.of(f"intents_to_{work}"),
            self.intents.c.realm,
            due,
            self.intents.c.record_key,
            postgresql_where=due.is_not(None),
            sqlite_where=due.is_not(None),
        )


def _counter(name: str) -> Column[int]:
    return Column(name, Counter, primary_key=True, autoincrement=True)


def _column(name: str, more: tuple[ForeignKey, ...] = (), optional: bool = False) -> Column[Any]:
    if name in _NUMBERS:
        kind: Any = BigInteger
    else:
        kind = _LONG.get(name) or Name(PART_CHARS if name in _PARTS else KEY_CHARS)
    # Rows of the first schema have no realm.
    default = "" if name == "realm" else None
    return Column(name, kind, *more, nullable=optional, server_default=default)


def _may_be_null(name: str) -> bool:
    """The intent's columns are null on a record of unmatched events."""
    return name not in ("record_key", "version", "realm", "document")
