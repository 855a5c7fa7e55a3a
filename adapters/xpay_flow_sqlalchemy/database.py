"""How does one use of the database end? With its result, or StoreUnavailable; never in between.

A connection that failed in any way is not used again. A transaction that the database rolled back
for a deadlock or a serialization failure is retried, a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, StatementError

from xpay_flow.errors import ERROR_CHARS_MAX, ConfigurationError, StoreUnavailable, XPayFlowError
from xpay_flow.ports import HandlerRolledBack

from .columns import MYSQL
from .forks import afresh_in_children

T = TypeVar("T")


class HandlerError(Exception):
    """Carries an error of the handler through the store."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


_OURS: Final = (XPayFlowError, HandlerRolledBack, HandlerError)
TRIES: Final = 3

# "could not serialize access" and "deadlock detected", of PostgreSQL; "Deadlock found" and "Record
# has changed since last read", of MariaDB. Nothing of the transaction is left then.
_TRY_AGAIN: Final[frozenset[object]] = frozenset({"40001", "40P01", 1213, 1020})
_DIALECTS: Final = ("postgresql", "sqlite", *MYSQL)
_PG_DRIVERS: Final = ("psycopg", "psycopg_async", "asyncpg")


class Database:
    """An engine, with its retries and its errors."""

    def __init__(self, engine: Engine) -> None:
        name, driver = engine.dialect.name, engine.dialect.driver
        if name not in _DIALECTS:
            raise ConfigurationError(
                f"there is no store for {name}; there is one for {', '.join(_DIALECTS)}"
            )
        if name == "postgresql" and driver not in _PG_DRIVERS:
            # How other drivers report a commit without its standby is not known to us.
            raise ConfigurationError(
                f"use PostgreSQL with one of {', '.join(_PG_DRIVERS)}, not with {driver}"
            )
        self.engine = engine
        self.closed = False
        self.is_postgresql = name == "postgresql"
        # On PostgreSQL each change is one statement; others need a transaction.
        self._usual = self._with(isolation_level="AUTOCOMMIT") if self.is_postgresql else engine
        self._cannot_write = self._with(postgresql_readonly=True) if self.is_postgresql else engine
        afresh_in_children(engine)

    def _with(self, **options: Any) -> Engine:
        return self.engine.execution_options(**options)

    @property
    def autocommitting(self) -> Engine:
        """The engine for what commits by itself; on PostgreSQL alone another than `engine`."""
        return self._usual

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds. Raises StoreUnavailable."""
        return self._tried(lambda: self._once(self._usual, work), _can_read_again)

    def read_only(self, work: Callable[[Connection], T]) -> T:
        """The same, in a transaction in which the database refuses to write."""
        return self._tried(lambda: self._once(self._cannot_write, _guarded(work)), _can_read_again)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` answers, once that is durable. Raises StoreUnavailable."""
        return self._tried(lambda: self._once(self._usual, work), _was_undone)

    def transact(
        self, work: Callable[[Connection], T], acknowledge: Callable[[Connection], None]
    ) -> T:
        """What `work` answers, once all that it has written is durable as one transaction.

        Args:
            acknowledge: raises StoreUnavailable if the commit that has returned does not count.

        Raises:
            StoreUnavailable: nothing was written, or it is not known whether it was.
        """
        return self._tried(lambda: self._once(self.engine, _in_one(work), acknowledge), _was_undone)

    def open_transaction(self, work: Callable[[Connection], T]) -> tuple[Connection, T]:
        """What `work` answers, and its connection, whose transaction goes on.

        Raises:
            StoreUnavailable: there is neither.
        """
        connection = self.connected(self.engine)
        try:
            return connection, _in_one(work)(connection)
        except BaseException as error:
            connection.invalidate()
            connection.close()
            if isinstance(error, Exception):
                raise StoreUnavailable(_error_text("work", error)) from error
            raise

    def _tried(self, once: Callable[[], T], again: Callable[[BaseException | None], bool]) -> T:
        for _ in range(TRIES - 1):
            try:
                return once()
            except StoreUnavailable as error:
                if self.closed or not again(error.__cause__):
                    raise
        return once()

    def _once(
        self,
        engine: Engine,
        work: Callable[[Connection], T],
        acknowledge: Callable[[Connection], None] | None = None,
    ) -> T:
        with self.connected(engine) as connection:
            # Of statements that commit themselves we may have lost no more than the answer.
            step = "statement" if self.is_postgresql and engine is self._usual else "work"
            try:
                answer = work(connection)
                step = "COMMIT"
                connection.commit()
                if acknowledge is not None:
                    acknowledge(connection)
                if self.closed:
                    # Meanwhile: no pool closes a connection that comes back to it later.
                    _give_up(connection)
            except BaseException as error:
                _give_up(connection)
                if isinstance(error, StatementError):
                    # Whatever the engine of the shop shows: they are the rows of payments.
                    error.hide_parameters = True
                # asyncpg raises from several trees, so any other error is taken to be a driver's.
                if isinstance(error, Exception) and not isinstance(error, _OURS):
                    raise StoreUnavailable(_error_text(step, error)) from error
                raise
            return answer

    def connected(self, engine: Engine) -> Connection:
        """A connection of this engine. Raises StoreUnavailable."""
        if self.closed:
            raise StoreUnavailable("the store is closed")
        try:
            return self._connect(engine)
        except Exception as error:
            raise StoreUnavailable(_error_text("connect", error)) from error

    def _connect(self, engine: Engine) -> Connection:
        return engine.connect()


