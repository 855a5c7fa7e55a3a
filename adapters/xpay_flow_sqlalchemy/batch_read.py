"""How does PostgreSQL find many records in one round trip? Each is one row, its parts are arrays.

A name that many records share must not take the others' room, so each has room for as many as it
may find; where all of that is used up, each is looked up alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Table, Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from xpay_flow.ports import FOUND_MAX
from xpay_flow.records import Record
from xpay_flow.stores.codec import from_texts

from .reading import Reading
from .tables import Tables


class OneLook(Reading):
    """The statements that read, one for any number of names among them."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        intents, aliases = tables.intents, tables.aliases
        self._together = (
            select(
                aliases.c.alias,
                intents.c.document,
                _documents(tables.events, intents),
                _documents(tables.outbox, intents),
            )
            .join_from(aliases, intents, aliases.c.record_key == intents.c.record_key)
            .where(aliases.c.alias == any_(bindparam("names", type_=ARRAY(Text))))
            .order_by(aliases.c.alias, intents.c.seq)
            .limit(bindparam("limit", type_=BigInteger))
        )

    def load(self, connection: Connection, alias: str) -> Sequence[Record]:
        """The records under one name."""
        return self.load_many(connection, (alias,))[0]

    def load_many(
        self, connection: Connection, aliases: Sequence[str]
    ) -> Sequence[Sequence[Record]]:
        """The records under each of these names, which all differ."""
        room = FOUND_MAX * len(aliases)
        values = {"names": list(aliases), "limit": room}
        rows = connection.execute(self._together, values).all()
        if len(rows) == room and len(aliases) > 1:
            return [self.load(connection, alias) for alias in aliases]
        found: dict[str, list[Record]] = {alias: [] for alias in aliases}
        for alias, head, events, outbox in rows:
            if len(found[alias]) < FOUND_MAX:
                found[alias].append(from_texts(head, events, outbox))
        return list(found.values())


def _documents(table: Table, intents: Table) -> Any:
    """What the parts of a record say, in their order."""
    parts = select(table.c.document).where(table.c.record_key == intents.c.record_key)
    return func.array(parts.order_by(table.c.seq).scalar_subquery())
