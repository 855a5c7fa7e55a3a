"""SQLite stores that are wrong in one way each, between two statements or after a crash.

One at a time, called one after the other, they all obey the port.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX, Reader
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work, appended, for_deciding
from xpay_flow.stores.codec import Document, from_document, to_document, to_text

TABLES = """
    CREATE TABLE IF NOT EXISTS records (
        seq INTEGER PRIMARY KEY, key TEXT UNIQUE, version INTEGER, document TEXT);
    CREATE TABLE IF NOT EXISTS parts (key TEXT PRIMARY KEY, outbox TEXT);
    CREATE TABLE IF NOT EXISTS aliases (alias TEXT, key TEXT, PRIMARY KEY (alias, key));
"""
PUT = (
    "INSERT INTO records (key, version, document) VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET version = excluded.version, document = excluded.document"
)


def due_among(
    records: Iterable[Record], work: Work, now_ms: int, limit: int, realms: Realms
) -> list[str]:
    """The keys that are due in these realms, longest due first."""
    ours = [record for record in records if record.realm in realms]
    times = [(at, record.key) for record in ours if (at := record.due_at_ms(work)) is not None]
    return [key for at, key in sorted(times) if at <= now_ms][:limit]


class Plain:
    """Right, and plain: a connection for each call, a document and a row of outbox per record."""

    begin_writing = "BEGIN IMMEDIATE"
    begin_reading = "BEGIN"

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(TABLES)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            yield connection
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")

    # --- reading ---------------------------------------------------------------------------------

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [for_deciding(record, event) for record in self.history(alias)]

    def history(self, alias: str) -> Sequence[Record]:
        with self._transaction(self.begin_reading) as connection:
            return self._load(connection, alias)

    def _load(self, connection: sqlite3.Connection, alias: str) -> list[Record]:
        found = connection.execute(
            "SELECT key, document FROM aliases JOIN records USING (key)"
            " WHERE alias = ? ORDER BY seq LIMIT ?",
            (alias, FOUND_MAX),
        ).fetchall()
        return [self._whole(connection, key, document) for key, document in found]

    def _whole(self, connection: sqlite3.Connection, key: str, text: str) -> Record:
        row = connection.execute("SELECT outbox FROM parts WHERE key = ?", (key,)).fetchone()
        document: Document = json.loads(text)
        document["outbox"] = json.loads(row[0]) if row else []
        return from_document(document)

    def _all(self) -> list[Record]:
        with self._transaction(self.begin_reading) as connection:
            rows = connection.execute("SELECT key, document FROM records ORDER BY seq").fetchall()
            return [self._whole(connection, key, document) for key, document in rows]

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return due_among(self._all(), work, now_ms, limit, realms)

    def recent(self, limit: int, realms: Realms = EVERY_REALM) -> Sequence[Record]:
        return [record for record in self._all()[::-1] if record.realm in realms][:limit]

    def reader(self) -> Reader:
        return self

    # --- writing ---------------------------------------------------------------------------------

    def commit(self, change: Change) -> bool:
        with self._transaction(self.begin_writing) as connection:
            if not self._is_expected(connection, change):
                return False
            self._put(connection, change)
            self._put_entries(connection, change)
            self._put_aliases(connection, change)
        return True

    def _is_expected(self, connection: sqlite3.Connection, change: Change) -> bool:
        key = change.record.key
        row = connection.execute("SELECT version FROM records WHERE key = ?", (key,)).fetchone()
        return (row[0] if row else 0) == change.expected_version

    def _put(self, connection: sqlite3.Connection, change: Change) -> None:
        text = self._text(connection, change)
        connection.execute(PUT, (change.record.key, change.record.version, text))

    def _text(self, connection: sqlite3.Connection, change: Change) -> str:
        """The document after the change, without the outbox."""
        found = "SELECT document FROM records WHERE key = ?"
        document = to_document(appended(self._stored(connection, found, change), change))
        document.pop("outbox")
        return to_text(document)

    def _put_entries(self, connection: sqlite3.Connection, change: Change) -> None:
        found = (
            """SELECT json_object('key', key, 'outbox', json(outbox)) FROM parts WHERE key = ?"""
        )
        # The events are in the document.
        entries = attrs.evolve(change, new_events=())
        after = to_document(appended(self._stored(connection, found, change), entries))
        connection.execute(
            "INSERT INTO parts VALUES (?, ?) ON CONFLICT DO UPDATE SET outbox = excluded.outbox",
            (change.record.key, json.dumps(after["outbox"])),
        )

    def _stored(self, connection: sqlite3.Connection, found: str, change: Change) -> Record:
        """What is stored before the change; nothing before the first one."""
        key = change.record.key
        row = connection.execute(found, (key,)).fetchone() if change.expected_version else None
        return from_document(json.loads(row[0])) if row else Record(key=key)

    def _put_aliases(self, connection: sqlite3.Connection, change: Change) -> None:
        key = change.record.key
        connection.execute("DELETE FROM aliases WHERE key = ?", (key,))
        rows = [(alias, key) for alias in sorted(change.record.aliases)]
        connection.executemany("INSERT INTO aliases VALUES (?, ?)", rows)


class GetThenPut(Plain):
    """Reads the version and writes in one transaction that takes its lock only with the write.

    A second writer is refused by the database, and that is put right by writing once more.
    """

    begin_writing = "BEGIN"

    def commit(self, change: Change) -> bool:
        with self._connection() as connection:
            connection.execute("BEGIN")
            if not self._is_expected(connection, change):
                return False
            try:
                self._put(connection, change)
            except sqlite3.OperationalError:
                connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                self._put(connection, change)
            self._put_entries(connection, change)
            self._put_aliases(connection, change)
            connection.execute("COMMIT")
        return True


class ComparesBefore(Plain):
    """Compares the version in one transaction, and writes in the next."""

    def commit(self, change: Change) -> bool:
        with self._transaction("BEGIN") as connection:
            if not self._is_expected(connection, change):
                return False
        with self._transaction("BEGIN IMMEDIATE") as connection:
            self._put(connection, change)
            self._put_entries(connection, change)
            self._put_aliases(connection, change)
        return True


class EntriesLater(Plain):
    """The outbox is saved in a second transaction."""

    def commit(self, change: Change) -> bool:
        with self._transaction("BEGIN IMMEDIATE") as connection:
            if not self._is_expected(connection, change):
                return False
            self._put(connection, change)
            self._put_aliases(connection, change)
        with self._transaction("BEGIN IMMEDIATE") as connection:
            self._put_entries(connection, change)
        return True


class NamesLater(Plain):
    """The names are filed in a second transaction, and an error there is taken lightly."""

    def commit(self, change: Change) -> bool:
        with self._transaction("BEGIN IMMEDIATE") as connection:
            if not self._is_expected(connection, change):
                return False
            self._put(connection, change)
            self._put_entries(connection, change)
        with suppress(StoreUnavailable), self._transaction("BEGIN IMMEDIATE") as connection:
            self._put_aliases(connection, change)
        return True


class VersionNotChecked(Plain):
    """A change of what exists takes its place, whichever version that is."""

    def _is_expected(self, connection: sqlite3.Connection, change: Change) -> bool:
        return change.expected_version > 0 or super()._is_expected(connection, change)


class ConflictSwallowed(Plain):
    """A lost race is reported as a commit."""

    def commit(self, change: Change) -> bool:
        super().commit(change)
        return True


class NoTransaction(Plain):
    """Each statement is a transaction of its own."""

    def commit(self, change: Change) -> bool:
        with self._connection() as connection:
            text = self._text(connection, change)
            key, version = change.record.key, change.record.version
            if change.expected_version:
                sql = "UPDATE records SET version = ?, document = ? WHERE key = ? AND version = ?"
                values: tuple[object, ...] = (version, text, key, change.expected_version)
            else:
                sql = (
                    "INSERT INTO records (version, document, key) VALUES (?, ?, ?)"
                    " ON CONFLICT DO NOTHING"
                )
                values = (version, text, key)
            if connection.execute(sql, values).rowcount != 1:
                return False
            self._put_entries(connection, change)
            self._put_aliases(connection, change)
        return True


class TornLoad(Plain):
    """A load reads the row and then its outbox, outside of a transaction."""

    def history(self, alias: str) -> Sequence[Record]:
        with self._connection() as connection:
            return self._load(connection, alias)


class UpgradeSwallowed(Plain):
    """Reads first, and takes the lock with the write; that it was refused goes unnoticed."""

    def commit(self, change: Change) -> bool:
        with self._transaction("BEGIN") as connection:
            if not self._is_expected(connection, change):
                return False
            with suppress(sqlite3.OperationalError):
                self._put(connection, change)
                self._put_entries(connection, change)
                self._put_aliases(connection, change)
        return True


class AnswersFirst(Plain):
    """Answers, and commits when the next call or the end of the program comes by."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._open: sqlite3.Connection | None = None

    def commit(self, change: Change) -> bool:
        self.close()
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN IMMEDIATE")
            if not self._is_expected(connection, change):
                connection.close()
                return False
            self._put(connection, change)
            self._put_entries(connection, change)
            self._put_aliases(connection, change)
        except sqlite3.Error as error:
            connection.close()
            raise StoreUnavailable(str(error)) from error
        self._open = connection
        return True

    def history(self, alias: str) -> Sequence[Record]:
        self.close()
        return super().history(alias)

    def close(self) -> None:
        pending, self._open = self._open, None
        if pending is not None:
            try:
                pending.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreUnavailable(str(error)) from error
            finally:
                pending.close()


class Remembers(Plain):
    """What was once read is read again from memory, until this very store changes it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._known: dict[str, Sequence[Record]] = {}

    def history(self, alias: str) -> Sequence[Record]:
        if alias not in self._known:
            self._known[alias] = super().history(alias)
        return self._known[alias]

    def commit(self, change: Change) -> bool:
        self._known.clear()
        return super().commit(change)


class OneForAll(Plain):
    """All threads share one connection, and so each other's transactions."""

    def __init__(self, path: Path) -> None:
        self._shared = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        super().__init__(path)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._shared
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error

    def _transaction_of(self, begin: str) -> bool:
        return not self._shared.in_transaction and bool(self._shared.execute(begin))

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            mine = self._transaction_of(begin)
            try:
                yield connection
                if mine and connection.in_transaction:
                    connection.execute("COMMIT")
            except BaseException:
                if mine and connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        self._shared.close()


class ForeignError(Plain):
    """A locked database is the caller's problem, in the driver's own words."""

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()
