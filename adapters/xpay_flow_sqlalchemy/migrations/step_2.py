"""How did records get a realm, and the clock of their due times? Frozen, as each step is.

And how can the payload of a recorded event be erased, while all else of it stays as it is?
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import BigInteger, Column, text

from xpay_flow.errors import ConfigurationError

from ..columns import KEY_CHARS, MYSQL, Name
from ..names import Names

# Code of version 1 reads no record that has a realm, and would work on that of every realm.
OLDEST_CODE: Final = 2


def upgrade(op: Any, names: Names) -> None:
    # What is there belongs to no realm, until a setting names its account.
    realm: Column[str] = Column("realm", Name(KEY_CHARS), nullable=False, server_default="")
    op.add_column(names.of("intents"), realm, schema=names.schema)
    _change_indexes(op, names, "realm")
    clock: Column[int] = Column("due_set_ms", BigInteger, nullable=True)
    op.add_column(names.of("intents"), clock, schema=names.schema)
    is_set = text("due_set_ms IS NOT NULL")
    op.create_index(
        names.of("intents_due_set"),
        names.of("intents"),
        ["realm", "due_set_ms"],
        schema=names.schema,
        postgresql_where=is_set,
        sqlite_where=is_set,
    )
    for statement in _payload_can_be_erased(op.get_context().dialect.name, names):
        op.execute(statement)


def downgrade(op: Any, names: Names) -> None:
    found = op.get_bind().execute(
        text(f"SELECT count(*) FROM {names.path('intents')} WHERE realm <> ''")
    )
    if count := found.scalar_one():
        raise ConfigurationError(
            f"{names.path('intents')} holds {count} record(s) of a mode and an account, which "
            "older code cannot read"
        )
    for statement in _nothing_can_be_erased(op.get_context().dialect.name, names):
        op.execute(statement)
    op.drop_index(names.of("intents_due_set"), names.of("intents"), schema=names.schema)
    op.drop_column(names.of("intents"), "due_set_ms", schema=names.schema)
    _change_indexes(op, names)
    op.drop_column(names.of("intents"), "realm", schema=names.schema)


_WHY: Final = "events are append-only"
_NAMED: Final = ("seq", "record_key", "event_key", "kind", "type", "source", "event_id", "at_ms")
# All columns but the document.
_COLUMNS: Final = (*_NAMED, "disposition", "why")


def _payload_can_be_erased(dialect: str, names: Names) -> Iterator[str]:
    """An update may take the payload out of an event's document, and do nothing else."""
    events, trigger = names.path("events"), names.path("events_are_not_changed")
    if dialect == "postgresql":
        yield f"DROP TRIGGER {names.of('events_append_only')} ON {events}"
        yield _refusing(names, "DELETE OR TRUNCATE")
        function = names.path("events_only_forget")
        yield (
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF to_jsonb(NEW) - 'document' = to_jsonb(OLD) - 'document'"
            " AND NEW.document::jsonb = OLD.document::jsonb #- '{event,payload}'"
            f" THEN RETURN NEW; END IF; RAISE EXCEPTION '{_WHY}'; END $$"
        )
        yield (
            f"CREATE TRIGGER {names.of('events_only_forget')} BEFORE UPDATE ON {events}"
            f" FOR EACH ROW EXECUTE FUNCTION {function}()"
        )
        return
    yield f"DROP TRIGGER {trigger}"
    if dialect in MYSQL:
        changed = " OR ".join(f"NOT NEW.{name} <=> OLD.{name}" for name in _COLUMNS)
        # MySQL and MariaDB differ in how they write JSON, so the text is compared: it is that of
        # before with one piece cut out, which begins with the payload.
        at = """LOCATE(',"payload":"', OLD.document)"""
        old, new = "BINARY OLD.document", "BINARY NEW.document"
        changed += (
            f" OR {at} = 0 OR LEFT({new}, {at} - 1) <> LEFT({old}, {at} - 1)"
            f" OR SUBSTRING({new}, {at}) <> RIGHT({old}, LENGTH(NEW.document) - {at} + 1)"
            f" OR NOT JSON_VALID(NEW.document)"
            f" OR JSON_EXTRACT(NEW.document, '$.event.payload') IS NOT NULL"
        )
        yield (
            f"CREATE TRIGGER {trigger} BEFORE UPDATE ON {events} FOR EACH ROW BEGIN"
            f" IF {changed} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_WHY}'; END IF; END"
        )
        return
    payload = "'$.event.payload'"
    changed = " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in _COLUMNS)
    yield (
        f"CREATE TRIGGER {trigger} BEFORE UPDATE ON {events}"
        f" WHEN json_extract(NEW.document, {payload}) IS NOT NULL"
        f" OR json_remove(NEW.document, {payload}) IS NOT json_remove(OLD.document, {payload})"
        f" OR {changed} BEGIN SELECT RAISE (ABORT, '{_WHY}'); END"
    )


def _nothing_can_be_erased(dialect: str, names: Names) -> Iterator[str]:
    """As the first step had it."""
    events, trigger = names.path("events"), names.path("events_are_not_changed")
    if dialect == "postgresql":
        for name in ("events_only_forget", "events_append_only"):
            # A check of the store has none that keeps its events.
            yield f"DROP TRIGGER IF EXISTS {names.of(name)} ON {events}"
        yield f"DROP FUNCTION {names.path('events_only_forget')}()"
        yield _refusing(names, "UPDATE OR DELETE OR TRUNCATE")
        return
    yield f"DROP TRIGGER {trigger}"
    if dialect in MYSQL:
        refuse = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_WHY}'"
        yield f"CREATE TRIGGER {trigger} BEFORE UPDATE ON {events} FOR EACH ROW {refuse}"
    else:
        yield (
            f"CREATE TRIGGER {trigger} BEFORE UPDATE ON {events}"
            f" BEGIN SELECT RAISE (ABORT, '{_WHY}'); END"
        )


def _refusing(names: Names, what: str) -> str:
    return (
        f"CREATE TRIGGER {names.of('events_append_only')} BEFORE {what} ON {names.path('events')}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {names.path('events_append_only')}()"
    )


def _change_indexes(op: Any, names: Names, *first: str) -> None:
    for work in ("deliver", "reconcile"):
        name, waits = names.of(f"intents_to_{work}"), text(f"{work}_at_ms IS NOT NULL")
        op.drop_index(name, names.of("intents"), schema=names.schema)
        op.create_index(
            name,
            names.of("intents"),
            [*first, f"{work}_at_ms", "record_key"],
            schema=names.schema,
            postgresql_where=waits,
            sqlite_where=waits,
        )
