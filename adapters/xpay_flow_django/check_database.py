"""Where is the store checked? In a database of its own, made as Django makes one for tests.

The project's own database is not touched.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final, Generic, TypeVar

import attrs
from django.db import DatabaseError, connections, transaction

from .models import Alias, Intent, OutboxEntry, RecordedEvent

S = TypeVar("S")

_LEFT_S: Final = 5
# Those that refer to others come first.
_TABLES: Final = [model._meta.db_table for model in (Alias, OutboxEntry, RecordedEvent, Intent)]


@attrs.frozen(kw_only=True)
class ForCheck(Generic[S]):
    """Empty tables for as long as a check lasts.

    Args:
        make: opens the store once more, on a new connection of this thread, as another process
            would.
        reset: empties the tables.
    """

    make: Callable[[], S]
    reset: Callable[[], None]


@contextmanager
def for_check(alias: str, opened: Callable[[str], S]) -> Generator[ForCheck[S]]:
    """A new database beside the one that `alias` names, whose user may make and drop databases."""

    def make() -> S:
        _connect_anew(alias)
        return opened(alias)

    with _another_database(alias):
        _may_be_emptied(alias)
        yield ForCheck(make=make, reset=lambda: _empty(alias))


@contextmanager
def _another_database(alias: str) -> Generator[None]:
    # Imported here: taking payments must not load the checker.
    from xpay_flow.checker.contract import a_place

    with a_place() as place:
        declared = connections[alias].settings_dict
        usual, is_file = declared["NAME"], connections[alias].vendor == "sqlite"
        for_tests = dict(declared["TEST"])
        declared["TEST"]["NAME"] = (
            str(place.file) if is_file else f"xpay_check_{secrets.token_hex(3)}"
        )
        try:
            connections[alias].creation.create_test_db(verbosity=0, serialize=None)
            try:
                yield
            finally:
                _connect_anew(alias)
                _end_left(alias)
                connections[alias].creation.destroy_test_db(usual, verbosity=0)
        finally:
            declared["TEST"].update(for_tests)


def _connect_anew(alias: str) -> None:
    """Another process has none of the connections that this thread has, however those ended."""
    with suppress(DatabaseError):
        connections[alias].close()
    del connections[alias]
    connections[alias].ensure_connection()


def _may_be_emptied(alias: str) -> None:
    """A trigger keeps events, unless they go with the whole table, which takes 40 ms a time."""
    if connections[alias].vendor == "postgresql":
        with connections[alias].cursor() as cursor:
            cursor.execute(
                f"DROP TRIGGER xpay_flow_event_append_only ON {RecordedEvent._meta.db_table}"
            )


def _empty(alias: str) -> None:
    _connect_anew(alias)
    try:
        _delete(alias)
    except DatabaseError:
        # A run that was given up may have left a connection that holds locks of these tables.
        _end_left(alias)
        _delete(alias)


def _delete(alias: str) -> None:
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":
            cursor.execute(f"SET LOCAL lock_timeout = '{_LEFT_S}s'")
        for table in _TABLES:
            cursor.execute(f"DELETE FROM {table}")


def _end_left(alias: str) -> None:
    """End all other connections to this database, which is there for the check alone."""
    if connections[alias].vendor == "postgresql":
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
