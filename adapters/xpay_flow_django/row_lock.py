"""How does a worker keep a record for itself, so that its death sets the record free at once?

By a row lock, on a connection of its own, for as long as its handlers run: PostgreSQL gives the
lock up when the connection ends. Locked is the row that files the record under its own key, which
no change ever writes, so that news of the payment is not kept waiting.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from django.db import transaction
from django.db.models import F

from xpay_flow.stores.rows import LOCKED_ENDING

from .database import Database
from .models import Alias

_LOCK: Final = (
    f"SELECT 1 FROM {Alias._meta.db_table} WHERE record_key = %s AND alias = %s"
    " FOR UPDATE SKIP LOCKED"
)


class RecordLock:
    """One record, held by one worker."""

    def __init__(self, database: Database, key: str) -> None:
        self._database, self._key = database, key
        self._connection: Any = None

    def take(self) -> bool:
        """Hold it; False if another does. Raises StoreUnavailable."""
        if self._database.is_inside:
            # What is in a transaction that goes on nobody else has seen: a test case of Django's.
            return True
        connection, is_mine = self._database.open_transaction(self._is_locked)
        self._connection = connection
        if not is_mine:
            self.let_go()
        return is_mine

    def _is_locked(self, cursor: Any) -> bool:
        cursor.execute(_LOCK, [self._key, self._key])
        return cursor.fetchone() is not None

    def let_go(self) -> None:
        """Let others have it."""
        if self._connection is not None:
            # One that is lost has let go already. The server may notice a close only later.
            with suppress(Exception):
                self._connection.rollback()
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    def __enter__(self) -> bool:
        return self.take()

    def __exit__(self, *_: object) -> None:
        self.let_go()


def orphaned(now_ms: int, limit: int, using: str) -> list[str]:
    """See `xpay_flow.ports.RowLocking`. The locks that this takes end with it."""
    left = Alias.objects.using(using).filter(
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
