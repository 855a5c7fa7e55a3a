"""How did records get a realm, and the clock of their due times? Frozen, as each step is."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, text

from xpay_flow.errors import ConfigurationError

from ..columns import KEY_CHARS, Name
from ..names import Names

# Code of version 1 reads no record that has a realm, and would work on that of every realm.
OLDEST_CODE: Final = 2


def upgrade(op: Any, names: Names) -> None:
    # What is there belongs to no realm, until a setting names its account.
    realm: Column[str] = Column("realm", Name(KEY_CHARS), nullable=False, server_default="")
    op.add_column(names.of("intents"), realm, schema=names.schema)
    _change_indexes(op, names, "realm")
    clock: Column[int] = Column("due_set_ms", BigInteger, nullable=True)
    op.add_column(names.of("intents"), clock, schema=names.schema)
    is_set = text("due_set_ms IS NOT NULL")
    op.create_index(
        names.of("intents_due_set"),
        names.of("intents"),
        ["realm", "due_set_ms"],
        schema=names.schema,
        postgresql_where=is_set,
        sqlite_where=is_set,
    )


def downgrade(op: Any, names: Names) -> None:
    found = op.get_bind().execute(
        text(f"SELECT count(*) FROM {names.path('intents')} WHERE realm <> ''")
    )
    if count := found.scalar_one():
        raise ConfigurationError(
            f"{names.path('intents')} holds {count} record(s) of a mode and an account, which "
            "older code cannot read"
        )
    op.drop_index(names.of("intents_due_set"), names.of("intents"), schema=names.schema)
    op.drop_column(names.of("intents"), "due_set_ms", schema=names.schema)
    _change_indexes(op, names)
    op.drop_column(names.of("intents"), "realm", schema=names.schema)


def _change_indexes(op: Any, names: Names, *first: str) -> None:
    for work in ("deliver", "reconcile"):
        name, waits = names.of(f"intents_to_{work}"), text(f"{work}_at_ms IS NOT NULL")
        op.drop_index(name, names.of("intents"), schema=names.schema)
        op.create_index(
            name,
            names.of("intents"),
            [*first, f"{work}_at_ms", "record_key"],
            schema=names.schema,
            postgresql_where=waits,
            sqlite_where=waits,
        )
