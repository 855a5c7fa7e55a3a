"""How does PostgreSQL take a change in one round trip? As one statement with a writing CTE.

The parts are written only if the record itself was (`FROM put`), and the whole is one transaction
by itself: one round trip, one commit, one flush to the disk. Events, outbox and aliases travel as
an array for each column. What there is nothing of is left out, so there are some statements, each
of which always has the same text and is prepared once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    BigInteger,
    Connection,
    Delete,
    Select,
    Table,
    Text,
    bindparam,
    column,
    delete,
    func,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate
from sqlalchemy.sql.selectable import CTE, TableValuedAlias

from xpay_flow.errors import StoreUnavailable
from xpay_flow.records import Change
from xpay_flow.stores.rows import (
    EVENT_COLUMNS,
    INTENT_COLUMNS,
    OUTBOX_COLUMNS,
    Row,
    entry_row,
    event_row,
    intent_row,
)

from .tables import Tables

# Rows that are sent as arrays, by what they are.
Rows: TypeAlias = dict[str, list[Row]]

_ALIAS_COLUMNS: Final = ("record_key", "alias")
_COLUMNS: Final[dict[str, Sequence[str]]] = {
    "new_ones": INTENT_COLUMNS,
    "next_ones": (*INTENT_COLUMNS, "expected_version"),
    "events": EVENT_COLUMNS,
    "outbox": OUTBOX_COLUMNS,
    "new_aliases": _ALIAS_COLUMNS,
    "old_aliases": _ALIAS_COLUMNS,
    "event": EVENT_COLUMNS,
    "entry": OUTBOX_COLUMNS,
}
_ALONE: Final = {"events": "event", "outbox": "entry"}

# The server function that warns, after the commit, that a standby may not have it: an operator
# has cancelled the wait for it. The warning's code is a general one and its text is translated.
_WAITS_FOR_STANDBY: Final = "SyncRepWaitForLSN"
_WARNINGS: Final = "xpay_flow_warnings"


class OneStatement:
    """The statements that write, each made when it is first needed."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._made: dict[tuple[str, ...], Select[Any]] = {}

    def commit(self, connection: Connection, change: Change) -> bool:
        """Put the change down and make it durable; False is a lost race.

        Raises:
            StoreUnavailable: it is committed here, but the standby that must have it may not.
        """
        _warnings(connection)
        won = self.put(connection, change)
        self.acknowledge(connection)
        return won

    def commit_many(self, connection: Connection, changes: Sequence[Change]) -> Sequence[bool]:
        """The same for changes of records that all differ, in one statement."""
        rows = {**_heads_of(changes), **_parts_of(changes)}
        _warnings(connection)
        put = set(connection.execute(self._statement(tuple(rows)), _sent(rows)).scalars())
        self.acknowledge(connection)
        return [change.record.key in put for change in changes]

    def put(self, connection: Connection, change: Change) -> bool:
        """As `commit`; in a transaction it is durable only after that one's own commit."""
        _warnings(connection)
        parts = _alone(_parts_of((change,)))
        statement = self._statement(("next" if change.expected_version else "new", *parts))
        found = connection.execute(statement, _values(change) | _sent(parts))
        return found.first() is not None

    def acknowledge(self, connection: Connection) -> None:
        """Raise StoreUnavailable if the commit that has just returned may be on no standby."""
        if warnings := _warnings(connection):
            warnings.clear()
            raise StoreUnavailable("the change may not have reached the standby that must have it")

    def _statement(self, pieces: tuple[str, ...]) -> Select[Any]:
        """The one that puts heads and parts of these names."""
        if pieces not in self._made:
            puts = [_HEADS[name](self._tables.intents) for name in pieces if name in _HEADS]
            put = _put_by(puts)
            parts = [_PARTS[name](self._tables, put) for name in pieces if name in _PARTS]
            named = [part.cte(f"part_{number}") for number, part in enumerate(parts)]
            self._made[pieces] = select(put.c.record_key).add_cte(*named)
        return self._made[pieces]


# --- what is sent --------------------------------------------------------------------------------


