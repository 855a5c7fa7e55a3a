"""How does a worker lock a record, so that the lock ends at once when the worker dies?

With a row lock, on a connection of its own, for as long as its handlers run: PostgreSQL releases
the lock when the connection ends. It locks the alias row of the record's own key, which no change
ever writes, so that events of the payment do not wait.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from django.db import transaction
from django.db.models import F

from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.stores.rows import LOCKED_ENDING

from .database import Database
from .models import Alias
from .reading import of_realms

_LOCK: Final = (
    f"SELECT 1 FROM {Alias._meta.db_table} WHERE record_key = %s AND alias = %s"
    " FOR UPDATE SKIP LOCKED"
)


class RecordLock:
    """The lock of one worker on one record."""

    def __init__(self, database: Database, key: str) -> None:
        self._database, self._key = database, key
        self._connection: Any = None

    def take(self) -> bool:
        """Lock it; False if another worker has. Raises StoreUnavailable."""
        if self._database.is_inside:
            # Others cannot see the rows of an open transaction: a Django test case.
            return True
        connection, is_mine = self._database.open_transaction(self._is_locked)
        self._connection = connection
        if not is_mine:
            self.release()
        return is_mine

    def _is_locked(self, cursor: Any) -> bool:
        cursor.execute(_LOCK, [self._key, self._key])
        return cursor.fetchone() is not None

    def release(self) -> None:
        """Unlock it. May be called twice."""
        if self._connection is not None:
            # A lost connection holds no lock. The server may notice a close only later.
            with suppress(Exception):
                self._connection.rollback()
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    def __enter__(self) -> bool:
        return self.take()

    def __exit__(self, *_: object) -> None:
        self.release()


def orphaned(now_ms: int, limit: int, using: str, realms: Realms = EVERY_REALM) -> list[str]:
    """See `xpay_flow.ports.RowLocking`. The locks that this takes end with it."""
    left = of_realms(Alias.objects.using(using), realms, "record__realm").filter(
        alias=F("record_id"),
        record__deliver_at_ms__gt=now_ms,
        record__outbox__status="pending",
        record__outbox__document__endswith=LOCKED_ENDING,
    )
    free = left.select_for_update(skip_locked=True, of=("self",))
    longest = free.order_by("record__deliver_at_ms", "record_id").values_list(
        "record_id", flat=True
    )
    with transaction.atomic(using=using):
        return list(dict.fromkeys(longest[:limit]))
