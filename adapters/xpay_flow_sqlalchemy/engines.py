"""Which engine does a URL mean? A bounded pool whose waits end before a webhook's time is up.

The URL, or an engine of your own, may override all of it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from functools import partial
from importlib import import_module
from time import monotonic
from typing import Any, Final, cast

import attrs
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from xpay_flow.errors import ConfigurationError, MissingExtra
from xpay_flow.stores.shares import CONNECTIONS, CONNECTIONS_BEHIND_POOLER, CONNECTIONS_MIN
from xpay_flow.stores.sqlite_durability import keep_commits, write_ahead
from xpay_flow.stores.sqlite_file import Identity, identity, make_private, refuse_another_file

from . import pooler
from .columns import MYSQL
from .forks import share_events
from .names import DEFAULT_PREFIX, Names

# Connections that are kept open: the row locks of a worker's eight handlers, and those that no
# handler may hold. With fewer, each lock of a rush would connect anew, which takes most of its
# time. More are opened when needed, and closed after it. See `shares`.
KEPT: Final = 10
# Beside those: the connections of a store's reader. Customers who wait are one look at a time, so
# they need one, and an operator's page another.
READERS: Final = 2
# The most that webhooks have beside the engine, with asyncpg; see `asyncpg_fast_path`.
DIRECT: Final = 10
# xPay stops listening after 2 s, and we answer 503 after 1.5 s. A webhook waits at most once for a
# connection, and its statements for others that hold the same row.
POOL_WAIT_S: Final = 0.7
CONNECT_S: Final = 2
STATEMENT_MS: Final = 1200
# A migration waits so long for a lock: for those who write to an SQLite file, one after another, or
# for a transaction that uses the table. While it waits, all others queue up behind it.
PATIENT_S: Final = 30.0
# A connection idle for longer is pinged before it is used. A ping each time would be one round
# trip more for each webhook.
IDLE_S: Final = 5.0

# What a scheme without a driver means; `postgres` is what many hosts write.
_DRIVERS: Final = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
# The extra that brings a driver.
_EXTRAS: Final = {"psycopg": "postgresql", "asyncpg": "asyncpg"}
_OURS: Final = "sqlalchemy+"


@attrs.frozen
class Place:
    """What a store's URL names: the database, and our tables in it."""

    url: URL
    names: Names
    connections: int = CONNECTIONS
    pooler: bool = False

    @property
    def is_async(self) -> bool:
        """Whether the driver is one that is awaited."""
        return bool(self.url.get_dialect().is_async)


def place(url: str) -> Place:
    """Read a URL of ours.

    Beside what SQLAlchemy and the driver understand, it may have `table_prefix` and
    `table_schema`, see `Names`, `connections`, see `xpay_flow.stores.shares`, and `pooler`.
    """
    try:
        parsed = make_url(url.removeprefix(_OURS))
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "this is not the URL of a database; write postgresql://user:password@host/database"
        ) from None
    scheme = parsed.drivername
    parsed = parsed.set(drivername=_DRIVERS.get(scheme, scheme))
    if scheme == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError("a database in memory loses payments; in tests use memory://")
    names = Names(
        prefix=_one(parsed, "table_prefix") or DEFAULT_PREFIX, schema=_one(parsed, "table_schema")
    )
    behind = _pooler(parsed)
    usual = CONNECTIONS_BEHIND_POOLER if behind else CONNECTIONS
    return Place(
        url=parsed.difference_update_query(_OUR_OPTIONS),
        names=names,
        connections=_number(parsed, "connections", usual),
        pooler=behind,
    )


_OUR_OPTIONS: Final = ("table_prefix", "table_schema", "connections", "pooler")


def _pooler(url: URL) -> bool:
    given = _one(url, "pooler")
    if given not in (None, "transaction"):
        raise ConfigurationError("write pooler=transaction, or leave it out: other modes need none")
    if given is not None and url.get_backend_name() != "postgresql":
        raise ConfigurationError("pooler=transaction is for PostgreSQL")
    return given is not None


def _number(url: URL, name: str, usual: int) -> int:
    given = _one(url, name)
    if given is None:
        return usual
    if not given.isdecimal() or int(given) < CONNECTIONS_MIN:
        raise ConfigurationError(f"{name} must be a whole number, at least {CONNECTIONS_MIN}")
    return int(given)


