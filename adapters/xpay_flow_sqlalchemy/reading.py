"""How is a record found? With one statement, whatever the database: record, events and outbox.

One statement is one round trip and one view of the data, so the events are those of the very
version that is read, at any level of isolation and without a transaction around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, TypeAlias, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    literal_column,
    select,
    text,
    union_all,
)
from sqlalchemy.sql.selectable import CTE

from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX, Lookup
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Record, Work, believed_up_to
from xpay_flow.stores.codec import from_texts
from xpay_flow.stores.rows import ALIKE, alike

from .tables import Tables

HEAD, EVENT, ENTRY = range(3)
PENDING: Final = literal_column("'pending'", Text)


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
        of_event: dict[str, Any] = {name: bindparam(name) for name in ALIKE}
        self._history = _statement(tables, named, _all_events, _all_entries)
        self._named = _statement(tables, named, _pending)
        self._named_for = _statement(tables, named, partial(_alike, event=of_event), _pending)
        before = intents.alias()
        earlier = intents.c.seq < (
            select(before.c.seq).where(before.c.record_key == bindparam("before")).scalar_subquery()
        )
        self._recent = {
            (others, paged): _statement(
                tables,
                heads.where(of_realms(intents, others), *([earlier] if paged else []))
                .order_by(intents.c.seq.desc())
                .limit(bindparam("limit")),
                _all_events,
                _all_entries,
                newest_first=True,
            )
            for others in (False, True)
            for paged in (False, True)
        }
        several: Any = cast(Any, bindparam)("keys", expanding=True)
        self._versions = select(intents.c.record_key, intents.c.version).where(
            intents.c.record_key.in_(several)
        )
        self._due = {
            (work, others): (_due(intents, work, others), _due_after_all(intents, work, others))
            for work in _WORKS
            for others in (False, True)
        }

    def load(
        self, connection: Connection, alias: str, event: EventIdentity | None = None
    ) -> Sequence[Record]:
        if event is None:
            return _records(connection.execute(self._named, {"alias": alias}))
        return _records(connection.execute(self._named_for, {"alias": alias, **alike(event)}))

    def load_many(
        self, connection: Connection, lookups: Sequence[Lookup]
    ) -> Sequence[Sequence[Record]]:
        return [self.load(connection, *lookup) for lookup in lookups]

    def versions(self, connection: Connection, keys: Sequence[str]) -> Mapping[str, int]:
        rows = connection.execute(self._versions, {"keys": list(keys)}).all()
        return {row.record_key: row.version for row in rows}

    def history(self, connection: Connection, alias: str) -> Sequence[Record]:
        return _records(connection.execute(self._history, {"alias": alias}))

    def recent(
        self,
        connection: Connection,
        limit: int,
        realms: Realms = EVERY_REALM,
        before: str = "",
    ) -> Sequence[Record]:
        values: dict[str, Any] = {"limit": limit, "realms": realms.names}
        if before:
            values["before"] = before
        statement = self._recent[realms.others, bool(before)]
        return _records(connection.execute(statement, values))

    def due(
        self,
        connection: Connection,
        work: Work,
        now_ms: int,
        limit: int,
        realms: Realms = EVERY_REALM,
    ) -> Sequence[str]:
        values: dict[str, Any] = {"now_ms": now_ms, "limit": limit, "realms": realms.names}
        due, due_after_all = self._due[work, realms.others]
        found = list(connection.execute(due, values).scalars())
        if len(found) < limit:
            values |= {"set_ms": believed_up_to(now_ms), "limit": limit - len(found)}
            found += connection.execute(due_after_all, values).scalars()
        return found


_WORKS: Final[tuple[Work, ...]] = ("deliver", "reconcile")


def copies(tables: Tables, event: Any) -> Select[Any]:
    """The document of the event itself, of the record in an enclosing statement."""
    events = tables.events
    return select(events.c.document).where(
        events.c.record_key == tables.intents.c.record_key, events.c.event_key == event["key"]
    )


def contents_alike(tables: Tables, event: Any) -> Select[Any]:
    """The document of one other content under its id; see `alike`."""
    return _other(tables, tables.intents, tables.events.c.document, event)


def _other(tables: Tables, record: Any, what: Any, event: Any) -> Select[Any]:
    events = tables.events
    others = select(what).where(
        events.c.record_key == record.c.record_key,
        events.c.event_key >= event["first"],
        events.c.event_key < event["beyond"],
        events.c.event_key != event["key"],
        events.c.event_id == event["id"],
    )
    return others.order_by(events.c.event_key).limit(as_it_is(1))


# What is read of the parts of the records that a statement has found, each as a row of its own.
_Parts: TypeAlias = Callable[[Tables, CTE], Iterable[Any]]


def _statement(
    tables: Tables, heads: Any, *parts: _Parts, newest_first: bool = False
) -> Executable:
    """The records of `heads`, each as a row of its own and one for each of these parts."""
    found: CTE = heads.cte("found")
    head: Any = select(
        found.c.seq.label("record_seq"),
        as_it_is(HEAD).label("part"),
        found.c.seq.label("seq"),
        found.c.document.label("document"),
    )
    selects = [each for part in parts for each in part(tables, found)]
    order = "record_seq DESC, part, seq" if newest_first else "record_seq, part, seq"
    return union_all(head, *selects).order_by(text(order))


def _all_events(tables: Tables, found: CTE) -> Iterable[Any]:
    yield _joined(found, EVENT, tables.events)


def _all_entries(tables: Tables, found: CTE) -> Iterable[Any]:
    yield _joined(found, ENTRY, tables.outbox)


def _pending(tables: Tables, found: CTE) -> Iterable[Any]:
    outbox = tables.outbox
    yield _joined(found, ENTRY, outbox).where(outbox.c.status == PENDING)


def _alike(tables: Tables, found: CTE, event: Any) -> Iterable[Any]:
    """The event itself, and one other content under its id."""
    events = tables.events
    yield _joined(found, EVENT, events).where(events.c.event_key == event["key"])
    other = _other(tables, found, events.c.seq, event).correlate(found).scalar_subquery()
    numbers = select(found.c.seq.label("record_seq"), other.label("seq")).subquery()
    yield select(numbers.c.record_seq, as_it_is(EVENT), events.c.seq, events.c.document).join_from(
        numbers, events, events.c.seq == numbers.c.seq
    )


def _joined(found: CTE, part: int, table: Table) -> Any:
    return select(found.c.seq, as_it_is(part), table.c.seq, table.c.document).join_from(
        found, table, table.c.record_key == found.c.record_key
    )


def as_it_is(number: int) -> ColumnElement[int]:
    """In the statement's own text, and not sent beside it."""
    return literal_column(str(number), Integer)


