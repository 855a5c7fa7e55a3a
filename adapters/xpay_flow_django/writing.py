"""How is a change put down? The first statement decides who wins.

The unique key of a new record, or the version of a known one, whose row is then ours until the end
of the transaction. What follows is safe from other writers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from xpay_flow.errors import StoreUnavailable
from xpay_flow.ports import HandlerRolledBack
from xpay_flow.records import Change
from xpay_flow.stores.batches import put_each
from xpay_flow.stores.rows import (
    OUTBOX_COLUMNS,
    Row,
    blanked_rows,
    entry_row,
    event_row,
    intent_row,
)

from . import reading
from .models import Alias, Intent, OutboxEntry, RecordedEvent


class LostRace(Exception):
    """Another has made this record; the transaction must be rolled back."""


def put(change: Change, using: str) -> bool:
    """Put the change down, in the transaction that is under way; False is a lost race.

    Raises:
        LostRace: as False, and nothing more can be done in this transaction.
    """
    if not _put_head(change, using):
        return False
    key = change.record.key
    RecordedEvent.objects.using(using).bulk_create(
        RecordedEvent(**_part(event_row(key, recorded))) for recorded in change.new_events
    )
    OutboxEntry.objects.using(using).bulk_create(
        [OutboxEntry(**_part(entry_row(key, entry))) for entry in change.changed_entries],
        update_conflicts=True,
        unique_fields=["record", "entry_id"],
        update_fields=OUTBOX_COLUMNS[2:],
    )
    _put_aliases(change, using)
    return True


def blank(key: str, using: str) -> None:
    """Empty the payloads of a record's events, in the transaction that is under way."""
    for whole in reading.history(key, using):
        for row in blanked_rows(whole) if whole.key == key else ():
            RecordedEvent.objects.using(using).filter(
                record_id=row["record_key"], event_key=row["event_key"]
            ).update(document=row["document"])


def put_many(changes: Sequence[Change], using: str) -> Sequence[bool]:
    """Put these changes down, of records that all differ; False is a lost race."""
    return put_each(changes, partial(_put_apart, using=using))


def _put_apart(change: Change, using: str) -> bool:
    """As `put`, where the transaction goes on after a race that was lost."""
    if change.expected_version:
        return put(change, using)
    try:
        # PostgreSQL ends a transaction with its first error, or takes it back to a savepoint.
        with transaction.atomic(using=using):
            return put(change, using)
    except LostRace:
        return False


def put_with(
    change: Change, work: Callable[[Any], object], connection: BaseDatabaseWrapper
) -> bool:
    """The same, and then whatever `work` writes.

    Raises:
        HandlerRolledBack: `work` has left a transaction that cannot be committed.
        StoreUnavailable: `work` has ended the transaction.
    """
    if not put(change, connection.alias):
        return False
    work(connection)
    _must_be_whole(connection)
    return True


def _must_be_whole(connection: Any) -> None:
    """A broken transaction would be rolled back at its end, without an error."""
    if connection.needs_rollback or _is_aborted(connection):
        raise HandlerRolledBack(
            "the handler went on after an error of the database, or requested a rollback"
        )
    if not _is_under_way(connection):
        raise StoreUnavailable("the handler ended the transaction, so it is not known what is kept")


def _is_aborted(connection: Any) -> bool:
    return connection.vendor == "postgresql" and _pg_status(connection) == "INERROR"


def _is_under_way(connection: Any) -> bool:
    if connection.vendor == "postgresql":
        return _pg_status(connection) == "INTRANS"
    return bool(connection.connection.in_transaction)


def _pg_status(connection: Any) -> str:
    return str(connection.connection.info.transaction_status.name)


def _put_head(change: Change, using: str) -> bool:
    row = intent_row(change.record)
    if not change.expected_version:
        try:
            Intent.objects.using(using).create(**row)
        except IntegrityError as error:
            # No column is left empty, so it is the key.
            raise LostRace from error
        return True
    known = Intent.objects.using(using).filter(
        record_key=row.pop("record_key"), version=change.expected_version
    )
    return known.update(**row) == 1


def _part(row: Row) -> dict[str, Any]:
    """The row of a part, in the words of its model."""
    return {"record_id": row.pop("record_key"), **row}


def _put_aliases(change: Change, using: str) -> None:
    key, named = change.record.key, Alias.objects.using(using)
    # A change made by hand may list an alias as new that is there.
    named.bulk_create(
        [Alias(alias=alias, record_id=key) for alias in sorted(change.new_aliases)],
        ignore_conflicts=True,
    )
    if change.old_aliases:
        named.filter(record_id=key, alias__in=change.old_aliases).delete()
