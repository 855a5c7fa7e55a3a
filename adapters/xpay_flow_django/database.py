"""How does one use of the database end? With its result, or with one error; never in between.

The connection is the thread's own, as everywhere in Django. A change commits by itself: inside
another transaction it could still be rolled back after xPay got its 200.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from threading import local
from time import monotonic
from typing import Any, Final, TypeVar, cast

from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connections,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionDoesNotExist

from xpay_flow.errors import (
    ERROR_CHARS_MAX,
    ConfigurationError,
    SchemaMismatch,
    StoreUnavailable,
    quoted,
)
from xpay_flow.stores.shares import CONNECTIONS, Shares, shares
from xpay_flow.stores.sqlite_durability import empty_log
from xpay_flow.stores.sqlite_file import Identity, identity, refuse_another_file

from .conf import is_behind_pooler
from .sync_replication import standby_confirmed

T = TypeVar("T")

TRIES: Final = 3
# A handler's thread may look at its connections so often.
REFRESH_S: Final = 1.0
VENDORS: Final = ("postgresql", "sqlite")

# "could not serialize access" and "deadlock detected": nothing of the transaction is left then.
_TRY_AGAIN: Final = frozenset({"40001", "40P01"})

INSIDE: Final = (
    "payments are committed by themselves, and this was called inside a transaction that could "
    "still be undone: mark the view with @transaction.non_atomic_requests, or call it after the "
    "atomic block (transaction.on_commit)"
)
NO_AUTOCOMMIT: Final = (
    "the database has AUTOCOMMIT = False, and so nothing would be committed; remove it from "
    "DATABASES"
)

# Set while the thread's connection is managed: by Django, which closes it as the request of one of
# our own views ends; or by the worker, before each pass.
connection_is_managed: ContextVar[bool] = ContextVar(
    "xpay_flow_connection_is_managed", default=False
)


_threads = local()


def _is_time(name: str) -> bool:
    """Whether this was not done in this thread a moment ago."""
    now_s = monotonic()
    is_time = now_s - getattr(_threads, name, 0.0) > REFRESH_S
    if is_time:
        setattr(_threads, name, now_s)
    return is_time


class _Lost(StoreUnavailable):
    """The connection is gone, and no transaction of the caller's with it."""


class Database:
    """One of `DATABASES`, with its retries and its errors."""

    def __init__(self, alias: str) -> None:
        try:
            vendor = connections[alias].vendor
        except ConnectionDoesNotExist:
            raise ConfigurationError(f"DATABASES has no {quoted(alias)}") from None
        if vendor not in VENDORS:
            raise ConfigurationError(
                f"there is no Django store for {vendor}; there is one for {', '.join(VENDORS)}, "
                "and xpay_flow_sqlalchemy for others"
            )
        self.alias = alias
        self.closed = False
        self._files: dict[str, Identity] = {}

    def read(self, work: Callable[[], T]) -> T:
        """What `work` finds. Raises StoreUnavailable."""
        return self._tried(lambda: self._with_connection(_wrapping_errors(work)), reading=True)

    def read_only(self, work: Callable[[], T]) -> T:
        """The same, while the database refuses to write."""

        def guarded(connection: BaseDatabaseWrapper) -> T:
            with _refusing_to_write(connection):
                return _wrapping_errors(work)(connection)

        return self._tried(lambda: self._with_connection(guarded), reading=True)

    def write(self, work: Callable[[], T]) -> T:
        """What `work` answers, once that is durable.

        Raises:
            ConfigurationError: inside a transaction that others have begun.
            StoreUnavailable: nothing was committed, or the outcome is unknown.
        """
        return self._tried(lambda: self.write_once(_wrapping_errors(work)), reading=False)

    def write_once(self, work: Callable[[BaseDatabaseWrapper], T]) -> T:
        """The same for what must not be called twice; it is given the connection."""
        return self._with_connection(partial(self._durably, work))

    def scrub(self) -> None:
        """Empty the log of an SQLite file, which holds what was replaced."""
        if connections[self.alias].vendor == "sqlite":
            self._with_connection(_empty_log)

    def _durably(
        self, work: Callable[[BaseDatabaseWrapper], T], connection: BaseDatabaseWrapper
    ) -> T:
        if not connection.in_atomic_block and not connection.get_autocommit():
            raise ConfigurationError(NO_AUTOCOMMIT)
        if connection.vendor == "sqlite":
            # What is replaced is overwritten with zeros: a customer's data are no free space.
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA secure_delete = ON")
        with standby_confirmed(connection), ExitStack() as stack:
            try:
                stack.enter_context(transaction.atomic(using=self.alias, durable=True))
            except RuntimeError:
                raise ConfigurationError(INSIDE) from None
            return work(connection)

    @property
    def is_postgresql(self) -> bool:
        return connections[self.alias].vendor == "postgresql"

    @property
    def shares(self) -> Shares:
        """How many handlers may run at once, and whether each may hold a row lock."""
        # SQLite locks whole files. Behind a pooler a lock would keep one of its few connections.
        can_lock = self.is_postgresql and not is_behind_pooler()
        return shares(_pool_size(connections[self.alias].settings_dict), can_lock)

    @property
    def is_inside(self) -> bool:
        """Whether this thread is in a transaction."""
        return connections[self.alias].in_atomic_block

    def open_transaction(self, work: Callable[[Any], T]) -> tuple[BaseDatabaseWrapper, T]:
        """A connection beside the thread's own, whose transaction goes on, and what `work` found.

        Raises:
            StoreUnavailable: there is neither.
        """
        if self.closed:
            raise StoreUnavailable("the store is closed")
        connection = connections[self.alias].copy()
        # An awaited block may end in another thread than it has begun in.
        connection.inc_thread_sharing()
        try:
            connection.set_autocommit(False)
            with connection.cursor() as cursor:
                return connection, work(cursor)
        except BaseException as error:
            connection.close()
            if isinstance(error, DatabaseError | InterfaceError):
                raise _in_words(error, lost=True) from error
            raise

    def refresh(self) -> None:
        """Look after the thread's connection as Django does when a request begins.

        Background threads need it: Django does it for requests only. At most once a second for
        each thread; and within a transaction, such as that of a `TestCase`, the connection is not
        ours to close.
        """
        connection = connections[self.alias]
        if not self.closed and not connection.in_atomic_block and _is_time("looked_after_at_s"):
            connection.close_if_unusable_or_obsolete()

    def refresh_thread(self) -> None:
        """The same for all of `DATABASES`."""
        if _is_time("refreshed_at_s"):
            for connection in connections.all(initialized_only=True):
                if not connection.in_atomic_block:
                    connection.close_if_unusable_or_obsolete()

    def _tried(self, once: Callable[[], T], *, reading: bool) -> T:
        for _ in range(TRIES - 1):
            try:
                return once()
            except StoreUnavailable as error:
                # Reading again does no harm: the connection may have been lost while it rested.
                again = reading and isinstance(error, _Lost)
                if self.closed or not (again or _was_undone(error.__cause__)):
                    raise
        return once()

    def _keep_to_its_file(self, path: str) -> None:
        """Write to no file that was removed or replaced: that would be lost."""
        if opened := self._files.get(path):
            refuse_another_file(path, opened)
        else:
            with suppress(OSError):  # Not made yet, or in memory.
                self._files[path] = identity(path)

    def _with_connection(self, work: Callable[[BaseDatabaseWrapper], T]) -> T:
        if self.closed:
            raise StoreUnavailable("the store is closed")
        connection = connections[self.alias]
        if connection.vendor == "sqlite":
            self._keep_to_its_file(str(connection.settings_dict["NAME"]))
        driver = connection.connection
        opened_here = driver is None and not connection_is_managed.get()
        try:
            connection.ensure_connection()
            driver = connection.connection
            return work(connection)
        except (DatabaseError, InterfaceError) as error:
            if not connection.in_atomic_block and not connection.is_usable():
                # The next use gets another.
                connection.close()
            # Django may have made another by now, as it left the block.
            lost = not connection.in_atomic_block and connection.connection is not driver
            raise _in_words(error, lost) from error
        finally:
            if opened_here:
                # It would stay open when this thread ends. (With a pool, this hands it back.)
                connection.close()


