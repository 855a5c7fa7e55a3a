"""A store that keeps one JSON document for each record, here in one table of SQLite."""

import json
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from itertools import islice

from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work, appended, believed_up_to, for_deciding
from xpay_flow.stores.codec import from_document, to_document, to_text

TABLE = """CREATE TABLE IF NOT EXISTS records (born INTEGER PRIMARY KEY, key TEXT UNIQUE,
    version INTEGER, realm TEXT, deliver_at_ms INTEGER, reconcile_at_ms INTEGER, due_set_ms INTEGER,
    document TEXT)"""
ADD = """INSERT INTO records
    (version, realm, deliver_at_ms, reconcile_at_ms, due_set_ms, document, key)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"""
REPLACE = """UPDATE records
    SET version = ?, realm = ?, deliver_at_ms = ?, reconcile_at_ms = ?, due_set_ms = ?, document = ?
    WHERE key = ? AND version = ?"""
NAMED = """SELECT document FROM records
    WHERE ? IN (SELECT value FROM json_each(document, '$.aliases')) ORDER BY born LIMIT ?"""


class DocumentReader:
    def __init__(self, path: str) -> None:
        self.path = path

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [for_deciding(record, event) for record in self.history(alias)]

    def history(self, alias: str) -> Sequence[Record]:
        try:
            with self._database() as database:
                found = database.execute(NAMED, (alias, FOUND_MAX)).fetchall()
        except UnicodeEncodeError:
            return []  # half a character, in a foreign name: nothing is filed under it
        return [from_document(json.loads(document)) for (document,) in found]

    @contextmanager
    def _database(self) -> Generator[sqlite3.Connection, None, None]:
        try:
            with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
                yield database
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error


class DocumentStore(DocumentReader):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        with self._database() as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(TABLE)

    def commit(self, change: Change) -> bool:
        key, expected = change.record.key, change.expected_version
        old = next(iter(self.history(key)), Record(key=key))
        if old.version != expected:
            return False
        new = appended(old, change)
        due = (new.due_at_ms("deliver"), new.due_at_ms("reconcile"), new.due_set_ms)
        values = (new.version, new.realm, *due, to_text(to_document(new)), key)
        statement = (REPLACE, (*values, expected)) if expected else (ADD, values)
        with self._database() as database:
            return database.execute(*statement).rowcount == 1

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        # The second part: the clock was set back since the time was set.
        late = f"""SELECT key, realm FROM records
            WHERE {work}_at_ms <= ?1 OR {work}_at_ms > ?1 AND due_set_ms > ?2
            ORDER BY {work}_at_ms"""
        with self._database() as database:
            found = database.execute(late, (now_ms, believed_up_to(now_ms)))
            return list(islice((key for key, realm in found if realm in realms), limit))

    def reader(self) -> DocumentReader:
        return DocumentReader(self.path)
