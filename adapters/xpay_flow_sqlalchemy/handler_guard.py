"""How is a handler kept from ending our transaction, or from going on after it has ended?

Commit and rollback are ours alone: SQLAlchemy has an event before each. And the database may roll
back a transaction by itself, after an error that the handler has caught; so at the end we read
whether our own change is still there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, bindparam, event, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from xpay_flow.errors import ConfigurationError
from xpay_flow.ports import HandlerRolledBack
from xpay_flow.records import Change
from xpay_flow.stores.cut_off import CutOffs

from .database import HandlerError, codes
from .postgresql import OneStatement
from .tables import Tables
from .writing import Writing

# "current transaction is aborted": PostgreSQL's answer to a statement after an error.
_ABORTED: Final = "25P02"


class HandlerGuard:
    """The writing of a change together with what a handler writes."""

    def __init__(self, tables: Tables, writing: OneStatement | Writing) -> None:
        self._writing = writing
        self.cut_offs = CutOffs()
        intents = tables.intents
        self._version = select(intents.c.version).where(
            intents.c.record_key == bindparam("known_key")
        )

    def put(
        self, connection: Connection, change: Change, work: Callable[[Connection], object]
    ) -> bool:
        """Put the change down and have `work` write, in the connection's transaction.

        Raises:
            HandlerRolledBack: `work` has ended or spoilt the transaction.
            HandlerError: from the error that `work` has raised.
        """
        if not self._writing.put(connection, change):
            return False
        guard = _CommitGuard(connection)
        try:
            with self.cut_offs.around(work, connection.connection.dbapi_connection):
                _called(work, connection)
            stored = self._stored_version(connection, change.record.key)
        finally:
            guard.is_active = False
        if stored != change.record.version:
            raise HandlerRolledBack(
                "the database has undone the transaction, and the handler went on"
            )
        return True

    def _stored_version(self, connection: Connection, key: str) -> Any:
        try:
            return connection.execute(self._version, {"known_key": key}).scalar()
        except SQLAlchemyError as error:
            if isinstance(error, DBAPIError) and _ABORTED not in codes(error.orig):
                # That is the database's own failure, or the connection's.
                raise
            raise HandlerRolledBack(
                f"the handler has left a broken transaction: {error}"
            ) from error


def _called(work: Callable[[Connection], object], connection: Connection) -> None:
    try:
        work(connection)
    except (DBAPIError, HandlerRolledBack):
        # The database may ask to try it all again.
        raise
    except Exception as error:
        raise HandlerError(error) from error


class _CommitGuard:
    """Refuses that others end the transaction of a connection."""

    def __init__(self, connection: Connection) -> None:
        self.is_active = True
        for name in ("commit", "rollback"):
            event.listen(connection, name, self._refuse)

    def _refuse(self, _: Connection) -> None:
        if self.is_active:
            raise ConfigurationError(
                "the transaction that a handler is given is committed by xpay-flow; "
                "leave out commit, rollback and close"
            )
