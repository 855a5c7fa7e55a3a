"""Stores by hand that are awaited, on asyncpg, one right, and each of the others wrong in one way.

They keep the same tables as those that block; see `planted`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from checker.stores.planted_sqlite import due_among

from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.ports import AsyncReader
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work, for_deciding
from xpay_flow.stores.codec import to_document

from .kit import Place
from .planted_stores import RECORDS, record_of, text_of


def opener(place: Place, kind: Callable[[str], Plain]) -> Callable[[], Plain]:
    """Opens a store of this kind, as another process would."""
    return lambda: kind(place.by("postgresql"))


class Plain:
    """Right for whole records, such as those of the scenes: a document and an outbox for each."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Any]:
        """What was done within is committed at the end."""
        try:
            if self._connection is None:
                self._connection = await asyncpg.connect(self._url)
            async with self._connection.transaction():
                yield self._connection
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            await self.aclose()
            raise StoreUnavailable(str(error)) from error

    async def aclose(self) -> None:
        """Let go of the connection, whatever it was at."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    # --- reading ---------------------------------------------------------------------------------

    async def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [for_deciding(record, event) for record in await self.history(alias)]

    async def history(self, alias: str) -> Sequence[Record]:
        async with self._transaction() as connection:
            return await self._load(connection, alias)

    async def _load(self, connection: Any, alias: str) -> list[Record]:
        named = f"{RECORDS} JOIN shop_aliases a USING (record_key) WHERE a.alias = $1"
        return [record_of(*row) for row in await connection.fetch(named, alias)]

    async def recent(self, limit: int, realms: Realms = EVERY_REALM) -> Sequence[Record]:
        async with self._transaction() as connection:
            rows = await connection.fetch(f"{RECORDS} ORDER BY r.seq DESC")
        return [record for row in rows if (record := record_of(*row)).realm in realms][:limit]

    async def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return due_among(await self.recent(1_000), work, now_ms, limit, realms)

    def reader(self) -> AsyncReader:
        return self

    # --- writing ---------------------------------------------------------------------------------

    async def commit(self, change: Change) -> bool:
        async with self._transaction() as connection:
            if not await self._put(connection, change):
                return False
            await self._put_entries(connection, change)
            await self._put_aliases(connection, change)
        return True

    async def _put(self, connection: Any, change: Change) -> bool:
        values = (change.record.version, text_of(change.record), change.record.key)
        if change.expected_version:
            done = await connection.execute(
                "UPDATE shop_records SET version = $1, document = $2"
                " WHERE record_key = $3 AND version = $4",
                *values,
                change.expected_version,
            )
        else:
            done = await connection.execute(
                "INSERT INTO shop_records (version, document, record_key) VALUES ($1, $2, $3)"
                " ON CONFLICT (record_key) DO NOTHING",
                *values,
            )
        return bool(done.endswith(" 1"))

    async def _put_entries(self, connection: Any, change: Change) -> None:
        outbox = json.dumps(to_document(change.record).get("outbox", []))
        key = change.record.key
        await connection.execute("DELETE FROM shop_parts WHERE record_key = $1", key)
        await connection.execute("INSERT INTO shop_parts VALUES ($1, $2)", key, outbox)

    async def _put_aliases(self, connection: Any, change: Change) -> None:
        key = change.record.key
        await connection.execute("DELETE FROM shop_aliases WHERE record_key = $1", key)
        rows = [(alias, key) for alias in sorted(change.record.aliases)]
        await connection.executemany("INSERT INTO shop_aliases VALUES ($1, $2)", rows)


class ReadsFirst(Plain):
    """Reads the version, compares, and writes, in one transaction at READ COMMITTED."""

    async def _put(self, connection: Any, change: Change) -> bool:
        key = change.record.key
        if not change.expected_version:
            return await super()._put(connection, change)
        query = "SELECT version FROM shop_records WHERE record_key = $1"
        if await connection.fetchval(query, key) != change.expected_version:
            return False
        await connection.execute(
            "UPDATE shop_records SET version = $1, document = $2 WHERE record_key = $3",
            change.record.version,
            text_of(change.record),
            key,
        )
        return True


class EntriesLater(Plain):
    """The outbox is saved in a second transaction, which a reader may come before."""

    async def commit(self, change: Change) -> bool:
        async with self._transaction() as connection:
            if not await self._put(connection, change):
                return False
            await self._put_aliases(connection, change)
            if not change.expected_version:
                await self._put_entries(connection, change)
                return True
        async with self._transaction() as connection:
            await self._put_entries(connection, change)
        return True


class TornLoad(Plain):
    """Reads the row and then its outbox, at READ COMMITTED, where the second may be newer."""

    async def _load(self, connection: Any, alias: str) -> list[Record]:
        rows = await connection.fetch(
            "SELECT r.record_key, r.document FROM shop_records r"
            " JOIN shop_aliases a USING (record_key) WHERE a.alias = $1",
            alias,
        )
        outbox = "SELECT outbox FROM shop_parts WHERE record_key = $1"
        return [record_of(text, await connection.fetchval(outbox, key)) for key, text in rows]