def _empty_log(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        empty_log(cursor)


def _pool_size(declared: dict[str, Any]) -> int:
    """The most connections of a process: those of Django's pool, if it is used; else ours."""
    pool = declared["OPTIONS"].get("pool")
    if not pool:
        return CONNECTIONS
    options = cast("dict[str, Any]", pool) if isinstance(pool, dict) else {}
    # As psycopg_pool has it: at most as many as are kept, which are 4.
    return int(options.get("max_size") or options.get("min_size", 4))


def _wrapping_errors(work: Callable[[], T]) -> Callable[[BaseDatabaseWrapper], T]:
    """`work`, whose errors are always Django's.

    With DEBUG, Django itself reads back from SQLite the statement it has just run, and raises the
    driver's own error if the connection is lost meanwhile.
    """

    def wrapped(connection: BaseDatabaseWrapper) -> T:
        with connection.wrap_database_errors:
            return work()

    return wrapped


@contextmanager
def _refusing_to_write(connection: BaseDatabaseWrapper) -> Generator[None, None, None]:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA query_only = ON")
            try:
                yield
            finally:
                cursor.execute("PRAGMA query_only = OFF")
            return
        # Inside a transaction this is a savepoint, and what follows it may write again.
        with transaction.atomic(using=connection.alias):
            cursor.execute("SET TRANSACTION READ ONLY")
            yield


def _was_undone(error: BaseException | None) -> bool:
    """Whether the transaction was rolled back, with an error code that means "try again"."""
    return getattr(getattr(error, "__cause__", None), "sqlstate", None) in _TRY_AGAIN


def _in_words(error: Any, lost: bool) -> StoreUnavailable | SchemaMismatch:
    text = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:ERROR_CHARS_MAX]
    if _is_about_tables(error):
        return SchemaMismatch(
            f"our tables are not as this version needs them: run manage.py migrate ({text})"
        )
    kind = _Lost if lost else StoreUnavailable
    return kind(f"the database failed, and what was not acknowledged may not be kept: {text}")


def _is_about_tables(error: BaseException) -> bool:
    """Whether a table or a column is missing."""
    if isinstance(error, ProgrammingError):
        return getattr(error.__cause__, "sqlstate", None) in ("42P01", "42703")
    text = str(error)
    return isinstance(error, OperationalError) and (
        text.startswith(("no such table", "no such column")) or "has no column named" in text
    )
