"""Which calls reach a database or the disk? One table of drivers, to be extended by a line.

A driver that is written in C is known by its types, one in Python by its functions. SQLAlchemy and
Django go down to these. A store may declare further callables of its own in an attribute
`statements`: `statements = (os.replace, MyStore._swap)`.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from inspect import unwrap
from pathlib import PurePath
from types import CodeType, FrameType
from typing import Any, Final

import attrs

# The story of a race fits on a screen; a statement is an arrow in it.
WORDS_CHARS_MAX: Final = 60

_ABOUT = re.compile(r"\b(?:INTO|UPDATE|FROM|TABLE)\s+([\w.\"]+)", re.IGNORECASE)
_QUIET_SQL = re.compile(r"\s*(BEGIN(\s+(DEFERRED|TRANSACTION))*\s*;?\s*$|PRAGMA\b)", re.IGNORECASE)
_NAMES_OF_TEXT = ("query", "sql", "operation", "statement", "args", "command")


def _nothing(_: Any) -> None: ...


def _connection_of(target: Any) -> Any:
    """The connection itself, also of a cursor."""
    return getattr(target, "connection", target)


def _close(target: Any) -> None:
    # A driver's own complaint about being closed is of no interest to the dead.
    with suppress(Exception):
        _connection_of(target).close()


@attrs.frozen(kw_only=True)
class Driver:
    """One driver: what is a statement of it, and how a process that dies lets go of it.

    Args:
        module: as imported; a driver that nobody has imported is not looked for.
        calls: each of these is a statement, `Class.method` or a function of the module.
        opens: these open a connection; no statement, but barred to the dead.
        drop: end the connection without a commit, as the kernel does for a process that died.
        surface: make the connection answer at once where it would wait for a lock.
        failure: the class of error that the driver raises when the database is gone.
        quiet: nothing that others could see happened, by what the statement said.
    """

    name: str
    module: str
    calls: tuple[str, ...]
    opens: tuple[str, ...] = ()
    drop: Callable[[Any], None] = _close
    surface: Callable[[Any, Callable[[str], None]], None] = lambda target, said: None
    failure: str = "OperationalError"
    quiet: Callable[[Statement], bool] = lambda statement: False

    def error(self) -> Exception:
        """What the driver raises when the database does not answer."""
        kind: Any = _resolved(self.module, self.failure) or OSError
        made: Exception = kind("the connection was lost")
        return made


@attrs.define(kw_only=True, eq=False)
class Statement:
    """One call into a driver.

    Args:
        where: file and line of the code that called.
        texts: what the database says that it ran; known only afterwards.
        open_work: at a `close`: there was something to roll back.
    """

    driver: Driver
    call: str
    target: Any
    where: str
    texts: list[str] = attrs.Factory(list[str])
    open_work: bool = False

    @property
    def quiet(self) -> bool:
        """Nobody can tell whether it has happened yet."""
        return self.driver.quiet(self)

    def in_words(self) -> str:
        """The statement in a few words, such as `UPDATE intents`."""
        gists = list(dict.fromkeys(gist(text) for text in self.texts))
        return ", ".join(gists)[:WORDS_CHARS_MAX] if gists else self.call


def gist(sql: str) -> str:
    """The verb and the table of a statement."""
    words = sql.split()
    about = _ABOUT.search(sql)
    if about is None or not words:
        return " ".join(words)[:WORDS_CHARS_MAX]
    verb = {"INSERT": "INSERT INTO", "DELETE": "DELETE FROM", "SELECT": "SELECT FROM"}
    return f"{verb.get(words[0].upper(), words[0].upper())} {about[1]}"


# --- the table -----------------------------------------------------------------------------------


def _surface_sqlite(target: Any, said: Callable[[str], None]) -> None:
    """No waiting for locks, and a word about each statement that runs."""
    connection = _connection_of(target)
    # Both are without effect on what is stored; a closed connection will say so by itself.
    with suppress(sqlite3.Error):
        sqlite3.Connection.execute(connection, "PRAGMA busy_timeout = 0")
        connection.set_trace_callback(said)


def _quiet_sqlite(statement: Statement) -> bool:
    if statement.call in ("close", "__exit__") and statement.open_work:
        return False
    # A snapshot is taken, or a lock, by the first statement after a plain BEGIN.
    return all(_QUIET_SQL.match(text) for text in statement.texts)


def _drop_file(target: Any) -> None:
    """What is still in the buffers of a process that died never reaches the file."""
    with suppress(Exception):
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, target.fileno())
        finally:
            os.close(sink)


_SQL_CURSOR = ("execute", "executemany")
_SQL_CONNECTION = ("commit", "rollback", "close")


def _sql(connection: Iterable[str], cursor: Iterable[str]) -> tuple[str, ...]:
    return (*(f"Connection.{c}" for c in connection), *(f"Cursor.{c}" for c in cursor))


DRIVERS: Final[tuple[Driver, ...]] = (
    Driver(
        name="sqlite3",
        module="sqlite3",
        calls=_sql(
            (*_SQL_CURSOR, "executescript", *_SQL_CONNECTION, "__exit__"),
            (*_SQL_CURSOR, "executescript"),
        ),
        opens=("connect",),
        surface=_surface_sqlite,
        quiet=_quiet_sqlite,
    ),
    Driver(
        name="psycopg",
        module="psycopg",
        calls=_sql(("execute", *_SQL_CONNECTION), (*_SQL_CURSOR, "copy")),
        opens=("Connection.connect",),
    ),
    Driver(
        name="psycopg2",
        module="psycopg2.extensions",
        calls=("connection.commit", "connection.rollback", "connection.close")
        + ("cursor.execute", "cursor.executemany"),
        failure="OperationalError",
    ),
    Driver(
        name="pymysql",
        module="pymysql.connections",
        calls=("Connection.query", "Connection.commit", "Connection.rollback", "Connection.close"),
        opens=("Connection.connect",),
    ),
    Driver(
        name="redis",
        module="redis",
        calls=("Redis.execute_command", "client.Pipeline.execute"),
        drop=lambda target: target.connection_pool.disconnect(),
        failure="ConnectionError",
    ),
    Driver(
        name="files",
        module="os",
        calls=("replace", "rename", "link", "remove", "unlink", "fsync", "write", "truncate"),
        failure="error",
    ),
    Driver(
        name="files",
        module="io",
        calls=(
            *("open", "TextIOWrapper.write", "TextIOWrapper.flush", "TextIOWrapper.close"),
            *("TextIOWrapper.__exit__", "BufferedWriter.write", "BufferedWriter.flush"),
            *("BufferedWriter.close", "BufferedWriter.__exit__", "FileIO.write"),
            *("FileIO.close", "FileIO.truncate"),
        ),
        drop=_drop_file,
        failure="UnsupportedOperation",
    ),
)

# What a store declares itself: functions of any kind.
_OWN: Final = Driver(name="own", module="os", calls=(), drop=_nothing, failure="error")

# Files are also read by these, which is nobody's payment.
_BYSTANDERS: Final = ("importlib", "logging", "linecache", "traceback", "warnings", "tempfile")


# --- looking up ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Entry:
    driver: Driver
    call: str
    opens: bool
    # The type whose method it is; None is a plain function, compared by itself.
    kind: type | None = None
    function: Any = None


class Table:
    """The loaded drivers, ready to be asked about every call."""

    def __init__(
        self, drivers: Iterable[Driver] = DRIVERS, declared: Iterable[Callable[..., Any]] = ()
    ) -> None:
        self._in_c: dict[str, list[_Entry]] = {}
        self._in_python: dict[CodeType, _Entry] = {}
        for driver in drivers:
            for opens, paths in ((False, driver.calls), (True, driver.opens)):
                for path in paths:
                    found = _resolved(driver.module, path)
                    owner = _resolved(driver.module, path.rpartition(".")[0])
                    self._add(driver, found, owner, opens)
        for function in declared:
            self._add(_OWN, function, getattr(function, "__objclass__", None), False)

    def _add(self, driver: Driver, found: Any, owner: Any, opens: bool) -> None:
        if found is None:
            return
        name: str = found.__name__
        function: Any = unwrap(getattr(found, "__func__", found))
        code = getattr(function, "__code__", None)
        if code is not None:
            self._in_python[code] = _Entry(driver=driver, call=name, opens=opens)
            return
        kind = owner if isinstance(owner, type) else None
        entry = _Entry(driver=driver, call=name, opens=opens, kind=kind, function=found)
        self._in_c.setdefault(name, []).append(entry)

    def in_c(self, called: Any, frame: FrameType) -> _Entry | None:
        """The entry for a function written in C that `frame` is about to call."""
        entries = self._in_c.get(called.__name__)
        if entries is None:
            return None
        target = getattr(called, "__self__", None)
        for entry in entries:
            same = isinstance(target, entry.kind) if entry.kind else called == entry.function
            if same and not (entry.driver.name == "files" and _is_bystander(frame)):
                return entry
        return None

    def in_python(self, code: CodeType) -> _Entry | None:
        """The entry for a function written in Python that was just called."""
        return self._in_python.get(code)


def _is_bystander(frame: FrameType | None) -> bool:
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] in _BYSTANDERS:
            return True
        frame = frame.f_back
    return False


def _resolved(module: str, path: str) -> Any:
    """What `path` names in a module, if that is loaded and has it."""
    found: Any = sys.modules.get(module)
    for part in path.split(".") if path else ():
        found = getattr(found, part, None)
    return found


def text_in(names: Mapping[str, Any]) -> list[str]:
    """The statement's text among the arguments of a driver written in Python."""
    for name in _NAMES_OF_TEXT:
        found = names.get(name)
        if isinstance(found, tuple) and found:
            found = " ".join(str(part) for part in found[:2])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if isinstance(found, bytes):
            found = found.decode(errors="replace")
        if isinstance(found, str) and found:
            return [found]
    return []


def place(frame: FrameType | None) -> str:
    """File and line, for a story."""
    if frame is None:
        return ""
    return f"{PurePath(frame.f_code.co_filename).name}:{frame.f_lineno}"
