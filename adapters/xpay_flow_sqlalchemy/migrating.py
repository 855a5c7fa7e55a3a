"""How are the tables made and migrated? The work of `xpay-flow db`.

The steps are those of `migrations`; Alembic records them in a version table of its own, apart
from that of a shop with migrations of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from xpay_flow.errors import ConfigurationError, StoreUnavailable

from . import schema
from .columns import MYSQL
from .engines import PATIENT_S, Place, place, plain_async_engine, plain_engine
from .names import Names
from .tables import Tables

T = TypeVar("T")

_BRANCH = "xpay_flow"


def upgrade(url: str, *, to: int | None = None) -> int:
    """Take every step that is missing, or those up to version `to`; the version afterwards.

    Raises:
        ConfigurationError: the tables are kept by migrations of the shop's own.
        StoreUnavailable: the database did not answer, or refused; see its words.
    """
    target = f"{_BRANCH}@head" if to is None else f"{_BRANCH}_{to}"
    return _changed(url, lambda config: command.upgrade(config, target))


def downgrade(url: str, *, to: int) -> int:
    """Take back the steps after version `to`; 0 is no tables, and only where there is no payment.

    Raises:
        ConfigurationError: payments would be lost, or the tables are kept by the shop's own
            migrations.
        StoreUnavailable: the database did not answer, or refused; see its words.
    """
    target = f"{_BRANCH}_{to}" if to else "base"
    return _changed(url, lambda config: command.downgrade(config, target))


def remove(url: str) -> None:
    """Take back every step, and Alembic's version table; only where there is no payment."""
    downgrade(url, to=0)

    def drop(connection: Connection, tables: Tables) -> None:
        connection.execute(text(f"DROP TABLE {tables.names.path('alembic_version')}"))
        connection.commit()

    _run(place(url), drop)


def current(url: str) -> int:
    """The version of the schema; 0 is no tables."""
    return _run(place(url), lambda connection, tables: schema.current(connection, tables)[0])


def check(url: str) -> None:
    """Raise SchemaMismatch unless this version of the library can work on the tables."""
    _run(place(url), schema.check)


def _changed(url: str, act: Callable[[Config], None]) -> int:
    where = place(url)

    def change(connection: Connection, tables: Tables) -> int:
        _take_turn(connection, where)
        _refuse_a_strangers(connection, tables)
        act(_config(connection, where.names))
        connection.commit()
        return schema.current(connection, tables)[0]

    return _run(where, change)


# Each ends with the transaction, or with the connection.
_TURNS: Final = {
    "postgresql": "SELECT pg_advisory_xact_lock(hashtextextended('{name}', 0))",
    **dict.fromkeys(MYSQL, "SELECT GET_LOCK('{name}', {patient_s:.0f})"),
    # Its driver begins nothing for what makes tables, so this also has all steps succeed or none.
    "sqlite": "BEGIN IMMEDIATE",
}


def _take_turn(connection: Connection, where: Place) -> None:
    """Wait until no other process changes these tables: a deployment may start many at once."""
    if where.pooler:
        # The session has no settings; these end with the transaction.
        connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENT_S:.0f}s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    names = where.names
    turn = _TURNS[connection.dialect.name]
    account = names.of("alembic_version")
    given = connection.execute(text(turn.format(name=account, patient_s=PATIENT_S)))
    if given.returns_rows and given.scalar() == 0:
        raise StoreUnavailable(f"others have been changing the tables for {PATIENT_S:.0f} s")


def _config(connection: Connection, names: Names) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["names"] = names
    return config


def _refuse_a_strangers(connection: Connection, tables: Tables) -> None:
    """Tables missing in our version table were made by the shop's own migrations."""
    names = tables.names
    kept = MigrationContext.configure(
        connection,
        opts={"version_table": names.of("alembic_version"), "version_table_schema": names.schema},
    )
    if schema.current(connection, tables)[0] and not kept.get_current_heads():
        raise ConfigurationError(
            f"{names.path('intents')} is there and was not made by xpay-flow db; "
            "the migrations that made it must change it"
        )


def _run(where: Place, work: Callable[[Connection, Tables], T]) -> T:
    """The result of `work`, over either kind of driver."""
    tables = Tables(names=where.names)
    try:
        if where.is_async:
            return asyncio.run(_awaited(where, lambda connection: work(connection, tables)))
        engine = plain_engine(where)
        with engine.connect() as connection:
            return work(connection, tables)
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(f"the database did not do it: {error}") from error


async def _awaited(where: Place, work: Callable[[Connection], T]) -> T:
    engine = plain_async_engine(where)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()
