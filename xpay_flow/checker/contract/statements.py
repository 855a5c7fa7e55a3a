"""What is a statement, and what must be known of the driver that it goes to?"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import attrs

# The story of a race fits on a screen; a statement is an arrow in it.
WORDS_CHARS_MAX: Final = 60

_ABOUT = re.compile(r"\b(?:INTO|UPDATE|FROM|TABLE)\s+([\w.\"]+)", re.IGNORECASE)
READING = re.compile(r"\s*(SELECT|BEGIN\s*;?\s*$|BEGIN\s+(DEFERRED|TRANSACTION))", re.IGNORECASE)


def connection_of(target: Any) -> Any:
    """The connection itself, also of a cursor or of a prepared statement."""
    return getattr(target, "connection", None) or getattr(target, "_connection", target)


def close(target: Any) -> None:
    """End the connection; in nearly every driver that is a rollback."""
    # A driver's own complaint about being closed is of no interest to the dead.
    with suppress(Exception):
        connection_of(target).close()


def _deaf(_: Any, __: Callable[[str], None]) -> None: ...


def _never_quiet(_: Statement) -> bool:
    return False


def _cannot_ask(_: Any) -> None: ...


def _waits_unknown(_: Any, __: Any) -> bool | None:
    return None


def _not_known(_: Any) -> bool | None:
    return None


@attrs.frozen(kw_only=True)
class Driver:
    """One driver: what is a statement of it, and how a process that dies lets go of it.

    Args:
        module: as imported; a driver that is not imported is not looked for.
        calls: each of these is a statement, `Class.method` or a function of the module.
        opens: these open a connection; no statement, but barred to the dead.
        drop: end the connection without a commit, as the kernel does for a process that died.
        surface: make the connection answer at once where it would wait for a lock.
        failure: the class of error that the driver raises when the database is gone.
        quiet: nothing happened at all, by the statement's result.
        is_open: the connection is in a transaction; None is not known.
        monitor: one more connection to the same database, by which to ask about this one.
        waits: queries whether a statement is waiting for a lock now; None is not known.
        isolated: a transaction that has read keeps seeing that moment, and one that has written
            keeps other writers out, until it ends.
    """

    name: str
    module: str
    calls: tuple[str, ...]
    opens: tuple[str, ...] = ()
    drop: Callable[[Any], None] = close
    surface: Callable[[Any, Callable[[str], None]], None] = _deaf
    failure: str = "OperationalError"
    quiet: Callable[[Statement], bool] = _never_quiet
    is_open: Callable[[Any], bool | None] = _not_known
    monitor: Callable[[Any], Any] = _cannot_ask
    waits: Callable[[Any, Any], bool | None] = _waits_unknown
    isolated: bool = False

    def error(self) -> Exception:
        """What the driver raises when the database does not answer."""
        kind: Any = resolved(self.module, self.failure) or OSError
        made: Exception = kind("the connection was lost")
        return made


@attrs.define(kw_only=True, eq=False)
class Statement:
    """One call into a driver.

    Args:
        where: file and line of the code that called.
        texts: the statements that the database reports; known only afterwards.
        open_before, open_after: whether its connection was in a transaction; None is not known.
    """

    driver: Driver
    call: str
    target: Any
    where: str
    texts: list[str] = attrs.Factory(list[str])
    open_before: bool | None = None
    open_after: bool | None = None

    @property
    def connection(self) -> Any:
        return connection_of(self.target)

    @property
    def quiet(self) -> bool:
        """Nothing happened."""
        return self.driver.quiet(self)

    @property
    def settles(self) -> bool:
        """What was done up to here, as far as is known, outlives the connection."""
        return self.open_after is not True

    @property
    def reads_only(self) -> bool:
        return all(READING.match(text) for text in self.texts)

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


def resolved(module: str, path: str) -> Any:
    """What `path` names in a module, if that is loaded and has it."""
    found: Any = sys.modules.get(module)
    for part in path.split(".") if path else ():
        found = getattr(found, part, None)
    return found