def _one(url: URL, name: str) -> str | None:
    value = url.query.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ConfigurationError(f"the URL has {name} more than once")


def open_engine(where: Place) -> Engine:
    """The engine of a program that blocks."""
    engine: Engine = _made(create_engine, where, **_pool_options(where.connections))
    _watch(engine, where.names.prefix)
    if where.pooler:
        pooler.limit_statements(engine, 2 * STATEMENT_MS / 1000)
    return engine


def open_async_engine(where: Place) -> AsyncEngine:
    """The engine of a program that awaits."""
    options = _pool_options(where.connections)
    engine: AsyncEngine = _made(create_async_engine, where, **options)
    _watch(engine.sync_engine, where.names.prefix)
    return engine


def connections_of(engine: Engine) -> int:
    """The most connections that the engine's pool opens; where it has no limit, ours."""
    pool: Any = engine.pool
    kept: Any = getattr(pool, "size", None)
    more: int = getattr(pool, "_max_overflow", -1)
    size = int(cast(Any, kept)()) if callable(kept) else 0
    return size + more if size > 0 and more >= 0 else CONNECTIONS


def another_engine(engine: Engine) -> Engine:
    """An engine with connections of its own, for which all statements are compiled already."""
    twin = copy(engine)
    twin.pool = engine.pool.recreate()
    share_events(engine.pool, twin.pool)
    return twin


def reader_engine(engine: Engine) -> Engine:
    """The engine for a store's reader: no look of a customer's takes a connection of a webhook's.

    A pool that keeps no connections, or has only one, is left as it is.
    """
    return another_engine(engine) if isinstance(engine.pool, QueuePool) else engine


def plain_engine(where: Place) -> Engine:
    """An engine for migrations: nothing is kept, and a statement has no limit but for its locks."""
    engine: Engine = _made(create_engine, where, patient=True, poolclass=NullPool)
    return engine


def plain_async_engine(where: Place) -> AsyncEngine:
    """The same for a driver that is awaited."""
    engine: AsyncEngine = _made(create_async_engine, where, patient=True, poolclass=NullPool)
    return engine


def _pool_options(connections: int) -> dict[str, Any]:
    # The connection used last is taken first, so that those of a rush grow old and are few.
    return {
        "pool_size": min(KEPT, connections),
        "max_overflow": max(0, connections - KEPT),
        "pool_timeout": POOL_WAIT_S,
        "pool_use_lifo": True,
    }


