"""Stores by hand on a database server, one of them right, and each of the others wrong in one way.

One at a time, called one after the other, they all obey the port. They speak to psycopg and
to PyMySQL in words that both understand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import local
from types import ModuleType
from typing import Any, Final

import psycopg
import pymysql
from checker.stores.planted_sqlite import due_among

from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX, Reader
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work, appended, for_deciding
from xpay_flow.stores.codec import Document, from_document, to_document, to_text

from .kit import MARIADB, Place

TABLES: Final = {
    "shop_aliases": "alias VARCHAR(200), record_key VARCHAR(200), PRIMARY KEY (alias, record_key)",
    "shop_parts": "record_key VARCHAR(200) PRIMARY KEY, outbox TEXT",
    "shop_records": "record_key VARCHAR(200) PRIMARY KEY, version INT, document TEXT, seq SERIAL",
}
RECORDS: Final = (
    "SELECT r.document, p.outbox FROM shop_records r JOIN shop_parts p USING (record_key)"
)


@contextmanager
def tables(place: Place) -> Iterator[Callable[[], None]]:
    """The tables of these stores, gone afterwards, and what empties them."""
    with place.connected() as connection:

        def empty() -> None:
            for table in TABLES:
                connection.exec_driver_sql(f"DELETE FROM {table}")

        for table, columns in TABLES.items():
            connection.exec_driver_sql(f"CREATE TABLE {table} ({columns})")
        try:
            yield empty
        finally:
            for table in TABLES:
                connection.exec_driver_sql(f"DROP TABLE {table}")


def opener(place: Place, kind: Callable[..., Plain]) -> Callable[[], Plain]:
    """Opens a store of this kind, as another process would."""
    at: dict[str, Any] = {name: getattr(place.url, name) for name in ("host", "port")}
    at |= {"user": place.url.username, "password": place.url.password or ""}
    if place.kind is MARIADB:
        at |= {"database": place.url.database, "ssl_disabled": True}
        at["init_command"] = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
        return lambda: kind(pymysql, lambda: pymysql.connect(**at))
    return lambda: kind(psycopg, lambda: psycopg.connect(**at, dbname=place.url.database))


def loading_whole(kind: type[Plain]) -> type[Plain]:
    """The same store for flows: it loads whole records, so what a flow commits is whole."""
    return type(
        kind.__name__, (kind,), {"load": lambda self, alias, event=None: self.history(alias)}
    )


class Plain:
    """Right for whole records, such as those of the scenes: a document and an outbox for each."""

    def __init__(self, driver: ModuleType, connect: Callable[[], Any]) -> None:
        self._driver, self._connect, self._mine = driver, connect, local()

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A cursor; what was done through it is committed at the end."""
        try:
            connection = self._mine.connection = (
                getattr(self._mine, "connection", None) or self._connect()
            )
            yield connection.cursor()
            connection.commit()
        except self._driver.Error as error:
            self.close()
            raise StoreUnavailable(str(error)) from error

    def close(self) -> None:
        """Let go of this thread's connection."""
        connection = self._mine.__dict__.pop("connection", None)
        if connection is not None:
            with suppress(self._driver.Error):
                connection.close()

    # --- reading ---------------------------------------------------------------------------------

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [for_deciding(record, event) for record in self.history(alias)]

    def history(self, alias: str) -> Sequence[Record]:
        with self._transaction() as cursor:
            return self._load(cursor, alias)

    def _load(self, cursor: Any, alias: str) -> list[Record]:
        cursor.execute(
            f"{RECORDS} JOIN shop_aliases a USING (record_key) WHERE a.alias = %s LIMIT %s",
            (alias, FOUND_MAX),
        )
        return [record_of(*row) for row in cursor.fetchall()]

    def recent(self, limit: int, realms: Realms = EVERY_REALM) -> Sequence[Record]:
        with self._transaction() as cursor:
            cursor.execute(f"{RECORDS} ORDER BY r.seq DESC")
            newest = [record_of(*row) for row in cursor.fetchall()]
        return [record for record in newest if record.realm in realms][:limit]

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return due_among(self.recent(1_000), work, now_ms, limit, realms)

    def reader(self) -> Reader:
        return self

    # --- writing ---------------------------------------------------------------------------------

    def commit(self, change: Change) -> bool:
        with self._transaction() as cursor:
            if not self._put(cursor, change):
                return False
            self._put_entries(cursor, change)
            self._put_aliases(cursor, change)
        return True

    def _put(self, cursor: Any, change: Change) -> bool:
        values = (change.record.version, text_of(change.record), change.record.key)
        if change.expected_version:
            cursor.execute(
                "UPDATE shop_records SET version = %s, document = %s"
                " WHERE record_key = %s AND version = %s",
                (*values, change.expected_version),
            )
            return bool(cursor.rowcount == 1)
        try:
            cursor.execute(
                "INSERT INTO shop_records (version, document, record_key) VALUES (%s, %s, %s)",
                values,
            )
        except self._driver.IntegrityError:
            return False
        return True

    def _put_entries(self, cursor: Any, change: Change) -> None:
        outbox = json.dumps(to_document(change.record).get("outbox", []))
        key = change.record.key
        cursor.execute("DELETE FROM shop_parts WHERE record_key = %s", (key,))
        cursor.execute("INSERT INTO shop_parts VALUES (%s, %s)", (key, outbox))

    def _put_aliases(self, cursor: Any, change: Change) -> None:
        key = change.record.key
        cursor.execute("DELETE FROM shop_aliases WHERE record_key = %s", (key,))
        rows = [(alias, key) for alias in sorted(change.record.aliases)]
        cursor.executemany("INSERT INTO shop_aliases VALUES (%s, %s)", rows)


