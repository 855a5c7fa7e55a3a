"""How does a worker lock a record, so that the lock ends at once when the worker dies?

With a row lock, on a connection of its own, for as long as its handlers run: the database releases
the lock when the connection ends. It locks the alias row of the record's own key, which no change
ever writes, so that events of the payment do not wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.stores.rows import LOCKED_ENDING

from .columns import MYSQL
from .database import Database
from .reading import of_realms
from .tables import Tables

# SQLite locks whole files.
DIALECTS: Final = ("postgresql", *MYSQL)


class LockStatements:
    """The statements for row locks, built once for a set of tables."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        intents, outbox, aliases = tables.intents, tables.outbox, tables.aliases
        self._lock = (
            select(aliases.c.alias)
            .where(
                aliases.c.record_key == bindparam("known_key"),
                aliases.c.alias == bindparam("known_key"),
            )
            .with_for_update(skip_locked=True)
        )
        # The locks that this takes end with it; locked rows are skipped. MariaDB has no FOR UPDATE
        # OF, and MySQL does not need it.
        of = aliases if database.is_postgresql else None
        orphaned = (
            select(intents.c.record_key)
            .join(outbox, outbox.c.record_key == intents.c.record_key)
            .join(
                aliases,
                (aliases.c.record_key == intents.c.record_key)
                & (aliases.c.alias == intents.c.record_key),
            )
            .where(
                intents.c.deliver_at_ms > bindparam("now_ms"),
                outbox.c.status == "pending",
                outbox.c.document.endswith(LOCKED_ENDING, autoescape=True),
            )
            .order_by(intents.c.deliver_at_ms, intents.c.record_key)
            .limit(bindparam("limit"))
            .with_for_update(of=of, skip_locked=True)
        )
        self._orphaned = {
            others: orphaned.where(of_realms(intents, others)) for others in (False, True)
        }

    def lock(self, key: str) -> RecordLock:
        """A lock, not yet taken."""
        return RecordLock(self._database, self._lock, key)

    def orphaned(
        self, connection: Connection, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        """See `xpay_flow.ports.RowLocking`."""
        values = {"now_ms": now_ms, "limit": limit, "realms": realms.names}
        found = connection.execute(self._orphaned[realms.others], values).scalars()
        return list(dict.fromkeys(found))


class RecordLock:
    """The lock of one worker on one record."""

    def __init__(self, database: Database, lock: Any, key: str) -> None:
        self._database, self._lock, self._key = database, lock, key
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Lock it; False if another worker has. Raises StoreUnavailable."""
        connection, is_mine = self._database.open_transaction(self._is_locked)
        if is_mine:
            self._connection = connection
        else:
            _end(connection)
        return is_mine

    def _is_locked(self, connection: Connection) -> bool:
        return connection.execute(self._lock, {"known_key": self._key}).first() is not None

    def release(self) -> None:
        """Unlock it. May be called twice."""
        if self._connection is not None:
            _end(self._connection)
            self._connection = None

    def __enter__(self) -> bool:
        return self.take()

    def __exit__(self, *_: object) -> None:
        self.release()


def _end(connection: Connection) -> None:
    # A lost connection holds no lock.
    with suppress(Exception):
        connection.close()
