"""Stores on disk that are wrong when a commit is cut short, or when another process is there.

Most are those which the contract check has to find, too; here is what only the suite can see.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from tests.checker.stores.planted_sqlite import EntriesLater, Plain, Remembers
from xpay_flow.records import Change, Record
from xpay_flow.stores.codec import from_document, part_to_document

# Longer than two processes need to come to the same line.
MEET_S = 0.05


class PlainAble(Plain):
    """Right: batches and shared transactions, each in one transaction."""

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        with self._transaction(self.begin_writing) as connection:
            return [self._take(connection, change) for change in changes]

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        with self._transaction(self.begin_writing) as connection:
            won = self._take(connection, change)
            if won:
                work(connection)
            return won

    def _take(self, connection: sqlite3.Connection, change: Change) -> bool:
        if not self._is_expected(connection, change):
            return False
        self._put(connection, change)
        self._put_entries(connection, change)
        self._put_aliases(connection, change)
        return True


class OneByOne(PlainAble):
    """A batch is a commit for each change."""

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        return [self.commit(change) for change in changes]


class EntriesAfterTheWork(EntriesLater):
    """The outbox of a shared transaction follow in one of their own."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        won = self.commit(change)
        if won:
            work(None)
        return won


class EvidenceFirst(Plain):
    """The evidence is saved before the snapshot, in a transaction of its own."""

    def commit(self, change: Change) -> bool:
        with self._transaction(self.begin_reading) as connection:
            if not self._is_expected(connection, change):
                return False
        with self._connection() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS changes (key TEXT, document TEXT)")
            connection.executemany(
                "INSERT INTO changes VALUES (?, ?)",
                [(change.record.key, json.dumps(part_to_document(f))) for f in change.new_events],
            )
        return super().commit(change)

    def _whole(self, connection: sqlite3.Connection, key: str, text: str) -> Record:
        document = json.loads(text)
        with suppress(sqlite3.OperationalError):  # no event yet
            rows = connection.execute(
                "SELECT document FROM changes WHERE key = ? ORDER BY rowid", (key,)
            )
            document["events"] = [json.loads(recorded) for (recorded,) in rows]
        whole = super()._whole(connection, key, json.dumps(document))
        return from_document({**document, "outbox": [part_to_document(e) for e in whole.outbox]})


class NamesRemembered(Plain):
    """Which record has a name is looked up once, and remembered."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._found: dict[str, list[str]] = {}

    def history(self, alias: str) -> Sequence[Record]:
        if alias not in self._found:
            self._found[alias] = [record.key for record in super().history(alias)]
        keys = self._found[alias]
        return [record for record in self._all() if record.key in keys]

    def commit(self, change: Change) -> bool:
        self._found.clear()
        return super().commit(change)


class ComparesWithMemory(Remembers):
    """The version is compared with that of the record as it was last read."""

    def commit(self, change: Change) -> bool:
        known = self.load(change.record.key)
        if (known[0].version if known else 0) != change.expected_version:
            return False
        with self._transaction(self.begin_writing) as connection:
            self._put(connection, change)
            self._put_entries(connection, change)
            self._put_aliases(connection, change)
        return True


class LocksItsOwnProcess(Plain):
    """Reads, compares and writes under a lock, of which other processes know nothing."""

    lock: ClassVar = threading.Lock()

    def commit(self, change: Change) -> bool:
        with self.lock:
            with self._transaction(self.begin_reading) as connection:
                if not self._is_expected(connection, change):
                    return False
            self._meet(f"{change.record.key}-{change.expected_version}")
            with self._transaction(self.begin_writing) as connection:
                self._put(connection, change)
                self._put_entries(connection, change)
                self._put_aliases(connection, change)
        return True

    def _meet(self, where: str) -> None:
        """Wait a moment for another process at the same place."""
        name = where.replace("/", "-")
        place = self._path.with_name(f"meeting-{name}")
        place.mkdir(exist_ok=True)
        (place / str(os.getpid())).touch()
        until = monotonic() + MEET_S
        while len(list(place.iterdir())) < 2 and monotonic() < until:
            pass
