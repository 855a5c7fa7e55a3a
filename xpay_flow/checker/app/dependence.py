"""Do two transitions of an app depend on each other? By the tables and keys that they touch.

A statement that cannot be read touches everything. Only what a database promises is used:

* In SQLite one transaction at a time has written, and none commits while another reads. A
  transaction sees what was there at its first read, so the later ones touch nothing more; nor do
  writes after its first. What was written is seen from its commit on.
* Elsewhere a statement sees what was committed before it (READ COMMITTED), and a row that was
  written is locked until the end of the transaction.
* Two outgoing calls depend on each other: a promise may look at their order.
* An answer depends on nothing: xPay keeps what any of them acknowledges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from ..contract.statements import READING
from .points import Done, Point

EVERYTHING: Final = "*"
_TABLE: Final = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:ONLY\s+)?([\w.\"`\[\]]+)", re.IGNORECASE
)
# A column that has to be equal to one value, and nothing else beside it.
_KEY: Final = re.compile(
    r"(?:^|\bAND\b|\()\s*([\w.\"`]+)\s*=\s*(\?|%s|:\w+|%\(\w+\)s|\$\d+|'[^']*'|\d+)"
    r"(?:::\w+)?(?=\s*(?:$|\)|;|AND\b|LIMIT\b|ORDER\b|FOR\b|RETURNING\b))",
    re.IGNORECASE,
)
_MARK: Final = re.compile(r"\?|%s")
_NOT_CONJUNCTIVE: Final = re.compile(
    r"\b(OR|NOT|JOIN|UNION|WITH|CASE|SELECT.*SELECT)\b", re.IGNORECASE | re.S
)


@attrs.frozen
class Rows:
    """Rows of a table: those that have these values in these columns, or all of them.

    Args:
        is_new: they are inserted, so that others of the same table may stand in their way.
    """

    table: str
    values: Mapping[str, str] = attrs.field(factory=dict[str, str], hash=False)
    is_new: bool = False

    def overlap(self, other: Rows) -> bool:
        """A row may be among both."""
        if EVERYTHING in (self.table, other.table):
            return True
        if self.table != other.table or (self.is_new and other.is_new):
            return self.table == other.table
        common = self.values.keys() & other.values.keys()
        return all(self.values[name] == other.values[name] for name in common)


ALL_ROWS: Final = Rows(EVERYTHING)


@attrs.frozen
class Touch:
    """What a transition reads, and what it changes; locks are rows of tables of their own."""

    reads: tuple[Rows, ...] = ()
    writes: tuple[Rows, ...] = ()

    def disturbs(self, other: Touch) -> bool:
        """The two may not change places."""
        return (
            _any_overlap(self.writes, other.writes)
            or _any_overlap(self.writes, other.reads)
            or _any_overlap(self.reads, other.writes)
        )

    def __or__(self, other: Touch) -> Touch:
        return Touch((*self.reads, *other.reads), (*self.writes, *other.writes))


def _any_overlap(some: Iterable[Rows], others: Iterable[Rows]) -> bool:
    return any(one.overlap(other) for one in some for other in others)


NOTHING: Final = Touch()
CALLS: Final = Touch(writes=(Rows("outgoing calls"),))
# SQLite's two locks: of the one that has written, and of those that have read.
_WRITER, _READERS = Rows("lock of the writer"), Rows("lock of the readers")
UNKNOWN: Final = Touch(writes=(ALL_ROWS, _WRITER, _READERS))


class Transactions:
    """What the open transactions of one process have written."""

    def __init__(self, *, coarse: bool) -> None:
        self._coarse = coarse
        self._written: dict[int, tuple[Rows, ...]] = {}

    def touch(self, point: Point, done: Done, *, blocked: bool) -> Touch:
        """Of a transition that was made."""
        if point.kind == "answer":
            return NOTHING
        if point.kind == "call":
            return CALLS
        if blocked or (done.error and point.kind == "sql"):
            if done.in_transaction:
                self._remember(point.connection, (ALL_ROWS,))
            else:
                self._written.pop(point.connection, None)
            return UNKNOWN
        touch = self._sqlite(point) if point.database == "sqlite3" else self._rows(point)
        if not done.in_transaction:
            touch |= self._end(point, is_sqlite=point.database == "sqlite3")
        return touch

    def died(self) -> Touch:
        """The process died, and all its transactions are rolled back."""
        return UNKNOWN if self._written else Touch(reads=(_READERS,))

    def _sqlite(self, point: Point) -> Touch:
        if point.kind != "sql":
            return NOTHING
        reads, writes = rows_of(point, coarse=self._coarse)
        touch = NOTHING
        if not point.in_transaction and not writes:
            return Touch(reads=reads)
        if not point.has_read:
            # Its moment for all that it will read.
            touch |= Touch(reads=(ALL_ROWS, _READERS))
        if writes:
            self._remember(point.connection, writes)
            if not point.has_written:
                touch |= Touch(writes=(_WRITER,))
        else:
            self._written.setdefault(point.connection, ())
        return touch

    def _rows(self, point: Point) -> Touch:
        """Where each statement has a moment of its own, and locks are those of rows."""
        if point.kind != "sql":
            return NOTHING
        reads, writes = rows_of(point, coarse=self._coarse)
        self._remember(point.connection, writes)
        locks = tuple(attrs.evolve(rows, table=f"lock of {rows.table}") for rows in writes)
        return Touch((*reads, *writes), locks)

    def _remember(self, connection: int, rows: tuple[Rows, ...]) -> None:
        self._written[connection] = (*self._written.get(connection, ()), *rows)

    def _end(self, point: Point, *, is_sqlite: bool) -> Touch:
        """What was written is seen, or gone, and its locks are free."""
        written = self._written.pop(point.connection, None)
        if written is None:
            return NOTHING
        if not written:
            return Touch(reads=(_READERS,)) if is_sqlite else NOTHING
        locks: tuple[Rows, ...] = (_WRITER, _READERS)
        if not is_sqlite:
            locks = tuple(attrs.evolve(rows, table=f"lock of {rows.table}") for rows in written)
        return Touch(writes=(*(() if point.kind == "rollback" else written), *locks))


def rows_of(point: Point, *, coarse: bool) -> tuple[tuple[Rows, ...], tuple[Rows, ...]]:
    """What a statement reads, and what it writes."""
    sql = point.text
    tables = {
        name.strip('"`[]').rpartition(".")[2].strip('"').lower() for name in _TABLE.findall(sql)
    }
    is_read = READING.match(sql) is not None and " for " not in f" {sql.lower()} "
    if not tables or coarse:
        return ((ALL_ROWS,), ()) if is_read else ((ALL_ROWS,), (ALL_ROWS,))
    rows = tuple(Rows(table) for table in sorted(tables))
    if len(tables) == 1 and not _NOT_CONJUNCTIVE.search(sql):
        rows = (Rows(tables.pop(), _values(point), is_new=sql.lstrip()[:6].upper() == "INSERT"),)
    return (rows, ()) if is_read else ((), rows)


def _values(point: Point) -> dict[str, str]:
    """The values that its WHERE demands of columns. A column that is set is no key."""
    head, where = _split(point.text)
    first = len(_MARK.findall(head))
    values: dict[str, str] = {}
    for found in _KEY.finditer(where):
        number = first + len(_MARK.findall(where[: found.start(2)]))
        value = _bound(found[2], number, point.parameters)
        if isinstance(value, int | str) and not isinstance(value, bool):
            values[_column(found[1])] = str(value).casefold().strip()
    changed = {_column(name) for name in re.findall(r"([\w.\"`]+)\s*=", head)}
    return {name: value for name, value in values.items() if name not in changed}


def _split(sql: str) -> tuple[str, str]:
    """A statement before its WHERE, and after."""
    parts = re.split(r"\bWHERE\b", sql, maxsplit=1, flags=re.IGNORECASE)
    return (parts[0], parts[1]) if len(parts) == 2 else (sql, "")


def _bound(mark: str, number: int, parameters: Any) -> Any:
    """The value that a mark in a statement stands for."""
    name = mark.strip(":%()s") if mark[:1] in (":", "%") and mark != "%s" else ""
    if name:
        return parameters.get(name) if isinstance(parameters, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if mark.startswith("$"):
        number = int(mark[1:]) - 1
    elif mark not in ("?", "%s"):
        return mark.strip("'")
    if isinstance(parameters, tuple) and number < len(parameters):  # pyright: ignore[reportUnknownArgumentType]
        return parameters[number]  # pyright: ignore[reportUnknownVariableType]
    return None


def _column(name: str) -> str:
    return name.rpartition(".")[2].strip('"`').lower()
