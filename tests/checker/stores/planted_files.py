"""Stores of one file for each record: one that a death leaves in halves, and one that not."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.ports import Reader
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work, appended, for_deciding
from xpay_flow.stores.codec import from_document, to_document, to_text

from .planted_sqlite import due_among


class Documents:
    """A folder of documents. Each is written where it stands."""

    # Stands for a lock that processes share, such as one for a file.
    lock: ClassVar = threading.Lock()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[list[Record]]:
        with self.lock:
            try:
                files = sorted(self._folder.glob("*.json"))
                yield [from_document(json.loads(path.read_text())) for path in files]
            except (OSError, ValueError) as error:
                raise StoreUnavailable(str(error)) from error

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [for_deciding(record, event) for record in self.history(alias)]

    def history(self, alias: str) -> Sequence[Record]:
        with self._locked() as records:
            return [record for record in records if alias in record.aliases]

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        with self._locked() as records:
            return due_among(records, work, now_ms, limit, realms)

    def reader(self) -> Reader:
        return self

    def commit(self, change: Change) -> bool:
        with self._locked() as records:
            numbers = {record.key: number for number, record in enumerate(records)}
            key = change.record.key
            number = numbers.get(key, len(records))
            old = records[number] if number < len(records) else Record(key=key)
            if old.version != change.expected_version:
                return False
            text = to_text(to_document(appended(old, change)))
            self._write(self._folder / f"{number:04}.json", text)
            return True

    def _write(self, path: Path, text: str) -> None:
        with path.open("w") as file:
            file.write(text)


class RenamedDocuments(Documents):
    """As it should be: written beside, and put in place in one step."""

    def _write(self, path: Path, text: str) -> None:
        beside = path.with_suffix(".new")
        super()._write(beside, text)
        os.replace(beside, path)
