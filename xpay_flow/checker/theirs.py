"""Whose code is this? The user's, ours, or a library's."""

from __future__ import annotations

import inspect
import os
import sysconfig
from functools import cache
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Literal

Owner = Literal["theirs", "ours", "library", "standard"]

PACKAGE = Path(__file__).parents[1]
_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})


@cache
def owner_of(filename: str) -> Owner:
    """Who wrote the code in a file. Code that was made at run time counts as standard."""
    if filename.startswith("<"):
        return "standard"
    if _within(filename, (str(PACKAGE),)):
        return "ours"
    if _within(filename, _INSTALLED) or "site-packages" in Path(filename).parts:
        return "library"
    return "standard" if _within(filename, _STANDARD) else "theirs"


def is_theirs(filename: str) -> bool:
    """The user wrote it: neither we, nor a library, nor Python."""
    return owner_of(filename) == "theirs"


def place_of(frame: FrameType) -> str:
    """Where a frame is, such as `shop.py:41 in fulfil`; relative to the working directory."""
    return f"{short(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"


def asking_place() -> str:
    """The place in the user's code that led here; nothing, if none did."""
    frame = inspect.currentframe()
    while frame is not None:
        if is_theirs(frame.f_code.co_filename):
            return place_of(frame)
        frame = frame.f_back
    return ""


def raised_at(error: BaseException) -> str:
    """` at shop.py:41 in fulfil`: the last place of the user's that an error came through."""
    places = [
        f" at {short(frame.f_code.co_filename)}:{line} in {frame.f_code.co_name}"
        for frame, line in walk_tb(error.__traceback__)
        if is_theirs(frame.f_code.co_filename)
    ]
    return places[-1] if places else ""


def short(filename: str) -> str:
    """The file as seen from the working directory, if it lies below it."""
    return _seen_from(os.getcwd(), filename)


@cache
def _seen_from(folder: str, filename: str) -> str:
    # Blocking code has its place looked up at each effect, and paths are slow.
    path = Path(filename)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else filename


def _within(filename: str, folders: tuple[str, ...]) -> bool:
    return any(Path(filename).is_relative_to(folder) for folder in folders)