def _values(change: Change) -> dict[str, Any]:
    row = intent_row(change.record)
    if not change.expected_version:
        return row
    # A value that is named like a column would be set, too.
    known = {"known_key": row.pop("record_key"), "expected_version": change.expected_version}
    return {**row, **known}


def _heads_of(changes: Sequence[Change]) -> Rows:
    """The rows of the records themselves."""
    # Known ones in the order of their keys, so that two of us do not wait for each other.
    known = sorted((c for c in changes if c.expected_version), key=lambda c: c.record.key)
    heads: Rows = {
        "new_ones": [intent_row(c.record) for c in changes if not c.expected_version],
        "next_ones": [
            intent_row(c.record) | {"expected_version": c.expected_version} for c in known
        ],
    }
    return {name: rows for name, rows in heads.items() if rows}


def _parts_of(changes: Sequence[Change]) -> Rows:
    """The rows to write beside the records, of those sorts of which there are any."""
    parts: Rows = {name: [] for name in ("events", "outbox", "new_aliases", "old_aliases")}
    for change in changes:
        key = change.record.key
        parts["events"] += (event_row(key, recorded) for recorded in change.new_events)
        parts["outbox"] += (entry_row(key, entry) for entry in change.changed_entries)
        for name, aliases in (("new", change.new_aliases), ("old", change.old_aliases)):
            parts[f"{name}_aliases"] += (_alias_row(key, alias) for alias in sorted(aliases))
    return {name: rows for name, rows in parts.items() if rows}


def _alone(parts: Rows) -> Rows:
    """Where there is one row of a sort, it is sent as it is: drivers are slow at making arrays."""
    return {
        _ALONE[name] if name in _ALONE and len(rows) == 1 else name: rows
        for name, rows in parts.items()
    }


def _alias_row(record_key: str, alias: str) -> Row:
    return {"record_key": record_key, "alias": alias}


def _sent(rows: Rows) -> dict[str, Any]:
    """An array for each column, or the row itself."""
    return {
        f"{name}_{each}": mine[0][each] if name in _ALONE.values() else [row[each] for row in mine]
        for name, mine in rows.items()
        for each in _COLUMNS[name]
    }


def _received(name: str, table: Table) -> TableValuedAlias:
    """The rows that travel as arrays under this name."""
    kinds = {each: BigInteger if _is_number(table, each) else Text for each in _COLUMNS[name]}
    arrays = (bindparam(f"{name}_{each}", type_=ARRAY(kind)) for each, kind in kinds.items())
    return (
        func.unnest(*arrays)
        .table_valued(
            *(column(each, kind) for each, kind in kinds.items()),
            with_ordinality="place",
            name=f"sent_{name}",
        )
        .render_derived()
    )


def _is_number(table: Table, name: str) -> bool:
    return name == "expected_version" or isinstance(table.c[name].type, BigInteger)


# --- the records themselves ----------------------------------------------------------------------

_Put: TypeAlias = ReturningInsert[Any] | ReturningUpdate[Any]


def _put_by(puts: Sequence[_Put]) -> CTE:
    """The keys of those records that won."""
    if len(puts) == 1:
        return puts[0].cte("put")
    each = (put.cte(f"put_{number}") for number, put in enumerate(puts))
    return union_all(*(select(cte.c.record_key) for cte in each)).cte("put")


def _put_new(intents: Table) -> _Put:
    values: dict[str, Any] = {name: bindparam(name) for name in INTENT_COLUMNS}
    return _unless_there(insert(intents).values(values), intents)


def _put_next(intents: Table) -> _Put:
    return (
        update(intents)
        .where(
            intents.c.record_key == bindparam("known_key"),
            intents.c.version == bindparam("expected_version", type_=BigInteger),
        )
        .values({name: bindparam(name) for name in INTENT_COLUMNS[1:]})
        .returning(intents.c.record_key)
    )


def _put_new_ones(intents: Table) -> _Put:
    sent = _received("new_ones", intents)
    rows = select(*(sent.c[name] for name in INTENT_COLUMNS)).order_by(sent.c.place)
    return _unless_there(insert(intents).from_select(INTENT_COLUMNS, rows), intents)


