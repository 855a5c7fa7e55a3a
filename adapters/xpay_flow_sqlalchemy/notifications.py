"""How do processes on one PostgreSQL report changes to each other? With NOTIFY and LISTEN.

Not in the transaction of a webhook: PostgreSQL commits those that notify one after another. Reports
are sent afterwards, many in one statement, which waits for no disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import Connection, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.util import greenlet_spawn

from .database import Database
from .tables import Tables

# How often a thread that listens looks whether it is to stop.
LOOKS_S: Final = 0.5

_REPORT: Final = text(
    "SELECT set_config('synchronous_commit', 'off', true), count(pg_notify(:channel, digest))"
    " FROM unnest(:digests) AS digest"
).bindparams(bindparam("digests", type_=ARRAY(Text)))


def channel_of(tables: Tables) -> str:
    """The channel of these tables, within PostgreSQL's limit for names."""
    name = tables.intents.fullname.encode()
    return f"xpay_flow_{blake2b(name, digest_size=8).hexdigest()}"


def report(connection: Connection, channel: str, digests: Sequence[str]) -> None:
    """Pass these words to all who listen; in a transaction of its own."""
    connection.execute(_REPORT, {"channel": channel, "digests": list(digests)}).all()


def taken_out(database: Database) -> Any:
    """A connection of the driver's that no pool knows, to listen on."""
    connection = database.connected(database.autocommitting)
    driver = connection.connection.driver_connection
    connection.detach()
    return driver


def listen(
    database: Database,
    channel: str,
    reported: Callable[[str], None],
    stopping: Callable[[], bool],
) -> None:
    """Call `reported` with each word, until `stopping`."""
    driver = taken_out(database)
    try:
        driver.execute(f"LISTEN {channel}")
        while not stopping():
            for notification in driver.notifies(timeout=LOOKS_S):
                reported(notification.payload)
    finally:
        driver.close()


async def listen_awaited(
    database: Database,
    channel: str,
    reported: Callable[[str], None],
    stopping: Callable[[], bool],
) -> None:
    """The same for the drivers that are awaited; ends also when its task is cancelled."""
    driver = await greenlet_spawn(taken_out, database)
    try:
        if hasattr(driver, "add_listener"):
            await _asyncpg(driver, channel, reported, stopping)
        else:
            await driver.execute(f"LISTEN {channel}")
            while not stopping():
                async for notification in driver.notifies(timeout=LOOKS_S):
                    reported(notification.payload)
    finally:
        await asyncio.shield(driver.close())


async def _asyncpg(
    driver: Any, channel: str, reported: Callable[[str], None], stopping: Callable[[], bool]
) -> None:
    def received(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
        reported(payload)

    await driver.add_listener(channel, received)
    while not stopping() and not driver.is_closed():
        await asyncio.sleep(LOOKS_S)
