"""Where does the app's database live during a check? In copies of its files, put back at will.

The files of the app itself are never opened: what it opens is led to a copy, which is made when a
file is first opened.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import attrs

from xpay_flow.errors import ConfigurationError

# Taken before the drivers are wrapped, for looks from outside.
_CONNECT: Final = sqlite3.connect
_PARTS: Final = ("", "-wal", "-journal")
_COARSE: Final = "SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')"

Row = tuple[Any, ...]


@attrs.frozen
class Table:
    """The rows of a table, by SQLite's number of a row."""

    columns: tuple[str, ...]
    rows: Mapping[int, Row]


NO_TABLE: Final = Table((), {})
Contents = Mapping[str, Table]


class Databases:
    """All database files that the app opens.

    Args:
        folder: for the copies, best in memory.
    """

    def __init__(self, folder: Path) -> None:
        self._work, self._kept = folder / "work", folder / "kept"
        self._work.mkdir()
        self._kept.mkdir()

    # --- for the app -----------------------------------------------------------------------------

    def redirect(self, database: Any) -> Any:
        """The copy of the file that the app names; made now if this is the first time."""
        name = str(database)
        scheme, path, options = "", name, ""
        if name.startswith("file:"):
            scheme, (path, _, options) = "file:", name.removeprefix("file:").partition("?")
        if path in ("", ":memory:") or "mode=memory" in options:
            return database
        original = Path(path).absolute()
        digest = hashlib.sha256(str(original).encode()).hexdigest()[:8]
        copy = self._work / f"{digest}-{original.name}"
        if not copy.exists():
            for part in _PARTS:
                with suppress(FileNotFoundError):
                    shutil.copy(f"{original}{part}", f"{copy}{part}")
                    shutil.copy(f"{original}{part}", f"{self._kept / copy.name}{part}")
        return f"{scheme}{copy}{'?' + options if options else ''}"

    # --- for the search --------------------------------------------------------------------------

    @property
    def files(self) -> list[Path]:
        """The copies that were opened."""
        return sorted(
            p for p in self._work.iterdir() if not p.name.endswith(("-wal", "-shm", "-journal"))
        )

    def keep(self) -> None:
        """What is there now is what each execution begins with."""
        for path in self.files:
            with closing(_CONNECT(path)) as source, closing(_CONNECT(self._kept / path.name)) as to:
                source.backup(to)

    def restore(self) -> None:
        """Put back what was kept; in place, since connections may be open."""
        for path in self._work.iterdir():
            kept = self._kept / path.name
            if kept.exists():
                content = kept.read_bytes()
                with path.open("r+b") as file:
                    file.write(content)
                    file.truncate()
            elif not path.name.endswith("-shm"):
                path.unlink()

    def contents(self) -> Contents:
        """All rows of all tables."""
        found: dict[str, Table] = {}
        for path in self.files:
            with closing(_CONNECT(path)) as database:
                found |= dict(_tables(database))
        return found

    def is_coarse(self) -> bool:
        """A statement may touch other tables than those that it names."""
        return any(bool(self._first(path, _COARSE, {})) for path in self.files)

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        """The rows of a query, from the file that has its tables.

        Raises:
            ConfigurationError: it cannot be run.
        """
        error: Exception | None = None
        for path in self.files:
            try:
                with closing(_CONNECT(path)) as database:
                    return list(database.execute(sql, parameters))
            except sqlite3.Error as raised:
                error = raised
        raise ConfigurationError(
            f"the SQL {sql!r} cannot be run: {error or 'there is no database'}"
        )

    def _first(self, path: Path, sql: str, parameters: Mapping[str, Any]) -> Any:
        with closing(_CONNECT(path)) as database:
            return database.execute(sql, parameters).fetchone()[0]

    # --- the shop's own commit -------------------------------------------------------------------

    def take_out(self, value: str) -> list[tuple[Path, str, Row]]:
        """Remove each row that holds this value; they can be put in again later."""
        taken: list[tuple[Path, str, Row]] = []
        for path in self.files:
            with closing(_CONNECT(path)) as database:
                for name, table in dict(_tables(database)).items():
                    for number, row in table.rows.items():
                        if value in row:
                            taken.append((path, name, row))
                            database.execute(f'DELETE FROM "{name}" WHERE rowid = ?', (number,))
                database.commit()
        return taken

    def put_in(self, taken: list[tuple[Path, str, Row]]) -> bool:
        """Insert what was taken out, in one commit; False if another holds the lock."""
        for path in {path for path, _, _ in taken}:
            with closing(_CONNECT(path, timeout=0)) as database:
                try:
                    for _, name, row in (one for one in taken if one[0] == path):
                        marks = ", ".join("?" * len(row))
                        database.execute(f'INSERT INTO "{name}" VALUES ({marks})', row)
                    database.commit()
                except sqlite3.OperationalError:
                    return False
        return True


def _tables(database: sqlite3.Connection) -> Iterator[tuple[str, Table]]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    for (name,) in database.execute(query).fetchall():
        try:
            found = database.execute(f'SELECT rowid, * FROM "{name}"')
            first = 1
        except sqlite3.OperationalError:  # WITHOUT ROWID
            found = database.execute(f'SELECT * FROM "{name}"')
            first = 0
        columns = tuple(str(about[0]) for about in found.description[first:])
        every: list[Row] = found.fetchall()
        rows = {row[0] if first else number: row[first:] for number, row in enumerate(every)}
        yield name, Table(columns, rows)
