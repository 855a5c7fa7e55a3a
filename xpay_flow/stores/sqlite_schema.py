"""What is the schema of our SQLite database, and how is an older one migrated?

The columns beside `document` are there to be queried and indexed; what is read back is the
document. People query them, so renaming one is a migration and a release note.

A newer version may have been here. Each migration names the oldest code that can work on
what it leaves, so that processes of both versions share the file while the newer is rolled out.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import attrs

from xpay_flow.errors import ConfigurationError

from .schema_versions import refuse_left_behind

# "xpay" in ASCII: marks a file that is for payments alone. A file of the shop's own keeps its mark.
APPLICATION_ID: Final = 0x78706179
OUR_TABLES: Final = frozenset({"intents", "events", "outbox", "aliases", "schema_versions"})

_FIRST: Final = (
    # One row per attempt, or per unmatched intent of xPay's (intent_id is null).
    # `seq` is the order of creation, and unlike a bare rowid it survives VACUUM.
    """
    CREATE TABLE intents (
        seq            INTEGER PRIMARY KEY,
        record_key     TEXT NOT NULL UNIQUE,
        version        INTEGER NOT NULL,
        intent_id      TEXT,
        receipt_id     TEXT,
        attempt        INTEGER,
        x_intent_id    TEXT,
        state          TEXT,
        amount_minor   INTEGER,
        currency       TEXT,
        refunded_minor INTEGER,
        refund_status  TEXT,
        dispute_status TEXT,
        attention      TEXT,  -- a JSON array of reasons, null if there is none
        created_at_ms  INTEGER,
        deliver_at_ms  INTEGER,
        reconcile_at_ms      INTEGER,
        document       TEXT NOT NULL
    )
    """,
    # Most records have nothing due, and then they are not in these at all.
    """
    CREATE INDEX intents_to_deliver ON intents (deliver_at_ms, record_key)
    WHERE deliver_at_ms IS NOT NULL
    """,
    """
    CREATE INDEX intents_to_reconcile ON intents (reconcile_at_ms, record_key)
    WHERE reconcile_at_ms IS NOT NULL
    """,
    """
    CREATE TABLE events (
        seq         INTEGER PRIMARY KEY,
        record_key  TEXT NOT NULL REFERENCES intents (record_key),
        event_key     TEXT NOT NULL,
        kind        TEXT NOT NULL,
        type        TEXT NOT NULL,
        source      TEXT NOT NULL,
        event_id    TEXT NOT NULL,
        at_ms       INTEGER NOT NULL,
        disposition TEXT NOT NULL,
        why         TEXT NOT NULL,
        document    TEXT NOT NULL,
        UNIQUE (record_key, event_key)
    )
    """,
    """
    CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
    BEGIN SELECT RAISE (ABORT, 'events are append-only'); END
    """,
    """
    CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
    BEGIN SELECT RAISE (ABORT, 'events are append-only'); END
    """,
    # `seq` keeps the outbox of a record in the order in which they became due.
    """
    CREATE TABLE outbox (
        seq        INTEGER PRIMARY KEY,
        record_key TEXT NOT NULL REFERENCES intents (record_key),
        entry_id  TEXT NOT NULL,
        name       TEXT NOT NULL,
        subject    TEXT NOT NULL,
        status     TEXT NOT NULL,
        tries      INTEGER NOT NULL,
        next_at_ms INTEGER NOT NULL,
        document   TEXT NOT NULL,
        UNIQUE (record_key, entry_id)
    )
    """,
    """
    CREATE TABLE aliases (
        alias      TEXT NOT NULL,
        record_key TEXT NOT NULL REFERENCES intents (record_key),
        PRIMARY KEY (alias, record_key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX aliases_of_record ON aliases (record_key)",
)

# Work is looked up by realm, so that of others is not even looked at.
_SECOND: Final = (
    "ALTER TABLE intents ADD COLUMN realm TEXT NOT NULL DEFAULT ''",
    "DROP INDEX intents_to_deliver",
    "DROP INDEX intents_to_reconcile",
    """
    CREATE INDEX intents_to_deliver ON intents (realm, deliver_at_ms, record_key)
    WHERE deliver_at_ms IS NOT NULL
    """,
    """
    CREATE INDEX intents_to_reconcile ON intents (realm, reconcile_at_ms, record_key)
    WHERE reconcile_at_ms IS NOT NULL
    """,
    # The clock by which the due times were set: one that was set back shows in it.
    "ALTER TABLE intents ADD COLUMN due_set_ms INTEGER",
    """
    CREATE INDEX intents_due_set ON intents (realm, due_set_ms) WHERE due_set_ms IS NOT NULL
    """,
    # Of a recorded event the payload alone can be erased: what was decided by stays as it is.
    "DROP TRIGGER events_are_not_changed",
    """
    CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
    WHEN json_extract(NEW.document, '$.event.payload') IS NOT NULL
        OR json_remove(NEW.document, '$.event.payload')
            IS NOT json_remove(OLD.document, '$.event.payload')
        OR NEW.seq IS NOT OLD.seq
        OR NEW.record_key IS NOT OLD.record_key
        OR NEW.event_key IS NOT OLD.event_key
        OR NEW.kind IS NOT OLD.kind
        OR NEW.type IS NOT OLD.type
        OR NEW.source IS NOT OLD.source
        OR NEW.event_id IS NOT OLD.event_id
        OR NEW.at_ms IS NOT OLD.at_ms
        OR NEW.disposition IS NOT OLD.disposition
        OR NEW.why IS NOT OLD.why
    BEGIN SELECT RAISE (ABORT, 'events are append-only'); END
    """,
)


@attrs.frozen(kw_only=True)
class Migration:
    """What leads from one version to the next.

    Args:
        oldest_code: the first version of the code that can work on what this leaves. What only
            adds leaves it as it was; what takes something away comes a release later than the
            first code that does without it.
    """

    oldest_code: int
    statements: tuple[str, ...]


# Only ever add to the end.
MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration(oldest_code=1, statements=_FIRST),
    # Code of version 1 reads no record that has a realm, and would work on that of every realm.
    Migration(oldest_code=2, statements=_SECOND),
)

