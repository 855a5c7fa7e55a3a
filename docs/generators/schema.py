"""The page of the schemas, for your own queries: the SQLite file's, and the SQL servers'."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from sqlalchemy import Table
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.dialects.postgresql import dialect as postgresql_dialect

from xpay_flow.stores.sqlite_schema import APPLICATION_ID, MIGRATIONS, migrate
from xpay_flow_sqlalchemy import Tables
from xpay_flow_sqlalchemy.schema import CODE

from .markdown import code, table

TABLES = {
    "intents": "One row for each attempt, or for each unknown intent of xPay with parked events.",
    "events": "One row for each recorded event and its decision. Append-only: triggers refuse to "
    "change or delete a row, but for emptying its payload.",
    "outbox": "One row for each handler call, pending or finished.",
    "aliases": "The names under which records are found.",
}
COLUMNS = {
    "seq": "the order in which rows were made",
    "record_key": "the key of the record",
    "version": "how many commits the record has seen",
    "realm": "mode and account, such as `live/my-shop`; empty if stored before there were realms",
    "intent_id": "our id; null for parked events",
    "receipt_id": "your order id",
    "attempt": "1 for the first attempt for the receipt",
    "x_intent_id": "xPay's id, once known",
    "state": "see the lifecycle",
    "amount_minor": "the expected amount, in minor units",
    "currency": "ISO 4217",
    "refunded_minor": "the sum of all known refunds",
    "refund_status": "`none`, `partial` or `full`",
    "dispute_status": "`none`, `open`, `under_review`, `won` or `lost`",
    "attention": "a JSON array of reasons; null if there is none",
    "created_at_ms": "when the attempt was stored",
    "deliver_at_ms": "when the next handler call may start; null is never",
    "reconcile_at_ms": "when xPay is queried next; null is never",
    "due_set_ms": "the clock by which these times were set; null if nothing is due",
    "document": "the whole record as JSON; the library reads only this",
    "event_key": "the identity of the event: id and content",
    "kind": "the row of the lifecycle that decides it",
    "type": "the type, in its source's words",
    "source": "`webhook`, `answer` or `merchant`",
    "event_id": "xPay's `eventId`, or a name of our own",
    "at_ms": "when we recorded it",
    "disposition": "how the event was decided: see the glossary",
    "why": "one sentence",
    "entry_id": "also the idempotency key given to the handler",
    "name": "of the handler",
    "subject": "the subject of the call: a refund's id, a reason, or empty",
    "status": "`pending`, `done`, `dropped` or `gave_up`",
    "tries": "how often the handler was started",
    "next_at_ms": "when it may next be started; of a running one, when its lease ends",
    "alias": "a name: key, `intent:…`, `x:…` or `receipt:…`",
}


def schema_page() -> str:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database)
        parts = [_table(database, name) for name in TABLES]
    return f"# SQLite schema\n\n{_introduction()}\n" + "\n".join(parts) + "\n" + _servers()


def _introduction() -> str:
    return (
        f"This is version {len(MIGRATIONS)} of the schema (`PRAGMA user_version`), in a file whose "
        f"`PRAGMA application_id` is {APPLICATION_ID}.\n"
        "`schema_versions` has one row for each version that the file has had, with the oldest "
        "code that can work on it.\n"
        "The columns beside `document` are there for you to query; read, do not write.\n"
        "Times are epoch milliseconds. Renaming a column is a migration and a release note.\n"
    )


def _table(database: sqlite3.Connection, name: str) -> str:
    found = database.execute(f"PRAGMA table_info({name})").fetchall()
    rows = (
        (code(column), kind, "" if needed or key else "may be null", COLUMNS[column])
        for _, column, kind, needed, _, key in found
    )
    columns = table(("Column", "Type", "", "Means"), rows)
    return f"## {name}\n\n{TABLES[name]}\n\n{columns}\n"


def _servers() -> str:
    tables = Tables()
    shown = (tables.intents, tables.events, tables.outbox, tables.aliases, tables.schema_versions)
    return (
        "## PostgreSQL, MariaDB and MySQL\n\n"
        "The same columns under other table names; each means what it means above.\n"
        f"This is version {CODE} of that schema, recorded in `{tables.schema_versions.name}`: one "
        "row for each version, with the oldest code that can work on it.\n"
        'Names are compared byte by byte: `COLLATE "C"` on PostgreSQL, `utf8mb4_nopad_bin` on '
        "MariaDB, `utf8mb4_0900_bin` on MySQL.\n\n"
        + "\n".join(_server_table(each) for each in shown)
    )


def _server_table(shown: Table) -> str:
    dialects = (postgresql_dialect(), MariaDBDialect())
    rows = (
        (
            code(column.name),
            # Without the collations, which are the same for all names.
            *(column.type.compile(dialect).split(" ")[0] for dialect in dialects),
            "may be null" if column.nullable else "",
        )
        for column in shown.columns
    )
    return f"### {shown.name}\n\n{table(('Column', 'PostgreSQL', 'MariaDB', ''), rows)}\n"
