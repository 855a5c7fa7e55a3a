"""What must be so once xPay has every acknowledgement?

Three ways to state it: a line of SQL, a function, or nothing. With nothing, it is derived from the
app itself: one success is delivered without trouble, and what that did is what *fulfilled* means.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import attrs

from xpay_flow.errors import ConfigurationError

from .databases import NO_TABLE, Contents, Databases, Row
from .points import MAIL
from .scenes import Order, Scene

ACKNOWLEDGED: Final = "every genuine event is acknowledged in the end"
ONCE: Final = "each paid receipt is fulfilled exactly once, no unpaid one ever"
READ_ONLY: Final = "the return page changes nothing"
REFUNDED: Final = "a refund that was acknowledged is recorded"
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d")
DAY_S: Final = 86_400


@attrs.frozen(kw_only=True)
class Ending:
    """What an execution ended in: what a promise may look at.

    Args:
        paid: xPay has the customer's money for the order.
        calls: outgoing calls that took effect, such as `POST https://mail.example/send`, each with
            its idempotency key.
        had_trouble: a fault has hit a request.
    """

    scene: Scene
    order: Order
    calls: tuple[tuple[str, str], ...]
    had_trouble: bool = False
    databases: Databases = attrs.field(repr=False)

    @property
    def paid(self) -> bool:
        return self.scene.is_paid

    @property
    def receipt_id(self) -> str:
        return self.order.receipt_id

    def sql(self, query: str, **parameters: Any) -> list[Row]:
        """The rows of a query; `:paid` and `:receipt_id` are known."""
        known = {"paid": int(self.paid), "receipt_id": self.receipt_id}
        return self.databases.query(query, known | parameters)

    def contents(self) -> Contents:
        """All rows of all tables."""
        return self.databases.contents()

    def called(self, words: str) -> int:
        """How many calls whose text holds these words took effect; equal keys count once."""
        found = [(text, key) for text, key in self.calls if words in text]
        return len({key for _, key in found if key}) + sum(1 for _, key in found if not key)


class Promise(Protocol):
    """One promise: its sentence, and what breaks it."""

    @property
    def sentence(self) -> str: ...

    def broken(self, ending: Ending) -> str:
        """What is wrong, in words; empty if nothing is."""
        ...


@attrs.frozen
class Own:
    """A function of the user's: True or None keep the promise; False or words break it."""

    function: Callable[[Ending], object]

    @property
    def sentence(self) -> str:
        words = (self.function.__doc__ or self.function.__name__).strip().split("\n")[0]
        return words.rstrip(".")

    def broken(self, ending: Ending) -> str:
        found = self.function(ending)
        if found is None or found is True:
            return ""
        return found if isinstance(found, str) and found else f"it is not so that: {self.sentence}"


@attrs.frozen
class Sql:
    """A line of SQL whose first value is true."""

    query: str

    @property
    def sentence(self) -> str:
        return f"{self.query} is true"

    def broken(self, ending: Ending) -> str:
        value = _first(ending, self.query)
        return "" if value else f"{self.query} gives {value!r}"


@attrs.frozen
class Fulfilled:
    """What counts fulfilments: a line of SQL, or the words of an outgoing call after `call:`."""

    by: str
    sentence: str = ONCE

    def broken(self, ending: Ending) -> str:
        wanted, found = int(ending.paid), self._count(ending)
        if found == wanted:
            return ""
        return f"{_state(ending)}, and was fulfilled {_times(found)} ({self.by} gives {found})"

    def _count(self, ending: Ending) -> int:
        if self.by.startswith("call:"):
            return ending.called(self.by.removeprefix("call:"))
        return int(_first(ending, self.by) or 0)


@attrs.frozen
class Refunded:
    """What counts refunds that were recorded: a line of SQL."""

    query: str
    sentence: str = REFUNDED

    def broken(self, ending: Ending) -> str:
        found = int(_first(ending, self.query) or 0)
        if found == int(ending.scene.is_refunded):
            return ""
        return f"{_state(ending)}, and {self.query} gives {found}"


def _first(ending: Ending, query: str) -> Any:
    rows = ending.sql(query)
    return rows[0][0] if rows else None


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _state(ending: Ending) -> str:
    if ending.scene.is_refunded:
        return f"{ending.receipt_id} was paid and refunded"
    return f"{ending.receipt_id} was {'paid once' if ending.paid else 'never paid'}"


