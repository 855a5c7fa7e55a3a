"""Is the schema one that this version can work on? Each version is a row of a small table.

Each migration adds a row with its number and with the oldest code that can still work on what it
leaves.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, inspect, select

from xpay_flow.errors import SchemaMismatch
from xpay_flow.stores.schema_versions import refuse_left_behind

from .tables import Tables

# What this version of the code reads and writes.
CODE: Final = 2

_UPGRADE: Final = "run xpay-flow db upgrade, or your own migrations"


def current(connection: Connection, tables: Tables) -> tuple[int, int]:
    """The version of the schema, and the oldest code that works on it; (0, 0) is no schema."""
    versions = tables.schema_versions
    if not inspect(connection).has_table(versions.name, schema=versions.schema):
        return 0, 0
    newest = select(versions).order_by(versions.c.version.desc()).limit(1)
    found = connection.execute(newest).one_or_none()
    return (found.version, found.oldest_code) if found else (0, 0)


def check(connection: Connection, tables: Tables) -> None:
    """Raise SchemaMismatch if this code cannot work on the schema; the text names the remedy."""
    version, oldest_code = current(connection, tables)
    if not version:
        raise SchemaMismatch(
            f"there is no table {tables.schema_versions.fullname} in the database; {_UPGRADE}"
        )
    if version < CODE:
        raise SchemaMismatch(
            f"the database has schema {version}, and this version of xpay-flow needs {CODE}; "
            f"{_UPGRADE}"
        )
    refuse_left_behind(version, oldest_code, code=CODE)
