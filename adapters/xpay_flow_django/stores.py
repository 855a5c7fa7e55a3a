"""How are records kept by Django's ORM? Two faces of one store: called, or awaited.

The awaited one has the called one run where Django's own asynchronous queries run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, ParamSpec, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.db import IntegrityError

from xpay_flow.errors import ConfigurationError, StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.ports import HandlerRolledBack, Lookup
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work
from xpay_flow.stores.awaited import AwaitedLock, AwaitedReader, AwaitedStore
from xpay_flow.stores.batches import look_up
from xpay_flow.stores.codec import is_a_name
from xpay_flow.stores.cut_off import CutOffs
from xpay_flow.stores.turns import Turns

from . import notifications, reading
from .check_database import ForCheck, for_check
from .conf import database_alias, is_behind_pooler
from .database import Database
from .row_lock import RecordLock, orphaned
from .writing import LostRace, blank, put, put_many, put_with

P = ParamSpec("P")
T = TypeVar("T")

_SCHEME: Final = "django://"


def _named(url: str) -> str | None:
    """Which of `DATABASES` a URL names, if any."""
    scheme, name = url[: len(_SCHEME)], url[len(_SCHEME) :]
    if scheme != _SCHEME or not all(part.isidentifier() for part in name.split("-") if name):
        raise ConfigurationError("write django://, or django://default for one of DATABASES")
    return name or None


class DjangoReader:
    """What a query may use: the database itself refuses to write meanwhile."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        if not is_a_name(alias):
            return []
        return self._database.read_only(partial(reading.load, alias, event, self._database.alias))

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        """See `xpay_flow.ports.BatchLoading`."""
        using = self._database.alias
        return look_up(
            lookups,
            lambda named: self._database.read_only(partial(reading.load_many, named, using)),
        )

    def versions(self, keys: Sequence[str]) -> Mapping[str, int]:
        """See `xpay_flow.ports.VersionReading`."""
        return self._database.read_only(partial(reading.versions, keys, self._database.alias))

    def history(self, alias: str) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        if not is_a_name(alias):
            return []
        return self._database.read_only(partial(reading.history, alias, self._database.alias))

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        """See `xpay_flow.ports.RecentListing`."""
        found = partial(reading.recent, limit, self._database.alias, realms, before)
        return self._database.read_only(found)


