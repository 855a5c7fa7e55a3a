"""Which drivers are known? One table, to be extended by a line.

A driver that is written in C is known by its types, one in Python by its functions. SQLAlchemy and
Django go down to these. A store may declare further callables of its own in an attribute
`statements`: `statements = (os.replace, MyStore._swap)`.

Where a driver is installed, a test sees to it that the names exist.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import attrs

from .statements import Driver, Statement, connection_of, resolved

_SQL_CURSOR: Final = ("execute", "executemany")
_SQL_CONNECTION: Final = ("commit", "rollback", "close")
_FETCHES: Final = ("fetch", "fetchrow", "fetchval", "fetchmany")
# The flags of a connection that a server of MySQL's kind sends with each answer.
_MYSQL_IN_TRANSACTION: Final = 1

QUIET_SQL = re.compile(r"\s*(BEGIN(\s+(DEFERRED|TRANSACTION))*\s*;?\s*$|PRAGMA\b)", re.IGNORECASE)


def _surface_sqlite(target: Any, report: Callable[[str], None]) -> None:
    """No waiting for locks, and a report of each statement that runs."""
    # Both are without effect on what is stored; a closed connection will raise by itself.
    with suppress(sqlite3.Error):
        sqlite3.Connection.execute(connection_of(target), "PRAGMA busy_timeout = 0")
    _trace_sqlite(target, report)


def _trace_sqlite(target: Any, report: Callable[[str], None]) -> None:
    with suppress(sqlite3.Error):
        connection_of(target).set_trace_callback(report)


def _quiet_sqlite(statement: Statement) -> bool:
    if statement.call in ("close", "__exit__") and statement.open_before:
        return False
    # A snapshot is taken, or a lock, by the first statement after a plain BEGIN.
    return all(QUIET_SQL.match(text) for text in statement.texts)


def _is_open_sqlite(target: Any) -> bool | None:
    try:
        return bool(connection_of(target).in_transaction)
    except sqlite3.ProgrammingError:
        return False  # closed


def _is_open_psycopg(target: Any) -> bool | None:
    # Everything but IDLE (0) and UNKNOWN (4), the latter of a connection that was closed.
    return connection_of(target).info.transaction_status not in (0, 4)


def _is_open_pymysql(target: Any) -> bool | None:
    return bool(connection_of(target).server_status & _MYSQL_IN_TRANSACTION)


def _monitor_psycopg(connection: Any) -> Any:
    connect: Any = resolved("psycopg", "connect")
    info = connection.info
    return connect(info.dsn, password=info.password or None, autocommit=True)


def _waits_psycopg(monitor: Any, connection: Any) -> bool | None:
    # A lock that was given to a waiting session is its own at once, whether it has woken or not.
    query = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
    return bool(monitor.execute(query, (connection.info.backend_pid,)).fetchone()[0])


def _monitor_pymysql(connection: Any) -> Any:
    connect: Any = resolved("pymysql", "connect")
    at = {name: getattr(connection, name) for name in ("host", "port", "user", "password")}
    return connect(**at, ssl_disabled=not connection.ssl, autocommit=True)


def _waits_pymysql(monitor: Any, connection: Any) -> bool | None:
    with monitor.cursor() as cursor:
        # The tables that show the same are renewed only 0.1 s after the last read of them.
        cursor.execute("SHOW ENGINE INNODB STATUS")
        status = str(cursor.fetchone()[2])
    transactions = status.split("---TRANSACTION ")[1:]
    mine = f" thread id {connection.thread_id()},"
    return any("LOCK WAIT" in one for one in transactions if mine in one)


def _is_open_asyncpg(target: Any) -> bool | None:
    connection = connection_of(target)
    return not connection.is_closed() and bool(connection.is_in_transaction())


class _AsyncpgMonitor:
    """One more connection, with an event loop of its own."""

    def __init__(self, connection: Any) -> None:
        connect: Any = resolved("asyncpg", "connect")
        # Where it is connected to, no public attribute shows.
        (host, port), parameters = connection._addr, connection._params
        at = {name: getattr(parameters, name) for name in ("user", "password", "database")}
        self._runner = asyncio.Runner()
        try:
            self._connection = self._runner.run(connect(host=host, port=port, **at))
        except BaseException:
            self._runner.close()
            raise

    def waits(self, connection: Any) -> bool:
        query = "SELECT cardinality(pg_blocking_pids($1)) > 0"
        return bool(self._runner.run(self._connection.fetchval(query, connection.get_server_pid())))

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()


def _quiet_sql(statement: Statement) -> bool:
    """To end a transaction that was never begun is nothing."""
    return statement.call in _SQL_CONNECTION and statement.open_before is False


def _quiet_asyncpg(statement: Statement) -> bool:
    """A snapshot is taken, or a lock, by the first statement after a plain BEGIN."""
    return any(QUIET_SQL.match(text) for text in statement.texts)


def _drop_file(target: Any) -> None:
    """What is still in the buffers of a process that died never reaches the file."""
    with suppress(Exception):
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, target.fileno())
        finally:
            os.close(sink)
        target.close()


def _sql(connection: Iterable[str], cursor: Iterable[str]) -> tuple[str, ...]:
    return (*(f"Connection.{c}" for c in connection), *(f"Cursor.{c}" for c in cursor))


DRIVERS: Final[tuple[Driver, ...]] = (
    Driver(
        name="sqlite3",
        module="sqlite3",
        calls=_sql(
            (*_SQL_CURSOR, "executescript", *_SQL_CONNECTION, "__exit__"),
            (*_SQL_CURSOR, "executescript"),
        ),
        opens=("connect",),
        surface=_surface_sqlite,
        quiet=_quiet_sqlite,
        is_open=_is_open_sqlite,
        isolated=True,
    ),
    Driver(
        name="psycopg",
        module="psycopg",
        calls=_sql(("execute", *_SQL_CONNECTION), (*_SQL_CURSOR, "copy")),
        opens=("Connection.connect",),
        quiet=_quiet_sql,
        is_open=_is_open_psycopg,
        monitor=_monitor_psycopg,
        waits=_waits_psycopg,
    ),
    Driver(
        name="psycopg2",
        module="psycopg2.extensions",
        calls=(
            *("connection.commit", "connection.rollback", "connection.close"),
            *("cursor.execute", "cursor.executemany"),
        ),
        # Of OperationalError, the only kind that this module has.
        failure="QueryCanceledError",
    ),
    Driver(
        name="pymysql",
        module="pymysql.connections",
        calls=("Connection.query", "Connection.commit", "Connection.rollback", "Connection.close"),
        opens=("Connection.connect",),
        failure="err.OperationalError",
        quiet=_quiet_sql,
        is_open=_is_open_pymysql,
        monitor=_monitor_pymysql,
        waits=_waits_pymysql,
    ),
    Driver(
        name="asyncpg",
        module="asyncpg",
        calls=(
            *(f"Connection.{call}" for call in ("execute", "executemany", *_FETCHES)),
            *(f"prepared_stmt.PreparedStatement.{call}" for call in ("executemany", *_FETCHES)),
        ),
        # What is prepared has done nothing yet.
        opens=("connect", "Connection.prepare"),
        drop=lambda target: connection_of(target).terminate(),
        failure="ConnectionDoesNotExistError",
        quiet=_quiet_asyncpg,
        is_open=_is_open_asyncpg,
        monitor=_AsyncpgMonitor,
        waits=lambda monitor, connection: monitor.waits(connection),
    ),
    Driver(
        name="redis",
        module="redis",
        calls=("Redis.execute_command", "client.Pipeline.execute"),
        drop=lambda target: target.connection_pool.disconnect(),
        failure="ConnectionError",
    ),
    # No statements; but the dead write no log either.
    Driver(name="logging", module="logging", calls=(), opens=("Logger._log",)),
    Driver(
        name="files",
        module="os",
        calls=("replace", "rename", "link", "remove", "unlink", "fsync", "write", "truncate"),
        failure="error",
    ),
    Driver(
        name="files",
        module="io",
        calls=(
            *("open", "TextIOWrapper.write", "TextIOWrapper.flush", "TextIOWrapper.close"),
            *("TextIOWrapper.__exit__", "BufferedWriter.write", "BufferedWriter.flush"),
            *("BufferedWriter.close", "BufferedWriter.__exit__", "FileIO.write"),
            *("FileIO.close", "FileIO.truncate"),
        ),
        drop=_drop_file,
        failure="OSError",
    ),
)

# The same, where a call that meets a lock waits for it as long as its store has patience.
PATIENT: Final = tuple(
    attrs.evolve(driver, surface=_trace_sqlite) if driver.name == "sqlite3" else driver
    for driver in DRIVERS
)