def _made(create: Any, where: Place, *, patient: bool = False, **options: Any) -> Any:
    url = where.url
    driver = url.drivername.partition("+")[2]
    if url.get_backend_name() in MYSQL:
        # A lock that covers gaps would make strangers wait for each other.
        options["isolation_level"] = "READ COMMITTED"
    arguments = _driver_options(where, patient)
    try:
        engine = create(url, connect_args=arguments, hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(driver, "mysql" if url.get_backend_name() in MYSQL else "sqlalchemy")
        raise MissingExtra(error.name or driver, extra) from error
    except (ArgumentError, TypeError) as error:
        raise ConfigurationError(f"the URL of the database cannot be used: {error}") from None
    if url.get_backend_name() == "sqlite":
        opened = getattr(engine, "sync_engine", engine)
        if not patient:
            _keep_to_its_file(opened)
        event.listen(opened, "do_connect", _make_private)
    return engine


def _make_private(_: object, __: object, arguments: list[Any], ___: object) -> None:
    # What is no path is made by nothing of ours.
    if arguments and not str(arguments[0]).startswith(("file:", ":")):
        make_private(arguments[0])


def asyncpg_connect(where: Place, engine: Engine) -> Callable[[], Awaitable[Any]]:
    """What makes a connection of the driver itself, as an engine of ours would have it."""
    _, of_url = engine.dialect.create_connect_args(engine.url)
    options = {**of_url, **_driver_options(where)}
    # In SQLAlchemy's words: without prepared statements.
    if options.pop("prepared_statement_cache_size", None) == 0:
        options["statement_cache_size"] = 0
    options.pop("prepared_statement_name_func", None)
    return partial(asyncpg_module().connect, **options)


def asyncpg_module() -> Any:
    """asyncpg; a URL that names it implies that it is installed."""
    return import_module("asyncpg")


def _driver_options(where: Place, patient: bool = False) -> dict[str, Any]:
    """Our options for the driver, but for those that the URL sets."""
    driver = where.url.drivername.partition("+")[2] or where.url.drivername
    arguments = _connect_arguments(driver, patient)
    if where.pooler:
        # Settings of a session are not kept by it, and some poolers refuse them.
        arguments.pop("options", None)
        arguments.pop("server_settings", None)
        arguments |= pooler.options(driver, None if patient else 2 * STATEMENT_MS / 1000)
    return {name: value for name, value in arguments.items() if name not in where.url.query}


def _connect_arguments(driver: str, patient: bool) -> dict[str, Any]:
    """How long each driver may wait, in its own words."""
    match driver:
        case "psycopg" | "psycopg_async":
            limits = _postgresql_limits(patient).items()
            return {
                "connect_timeout": CONNECT_S,
                "options": " ".join(f"-c {name}={value}" for name, value in limits),
                # A server that has vanished, and not closed the connection.
                "tcp_user_timeout": 2 * STATEMENT_MS,
            }
        case "asyncpg":
            return {
                "timeout": CONNECT_S,
                "server_settings": _postgresql_limits(patient),
                # As above, of a server that has vanished.
                "command_timeout": None if patient else 2 * STATEMENT_MS / 1000,
            }
        case "pymysql" | "aiomysql":
            return _mysql_arguments(driver, patient)
        case "sqlite" | "pysqlite":
            return {"timeout": PATIENT_S if patient else POOL_WAIT_S}
        case _:
            return {}


def _postgresql_limits(patient: bool) -> dict[str, str]:
    if not patient:
        return {"statement_timeout": str(STATEMENT_MS)}
    return {"statement_timeout": "0", "lock_timeout": f"{PATIENT_S * 1000:.0f}"}


def _mysql_arguments(driver: str, patient: bool) -> dict[str, Any]:
    # Without the strict mode, a text that is too long would be cut, in silence.
    settings = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')"
    if patient:
        locks = f"innodb_lock_wait_timeout = {PATIENT_S:.0f}, lock_wait_timeout = {PATIENT_S:.0f}"
        return {"connect_timeout": CONNECT_S, "init_command": f"{settings}, {locks}"}
    limited = {
        "connect_timeout": CONNECT_S,
        "init_command": f"{settings}, innodb_lock_wait_timeout = 1",
    }
    waits = {"read_timeout": 2, "write_timeout": 2}
    return limited | (waits if driver == "pymysql" else {})


# --- connections ---------------------------------------------------------------------------------


def _watch(engine: Engine, prefix: str) -> None:
    """Ping idle connections before use, and make SQLite's commits durable."""
    dialect: Any = engine.dialect

    @event.listens_for(engine, "checkin")
    def rest(_: object, record: Any) -> None:
        record.info["xpay_flow_idle_since"] = monotonic()

    @event.listens_for(engine, "checkout")
    def wake(connection: Any, record: Any, _: object) -> None:
        since = record.info.get("xpay_flow_idle_since")
        if since is not None and monotonic() - since > IDLE_S and not _lives(connection):
            raise DisconnectionError  # The pool closes it and opens another.

    def _lives(connection: Any) -> bool:
        try:
            return bool(dialect.do_ping(connection))
        except dialect.loaded_dbapi.Error:
            return False

    if dialect.name == "sqlite":
        event.listen(engine, "connect", partial(_prepare_sqlite, prefix=prefix))


def _keep_to_its_file(engine: Engine) -> None:
    """Give out no connection to a file that was removed or replaced: what it writes is lost."""
    path, opened = os.path.abspath(engine.url.database or ""), list[Identity]()

    # Not only what is open: a new connection would make a new file, perhaps in the same place of
    # the disk, by which files are known.
    @event.listens_for(engine, "do_connect")
    def look_first(*_: object) -> None:
        if opened:
            refuse_another_file(path, opened[0])

    @event.listens_for(engine, "checkout")
    def look(*_: object) -> None:
        if opened:
            refuse_another_file(path, opened[0])
        else:
            with suppress(OSError):  # Such as a URI of SQLite's own.
                opened.append(identity(path))


def _prepare_sqlite(connection: Any, _: object, *, prefix: str) -> None:
    named = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if all(name.startswith((prefix, "sqlite_")) for (name,) in named):
        # The journal mode is kept in the file, so in a file of the shop's own it is the shop's.
        write_ahead(connection)
    keep_commits(connection)
