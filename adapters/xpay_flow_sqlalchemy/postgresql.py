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
    """The two statements that write: one for a new record and one for the next version."""

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

    def commit(self, connection: Connection, change: Change) -> bool:
        """Put the change down and make it durable; False is a lost race.

        Raises:
            StoreUnavailable: it is committed here, but the standby that must have it may not.
        """
        warnings = _warnings(connection)
        done = connection.execute(
            self._next if change.expected_version else self._new, _values(change)
        ).scalar_one()
        if warnings:
            warnings.clear()
            raise StoreUnavailable("the change may not have reached the standby that must have it")
        return bool(done)


def _values(change: Change) -> dict[str, Any]:
    record = change.record
    row = intent_row(record)
    if change.expected_version:
        # A value that is named like a column would be set, too.
        row["known_key"] = row.pop("record_key")
        row["expected_version"] = change.expected_version
    return {
        **row,
        "facts": _sent([fact_row(record.key, fact) for fact in change.new_facts]),
        "effects": _sent([effect_row(record.key, effect) for effect in change.changed_effects]),
        "aliases": _sent(
            [{"record_key": record.key, "alias": alias} for alias in sorted(record.aliases)]
        ),
    }


def _sent(rows: Iterable[Row]) -> str:
    return json.dumps([{**row, "place": place} for place, row in enumerate(rows)])


def _with_parts(tables: Tables, put: CTE) -> Select[Any]:
    effects, aliases = tables.effects, tables.aliases
    put_effects = _put_all(effects, "effects", EFFECT_COLUMNS, put)
    wanted = _received("aliases", aliases, ALIAS_COLUMNS)
    return (
        select(func.count())
        .select_from(put)
        .add_cte(
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
                aliases.c.alias.not_in(select(wanted.c.alias)),
            )
            .cte("drop_aliases"),
        )
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
    return isinstance(table.c[name].type, BigInteger)


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
