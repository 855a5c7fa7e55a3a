"""What do the sender's log, the database and the two ledgers say, read from outside?

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
MAKE_LEDGER: Final = f"CREATE TABLE {LEDGER} (x_intent_id TEXT NOT NULL, key TEXT NOT NULL)"
ADD_TO_LEDGER: Final = f"INSERT INTO {LEDGER} VALUES (:x_intent_id, :key)"


@attrs.frozen
class Call:
    """One line of the outside ledger: a handler was called."""

    handler: str
    x_intent_id: str
    subject: str
    key: str


@attrs.frozen
class Stored:
    """What the database says of one payment."""

    state: str
    refunded_minor: int


@attrs.frozen
class Owed:
    """One handler call that the database keeps an account of."""

    handler: str
    x_intent_id: str
    status: str


@attrs.frozen
class Evidence:
    """Everything that the checker may look at.

    Args:
        answers: of each delivery's last try, by its number: the status.
        intents: by xPay's id.
        facts: xPay's id of the payment and the event's id, once for each time it is on file.
        ledger: xPay's id of the payment and the key, once for each row.
    """

    answers: dict[int, int]
    intents: dict[str, Stored]
    facts: tuple[tuple[str, str], ...]
    effects: tuple[Owed, ...]
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
    """What was appended; nothing, where nobody has begun."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def gathered(url: str, answers: Path, calls: Path) -> Evidence:
    """Read it all, from a database in which nobody works any more."""
    engine = create_engine(url, poolclass=NullPool)

    def rows(query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.execute(text(query))]

    with engine.connect() as connection:
        return Evidence(
            answers={line["number"]: line["status"] for line in lines(answers)},
            intents={x: Stored(*rest) for x, *rest in rows(_INTENTS)},
            facts=tuple((x, event_id) for x, event_id in rows(_FACTS)),
            effects=tuple(Owed(*row) for row in rows(_EFFECTS)),
            ledger=tuple((x, key) for x, key in rows(f"SELECT x_intent_id, key FROM {LEDGER}")),
            calls=tuple(Call(**line) for line in lines(calls)),
        )


_INTENTS: Final = "SELECT x_intent_id, state, refunded_minor FROM xpay_flow_intents"
_FACTS: Final = (
    "SELECT coalesce(x_intent_id, ''), event_id FROM xpay_flow_facts "
    "JOIN xpay_flow_intents USING (record_key) WHERE source = 'webhook'"
)
_EFFECTS: Final = (
    "SELECT name, coalesce(x_intent_id, ''), status FROM xpay_flow_effects "
    "JOIN xpay_flow_intents USING (record_key)"
)
