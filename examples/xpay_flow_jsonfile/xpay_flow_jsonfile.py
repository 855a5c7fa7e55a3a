"""A store that keeps all records in one JSON file, which is replaced as a whole."""

import fcntl
import json
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work, appended, for_deciding
from xpay_flow.stores.codec import from_document, to_document


class JSONFileReader:
    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [for_deciding(record, event) for record in self.history(alias)]

    def history(self, alias: str) -> Sequence[Record]:
        return [record for record in self._records() if alias in record.aliases][:FOUND_MAX]

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        newest = self._records()[::-1]
        at = [record.key for record in newest].index(before) + 1 if before else 0
        return [record for record in newest[at:] if record.realm in realms][:limit]

    def _records(self) -> list[Record]:
        try:
            documents = json.loads(self.path.read_bytes()) if self.path.exists() else []
        except (OSError, ValueError) as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error
        return [from_document(document) for document in documents]


class JSONFileStore(JSONFileReader):
    @classmethod
    def from_url(cls, url: str) -> "JSONFileStore":
        return cls(url.removeprefix("jsonfile:///"))

    def commit(self, change: Change) -> bool:
        key = change.record.key
        with self._locked() as folder:
            records = {record.key: record for record in self._records()}
            old = records.get(key, Record(key=key))
            if old.version != change.expected_version:
                return False
            records[key] = appended(old, change)  # where it was, or at the end
            self._replace([to_document(record) for record in records.values()], folder)
        return True

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        ours = [record for record in self._records() if record.realm in realms]
        due = [record for record in ours if record.is_due(work, now_ms)]
        late = sorted((record.due_at_ms(work) or 0, record.key) for record in due)
        return [key for _, key in late[:limit]]

    def reader(self) -> JSONFileReader:
        return JSONFileReader(self.path)

    @contextmanager
    def _locked(self) -> Generator[int, None, None]:
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)  # ends with the process, however that ends
                yield folder
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error

    def _replace(self, documents: Sequence[object], folder: int) -> None:
        beside = self.path.with_suffix(".new")
        with beside.open("w") as file:
            file.write(json.dumps(documents))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self.path)
        os.fsync(folder)  # the new file's name is on the disk, too
