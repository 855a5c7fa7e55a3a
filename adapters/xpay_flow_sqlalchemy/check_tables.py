"""Where is a store checked, on a database of yours? In tables of their own, gone afterwards.

Existing tables are not touched: these have another prefix than any shop's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Final, Generic, TypeVar

import attrs
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from . import migrating
from .columns import MYSQL
from .engines import Place, place, plain_async_engine, plain_engine
from .names import Names

S = TypeVar("S")

# With three bytes of chance, as in `xpay_check_1f2e3d_intents`.
_PREFIX: Final = "xpay_check"
# A run that was given up may have left a connection that holds locks of these tables.
_LEFT_S: Final = 5
_WAIT_BRIEFLY: Final = {
    "postgresql": f"SET lock_timeout = '{_LEFT_S}s'",
    **dict.fromkeys(MYSQL, f"SET innodb_lock_wait_timeout = {_LEFT_S}"),
}
_END_LEFT: Final = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND relation IN (SELECT oid FROM pg_class WHERE starts_with(relname, :prefix))
"""
# Those that refer to others come first.
_TABLES: Final = ("aliases", "outbox", "events", "intents")


@attrs.frozen(kw_only=True)
class ForCheck(Generic[S]):
    """Empty tables for as long as a check lasts.

    Args:
        url: names them.
        make: opens the store once more, with connections of its own, as another process would.
        reset: empties the tables; what was opened before goes on to work.
    """

    url: str
    make: Callable[[], S]
    reset: Callable[[], None]


@contextmanager
def for_check(
    url: str,
    opened: Callable[[str], S],
    clone: Callable[[S], S],
    closed: Callable[[S], object],
) -> Generator[ForCheck[S]]:
    """New tables in the database that `url` names, whose user may make and drop tables.

    Raises:
        StoreUnavailable: the database did not answer, or refused.
    """
    named = make_url(url).update_query_dict({"table_prefix": f"{_PREFIX}_{secrets.token_hex(3)}_"})
    own = named.render_as_string(hide_password=False)
    where = place(own)
    migrating.upgrade(own)
    try:
        with _connected(where) as done:
            done(partial(_prepare, names=where.names))
            empty = partial(_empty_by_force, names=where.names)
            first = opened(own)
            try:
                yield ForCheck(url=own, make=lambda: clone(first), reset=lambda: done(empty))
            finally:
                closed(first)
                done(partial(_end_left, names=where.names))
                done(empty)
    finally:
        migrating.remove(own)


@contextmanager
def _connected(where: Place) -> Generator[Callable[[Callable[[Connection], None]], None]]:
    """A function that runs work on one connection, over either kind of driver."""
    if not where.is_async:
        with plain_engine(where).connect() as connection:
            yield lambda work: work(connection)
        return
    awaited = plain_async_engine(where).connect()
    with asyncio.Runner() as runner:
        runner.run(_started(awaited))
        try:
            yield lambda work: runner.run(awaited.run_sync(work))
        finally:
            runner.run(awaited.close())


async def _started(connection: AsyncConnection) -> None:
    await connection.start()


def _prepare(connection: Connection, names: Names) -> None:
    """Events are append-only by a trigger, which would keep them from one run for the next."""
    if connection.dialect.name == "postgresql":
        drop = f"{names.of('events_append_only')} ON {names.path('events')}"
    else:
        drop = names.path("events_are_not_deleted")
    connection.execute(text(f"DROP TRIGGER {drop}"))
    if connection.dialect.name in _WAIT_BRIEFLY:
        connection.execute(text(_WAIT_BRIEFLY[connection.dialect.name]))
    connection.commit()


def _empty_by_force(connection: Connection, names: Names) -> None:
    """Also where a transaction that was left holds a row; its connection is ended."""
    try:
        _empty(connection, names)
    except DBAPIError:
        connection.rollback()
        _end_left(connection, names)
        _empty(connection, names)


def _end_left(connection: Connection, names: Names) -> None:
    """End the connections that hold locks of these tables; MariaDB shows them to admins only."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(_END_LEFT), {"prefix": names.prefix})
        connection.commit()


def _empty(connection: Connection, names: Names) -> None:
    for table in _TABLES:
        connection.execute(text(f"DELETE FROM {names.path(table)}"))
    connection.commit()
