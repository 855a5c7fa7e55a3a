"""What is a transition of the app? A statement, commit, outgoing call or answer, with its line."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal

import attrs

from ..whereabouts import PACKAGE

Kind = Literal["sql", "commit", "rollback", "call", "answer"]
# Go on; not applied and reported as a failure; applied and reported as a failure; a wait has ended.
Order = Literal["go", "fail", "lose", "timeout"]

# How the text of a call begins that is a mail.
MAIL: Final = "mail to "
ROWS_SHOWN_MAX: Final = 2
_LIBRARIES: Final = tuple(
    {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(PACKAGE), str(PACKAGE.parent / "adapters")}
)


@attrs.frozen(kw_only=True)
class Point:
    """Where a request stands: before this transition.

    Args:
        text: the SQL, the call (`POST https://mail.example/send`) or the status of the answer.
        where, code: the line of the user's code, such as `shop/main.py:12`, and its text.
        connection: of the database, by a number of its process.
        in_transaction, has_read, has_written: of the connection, before it.
        key: the idempotency key of a call.
        database: the kind of database, by the name of its driver.
    """

    kind: Kind
    text: str
    parameters: Any = ()
    where: str = ""
    code: str = ""
    connection: int = 0
    in_transaction: bool = False
    has_read: bool = False
    has_written: bool = False
    key: str = ""
    database: str = ""

    @property
    def label(self) -> tuple[str, str, str]:
        """What is the same each time that the same code comes to the same place."""
        return (self.kind, self.text, self.where)


@attrs.frozen(kw_only=True)
class Done:
    """What became of a transition.

    Args:
        shown: the rows that it gave, or how many it changed.
        in_transaction: of the connection, after it.
        error: what it raised, in words.
    """

    shown: str = ""
    in_transaction: bool = False
    error: str = ""


@attrs.frozen
class At:
    """A process stands at a point, and this became of its last transition."""

    point: Point
    done: Done | None = None


@attrs.frozen
class Blocked:
    """The transition that was let go waits for a lock of the database."""

    error: str


@attrs.frozen
class Ended:
    """The request has run to its end; `raised` is what escaped from the app."""

    done: Done | None = None
    raised: str = ""


Message = At | Blocked | Ended


def user_line() -> tuple[str, str]:
    """The innermost line on the stack that belongs to no library, and its text."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        name = frame.f_code.co_filename
        if _is_users(name):
            return f"{_short(name)}:{frame.f_lineno}", linecache.getline(
                name, frame.f_lineno
            ).strip()
        frame = frame.f_back
    return "", ""


@cache
def _is_users(filename: str) -> bool:
    return not filename.startswith(("<", *_LIBRARIES))


def _short(filename: str) -> str:
    path, folder = Path(filename), Path.cwd()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def words(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split("\n")[0].split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
