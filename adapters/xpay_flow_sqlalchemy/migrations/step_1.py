"""What is in the first schema? Frozen: a change is a new step, never an edit of this one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    UniqueConstraint,
    text,
)

from ..columns import KEY_CHARS, MYSQL, PART_CHARS, Counter, Document, Name, Words
from ..names import Names

# The oldest code that can work on what this step leaves.
OLDEST_CODE: Final = 1

_KEY: Final = Name(KEY_CHARS)
_PART: Final = Name(PART_CHARS)
# The nullable columns are the intent's; a parked record has none.
_INTENTS: Final = (
    ("version", BigInteger, False),
    ("intent_id", _KEY, True),
    ("receipt_id", _KEY, True),
    ("attempt", BigInteger, True),
    ("x_intent_id", _KEY, True),
    ("state", _KEY, True),
    ("amount_minor", BigInteger, True),
    ("currency", _KEY, True),
    ("refunded_minor", BigInteger, True),
    ("refund_status", _KEY, True),
    ("dispute_status", _KEY, True),
    ("attention", Words, True),
    ("created_at_ms", BigInteger, True),
    ("deliver_at_ms", BigInteger, True),
    ("reconcile_at_ms", BigInteger, True),
    ("document", Document, False),
)
_FACTS: Final = (
    ("event_key", _PART),
    ("kind", _KEY),
    ("type", _KEY),
    ("source", _KEY),
    ("event_id", _KEY),
    ("at_ms", BigInteger),
    ("disposition", _KEY),
    ("why", Words),
    ("document", Document),
)
_EFFECTS: Final = (
    ("entry_id", _PART),
    ("name", _KEY),
    ("subject", _PART),
    ("status", _KEY),
    ("tries", BigInteger),
    ("next_at_ms", BigInteger),
    ("document", Document),
)


def upgrade(op: Any, names: Names) -> None:
    _make_intents(op, names)
    _make_parts(op, names, "events", "event_key", _FACTS)
    _make_parts(op, names, "outbox", "entry_id", _EFFECTS)
    _make_aliases(op, names)
    op.create_table(
        names.of("schema"),
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("oldest_code", Integer, nullable=False),
        schema=names.schema,
    )
    for statement in _append_only(op.get_context().dialect.name, names):
        op.execute(statement)


def downgrade(op: Any, names: Names) -> None:
    for table in ("schema", "aliases", "outbox", "events", "intents"):
        op.drop_table(names.of(table), schema=names.schema)
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"DROP FUNCTION {names.path('events_append_only')}()")


def _make_intents(op: Any, names: Names) -> None:
    op.create_table(
        names.of("intents"),
        Column("seq", Counter, primary_key=True, autoincrement=True),
        Column("record_key", _KEY, nullable=False),
        *(Column(name, kind, nullable=optional) for name, kind, optional in _INTENTS),
        UniqueConstraint("record_key", name=names.of("intents_key")),
        schema=names.schema,
    )
    for work in ("deliver", "reconcile"):
        waits = text(f"{work}_at_ms IS NOT NULL")
        op.create_index(
            names.of(f"intents_to_{work}"),
            names.of("intents"),
            [f"{work}_at_ms", "record_key"],
            schema=names.schema,
            postgresql_where=waits,
            sqlite_where=waits,
        )


def _make_parts(op: Any, names: Names, table: str, part_id: str, columns: Any) -> None:
    op.create_table(
        names.of(table),
        Column("seq", Counter, primary_key=True, autoincrement=True),
        Column("record_key", _KEY, nullable=False),
        *(Column(name, kind, nullable=False) for name, kind in columns),
        _belongs_to_a_record(names),
        UniqueConstraint("record_key", part_id, name=names.of(f"{table}_once")),
        schema=names.schema,
    )


def _make_aliases(op: Any, names: Names) -> None:
    op.create_table(
        names.of("aliases"),
        Column("alias", _KEY, nullable=False),
        Column("record_key", _KEY, nullable=False),
        PrimaryKeyConstraint("alias", "record_key"),
        _belongs_to_a_record(names),
        schema=names.schema,
    )
    op.create_index(
        names.of("aliases_of_record"), names.of("aliases"), ["record_key"], schema=names.schema
    )


def _belongs_to_a_record(names: Names) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["record_key"], [f"{names.path('intents')}.record_key"])


def _append_only(dialect: str, names: Names) -> Iterator[str]:
    """Not even plain SQL changes what is on file."""
    events, why = names.path("events"), "events are append-only"
    if dialect == "postgresql":
        function = names.path("events_append_only")
        yield (
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{why}'; END $$"
        )
        yield (
            f"CREATE TRIGGER {names.of('events_append_only')}"
            f" BEFORE UPDATE OR DELETE OR TRUNCATE ON {events}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )
        return
    refuse = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{why}'"
    for verb, word in (("UPDATE", "changed"), ("DELETE", "deleted")):
        trigger = names.path(f"events_are_not_{word}")
        if dialect in MYSQL:
            yield f"CREATE TRIGGER {trigger} BEFORE {verb} ON {events} FOR EACH ROW {refuse}"
        else:
            yield (
                f"CREATE TRIGGER {trigger} BEFORE {verb} ON {events}"
                f" BEGIN SELECT RAISE (ABORT, '{why}'); END"
            )
