"""How does PostgreSQL find many records in one round trip? Each is one row, its parts are arrays.

A name that many records share must not take the others' room, so each has room for as many as it
may find; where all of that is used up, each is looked up alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Text, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX, Lookup
from xpay_flow.records import Record
from xpay_flow.stores.codec import from_texts
from xpay_flow.stores.rows import ALIKE, alike

from .reading import PENDING, Reading, as_it_is, contents_alike, copies
from .tables import Tables


class BatchReading(Reading):
    """The statements that read, one for any number of names among them."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        intents, aliases = tables.intents, tables.aliases
        named = aliases.c.alias == bindparam("alias")
        of_event: dict[str, Any] = {name: bindparam(name) for name in ALIKE}
        owned = aliases.c.record_key == intents.c.record_key
        self._one, self._one_for = (
            select(intents.c.document, *_loaded(tables, event))
            .join_from(aliases, intents, owned)
            .where(named)
            .order_by(intents.c.seq)
            .limit(as_it_is(FOUND_MAX))
            for event in (None, of_event)
        )
        wanted: Any = (
            func.unnest(*(bindparam(each, type_=ARRAY(Text)) for each in ("alias", *ALIKE)))
            .table_valued(
                *(column(each, Text) for each in ("alias", *ALIKE)),
                with_ordinality="place",
                name="wanted",
            )
            .render_derived()
        )
        # As one value, so that there is one statement for any number of keys.
        keys: Any = bindparam("keys", type_=ARRAY(Text))
        self._versions = select(intents.c.record_key, intents.c.version).where(
            intents.c.record_key == func.any(keys)
        )
        self._together = (
            select(wanted.c.place, intents.c.document, *_loaded(tables, wanted.c))
            .join_from(wanted, aliases, aliases.c.alias == wanted.c.alias)
            .join(intents, owned)
            .order_by(wanted.c.place, intents.c.seq)
            .limit(bindparam("limit", type_=BigInteger))
        )

    def load(
        self, connection: Connection, alias: str, event: EventIdentity | None = None
    ) -> Sequence[Record]:
        """The records under one name, to decide on one event."""
        values = {"alias": alias}
        if event is None:
            found = connection.execute(self._one, values).all()
        else:
            found = connection.execute(self._one_for, {**values, **alike(event)}).all()
        return [_record(*parts) for parts in found]

    def load_many(
        self, connection: Connection, lookups: Sequence[Lookup]
    ) -> Sequence[Sequence[Record]]:
        """What `load` finds for each of these look-ups, which all differ."""
        if len(lookups) == 1:
            return [self.load(connection, *lookups[0])]
        room = FOUND_MAX * len(lookups)
        answer: Any = connection.execute(self._together, {**_sent(lookups), "limit": room}).all()
        rows: Sequence[Sequence[Any]] = answer
        if len(rows) == room:
            return [self.load(connection, *lookup) for lookup in lookups]
        found: list[list[Record]] = [[] for _ in lookups]
        for row in rows:
            place: int = row[0] - 1
            if len(found[place]) < FOUND_MAX:
                found[place].append(_record(*row[1:]))
        return found


def _loaded(tables: Tables, event: Mapping[str, Any] | Any | None) -> Iterable[Any]:
    """What is loaded beside the record itself: pending entries, and the contents of one event."""
    intents, outbox = tables.intents, tables.outbox
    pending = select(outbox.c.document).where(
        outbox.c.record_key == intents.c.record_key, outbox.c.status == PENDING
    )
    yield _array(pending.order_by(outbox.c.seq))
    if event is not None:
        yield _array(copies(tables, event))
        yield _array(contents_alike(tables, event))


def _array(documents: Any) -> Any:
    return func.array(documents.scalar_subquery())


def _sent(lookups: Sequence[Lookup]) -> dict[str, list[str | None]]:
    """An array for each value; where no event is wanted, no content is found."""
    events = [alike(event) if event is not None else {} for _, event in lookups]
    of_event = {name: [event.get(name) for event in events] for name in ALIKE}
    return {"alias": [alias for alias, _ in lookups], **of_event}


def _record(
    head: str, outbox: Sequence[str], copy: Sequence[str] = (), others: Sequence[str] = ()
) -> Record:
    return from_texts(head, (*copy, *others), outbox)
