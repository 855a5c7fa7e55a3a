"""What do the logs of xPay and of the customers, the database and the ledgers say, from outside?

The tables are read with plain SQL, so that a mistake in how the library reads cannot hide one in
how it writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

# Rows of it are only ever added, and nothing about it keeps a payment from being there twice.
LEDGER: Final = "chaos_ledger"
MAKE_LEDGER: Final = f"CREATE TABLE {LEDGER} (receipt_id TEXT NOT NULL, key TEXT NOT NULL)"
ADD_TO_LEDGER: Final = f"INSERT INTO {LEDGER} VALUES (:receipt_id, :key)"


@attrs.frozen
class Call:
    """One line of the outside ledger: a handler was called."""

    handler: str
    order: str
    subject: str
    key: str


@attrs.frozen
class AtXPay:
    """One payment in xPay's own ledger, and the page at which it is paid."""

    order: str
    x_intent_id: str
    page: str
    is_paid: bool


@attrs.frozen
class Refusal:
    """One attempt to pay an order that xPay has refused, by the key of that request."""

    order: str
    key: str


@attrs.frozen
class Stored:
    """The row of one attempt to pay an order; with xPay's id, if known.

    `key` is that of the request to create it.
    """

    order: str
    x_intent_id: str | None
    state: str
    refunded_minor: int
    key: str

    @property
    def as_refusal(self) -> Refusal:
        """What xPay's refusal of it would be."""
        return Refusal(self.order, self.key)


@attrs.frozen
class OutboxEntry:
    """One handler call that the database keeps an account of."""

    handler: str
    order: str
    status: str


@attrs.frozen
class Evidence:
    """Everything that the checker may look at.

    Args:
        at_xpay: every payment that xPay holds.
        refused: every attempt that it refused.
        pages: the order and the page, once for each time that a customer was sent to one.
        answers: of each delivery's last try, by its number: the status.
        events: the order and the event's id, once for each time it is on file.
        ledger: the order and the key, once for each row.
    """

    at_xpay: tuple[AtXPay, ...]
    refused: tuple[Refusal, ...]
    pages: tuple[tuple[str, str], ...]
    answers: dict[int, int]
    intents: tuple[Stored, ...]
    events: tuple[tuple[str, str], ...]
    outbox: tuple[OutboxEntry, ...]
    ledger: tuple[tuple[str, str], ...]
    calls: tuple[Call, ...]


class Appended:
    """A file of JSON lines that several processes append to, each line by one write.

    Args:
        durable: each write waits for the disk, so that no line is on file that a power cut takes.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_DSYNC if durable else 0)
        self._file = os.open(path, flags, 0o644)

    def add(self, line: dict[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        assert len(data) == os.write(self._file, data)

    def close(self) -> None:
        os.close(self._file)


def lines(path: Path) -> Iterator[Any]:
    """The appended lines; none before the first append."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def gathered(
    url: str,
    at_xpay: tuple[AtXPay, ...],
    refused: tuple[Refusal, ...],
    pages: Path,
    answers: Path,
    calls: Path,
) -> Evidence:
    """Read it all, from a database that no process uses any more."""
    engine = create_engine(url, poolclass=NullPool)

    def rows(query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.execute(text(query))]

    with engine.connect() as connection:
        return Evidence(
            at_xpay=at_xpay,
            refused=refused,
            pages=tuple((line["order"], line["page"]) for line in lines(pages)),
            answers={line["number"]: line["status"] for line in lines(answers)},
            intents=tuple(Stored(*row) for row in rows(_INTENTS)),
            events=tuple((order, event_id) for order, event_id in rows(_FACTS)),
            outbox=tuple(OutboxEntry(*row) for row in rows(_EFFECTS)),
            ledger=tuple((order, key) for order, key in rows(f"SELECT * FROM {LEDGER}")),
            calls=tuple(Call(**line) for line in lines(calls)),
        )


# Unmatched events are kept in rows without an order.
_OURS: Final = "receipt_id IS NOT NULL"
_INTENTS: Final = (
    "SELECT receipt_id, x_intent_id, state, refunded_minor, intent_id || '\\:create' "
    f"FROM xpay_flow_intents WHERE {_OURS}"
)
_FACTS: Final = (
    "SELECT receipt_id, event_id FROM xpay_flow_events "
    f"JOIN xpay_flow_intents USING (record_key) WHERE source = 'webhook' AND {_OURS}"
)
_EFFECTS: Final = (
    "SELECT name, coalesce(receipt_id, ''), status FROM xpay_flow_outbox "
    "JOIN xpay_flow_intents USING (record_key)"
)
