"""Is this call one into a driver? Looked up for every call that a thread makes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from inspect import unwrap
from pathlib import PurePath
from types import CodeType, FrameType
from typing import Any, Final

import attrs

from .drivers import DRIVERS
from .statements import Driver, Statement, resolved

_NAMES_OF_TEXT: Final = ("query", "sql", "operation", "statement", "args", "command")


def _nothing(_: Any) -> None: ...


# What a store declares itself: functions of any kind.
_OWN: Final = Driver(name="own", module="os", calls=(), drop=_nothing, failure="error")

# Files are also read by these, which is no payment.
_BYSTANDERS: Final = ("importlib", "logging", "linecache", "traceback", "warnings", "tempfile")

# The line of a library that only passes the statement on is not shown.
_GO_BETWEENS: Final = (
    *("pathlib", "contextlib", "shutil", "sqlalchemy", "django"),
    *("psycopg", "psycopg2", "pymysql", "redis", "asyncpg", "asyncio"),
)


@attrs.frozen(kw_only=True)
class Entry:
    driver: Driver
    call: str
    opens: bool
    # The type whose method it is; None is a plain function, compared by itself.
    kind: type | None = None
    function: Any = None


class Table:
    """The loaded drivers, ready to look up every call."""

    def __init__(
        self, drivers: Iterable[Driver] = DRIVERS, declared: Iterable[Callable[..., Any]] = ()
    ) -> None:
        self._in_c: dict[str, list[Entry]] = {}
        self._in_python: dict[CodeType, Entry] = {}
        self._monitors: dict[str, Any] = {}
        for driver in drivers:
            for opens, paths in ((False, driver.calls), (True, driver.opens)):
                for path in paths:
                    found = resolved(driver.module, path)
                    owner = resolved(driver.module, path.rpartition(".")[0])
                    self._add(driver, found, owner, opens)
        for function in declared:
            self._add(_OWN, function, getattr(function, "__objclass__", None), False)

    def waits(self, statement: Statement) -> bool | None:
        """Whether its database reports that it is waiting for a lock; None is not known."""
        driver, connection = statement.driver, statement.connection
        # The listener of this thread receives nothing of it.
        listening = sys.getprofile()
        sys.setprofile(None)
        # Without the right, or without the connection, it is not known.
        try:
            if driver.name not in self._monitors:
                self._monitors[driver.name] = driver.monitor(connection)
            return driver.waits(self._monitors[driver.name], connection)
        except Exception:
            return None
        finally:
            sys.setprofile(listening)

    def close(self) -> None:
        """Let go of the connections that were used for that."""
        for monitor in self._monitors.values():
            with suppress(Exception):
                monitor.close()
        self._monitors.clear()

    def _add(self, driver: Driver, found: Any, owner: Any, opens: bool) -> None:
        if found is None:
            return
        name: str = found.__name__
        function: Any = unwrap(getattr(found, "__func__", found))
        code = getattr(function, "__code__", None)
        if code is not None:
            self._in_python[code] = Entry(driver=driver, call=name, opens=opens)
            return
        kind = owner if isinstance(owner, type) else None
        entry = Entry(driver=driver, call=name, opens=opens, kind=kind, function=found)
        self._in_c.setdefault(name, []).append(entry)

    @property
    def names_in_c(self) -> frozenset[str]:
        """The names of all functions written in C; other names need no look-up."""
        return frozenset(self._in_c)

    @property
    def codes(self) -> frozenset[CodeType]:
        """The code of all functions written in Python."""
        return frozenset(self._in_python)

    def in_c(self, called: Any, frame: FrameType) -> Entry | None:
        """The entry for a function written in C that `frame` is about to call."""
        entries = self._in_c.get(called.__name__, ())
        target = getattr(called, "__self__", None)
        for entry in entries:
            same = isinstance(target, entry.kind) if entry.kind else called == entry.function
            if same and not (entry.driver.name == "files" and _is_bystander(frame)):
                return entry
        return None

    def in_python(self, code: CodeType) -> Entry:
        """The entry for a function written in Python that was just called."""
        return self._in_python[code]


def _is_bystander(frame: FrameType | None) -> bool:
    while frame is not None:
        if _package(frame) in _BYSTANDERS:
            return True
        frame = frame.f_back
    return False


def text_in(names: Mapping[str, Any]) -> list[str]:
    """The statement's text among the arguments of a driver written in Python."""
    prepared = getattr(names.get("self"), "get_query", None)
    if prepared is not None:
        return [str(prepared())]
    for name in _NAMES_OF_TEXT:
        found = names.get(name)
        if isinstance(found, tuple) and found:
            found = " ".join(str(part) for part in found[:2])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if isinstance(found, bytes | bytearray):
            found = found.decode(errors="replace")
        if isinstance(found, str) and found:
            return [found]
    return []


def place(frame: FrameType | None) -> str:
    """File and line of the code that called, for a story."""
    while frame is not None and _package(frame) in _GO_BETWEENS:
        frame = frame.f_back
    if frame is None:
        return ""
    return f"{PurePath(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
