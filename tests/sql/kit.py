"""What do the tests of the SQL stores share? Databases, and a blocking face for awaited stores."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final, TypeVar

import attrs
import servers
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from xpay_flow.events import EventIdentity
from xpay_flow.ports import Lookup
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work
from xpay_flow.stores.awaited import AwaitedReader as AsyncReader
from xpay_flow_sqlalchemy import AsyncSQLAlchemyStore, migrating

T = TypeVar("T")

ANSWERS_S: Final = 20.0
TABLES: Final = ("aliases", "outbox", "events", "intents")


@attrs.frozen
class Kind:
    """How a kind of database is set up for these tests only."""

    driver: str
    # Events are append-only even for us, so their triggers are switched off.
    empties: tuple[str, ...]


POSTGRESQL: Final = Kind(
    "postgresql+psycopg",
    (
        servers.END_LEFT,
        "SET session_replication_role = replica",
        "TRUNCATE xpay_flow_aliases, xpay_flow_outbox, xpay_flow_events, xpay_flow_intents",
    ),
)
MARIADB: Final = Kind(
    "mariadb+pymysql",
    ("SET foreign_key_checks = 0", *(f"TRUNCATE xpay_flow_{table}" for table in TABLES)),
)


@attrs.frozen
class Place:
    """One database of one test process."""

    url: URL
    kind: Kind

    def by(self, driver: str, **query: str) -> str:
        """Its URL for another driver, and with these words after the question mark."""
        changed = self.url.set(drivername=driver).update_query_dict(query)
        return changed.render_as_string(hide_password=False)

    def engine(self) -> Engine:
        return plain(self.url.set(drivername=self.kind.driver))

    @contextmanager
    def connected(self) -> Generator[Connection]:
        """A connection as another program has it; each statement stands for itself."""
        engine = self.engine().execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection

    def empty(self) -> None:
        with self.connected() as connection:
            for statement in self.kind.empties:
                connection.execute(text(statement))

    def answer(self, query: str) -> list[tuple[Any, ...]]:
        with self.connected() as connection:
            return [tuple(row) for row in connection.execute(text(query))]


def plain(url: URL) -> Engine:
    return create_engine(url, poolclass=NullPool)


@contextmanager
def owned(url: str, kind: Kind) -> Generator[Place]:
    """A new database on the server of `url`, with our tables, gone afterwards."""
    name = f"xpay_flow_{os.getpid()}_{secrets.token_hex(3)}"
    server = Place(make_url(url).set(drivername=kind.driver), kind)
    with server.connected() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        if kind is POSTGRESQL:
            connection.execute(text(servers.limited(name)))
    place = Place(server.url.set(database=name), kind)
    try:
        migrating.upgrade(place.by(kind.driver))
        yield place
    finally:
        forced = " WITH (FORCE)" if kind is POSTGRESQL else ""
        with server.connected() as connection:
            connection.execute(text(f"DROP DATABASE {name}{forced}"))


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def result(self, awaited: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(awaited, self.loop).result(ANSWERS_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(ANSWERS_S)
        self.loop.close()


class BlockingReader:
    """An awaited reader for the suite, which blocks."""

    def __init__(self, reader: AsyncReader | AsyncSQLAlchemyStore, loop: _Loop) -> None:
        self._reader, self._loop = reader, loop

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return self._loop.result(self._reader.load(alias, event))

    def history(self, alias: str) -> Sequence[Record]:
        return self._loop.result(self._reader.history(alias))

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        return self._loop.result(self._reader.recent(limit, realms, before))


async def entered(held: AbstractAsyncContextManager[T]) -> T:
    return await held.__aenter__()


async def left(held: AbstractAsyncContextManager[Any]) -> None:
    await held.__aexit__(None, None, None)


class BlockingStore(BlockingReader):
    """An awaited store for the suite, which blocks; the store lives in one event loop."""

    def __init__(self, url: str) -> None:
        self.url, self.loop = url, _Loop()
        self.store = AsyncSQLAlchemyStore.from_url(url)
        self.can_lock = self.store.can_lock
        super().__init__(self.store, self.loop)

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        return self.loop.result(self.store.load_many(lookups))

    def blank_payloads(self, key: str) -> None:
        self.loop.result(self.store.blank_payloads(key))

    def scrub(self) -> None:
        self.loop.result(self.store.scrub())

    def commit(self, change: Change) -> bool:
        return self.loop.result(self.store.commit(change))

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        return self.loop.result(self.store.commit_many(changes))

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        async def awaited(connection: Any) -> object:
            return work(connection)

        return self.loop.result(self.store.commit_with(change, awaited))

    @contextmanager
    def lock(self, key: str) -> Generator[bool]:
        held = self.store.lock(key)
        is_mine = self.loop.result(entered(held))
        try:
            yield is_mine
        finally:
            self.loop.result(left(held))

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        return self.loop.result(self.store.orphaned(now_ms, limit, realms))

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return self.loop.result(self.store.due(work, now_ms, limit, realms))

    def reader(self) -> BlockingReader:
        return BlockingReader(self.store.reader(), self.loop)

    def close(self) -> None:
        if not self.loop.loop.is_closed():
            self.loop.result(self.store.aclose())
            self.loop.close()
