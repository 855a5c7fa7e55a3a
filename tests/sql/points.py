"""Where can a process die, or its database fail, in the middle of a pass? At calls of the driver.

Before each statement and after it, the same for the commit, and before connecting.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from unittest import mock

from sqlalchemy import Engine, event

T = TypeVar("T")


class Broken(sqlite3.OperationalError):
    """The database failed, as a driver reports it."""


def killed() -> None:
    """As `kill -9` does it: nothing is closed, and no line of ours runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def failed() -> None:
    raise Broken("the disk is gone")


class Points:
    """Counts the points that are passed and has one of them go wrong."""

    def __init__(self, at: int | None = None, ending: Callable[[], None] = killed) -> None:
        self.passed = 0
        self._at, self._ending = at, ending

    def pass_by(self, *_: object, **__: object) -> None:
        here = self.passed == self._at
        self.passed += 1
        if here:
            self._ending()

    def around(self, act: Callable[..., T]) -> Callable[..., T]:
        def passed(*args: Any, **options: Any) -> T:
            self.pass_by()
            answer = act(*args, **options)
            self.pass_by()
            return answer

        return passed


@contextmanager
def at_driver_calls(points: Points, engine: Engine | None) -> Generator[None]:
    """A block in which each call of the driver is a point."""
    with ExitStack() as stack:
        if engine is None:
            stack.enter_context(mock.patch.object(sqlite3, "connect", _sqlite_connect(points)))
        else:
            for name in ("before_cursor_execute", "after_cursor_execute"):
                event.listen(engine, name, points.pass_by)
                stack.callback(event.remove, engine, name, points.pass_by)
            event.listen(engine, "do_connect", points.pass_by)
            stack.callback(event.remove, engine, "do_connect", points.pass_by)
            around = points.around(engine.dialect.do_commit)
            stack.enter_context(mock.patch.object(engine.dialect, "do_commit", around))
        yield


def _sqlite_connect(points: Points) -> Callable[..., sqlite3.Connection]:
    class Counted(sqlite3.Connection):
        def execute(self, *words: Any) -> sqlite3.Cursor:
            return points.around(super().execute)(*words)

        def executemany(self, *words: Any) -> sqlite3.Cursor:
            return points.around(super().executemany)(*words)

    connect = sqlite3.connect

    def connected(*words: Any, **options: Any) -> sqlite3.Connection:
        points.pass_by()
        return connect(*words, factory=Counted, **options)

    return connected