def _give_up(connection: Connection) -> None:
    """Close it for good; an open transaction is rolled back."""
    if not connection.closed:  # By a handler, and so rolled back already.
        connection.invalidate()


def refuse_autocommit(connection: Connection) -> None:
    """Where a change is several statements, an engine that commits each by itself is no good."""
    dialect: Any = connection.dialect
    if dialect.name != "postgresql" and _commits_each(connection):
        raise ConfigurationError(
            "the engine commits each statement by itself; make it without AUTOCOMMIT"
        )


def _in_one(work: Callable[[Connection], T]) -> Callable[[Connection], T]:
    """All that `work` does as one transaction, also on an engine that commits each statement."""

    def in_one(connection: Connection) -> T:
        if _commits_each(connection):
            connection.execution_options(isolation_level="READ COMMITTED")
        return work(connection)

    return in_one


def _commits_each(connection: Connection) -> bool:
    dialect: Any = connection.dialect
    detect = getattr(dialect, "detect_autocommit_setting", None)  # Not in older versions.
    return detect is not None and bool(detect(connection.connection.dbapi_connection))


# What makes a transaction read-only; PostgreSQL's begins with that option.
_READ_ONLY: Final = {
    **dict.fromkeys(MYSQL, ("SET TRANSACTION READ ONLY", "")),
    "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
    "postgresql": ("", ""),
}


def _guarded(work: Callable[[Connection], T]) -> Callable[[Connection], T]:
    def guarded(connection: Connection) -> T:
        before, after = _READ_ONLY[connection.dialect.name]
        if before:
            connection.execute(text(before))
        answer = work(connection)
        if after:
            connection.execute(text(after))
        return answer

    return guarded


def _was_undone(error: BaseException | None) -> bool:
    """Whether the transaction was rolled back, with an error code that means "try again"."""
    if not isinstance(error, DBAPIError):
        return False
    return bool({*codes(error.orig)} & _TRY_AGAIN)


def _can_read_again(error: BaseException | None) -> bool:
    """Reading again does no harm: the connection may have been lost since it was last used."""
    return _was_undone(error) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def codes(error: object) -> tuple[object, ...]:
    """The words or numbers by which the database names an error of its driver's."""
    arguments = getattr(error, "args", ())
    return (getattr(error, "sqlstate", None), arguments[0] if arguments else None)


def _error_text(step: str, error: Exception) -> str:
    text = _first_line(error)
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if step == "connect":
        return f"the database cannot be reached: {text}"
    if step == "COMMIT" or (step == "statement" and (lost or not isinstance(error, DBAPIError))):
        return f"whether the change took effect is not known: {text}"
    return f"the database did not answer, and nothing was changed: {text}"


def _first_line(error: Exception) -> str:
    """The first line of the driver's own words; those that follow may quote a row."""
    cause = getattr(error, "orig", None) or error
    first = str(cause).partition("\n")[0]
    return f"{type(cause).__name__}: {first}"[:ERROR_CHARS_MAX]