def text_of(record: Record) -> str:
    return to_text({k: v for k, v in to_document(record).items() if k != "outbox"})


def record_of(text: str, outbox: str) -> Record:
    document: Document = json.loads(text)
    document["outbox"] = json.loads(outbox)
    return from_document(document)


class LocksFirst(Plain):
    """Right, too: reads the version under a row lock, and then writes whatever is there."""

    reading = "SELECT version FROM shop_records WHERE record_key = %s FOR UPDATE"

    def _put(self, cursor: Any, change: Change) -> bool:
        key = change.record.key
        if not change.expected_version:
            return super()._put(cursor, change)
        cursor.execute(self.reading, (key,))
        (version,) = cursor.fetchone()
        if version != change.expected_version:
            return False
        cursor.execute(
            "UPDATE shop_records SET version = %s, document = %s WHERE record_key = %s",
            (change.record.version, text_of(change.record), key),
        )
        return True


class ReadsFirst(LocksFirst):
    """Reads the version, compares, and writes, in one transaction at READ COMMITTED."""

    reading = "SELECT version FROM shop_records WHERE record_key = %s"


class EntriesLater(Plain):
    """The outbox is saved in a second transaction."""

    def commit(self, change: Change) -> bool:
        with self._transaction() as cursor:
            if not self._put(cursor, change):
                return False
            self._put_aliases(cursor, change)
        with self._transaction() as cursor:
            self._put_entries(cursor, change)
        return True

    def _load(self, cursor: Any, alias: str) -> list[Record]:
        cursor.execute(
            "SELECT r.document, coalesce(p.outbox, '[]') FROM shop_records r"
            " LEFT JOIN shop_parts p USING (record_key)"
            " JOIN shop_aliases a USING (record_key) WHERE a.alias = %s",
            (alias,),
        )
        return [record_of(*row) for row in cursor.fetchall()]


class TornLoad(Plain):
    """Reads the row and then its outbox, at READ COMMITTED, where the second may be newer."""

    def _load(self, cursor: Any, alias: str) -> list[Record]:
        cursor.execute(
            "SELECT r.record_key, r.document FROM shop_records r"
            " JOIN shop_aliases a USING (record_key) WHERE a.alias = %s",
            (alias,),
        )
        return [self._whole(cursor, *row) for row in cursor.fetchall()]

    def _whole(self, cursor: Any, key: str, text: str) -> Record:
        cursor.execute("SELECT outbox FROM shop_parts WHERE record_key = %s", (key,))
        return record_of(text, *cursor.fetchone())


class VersionNotChecked(Plain):
    """A change of what exists takes its place, whichever version that is."""

    def _put(self, cursor: Any, change: Change) -> bool:
        if not change.expected_version:
            return super()._put(cursor, change)
        key = change.record.key
        cursor.execute("SELECT document FROM shop_records WHERE record_key = %s", (key,))
        whole = appended(from_document(json.loads(cursor.fetchone()[0])), change)
        cursor.execute(
            "UPDATE shop_records SET version = %s, document = %s WHERE record_key = %s",
            (whole.version, text_of(whole), key),
        )
        return True
