"""Threads are stopped at their driver calls; the dead reach no driver; SQLite does not wait."""

from __future__ import annotations

import asyncio
import builtins
import sqlite3
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from xpay_flow.checker.contract import Driver, at_each_driver_call
from xpay_flow.checker.contract.drivers import DRIVERS
from xpay_flow.checker.contract.endings import Ending
from xpay_flow.checker.contract.gate import Died, Watch
from xpay_flow.checker.contract.lookup import Table
from xpay_flow.checker.contract.statements import Statement, gist, resolved

PYTHON_DRIVER = """
import asyncio

class Connection:
    def __init__(self, log): self.log = log
    async def fetch(self, sql):
        for _ in range(3):
            await asyncio.sleep(0.001)
        if "nonsense" in sql:
            raise await self.refused()
        return await asyncio.sleep(0.001, [sql])
    async def refused(self):
        return OperationalError()
    def execute(self, sql): return Cursor(self).execute(sql)
    def commit(self): self.log.append("commit")
    def close(self): self.log.append("close")

class Cursor:
    def __init__(self, connection): self.connection = connection
    def execute(self, sql):
        self.connection.log.append(sql)
        return self

class OperationalError(Exception): ...
"""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    made.execute("CREATE TABLE t (n INTEGER)")
    yield made
    made.close()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> tuple[Driver, types.ModuleType]:
    module = types.ModuleType("a_driver_in_python")
    exec(PYTHON_DRIVER, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    calls = ("Connection.execute", "Connection.commit", "Connection.close", "Cursor.execute")
    return Driver(name="python", module=module.__name__, calls=calls), module


class Heard:
    """Remembers what it hears, and never waits."""

    dead = False

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.failed: list[bool] = []

    def arrived(self, statement: Statement) -> None:
        self.statements.append(statement)

    def passed(self, statement: Statement, failed: bool) -> None:
        self.failed.append(failed)

    def wants(self, is_free: Callable[[], bool]) -> None: ...


def heard(act: Callable[[], object], *drivers: Driver) -> Heard:
    listener = Heard()
    with Watch(Table(drivers or DRIVERS), listener).on_this_thread():
        act()
    return listener


def test_each_statement_is_heard_before_it_runs(connection: sqlite3.Connection) -> None:
    """Statements of a driver in C are heard one by one, in words, and with their place."""

    def act() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.cursor().executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
        connection.commit()

    found = heard(act).statements
    assert ["BEGIN IMMEDIATE", "INSERT INTO t", "COMMIT"] == [s.in_words() for s in found]
    assert ["execute", "executemany", "commit"] == [s.call for s in found]
    assert all(s.where.startswith("test_contract_gate.py:") for s in found)
    assert [True, True, False] == [s.open_after for s in found]


def test_a_driver_in_python_is_heard_once_per_call(
    driver: tuple[Driver, types.ModuleType],
) -> None:
    """Of nested functions of a driver the outermost is the statement; its text is reported."""
    kind, module = driver
    log: list[str] = []

    def act() -> None:
        made = module.Connection(log)
        made.execute("UPDATE shop SET paid = 1")
        made.commit()

    assert ["UPDATE shop", "commit"] == [s.in_words() for s in heard(act, kind).statements]


def test_a_driver_that_is_awaited_is_heard_once_per_call(
    driver: tuple[Driver, types.ModuleType],
) -> None:
    """A coroutine is one statement however often it waits, and what comes after it is the next.

    It has begun when it is first run, and has ended when it gives something back, or raises.
    """
    kind, module = driver
    made = module.Connection([])

    async def act() -> None:
        assert ["SELECT 1"] == await made.fetch("SELECT 1")
        with pytest.raises(module.OperationalError):
            await made.fetch("nonsense")
        assert ["SELECT 2"] == await made.fetch("SELECT 2")

    found = heard(lambda: asyncio.run(act()), attrs.evolve(kind, calls=("Connection.fetch",)))
    assert ["SELECT 1", "nonsense", "SELECT 2"] == [s.in_words() for s in found.statements]
    assert 3 == len(found.failed)
    assert all(s.where.startswith("test_contract_gate.py:") for s in found.statements)


def test_a_lock_is_an_error_at_once(connection: sqlite3.Connection, tmp_path: Path) -> None:
    """While it is listened to, SQLite reports that it is locked, however patient the store is."""
    other = sqlite3.connect(tmp_path / "x.db", timeout=3600, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")

    def act() -> None:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

    assert [True] == heard(act).failed
    other.close()


def test_a_statement_is_in_a_few_words() -> None:
    """Of a statement its verb and its table are reported."""
    assert "SELECT FROM intents" == gist("SELECT a, b\n  FROM intents WHERE key = 1")
    assert "INSERT INTO facts" == gist("INSERT INTO facts (a) VALUES (1)")
    assert "COMMIT" == gist("COMMIT")


def test_the_dead_reach_no_driver(connection: sqlite3.Connection, tmp_path: Path) -> None:
    """A killed thread that catches everything and goes on changes nothing, nor opens anything."""
    reached: list[str] = []

    def act() -> None:
        mine = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        mine.execute("BEGIN IMMEDIATE")
        try:
            mine.execute("INSERT INTO t VALUES (1)")
        finally:
            tries: list[Callable[[], object]] = [
                lambda: mine.execute("COMMIT"),
                lambda: connection.execute("INSERT INTO t VALUES (2)"),
                lambda: sqlite3.connect(tmp_path / "x.db"),
            ]
            for what in tries:
                try:
                    what()
                    reached.append("driver")
                except Died:
                    reached.append("died")

    cuts = at_each_driver_call(act)
    cut = [next(cuts) for _ in range(2)][-1]
    assert "died before call 1, execute" in cut.in_words()
    assert ["died", "died", "died"] == reached
    assert [] == _rows(tmp_path)


def _rows(folder: Path) -> list[int]:
    looker = sqlite3.connect(folder / "x.db")
    try:
        return [n for (n,) in looker.execute("SELECT n FROM t ORDER BY n")]
    finally:
        looker.close()


@pytest.mark.parametrize(
    ("ending", "left"),
    [
        ("die", [[], [1], [1, 2]]),
        ("refuse", [[], [1], [1, 2]]),
        ("spoil", [[1], [1, 2], [1, 2]]),
    ],
)
def test_work_is_ended_at_each_driver_call(
    tmp_path: Path, ending: Ending, left: list[list[int]]
) -> None:
    """Work ends at its first call, at its second, and so on; at last it is done."""

    def begin() -> None:
        (tmp_path / "x.db").unlink(missing_ok=True)
        made = sqlite3.connect(tmp_path / "x.db")
        made.execute("CREATE TABLE t (n INTEGER)")
        made.close()

    def act() -> sqlite3.Connection:
        made = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        try:
            made.execute("INSERT INTO t VALUES (1)")
            made.execute("INSERT INTO t VALUES (2)")
        except BaseException:
            made.close()
            raise
        return made

    found: list[tuple[int | None, str | None, list[int]]] = []
    for cut in at_each_driver_call(act, ending=ending, before=begin):
        if cut.answer is not None:
            # Not by the work itself, since that would be a third call.
            cut.answer.close()
        found.append((cut.number, cut.answer and "done", _rows(tmp_path)))
        assert (cut.error is None) is (ending == "die" or cut.number is None)
    assert [(0, None, left[0]), (1, None, left[1]), (None, "done", left[2])] == found


def test_a_driver_in_python_is_ended_too(driver: tuple[Driver, types.ModuleType]) -> None:
    """A death in a driver written in Python keeps the call and all later ones from happening."""
    kind, module = driver
    logs: list[list[str]] = []

    def act() -> None:
        logs.append([])
        made = module.Connection(logs[-1])
        try:
            made.execute("INSERT INTO t")
        finally:
            made.commit()

    cuts = list(at_each_driver_call(act, drivers=[kind]))
    assert [0, 1, None] == [cut.number for cut in cuts]
    # The connection is closed for the dead; that is not their doing.
    assert [["close"], ["INSERT INTO t", "close"], ["INSERT INTO t", "commit"]] == logs


def test_a_cut_says_where_it_was(connection: sqlite3.Connection) -> None:
    """A cut is reported by the number, the words and the place of its call."""
    cut, *_ = at_each_driver_call(lambda: connection.execute("SELECT 1"), ending="refuse")
    assert cut.in_words().startswith("was refused call 0, execute [test_contract_gate.py:")
    assert isinstance(cut.error, sqlite3.OperationalError)


def test_declared_callables_are_driver_calls() -> None:
    """A store may declare its own functions, and then work is ended at these."""
    done: list[int] = []

    def send(n: int) -> None:
        done.append(n)

    def act() -> None:
        send(1)
        send(2)

    assert [0, 1, None] == [cut.number for cut in at_each_driver_call(act, declared=[send])]
    assert [1, 1, 2] == done


@pytest.mark.parametrize(
    "module",
    ["sqlite3", "psycopg", "psycopg2.extensions", "pymysql.connections", "redis", "os", "io"],
)
def test_the_table_names_what_exists(module: str) -> None:
    """Every callable that the table names is there in the driver, where that is installed."""
    pytest.importorskip(module)
    (driver,) = (driver for driver in DRIVERS if driver.module == module)
    names = (*driver.calls, *driver.opens)
    assert [] == [name for name in names if resolved(module, name) is None]
    assert resolved(module, driver.failure) or hasattr(builtins, driver.failure)
