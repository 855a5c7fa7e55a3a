"""How does PostgreSQL take a change in one round trip? As one statement with a writing CTE.

The parts are written only if the record itself was (`FROM put`), and the whole is one transaction
by itself: one round trip, one commit, one flush to the disk. Facts, effects and aliases travel as
JSON, so that the text of the statement is always the same and is prepared once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    column,
    delete,
    func,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSON, Insert, insert
from sqlalchemy.sql.selectable import CTE, TableValuedAlias

from xpay_flow.errors import StoreUnavailable
from xpay_flow.records import Change
from xpay_flow.stores.rows import (
    EFFECT_COLUMNS,
    FACT_COLUMNS,
    INTENT_COLUMNS,
    Row,
    effect_row,
    fact_row,
    intent_row,
)

from .tables import Tables

ALIAS_COLUMNS: Final = ("record_key", "alias")

# The server function that warns, after the commit, that a standby may not have it: somebody has
# ended the wait for it. The warning's code is a general one and its text is translated.
_WAITS_FOR_STANDBY: Final = "SyncRepWaitForLSN"
_WARNINGS: Final = "xpay_flow_warnings"


class OneStatement:
    """The statements that write: one for a new record, one for the next version, one for many."""

    def __init__(self, tables: Tables) -> None:
        intents = tables.intents
        values: dict[str, Any] = {name: bindparam(name) for name in INTENT_COLUMNS}
        new = insert(intents).values(values).on_conflict_do_nothing(index_elements=["record_key"])
        del values["record_key"]
        following = (
            update(intents)
            .where(
                intents.c.record_key == bindparam("known_key"),
                intents.c.version == bindparam("expected_version", type_=BigInteger),
            )
            .values(values)
        )
        self._new = _with_parts(tables, new.returning(intents.c.record_key).cte("put"))
        self._next = _with_parts(tables, following.returning(intents.c.record_key).cte("put"))
        self._many = _with_parts(tables, _put_many(intents))

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
        _warnings(connection)
        put = set(connection.execute(self._many, _values_of_many(changes)).scalars())
        self.acknowledge(connection)
        return [change.record.key in put for change in changes]

    def put(self, connection: Connection, change: Change) -> bool:
        """As `commit`; in a transaction it is durable only after that one's own commit."""
        _warnings(connection)
        statement = self._next if change.expected_version else self._new
        return connection.execute(statement, _values(change)).first() is not None

    def acknowledge(self, connection: Connection) -> None:
        """Raise StoreUnavailable if the commit that has just returned may be on no standby."""
        if warnings := _warnings(connection):
            warnings.clear()
            raise StoreUnavailable("the change may not have reached the standby that must have it")


def _values_of_many(changes: Sequence[Change]) -> dict[str, Any]:
    heads: tuple[list[Row], list[Row]] = ([], [])
    for change in changes:
        row = intent_row(change.record)
        row["expected_version"] = change.expected_version
        heads[bool(change.expected_version)].append(row)
    return {"new": _sent(heads[0]), "next": _sent(heads[1]), **_parts_of(changes)}


def _values(change: Change) -> dict[str, Any]:
    record = change.record
    row = intent_row(record)
    if change.expected_version:
        # A value that is named like a column would be set, too.
        row["known_key"] = row.pop("record_key")
        row["expected_version"] = change.expected_version
    return {**row, **_parts_of((change,))}


def _parts_of(changes: Sequence[Change]) -> dict[str, Any]:
    return {
        "facts": _sent(fact_row(c.record.key, fact) for c in changes for fact in c.new_facts),
        "effects": _sent(
            effect_row(c.record.key, effect) for c in changes for effect in c.changed_effects
        ),
        "aliases": _sent(
            {"record_key": c.record.key, "alias": alias}
            for c in changes
            for alias in sorted(c.record.aliases)
        ),
    }


def _sent(rows: Iterable[Row]) -> str:
    return json.dumps([{**row, "place": place} for place, row in enumerate(rows)])


def _put_many(intents: Table) -> CTE:
    """The keys of those records that won: new ones, and next versions of known ones."""
    new = _received("new", intents, INTENT_COLUMNS)
    put_new = (
        insert(intents)
        .from_select(
            INTENT_COLUMNS,
            select(*(new.c[name] for name in INTENT_COLUMNS)).order_by(new.c.place),
        )
        .on_conflict_do_nothing(index_elements=["record_key"])
        .returning(intents.c.record_key)
        .cte("put_new")
    )
    following = _received("next", intents, (*INTENT_COLUMNS, "expected_version"))
    put_next = (
        update(intents)
        .where(
            intents.c.record_key == following.c.record_key,
            intents.c.version == following.c.expected_version,
        )
        .values({name: following.c[name] for name in INTENT_COLUMNS[1:]})
        .returning(intents.c.record_key)
        .cte("put_next")
    )
    return union_all(select(put_new.c.record_key), select(put_next.c.record_key)).cte("put")


def _with_parts(tables: Tables, put: CTE) -> Select[Any]:
    effects, aliases = tables.effects, tables.aliases
    put_effects = _put_all(effects, "effects", EFFECT_COLUMNS, put)
    wanted = _received("aliases", aliases, ALIAS_COLUMNS)
    return select(put.c.record_key).add_cte(
        _put_all(tables.facts, "facts", FACT_COLUMNS, put).cte("put_facts"),
        put_effects.on_conflict_do_update(
            index_elements=["record_key", "effect_id"],
            set_={name: put_effects.excluded[name] for name in EFFECT_COLUMNS[2:]},
        ).cte("put_effects"),
        _put_all(aliases, "aliases", ALIAS_COLUMNS, put)
        .on_conflict_do_nothing()
        .cte("put_aliases"),
        delete(aliases)
        .where(
            aliases.c.record_key == put.c.record_key,
            ~select(wanted.c.alias)
            .where(
                wanted.c.record_key == aliases.c.record_key,
                wanted.c.alias == aliases.c.alias,
            )
            .exists(),
        )
        .cte("drop_aliases"),
    )


def _put_all(table: Table, name: str, columns: Sequence[str], put: CTE) -> Insert:
    """Add the rows that were sent, in their order, if the record itself was put."""
    sent = _received(name, table, columns)
    rows = select(*(sent.c[column] for column in columns)).select_from(put)
    return insert(table).from_select(
        columns, rows.join(sent, put.c.record_key == sent.c.record_key).order_by(sent.c.place)
    )


def _received(name: str, table: Table, columns: Sequence[str]) -> TableValuedAlias:
    """The rows that travel as JSON in the parameter of this name."""
    kinds = ((each, BigInteger if _is_number(table, each) else Text) for each in columns)
    return (
        func.json_to_recordset(cast(bindparam(name, type_=Text), JSON))
        .table_valued(
            *(column(each, kind) for each, kind in kinds),
            column("place", BigInteger),
            name=f"sent_{name}",
        )
        .render_derived(with_types=True)
    )


def _is_number(table: Table, name: str) -> bool:
    return name == "expected_version" or isinstance(table.c[name].type, BigInteger)


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

    def note_diagnostic(told: Any) -> None:
        note(told.source_function)

    def note_message(_: Any, told: Any) -> None:
        note(told.server_source_function)

    if hasattr(driver, "add_notice_handler"):
        driver.add_notice_handler(note_diagnostic)
    else:
        driver.add_log_listener(note_message)
