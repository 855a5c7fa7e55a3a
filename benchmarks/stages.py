"""Where does the time of one webhook go? A stopwatch around each step of the real path.

The steps are wrapped from outside, so what is measured is the code that runs in a shop; a step
that calls another is not charged for it. Synchronous, in process, in one thread.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final, ParamSpec, TypeVar
from unittest import mock

import xpay_flow_wsgi
from xpay_flow import Flow
from xpay_flow.flows import recording, webhook
from xpay_flow.stores import sqlite

from .calling import Caller, Refused, wsgi_caller
from .measure import WARM_UP_TURNS, Group, Row, Size, Turns
from .orders import SETTINGS, Order, fill, orders, unpaid
from .shops import PREFIX
from .wear import wear_in_ours

P = ParamSpec("P")
T = TypeVar("T")

WHOLE: Final = "the whole webhook"
REST: Final = "adapter, endpoint, flow, driver"
COMMIT: Final = "COMMIT: write the log, flush the disk"
BEGIN: Final = "take the turn to write"

# Who calls it, the name that it is called by there, and the step that it belongs to.
_STEPS: Final[tuple[tuple[object, str, str], ...]] = (
    (webhook, "authenticate", "verify the signature"),
    (webhook, "read_webhook", "parse and check the body"),
    (webhook, "from_webhook", "make an event: digest, without secrets"),
    (sqlite.SQLiteReader, "load", "read the rows"),
    (sqlite, "from_texts", "decode the rows into a record"),
    (recording, "decide", "decide"),
    (recording, "with_decision", "build the next record"),
    (recording, "change", "build the next record"),
    (sqlite, "intent_row", "encode the record into rows"),
    (sqlite, "event_row", "encode the record into rows"),
    (sqlite, "entry_row", "encode the record into rows"),
    (sqlite.SQLiteStore, "commit", "write the rows"),
)


class Stopwatch:
    """Seconds spent in each step, without those in the steps within."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._within = [0.0]

    def around(self, step: str, function: Callable[P, T]) -> Callable[P, T]:
        """`function`, charged to `step`."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            self._within.append(0.0)
            began = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = perf_counter() - began
                self.spent[step] += took - self._within.pop()
                self._within[-1] += took

        return timed


def measured(size: Size, folder: Path) -> list[Group]:
    """Shares of one webhook that pays an order."""
    given = orders((WARM_UP_TURNS + size.turns) * size.webhooks_a_turn)
    path = folder / "stages.db"
    fill(path, given)
    watch = Stopwatch()
    with _watched(watch), sqlite.SQLiteStore(path) as store:
        wear_in_ours(store, path)
        flow = Flow(store, SETTINGS, background=False)
        call = wsgi_caller(watch.around(REST, xpay_flow_wsgi.routes(flow, prefix=PREFIX)))
        spent = [_spent(watch, call, order) for order in given]
        if odd := unpaid(store, given):
            raise Refused(f"{odd} are not paid")
    count = size.webhooks_a_turn
    return [_as_group([spent[at : at + count] for at in range(count, len(spent), count)])]


def _spent(watch: Stopwatch, call: Caller, order: Order) -> dict[str, float]:
    watch.spent.clear()
    (took,) = call([order])
    return {WHOLE: took, **watch.spent}


def _as_group(turns: list[list[dict[str, float]]]) -> Group:
    def taken(step: str) -> Turns:
        return tuple(tuple(spent[step] for spent in turn) for turn in turns)

    whole = Row(name=WHOLE, turns=taken(WHOLE))
    steps = [step for step in turns[0][0] if step != WHOLE]
    rows = [Row(name=step, turns=taken(step), against=whole) for step in steps]
    rows.sort(key=lambda row: -sum(row.seconds))
    return Group(
        title="where a webhook's time goes (Flow, in process)",
        rows=(whole, *rows),
        counts="share",
    )


@contextmanager
def _watched(watch: Stopwatch) -> Generator[None, None, None]:
    """Every step of the path is timed. A step that is no longer there is an error."""
    with ExitStack() as stack:
        for owner, name, step in _STEPS:
            timed = watch.around(step, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, timed))
        connected = partial(sqlite3.connect, factory=_timed_connection(watch))
        stack.enter_context(mock.patch.object(sqlite3, "connect", connected))
        yield


def _timed_connection(watch: Stopwatch) -> type[sqlite3.Connection]:
    """Connections on which the two statements that wait for others or for the disk are timed."""

    class TimedConnection(sqlite3.Connection):
        writes = False

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                self.writes = True
                return watch.around(BEGIN, super().execute)(sql, *values)
            if sql == "COMMIT" and self.writes:
                self.writes = False
                return watch.around(COMMIT, super().execute)(sql, *values)
            return super().execute(sql, *values)

    return TimedConnection
