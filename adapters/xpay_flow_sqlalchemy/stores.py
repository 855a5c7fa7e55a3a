"""How are records kept in a database of your own? Two faces of one store: called, or awaited.

The awaited one runs the very same code: SQLAlchemy suspends it wherever the driver waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from copy import copy
from functools import partial
from typing import Any, Literal, ParamSpec, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import await_only, greenlet_spawn

from xpay_flow.errors import StoreUnavailable
from xpay_flow.event_loop import LoopOwner
from xpay_flow.events import EventIdentity
from xpay_flow.ports import HandlerRolledBack, Lookup
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work
from xpay_flow.stores.awaited import AwaitedReader, AwaitedStore
from xpay_flow.stores.batches import look_up
from xpay_flow.stores.codec import is_a_name
from xpay_flow.stores.shares import shares
from xpay_flow.stores.sqlite_durability import empty_log
from xpay_flow.stores.turns import AsyncTurns, Turns

from . import notifications, pooler, schema
from .asyncpg_fast_path import TURN_WAIT_S, Direct
from .batch_read import BatchReading
from .check_tables import ForCheck, for_check
from .database import Database, HandlerError, refuse_autocommit
from .engines import (
    PATIENT_S,
    POOL_WAIT_S,
    READERS,
    Place,
    another_engine,
    connections_of,
    open_async_engine,
    open_engine,
    place,
    plain_async_engine,
    reader_engine,
)
from .forks import begin_afresh
from .handler_guard import HandlerGuard
from .postgresql import OneStatement
from .reading import Reading
from .row_lock import DIALECTS, LockStatements
from .tables import Tables
from .writing import Writing, blank

P = ParamSpec("P")
T = TypeVar("T")


class SQLAlchemyReader:
    """What a query may use: transactions in which the database itself refuses to write.

    At most two at once, on connections that no webhook needs.
    """

    def __init__(self, database: Database, reading: Reading) -> None:
        self._database = database
        self._reading = reading
        self._turns = Turns(READERS, "connections for readers", POOL_WAIT_S)

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        if not is_a_name(alias):
            return []
        return self._read(partial(self._reading.load, alias=alias, event=event))

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        """See `xpay_flow.ports.BatchLoading`."""
        load_many = self._reading.load_many
        return look_up(lookups, lambda named: self._read(partial(load_many, lookups=named)))

    def versions(self, keys: Sequence[str]) -> Mapping[str, int]:
        """See `xpay_flow.ports.VersionReading`."""
        return self._read(partial(self._reading.versions, keys=keys))

    def history(self, alias: str) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        if not is_a_name(alias):
            return []
        return self._read(partial(self._reading.history, alias=alias))

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        """See `xpay_flow.ports.RecentListing`."""
        return self._read(partial(self._reading.recent, limit=limit, realms=realms, before=before))

    def _read(self, work: Callable[[Connection], T]) -> T:
        # In an event loop there is no wait here: the awaited face lets no more through.
        with self._turns.taken():
            return self._database.read_only(work)


class _Store:
    """The store, on an engine whose driver may or may not be awaited underneath."""

    def __init__(self, engine: Engine, tables: Tables, behind_pooler: bool) -> None:
        self._tables = tables
        self._behind_pooler = behind_pooler
        # What is between us and the server; known after `check`.
        self.pooler_found: pooler.Found = "none"
        self.use_engine(engine)
        self._reading = (BatchReading if self._database.is_postgresql else Reading)(tables)
        self._writing = (OneStatement if self._database.is_postgresql else Writing)(tables)
        self._handler_guard = HandlerGuard(tables, self._writing)
        # Behind a pooler a lock would keep one of its few connections while a handler runs.
        can_lock = engine.dialect.name in DIALECTS and not behind_pooler
        self.shares = shares(connections_of(engine), can_lock)
        self.can_lock = self.shares.row_locks

    @property
    def handlers_at_once_max(self) -> int:
        """See `xpay_flow.ports.HandlerLimiting`."""
        return self.shares.handlers

    def use_engine(self, engine: Engine) -> None:
        """Have everything go by its connections."""
        self._database = Database(engine)
        # Where a webhook's own statements go; see `asyncpg_fast_path`.
        self._hot = self._database
        self.lock_statements = LockStatements(self._database, self._tables)
        self._readers = Database(reader_engine(engine))

    @property
    def transactions_at_once(self) -> int:
        """How many handlers may write at once."""
        # An SQLite file has one writer at a time: a webhook must find no queue of handlers.
        return 1 if self._database.engine.dialect.name == "sqlite" else self.shares.handlers

    def check(self) -> None:
        """Look at what is in between, and at the tables.

        Raises:
            ConfigurationError: a connection pooler that must be named; or the engine cannot be
                used behind one, or commits each statement by itself.
            SchemaMismatch: this version cannot work on the tables as they are.
        """
        if self._database.is_postgresql:
            self._look_between()
        self._database.read(refuse_autocommit)
        self._database.read(partial(schema.check, tables=self._tables))

    def _look_between(self) -> None:
        clients = self.shares.connections
        if not self._behind_pooler:
            self.pooler_found = pooler.refuse_unless_named(self._database, clients)
            return
        self._database.read(pooler.refuse_prepared)
        self.pooler_found = pooler.found(self._database, clients)

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        if not is_a_name(alias):
            return []
        return self._hot.read(partial(self._reading.load, alias=alias, event=event))

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        """See `xpay_flow.ports.BatchLoading`."""
        load_many = self._reading.load_many
        return look_up(lookups, lambda named: self._hot.read(partial(load_many, lookups=named)))

    def history(self, alias: str) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        if not is_a_name(alias):
            return []
        return self._database.read(partial(self._reading.history, alias=alias))

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        """See `xpay_flow.ports.RecentListing`."""
        return self._database.read(
            partial(self._reading.recent, limit=limit, realms=realms, before=before)
        )

    def blank_payloads(self, key: str) -> None:
        """See `xpay_flow.ports.Erasing`."""

        def each(connection: Connection) -> None:
            for whole in self._reading.history(connection, key):
                if whole.key == key:
                    blank(connection, self._tables, whole)

        self._database.transact(each, self._writing.acknowledge)

    def scrub(self) -> None:
        """See `xpay_flow.ports.Erasing`.

        In an SQLite file nothing is left. On a server, rows that were replaced are removed by its
        own vacuum or purge, and its log and backups are its operator's.
        """
        if self._database.engine.dialect.name == "sqlite":
            self._database.read(_empty_log)

    def commit(self, change: Change) -> bool:
        """See `xpay_flow.ports.Store`."""
        return self._hot.write(partial(self._writing.commit, change=change))

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        """See `xpay_flow.ports.BatchCommitting`."""
        if not changes:
            return []
        return self._hot.write(partial(self._writing.commit_many, changes=changes))

    def commit_with_now(self, change: Change, work: Callable[[Connection], object]) -> bool:
        """`commit_with`, without a look at how many others there are."""
        put = partial(self._handler_guard.put, change=change, work=work)
        try:
            return self._database.transact(put, self._writing.acknowledge)
        except HandlerError as raised:
            raise raised.error from None
        except StoreUnavailable as error:
            if isinstance(error.__cause__, IntegrityError):
                # A constraint that is looked at last; it is not ours.
                raise HandlerRolledBack(
                    f"the database refused to commit: {error.__cause__.orig}"
                ) from error
            raise

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        """See `xpay_flow.ports.RowLocking`."""
        orphaned = self.lock_statements.orphaned
        return self._database.read(partial(orphaned, now_ms=now_ms, limit=limit, realms=realms))

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        """See `xpay_flow.ports.Store`."""
        found = partial(self._reading.due, work=work, now_ms=now_ms, limit=limit, realms=realms)
        return self._database.read(found)

    @property
    def can_report(self) -> bool:
        """See `xpay_flow.ports.ChangeReporting`: on PostgreSQL."""
        return self._database.is_postgresql

    @property
    def can_listen(self) -> bool:
        """See `xpay_flow.ports.ChangeReporting`: where the server's sessions are our own."""
        return self._database.is_postgresql and not self._behind_pooler

    def report(self, digests: Sequence[str]) -> None:
        """See `xpay_flow.ports.ChangeReporting`; on a connection of readers."""
        channel = notifications.channel_of(self._tables)
        send = partial(notifications.report, channel=channel, digests=digests)
        self._readers.read(send)

    def listen(self, reported: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """See `xpay_flow.ports.ChangeReporting`; on a connection of its own."""
        channel = notifications.channel_of(self._tables)
        notifications.listen(self._readers, channel, reported, stopping)

    async def listen_awaited(
        self, reported: Callable[[str], None], stopping: Callable[[], bool]
    ) -> None:
        """`listen` on a driver that is awaited."""
        channel = notifications.channel_of(self._tables)
        await notifications.listen_awaited(self._readers, channel, reported, stopping)

    def reader(self) -> SQLAlchemyReader:
        """The same records, in transactions in which the database refuses to write."""
        return SQLAlchemyReader(self._readers, self._reading)

    def close(self) -> None:
        """After it, every call of the store or a reader raises StoreUnavailable."""
        self._database.closed = self._hot.closed = self._readers.closed = True

    @property
    def engine_of_readers(self) -> Engine | None:
        """The reader's own engine, which is ours to dispose of; None if it has none."""
        engine = self._readers.engine
        return None if engine is self._database.engine else engine

    def drop_connections(self) -> None:
        """Begin with new ones, and leave the idle ones to themselves."""
        begin_afresh((self._database.engine, self._readers.engine))

    def go_direct(self, asyncpg_fast_path: Direct) -> None:
        """Have a webhook's own statements go there."""
        self._hot = asyncpg_fast_path


class SQLAlchemyStore(_Store):
    """Records in PostgreSQL, MariaDB, MySQL or SQLite. See `xpay_flow.ports.Store`.

    Threads may share one, and forked processes start with connections of their own.

    Args:
        engine: yours; closing the store leaves it open. See `from_url` for one of ours.
        tables: with a prefix, a schema or a `MetaData` of your own.
        pooler: "transaction" where a connection pooler in that mode is in between, and the engine
            prepares nothing.

    Raises:
        ConfigurationError: there is no store for this kind of database or driver; or a pooler was
            found that is not named.
        SchemaMismatch: the tables are missing, too old or too new; the text names the remedy.
        StoreUnavailable: the database did not answer.
    """

    def __init__(
        self,
        engine: Engine,
        tables: Tables | None = None,
        *,
        pooler: Literal["transaction"] | None = None,
    ) -> None:
        super().__init__(engine, tables or Tables(), pooler is not None)
        self._engine_of_ours: Engine | None = None
        self._limit_handlers()
        self.check()

    def _limit_handlers(self) -> None:
        self._locks = Turns(self.shares.handlers, "row locks")
        self._transactions = Turns(self.transactions_at_once, "transactions of handlers")

    @classmethod
    def from_url(cls, url: str) -> SQLAlchemyStore:
        """`postgresql://…`, `mysql://…`, `mariadb://…` or `sqlalchemy+sqlite:///…`.

        After a question mark it takes what the driver takes, and `table_prefix`, `table_schema`,
        `connections` and `pooler`.
        """
        where = place(url)
        engine = open_engine(where)
        try:
            store = cls(engine, Tables(names=where.names), pooler=_mode(where))
        except BaseException:
            engine.dispose()
            raise
        store._engine_of_ours = engine
        return store

    @classmethod
    def for_check(cls, url: str) -> AbstractContextManager[ForCheck[SQLAlchemyStore]]:
        """Tables of their own in the database of `url`, for `xpay-flow check --store`."""
        opened, clone = SQLAlchemyStore.from_url, SQLAlchemyStore.clone
        return for_check(url, opened, clone, SQLAlchemyStore.close)

    def clone(self) -> SQLAlchemyStore:
        """The same store with connections of its own, as another process has it.

        It has connected once, looks at the tables no more, and knows its statements already.
        """
        twin = copy(self)
        twin._engine_of_ours = another_engine(self._database.engine)
        twin.use_engine(twin._engine_of_ours)
        twin._limit_handlers()
        twin._database.read(refuse_autocommit)
        return twin

    def commit_with(self, change: Change, work: Callable[[Connection], object]) -> bool:
        """See `xpay_flow.ports.Transactional`; `work` is given a `Connection`.

        The row of this payment is locked meanwhile, so events of it wait for `work`.
        """
        with self._transactions.taken(work):
            return self.commit_with_now(change, work)

    def close_transaction(self, work: Callable[[Connection], object]) -> None:
        """See `xpay_flow.ports.TransactionClosing`."""
        if self._handler_guard.cut_offs.cut_off(work):
            self._transactions.give_back(work)

    @contextmanager
    def lock(self, key: str) -> Generator[bool]:
        """See `xpay_flow.ports.RowLocking`."""
        with self._locks.taken(), self.lock_statements.lock(key) as is_mine:
            yield is_mine

    def close(self) -> None:
        """After it, every call of the store or a reader raises StoreUnavailable."""
        super().close()
        for engine in (self.engine_of_readers, self._engine_of_ours):
            if engine is not None:
                engine.dispose()

    def __enter__(self) -> SQLAlchemyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncSQLAlchemyStore(AwaitedStore[_Store]):
    """The same store for `AsyncFlow`, on a driver that is awaited (asyncpg, aiomysql, psycopg).

    It belongs to one event loop at a time; see `xpay_flow.event_loop`. The tables are looked at
    when it is first used; with `from_url`, at once.

    Args:
        engine: yours; closing the store leaves it open.
        tables, pooler: see `SQLAlchemyStore`.

    Raises:
        ConfigurationError, SchemaMismatch, StoreUnavailable: as `SQLAlchemyStore`.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        tables: Tables | None = None,
        *,
        pooler: Literal["transaction"] | None = None,
    ) -> None:
        super().__init__(_Store(engine.sync_engine, tables or Tables(), pooler is not None))
        self._engine = engine
        self._limit()
        self._owner = LoopOwner("this AsyncSQLAlchemyStore", self._begin_afresh)
        self._direct: Direct | None = None
        self._engine_of_ours: AsyncEngine | None = None
        self._where: Place | None = None
        self._is_checked = False

    @property
    def pooler_found(self) -> pooler.Found:
        """What the look at the start has found between us and the database."""
        found: pooler.Found = cast(Any, self._store).pooler_found
        return found

    @classmethod
    def from_url(cls, url: str) -> AsyncSQLAlchemyStore:
        """`postgresql+asyncpg://…`, `mysql+aiomysql://…` and their likes."""
        where = place(url)
        tables = Tables(names=where.names)
        # A program that cannot work should not start; and here nothing can be awaited.
        with ThreadPoolExecutor(1) as thread:
            check = thread.submit(asyncio.run, _check_once(where, tables))
            found = check.result(2 * PATIENT_S)
        engine = open_async_engine(where)
        store = cls(engine, tables, pooler=_mode(where))
        store._store.pooler_found = found
        store._engine_of_ours, store._is_checked, store._where = engine, True, where
        store._go_direct(where)
        return store

    @classmethod
    def for_check(cls, url: str) -> AbstractContextManager[ForCheck[AsyncSQLAlchemyStore]]:
        """See `SQLAlchemyStore.for_check`."""
        opened, clone = AsyncSQLAlchemyStore.from_url, AsyncSQLAlchemyStore.clone
        # The first one is not used, so it has no connections.
        return for_check(url, opened, clone, lambda first: asyncio.run(first.aclose()))

    def clone(self) -> AsyncSQLAlchemyStore:
        """The same store with connections of its own, as another process has it."""
        twin = copy(self)
        twin._engine = twin._engine_of_ours = AsyncEngine(another_engine(self._engine.sync_engine))
        twin._store = copy(self._store)
        twin._store.use_engine(twin._engine.sync_engine)
        twin._limit()
        twin._owner = LoopOwner("this AsyncSQLAlchemyStore", twin._begin_afresh)
        if self._where is not None:
            twin._go_direct(self._where)
        return twin

    def enter_event_loop(self) -> None:
        """The running event loop uses it. Raises ConfigurationError while another one does."""
        self._owner.enter()

    def _begin_afresh(self) -> None:
        # The connections end with their loop, and cannot be closed in another.
        self._store.drop_connections()

    def _limit(self) -> None:
        # The pool itself gives a returned connection to the next caller, not to the longest
        # waiting one; in a rush some would wait until their time is up.
        of, handlers = self._store.shares, self._store.shares.handlers
        self._turns = AsyncTurns(of.connections, "connections to the database", TURN_WAIT_S)
        self._locks = AsyncTurns(handlers, "row locks")
        self._transactions = AsyncTurns(
            self._store.transactions_at_once, "transactions of handlers"
        )

    def _go_direct(self, where: Place) -> None:
        if self._engine.dialect.driver == "asyncpg":
            self._direct = Direct(where, self._engine.sync_engine)
            self._store.go_direct(self._direct)

    async def _call(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        await self.check()
        return await self._in_turn(function, *args, **options)

    async def _in_turn(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        async with self._turns.taken():
            return await greenlet_spawn(partial(function, *args, **options))

    async def _call_soon(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        if self._direct is None:
            return await self._call(function, *args, **options)
        await self.check()
        # It has turns of its own.
        return await greenlet_spawn(partial(function, *args, **options))

    async def report(self, digests: Sequence[str]) -> None:
        """See `xpay_flow.ports.ChangeReporting`."""
        self.enter_event_loop()
        # No turn of those that webhooks need: it goes by a connection of readers.
        await greenlet_spawn(self._store.report, digests)

    async def listen(self, reported: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """See `xpay_flow.ports.ChangeReporting`."""
        self.enter_event_loop()
        await self._store.listen_awaited(reported, stopping)

    async def commit_with(
        self, change: Change, work: Callable[[AsyncConnection], Awaitable[object]]
    ) -> bool:
        """See `SQLAlchemyStore.commit_with`; `work` is given an `AsyncConnection`."""
        await self.check()

        def awaited(connection: Connection) -> None:
            await_only(work(AsyncConnection(self._engine, connection)))

        async with self._transactions.taken():
            return await self._in_turn(self._store.commit_with_now, change, awaited)

    @property
    def can_lock(self) -> bool:
        """See `xpay_flow.ports.RowLocking`."""
        return self._store.can_lock

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[bool, None]:
        """See `xpay_flow.ports.RowLocking`."""
        await self.check()
        held = self._store.lock_statements.lock(key)
        async with self._locks.taken(), self._turns.taken():
            try:
                yield await greenlet_spawn(held.take)
            finally:
                await greenlet_spawn(held.release)

    def reader(self) -> AwaitedReader:
        """The same records, in transactions in which the database refuses to write."""
        turns = AsyncTurns(READERS, "connections for readers", TURN_WAIT_S)

        async def call(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
            self.enter_event_loop()
            async with turns.taken():
                return await greenlet_spawn(partial(function, *args, **options))

        return AwaitedReader(self._store.reader(), call)

    async def check(self) -> None:
        """Look at the tables once; see `SQLAlchemyStore`."""
        self.enter_event_loop()
        if not self._is_checked:
            await greenlet_spawn(self._store.check)
            self._is_checked = True

    async def aclose(self) -> None:
        """After it, every call of the store or a reader raises StoreUnavailable."""
        self.enter_event_loop()
        self._store.close()
        if self._direct is not None:
            await self._direct.connections.close()
        if (readers := self._store.engine_of_readers) is not None:
            await greenlet_spawn(readers.dispose)
        if self._engine_of_ours is not None:
            await self._engine_of_ours.dispose()

    async def __aenter__(self) -> AsyncSQLAlchemyStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _empty_log(connection: Connection) -> None:
    empty_log(_Plain(connection))


class _Plain:
    """A connection that takes a statement as text."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: str) -> Any:
        return self._connection.exec_driver_sql(statement)


def _mode(where: Place) -> Literal["transaction"] | None:
    return "transaction" if where.pooler else None


async def _check_once(where: Place, tables: Tables) -> pooler.Found:
    engine = plain_async_engine(where)
    try:
        async with asyncio.timeout(PATIENT_S):
            store = AsyncSQLAlchemyStore(engine, tables, pooler=_mode(where))
            await store.check()
            return store.pooler_found
    except TimeoutError:
        raise StoreUnavailable(f"the database did not answer in {PATIENT_S:.0f} s") from None
    finally:
        await engine.dispose()