def of_realms(intents: Table, others: bool) -> ColumnElement[bool]:
    """The record is of one of the realms that are sent, or, for `others`, of none of them."""
    sent = intents.c.realm.in_(bindparam("realms", expanding=True))
    return ~sent if others else sent


def _due(intents: Table, work: Work, others: bool) -> Any:
    due = intents.c[f"{work}_at_ms"]
    late = select(intents.c.record_key).where(
        of_realms(intents, others), due <= bindparam("now_ms")
    )
    return late.order_by(due, intents.c.record_key).limit(bindparam("limit"))


def _due_after_all(intents: Table, work: Work, others: bool) -> Any:
    """What is due because the clock was set back since its time was set."""
    due = intents.c[f"{work}_at_ms"]
    unbelieved = select(intents.c.record_key).where(
        of_realms(intents, others),
        intents.c.due_set_ms > bindparam("set_ms"),
        due > bindparam("now_ms"),
    )
    return unbelieved.order_by(due, intents.c.record_key).limit(bindparam("limit"))


def _records(rows: Iterable[Any]) -> list[Record]:
    return [_record(list(parts)) for _, parts in groupby(rows, attrgetter("record_seq"))]


def _record(rows: Sequence[Any]) -> Record:
    texts: dict[int, list[str]] = {HEAD: [], EVENT: [], ENTRY: []}
    for row in rows:
        texts[row.part].append(row.document)
    (head,) = texts[HEAD]
    return from_texts(head, texts[EVENT], texts[ENTRY])
