"""What becomes of one use of the database? An answer, or an error in words; never a half.

The connection is the thread's own, as everywhere in Django. A change commits by itself: inside
somebody else's transaction it could still be undone after xPay was told that it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar

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

from .sync_replication import heard_of_standby

T = TypeVar("T")

TRIES: Final = 3
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

# Set while somebody looks after the thread's connection: Django, when the request of one of our own
# views ends; or the worker, before each pass.
connection_is_managed: ContextVar[bool] = ContextVar("xpay_flow_looked_after", default=False)


class _Lost(StoreUnavailable):
    """The connection is gone, and no transaction of somebody else with it."""


class Database:
    """One of `DATABASES`, and what we expect of it."""

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

    def read(self, work: Callable[[], T]) -> T:
        """What `work` finds. Raises StoreUnavailable."""
        return self._tried(lambda: self._borrowed(_ours(work)), reading=True)

    def read_only(self, work: Callable[[], T]) -> T:
        """The same, while the database refuses to write."""

        def guarded(connection: BaseDatabaseWrapper) -> T:
            with _refusing_to_write(connection):
                return _ours(work)(connection)

        return self._tried(lambda: self._borrowed(guarded), reading=True)

    def write(self, work: Callable[[], T]) -> T:
        """What `work` answers, once that is durable.

        Raises:
            ConfigurationError: inside a transaction of somebody else.
            StoreUnavailable: it did not happen, or nobody knows.
        """
        return self._tried(lambda: self.write_once(_ours(work)), reading=False)

    def write_once(self, work: Callable[[BaseDatabaseWrapper], T]) -> T:
        """The same for what must not be called twice; it is given the connection."""
        return self._borrowed(partial(self._durably, work))

    def _durably(
        self, work: Callable[[BaseDatabaseWrapper], T], connection: BaseDatabaseWrapper
    ) -> T:
        if not connection.in_atomic_block and not connection.get_autocommit():
            raise ConfigurationError(NO_AUTOCOMMIT)
        with heard_of_standby(connection), ExitStack() as stack:
            try:
                stack.enter_context(transaction.atomic(using=self.alias, durable=True))
            except RuntimeError:
                raise ConfigurationError(INSIDE) from None
            return work(connection)

    @property
    def can_lock(self) -> bool:
        """Whether it locks rows; SQLite locks whole files."""
        return connections[self.alias].vendor == "postgresql"

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

        Nobody else does it for threads that work in the background.
        """
        if not self.closed:
            connections[self.alias].close_if_unusable_or_obsolete()

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

    def _borrowed(self, work: Callable[[BaseDatabaseWrapper], T]) -> T:
        if self.closed:
            raise StoreUnavailable("the store is closed")
        connection = connections[self.alias]
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
                # Nobody would close it when this thread ends. (With a pool, this hands it back.)
                connection.close()


def _ours(work: Callable[[], T]) -> Callable[[BaseDatabaseWrapper], T]:
    """`work`, whose errors are always Django's.

    With DEBUG, Django itself asks SQLite what it has just been told, and of a connection that is
    lost meanwhile it lets the driver's own error pass.
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
    """Whether nothing is left of the transaction, and the database asks to try it again."""
    return getattr(getattr(error, "__cause__", None), "sqlstate", None) in _TRY_AGAIN


def _in_words(error: Any, lost: bool) -> StoreUnavailable | SchemaMismatch:
    told = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:ERROR_CHARS_MAX]
    if _is_about_tables(error):
        return SchemaMismatch(
            f"our tables are not as this version needs them: run manage.py migrate ({told})"
        )
    kind = _Lost if lost else StoreUnavailable
    return kind(f"the database failed, and what was not acknowledged may not be kept: {told}")


def _is_about_tables(error: BaseException) -> bool:
    """Whether a table or a column is missing."""
    if isinstance(error, ProgrammingError):
        return getattr(error.__cause__, "sqlstate", None) in ("42P01", "42703")
    said = str(error)
    return isinstance(error, OperationalError) and (
        said.startswith(("no such table", "no such column")) or "has no column named" in said
    )