# --- derived from the app ------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Derived:
    """What one delivery of a success did, without trouble.

    Args:
        new_rows: how many, in tables that keep no events.
        cells: what stood in a cell of the order afterwards.
        calls: how often each was made.
    """

    new_rows: Mapping[str, int]
    cells: Mapping[tuple[str, int, str], tuple[Any, Any]]
    calls: Mapping[str, int]
    before: Contents
    sentence: str = ONCE

    def in_words(self) -> str:
        """What counts as fulfilled."""
        found = [f"{_rows(n)} in {table}" for table, n in self.new_rows.items()]
        found += [f"{t}.{column} = {new!r}" for (t, _, column), (_, new) in self.cells.items()]
        found += [f"{text} {_times(n)}" for text, n in self.calls.items()]
        return ", ".join(found)

    def broken(self, ending: Ending) -> str:
        after = ending.contents()
        wrong = [*self._rows(ending, after), *self._calls(ending)]
        if not ending.scene.is_refunded:
            wrong += self._cells(ending, after)
        return f"{_state(ending)}, but {'; '.join(wrong)}" if wrong else ""

    def _rows(self, ending: Ending, after: Contents) -> list[str]:
        wrong: list[str] = []
        for table, usual in self.new_rows.items():
            wanted = usual if ending.paid else 0
            found = len(after.get(table, NO_TABLE).rows) - len(self.before[table].rows)
            if found != wanted:
                wrong.append(f"{table} has {_rows(found)} instead of {wanted or 'none'}")
        return wrong

    def _cells(self, ending: Ending, after: Contents) -> list[str]:
        wrong: list[str] = []
        for (table, number, column), (old, new) in self.cells.items():
            rows = after.get(table, NO_TABLE)
            row = dict(zip(rows.columns, rows.rows.get(number, ()), strict=False))
            found = row.get(column, old)
            if (found == new) != ending.paid:
                instead = f" instead of {new!r}" if ending.paid else ""
                wrong.append(f"{table}.{column} is {found!r}{instead}")
        return wrong

    def _calls(self, ending: Ending) -> list[str]:
        wrong: list[str] = []
        for text, usual in self.calls.items():
            wanted, found = usual if ending.paid else 0, ending.called(text)
            if ending.had_trouble and found > wanted and text.startswith(MAIL):
                # No mail can be sent exactly once: a process may die just after it was sent.
                continue
            if found != wanted:
                happened = f"happened {_times(found)}" if found else "never happened"
                wrong.append(f"{text} {happened} instead of {_times(wanted)}")
        return wrong


def _rows(count: int) -> str:
    return "no new row" if not count else f"{count} new row{'s' * (count != 1)}"


def derived(before: Contents, endings: list[tuple[Contents, Ending]], event_id: str) -> Derived:
    """What deliveries of one success had in common.

    Raises:
        ConfigurationError: they had nothing in common that could be counted.
    """
    rows = _in_common([_new_rows(before, after, event_id) for after, _ in endings])
    cells = _in_common([_cells(before, after) for after, _ in endings])
    calls = _in_common([Counter(text for text, _ in ending.calls) for _, ending in endings])
    if not (rows or cells or calls):
        raise ConfigurationError(
            "one delivered success changed nothing that could be counted: name where a fulfilment "
            "is seen, such as --fulfilled 'SELECT count(*) FROM shipments'"
        )
    return Derived(new_rows=rows, cells=cells, calls=calls, before=before)


def _in_common(found: list[Any]) -> dict[Any, Any]:
    first, *others = found
    return {key: value for key, value in first.items() if all(o.get(key) == value for o in others)}


def _new_rows(before: Contents, after: Contents, event_id: str) -> dict[str, int]:
    """New rows in each table, but for those that keep events: these hold the event's id."""
    found: dict[str, int] = {}
    for name, table in after.items():
        old = before.get(name, NO_TABLE).rows
        new = [row for number, row in table.rows.items() if number not in old]
        if name in before and new and not any(event_id in str(cell) for row in new for cell in row):
            found[name] = len(new)
    return found


def _is_moment(value: Any) -> bool:
    """A date, or seconds or milliseconds that are about now: not the same each time."""
    if isinstance(value, str):
        return _DATE.match(value) is not None
    now = time.time()
    return isinstance(value, int | float) and any(
        abs(value / unit - now) < 2 * DAY_S for unit in (1, 1_000, 1_000_000)
    )


def _cells(before: Contents, after: Contents) -> dict[tuple[str, int, str], tuple[Any, Any]]:
    found: dict[tuple[str, int, str], tuple[Any, Any]] = {}
    for name, table in after.items():
        for number, row in table.rows.items():
            old = before.get(name, NO_TABLE).rows.get(number)
            for column, was, now in zip(table.columns, old or (), row, strict=False):
                if was != now and not _is_moment(now):
                    found[name, number, column] = (was, now)
    return found