class DjangoStore:
    """Records in one of Django's `DATABASES`: PostgreSQL or SQLite. See `xpay_flow.ports.Store`.

    Each commit is a transaction of its own. Inside an atomic block `commit` is refused: what that
    block undoes later would be gone after xPay got its 200.

    Args:
        using: which of `DATABASES`; by default that of `XPAY_FLOW`, or else `default`.

    Raises:
        ConfigurationError: there is no such database, or no store for its kind.
    """

    def __init__(self, using: str | None = None) -> None:
        self._database = Database(using or database_alias())
        of = self._database.shares
        self.can_lock = of.row_locks
        self.handlers_at_once_max = of.handlers
        self._locks = Turns(of.handlers, "row locks")
        # An SQLite file has one writer at a time: a webhook must find no queue of handlers.
        writers = of.handlers if self._database.is_postgresql else 1
        self._transactions = Turns(writers, "transactions of handlers")
        self._cut_offs = CutOffs()

    @classmethod
    def from_url(cls, url: str) -> DjangoStore:
        """`django://`, or `django://` and one of `DATABASES`."""
        return cls(_named(url))

    @classmethod
    def for_check(cls, url: str) -> AbstractContextManager[ForCheck[DjangoStore]]:
        """A database of its own beside the one that `url` names, for the contract check."""
        return for_check(_named(url) or database_alias(), cls)

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        if not is_a_name(alias):
            return []
        return self._database.read(partial(reading.load, alias, event, self._database.alias))

    def history(self, alias: str) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        if not is_a_name(alias):
            return []
        return self._database.read(partial(reading.history, alias, self._database.alias))

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        """See `xpay_flow.ports.BatchLoading`."""
        using = self._database.alias
        return look_up(
            lookups,
            lambda named: self._database.read(partial(reading.load_many, named, using)),
        )

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        """See `xpay_flow.ports.RecentListing`."""
        return self._database.read(
            partial(reading.recent, limit, self._database.alias, realms, before)
        )

    def blank_payloads(self, key: str) -> None:
        """See `xpay_flow.ports.Erasing`. Raises ConfigurationError inside an atomic block."""
        self._database.write(partial(blank, key, self._database.alias))

    def scrub(self) -> None:
        """See `xpay_flow.ports.Erasing`.

        In an SQLite file nothing is left. On PostgreSQL, rows that were replaced are removed by its
        own vacuum, and its log and backups are its operator's.
        """
        self._database.scrub()

    def commit(self, change: Change) -> bool:
        """See `xpay_flow.ports.Store`. Raises ConfigurationError inside an atomic block."""
        try:
            return self._database.write(partial(put, change, self._database.alias))
        except LostRace:
            return False

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        """See `BatchCommitting`. Raises ConfigurationError inside an atomic block."""
        return self._database.write(partial(put_many, changes, self._database.alias))

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        """See `xpay_flow.ports.Transactional`; `work` is given Django's connection.

        What it writes with the ORM, on the database of that name, is part of the transaction.
        """
        try:
            with self._transactions.taken(work):
                put = partial(self._put_with, change, work)
                return self._database.write_once(put)
        except LostRace:
            return False
        except StoreUnavailable as error:
            if isinstance(error.__cause__, IntegrityError):
                # A foreign key of Django's is looked at last; ours are not broken.
                raise HandlerRolledBack(
                    f"the database refused to commit: {error.__cause__}"
                ) from error
            raise

    def _put_with(self, change: Change, work: Callable[[Any], object], connection: Any) -> bool:
        with self._cut_offs.around(work, connection.connection):
            return put_with(change, work, connection)

    def close_transaction(self, work: Callable[[Any], object]) -> None:
        """See `xpay_flow.ports.TransactionClosing`."""
        if self._cut_offs.cut_off(work):
            self._transactions.give_back(work)

    @property
    def is_thread_bound(self) -> bool:
        """See `xpay_flow.ports.ThreadBound`: within a transaction, as in a Django test case."""
        return self._database.is_inside

    def refresh_thread(self) -> None:
        """See `xpay_flow.ports.ThreadKeeping`."""
        self._database.refresh_thread()

    @contextmanager
    def lock(self, key: str) -> Generator[bool]:
        """See `xpay_flow.ports.RowLocking`. It takes a connection beside the thread's own."""
        with self._locks.taken(), RecordLock(self._database, key) as is_mine:
            yield is_mine

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        """See `xpay_flow.ports.RowLocking`."""
        return self._database.read(partial(orphaned, now_ms, limit, self._database.alias, realms))

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        """See `xpay_flow.ports.Store`."""
        # A pass of background work begins here.
        self._database.refresh()
        found = partial(reading.due, work, now_ms, limit, self._database.alias, realms)
        return self._database.read(found)

    @property
    def can_report(self) -> bool:
        """See `xpay_flow.ports.ChangeReporting`: on PostgreSQL."""
        return self._database.is_postgresql

    @property
    def can_listen(self) -> bool:
        """See `xpay_flow.ports.ChangeReporting`: with psycopg 3, and no pooler in between."""
        if not self.can_report or is_behind_pooler():
            return False
        return notifications.can_listen(self._database.alias)

    def report(self, digests: Sequence[str]) -> None:
        """See `xpay_flow.ports.ChangeReporting`."""
        self._database.read(partial(notifications.report, digests, self._database.alias))

    def listen(self, reported: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """See `xpay_flow.ports.ChangeReporting`."""
        notifications.listen(reported, stopping, self._database.alias)

    def reader(self) -> DjangoReader:
        """The same records; the database refuses to write while they are read."""
        return DjangoReader(self._database)

    def close(self) -> None:
        """After it, every call of the store or a reader raises StoreUnavailable."""
        self._database.closed = True


async def _call(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call it where Django's own asynchronous queries run."""
    return await sync_to_async(function)(*args, **options)


class AsyncDjangoStore(AwaitedStore[DjangoStore]):
    """The same store for `AsyncFlow`. Arguments and errors are those of `DjangoStore`."""

    def __init__(self, using: str | None = None) -> None:
        super().__init__(DjangoStore(using))

    async def _call(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        return await _call(function, *args, **options)

    # Django's connections belong to that thread, also those of a handler.
    async def _call_handler(
        self, function: Callable[P, T], *args: P.args, **options: P.kwargs
    ) -> T:
        return await _call(function, *args, **options)

    async def listen(self, reported: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """See `xpay_flow.ports.ChangeReporting`; in a thread that no query of Django's needs."""
        ended: list[bool] = []
        try:
            listen = sync_to_async(self._store.listen, thread_sensitive=False)
            await listen(reported, lambda: bool(ended) or stopping())
        finally:
            ended.append(True)

    def lock(self, key: str) -> AbstractAsyncContextManager[bool]:
        """See `xpay_flow.ports.RowLocking`."""
        return AwaitedLock(self._store.lock(key), self._call, self._call)

    async def commit_with(self, change: Change, work: Callable[[Any], Any]) -> bool:
        """See `xpay_flow.ports.AsyncTransactional`; `work` is called, or awaited, as it is.

        Its asynchronous queries run in the thread of the transaction, and so belong to it.
        """
        called = async_to_sync(work) if iscoroutinefunction(work) else work
        return await super().commit_with(change, called)

    def reader(self) -> AwaitedReader:
        """The same records; the database refuses to write while they are read."""
        return AwaitedReader(self._store.reader(), _call)

    async def aclose(self) -> None:
        """After this, every call of the store or its readers raises StoreUnavailable."""
        self._store.close()