# Code of this version and later overwrites what it replaces.
SECURE_SINCE: Final = 2

# It is no part of any version: each version must be able to read it.
_VERSIONS: Final = """
    CREATE TABLE IF NOT EXISTS schema_versions (
        version     INTEGER PRIMARY KEY,
        oldest_code INTEGER NOT NULL
    )
"""
_PUT_VERSION: Final = "INSERT INTO schema_versions (version, oldest_code) VALUES (?, ?)"


def migrate(connection: sqlite3.Connection) -> None:
    """Make an empty or older database one of this version, in one transaction.

    A file that is for payments alone, and in which older code has left replaced text readable, is
    written anew afterwards.

    Raises:
        SchemaMismatch: a newer version of this library has been here, and left this one behind.
        ConfigurationError: a table of another program has a name of ours.
    """
    # Of several workers that start at once, one migrates and the others wait here.
    connection.execute("BEGIN IMMEDIATE")
    is_ours, user_version = is_our_file(connection), _pragma(connection, "user_version")
    version = user_version if is_ours else _version_beside(connection)
    connection.execute(_VERSIONS)
    refuse_left_behind(version, _oldest_code(connection, version), code=len(MIGRATIONS))
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute(_PUT_VERSION, (number, migration.oldest_code))
    # Written even when they are so already: a file that cannot be written shows now, when the
    # program starts, and not when a customer pays. Another program's file keeps its own.
    if is_ours:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        user_version = max(version, len(MIGRATIONS))
    connection.execute(f"PRAGMA user_version = {user_version}")
    connection.execute("COMMIT")
    if is_ours and 0 < version < SECURE_SINCE:
        connection.execute("VACUUM")


def is_our_file(connection: sqlite3.Connection) -> bool:
    """Whether the file is for payments alone: it is empty, or has our mark."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables or _pragma(connection, "application_id") == APPLICATION_ID


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _version_beside(connection: sqlite3.Connection) -> int:
    """How many migrations have been made beside the tables of another program.

    Raises:
        ConfigurationError: one of its own has a name of ours.
    """
    found: set[str] = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    taken = sorted(found & OUR_TABLES)
    if not taken:
        return 0
    # Ours are recognised by a column that hardly another table has.
    ours = "SELECT count(*) FROM pragma_table_info('schema_versions') WHERE name = 'oldest_code'"
    if connection.execute(ours).fetchone() == (0,) or not found >= OUR_TABLES:
        raise ConfigurationError(
            f"the database has tables of its own with names of ours ({', '.join(taken)}): give the "
            "payments a file of their own, or open it by sqlalchemy+sqlite:///…, whose tables have "
            "a prefix"
        )
    (version,) = connection.execute("SELECT max(version) FROM schema_versions").fetchone()
    return int(version)


def _oldest_code(connection: sqlite3.Connection, version: int) -> int:
    """The oldest code that works on this schema: its own, unless it names an older one."""
    found = connection.execute(
        "SELECT oldest_code FROM schema_versions WHERE version = ?", (version,)
    ).fetchone()
    return int(found[0]) if found else version