def _put_next_ones(intents: Table) -> _Put:
    sent = _received("next_ones", intents)
    return (
        update(intents)
        .where(
            intents.c.record_key == sent.c.record_key,
            intents.c.version == sent.c.expected_version,
        )
        .values({name: sent.c[name] for name in INTENT_COLUMNS[1:]})
        .returning(intents.c.record_key)
    )


def _unless_there(new: Insert, intents: Table) -> _Put:
    return new.on_conflict_do_nothing(index_elements=["record_key"]).returning(intents.c.record_key)


_HEADS: Final[dict[str, Callable[[Table], _Put]]] = {
    "new": _put_new,
    "next": _put_next,
    "new_ones": _put_new_ones,
    "next_ones": _put_next_ones,
}


# --- what belongs to them ------------------------------------------------------------------------


def _put_events(tables: Tables, put: CTE) -> Insert:
    return _put_all(tables.events, "events", put)


def _put_event(tables: Tables, put: CTE) -> Insert:
    return _put_one(tables.events, "event", put)


def _put_entries(tables: Tables, put: CTE) -> Insert:
    return _or_replace(_put_all(tables.outbox, "outbox", put))


def _put_entry(tables: Tables, put: CTE) -> Insert:
    return _or_replace(_put_one(tables.outbox, "entry", put))


def _or_replace(new: Insert) -> Insert:
    return new.on_conflict_do_update(
        index_elements=["record_key", "entry_id"],
        set_={name: new.excluded[name] for name in OUTBOX_COLUMNS[2:]},
    )


def _put_aliases(tables: Tables, put: CTE) -> Insert:
    return _put_all(tables.aliases, "new_aliases", put).on_conflict_do_nothing()


def _drop_aliases(tables: Tables, put: CTE) -> Delete:
    aliases = tables.aliases
    old = _received("old_aliases", aliases)
    return delete(aliases).where(
        put.c.record_key == old.c.record_key,
        aliases.c.record_key == old.c.record_key,
        aliases.c.alias == old.c.alias,
    )


def _put_one(table: Table, name: str, put: CTE) -> Insert:
    """Add the row that was sent, if the record itself was put."""
    columns = _COLUMNS[name]
    kinds = (table.c[each].type for each in columns)
    row = (
        bindparam(f"{name}_{each}", type_=kind) for each, kind in zip(columns, kinds, strict=True)
    )
    return insert(table).from_select(columns, select(*row).select_from(put))


def _put_all(table: Table, name: str, put: CTE) -> Insert:
    """Add the rows that were sent, in their order, if the record itself was put."""
    columns, sent = _COLUMNS[name], _received(name, table)
    rows = select(*(sent.c[each] for each in columns)).select_from(put)
    return insert(table).from_select(
        columns, rows.join(sent, put.c.record_key == sent.c.record_key).order_by(sent.c.place)
    )


_PARTS: Final[dict[str, Callable[[Tables, CTE], Insert | Delete]]] = {
    "events": _put_events,
    "outbox": _put_entries,
    "new_aliases": _put_aliases,
    "old_aliases": _drop_aliases,
    "event": _put_event,
    "entry": _put_entry,
}


# --- warnings ------------------------------------------------------------------------------------


def _warnings(connection: Connection) -> list[str]:
    """The warnings of this connection that mean a commit is not to be acknowledged."""
    seen: list[str] | None = connection.info.get(_WARNINGS)
    if seen is None:
        seen = connection.info[_WARNINGS] = []
        _listen(connection.connection.driver_connection, seen)
    return seen


def _listen(driver: Any, seen: list[str]) -> None:
    """Have warnings of the server noted down. Each of the two drivers has its own word for it."""

    def note(function: str | None) -> None:
        if function == _WAITS_FOR_STANDBY:
            seen.append(function)

    def note_diagnostic(diagnostic: Any) -> None:
        note(diagnostic.source_function)

    def note_message(_: Any, message: Any) -> None:
        note(message.server_source_function)

    if hasattr(driver, "add_notice_handler"):
        driver.add_notice_handler(note_diagnostic)
    else:
        driver.add_log_listener(note_message)
