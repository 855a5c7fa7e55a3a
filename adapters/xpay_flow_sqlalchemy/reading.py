"""How is a record found? With one statement, whatever the database: record, events and outbox.

One statement is one round trip and one view of the data, so the events are those of the very
version that is read, at any level of isolation and without a transaction around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Integer,
    Table,
    bindparam,
    literal_column,
    select,
    text,
    union_all,
)
from sqlalchemy.sql.selectable import CTE

from xpay_flow.ports import FOUND_MAX
from xpay_flow.records import Record, Work
from xpay_flow.stores.codec import from_texts

from .tables import Tables

HEAD, EVENT, ENTRY = range(3)


class Reading:
    """The statements that read, built once for a set of tables."""

    def __init__(self, tables: Tables) -> None:
        intents, aliases = tables.intents, tables.aliases
        heads = select(intents.c.seq, intents.c.record_key, intents.c.document)
        named = (
            heads.join_from(aliases, intents, aliases.c.record_key == intents.c.record_key)
            .where(aliases.c.alias == bindparam("alias"))
            .order_by(intents.c.seq)
            .limit(FOUND_MAX)
        )
        recent = heads.order_by(intents.c.seq.desc()).limit(bindparam("limit"))
        self._named = _whole(tables, named, "record_seq, part, seq")
        self._recent = _whole(tables, recent, "record_seq DESC, part, seq")
        self._due = {work: _due(intents, work) for work in _WORKS}

    def load(self, connection: Connection, alias: str) -> Sequence[Record]:
        return _records(connection.execute(self._named, {"alias": alias}))

    def load_many(
        self, connection: Connection, aliases: Sequence[str]
    ) -> Sequence[Sequence[Record]]:
        return [self.load(connection, alias) for alias in aliases]

    def recent(self, connection: Connection, limit: int) -> Sequence[Record]:
        return _records(connection.execute(self._recent, {"limit": limit}))

    def due(self, connection: Connection, work: Work, now_ms: int, limit: int) -> Sequence[str]:
        values = {"now_ms": now_ms, "limit": limit}
        return connection.execute(self._due[work], values).scalars().all()


_WORKS: Final[tuple[Work, ...]] = ("deliver", "reconcile")


def _whole(tables: Tables, heads: Any, order: str) -> Executable:
    """The records of `heads`, each as a row of its own and one for each of its parts."""
    found: CTE = heads.cte("found")
    head: Any = select(
        found.c.seq.label("record_seq"),
        _number(HEAD).label("part"),
        found.c.seq.label("seq"),
        found.c.document.label("document"),
    )
    return union_all(
        head,
        _parts(found, EVENT, tables.events),
        _parts(found, ENTRY, tables.outbox),
    ).order_by(text(order))


def _parts(found: CTE, part: int, table: Table) -> Any:
    return select(found.c.seq, _number(part), table.c.seq, table.c.document).join_from(
        found, table, table.c.record_key == found.c.record_key
    )


def _number(part: int) -> ColumnElement[int]:
    """As it is, in the statement's own text."""
    return literal_column(str(part), Integer)


def _due(intents: Table, work: Work) -> Any:
    due = intents.c[f"{work}_at_ms"]
    late = select(intents.c.record_key).where(due <= bindparam("now_ms"))
    return late.order_by(due, intents.c.record_key).limit(bindparam("limit"))


def _records(rows: Iterable[Any]) -> list[Record]:
    return [_record(list(parts)) for _, parts in groupby(rows, attrgetter("record_seq"))]


def _record(rows: Sequence[Any]) -> Record:
    texts: dict[int, list[str]] = {HEAD: [], EVENT: [], ENTRY: []}
    for row in rows:
        texts[row.part].append(row.document)
    (head,) = texts[HEAD]
    return from_texts(head, texts[EVENT], texts[ENTRY])
