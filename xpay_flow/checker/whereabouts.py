"""Which line of code yielded an effect? The innermost one that is not a mere helper of ours."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import xpay_flow
from xpay_flow import effects

from .shop import AnyFlow

PACKAGE = Path(inspect.getfile(xpay_flow)).parent
# One-line helpers that yield an effect for their callers.
HELPERS = frozenset({inspect.getfile(effects)})


def where_of(flow: AnyFlow) -> str:
    """The file and line where a paused flow waits, such as `xpay_flow/flows/outbox.py:123`.

    A file below the working directory is named from there, and any other by its whole path.
    """
    at = ""
    for frame in _frames(flow):
        if frame.f_code.co_filename not in HELPERS:
            at = f"{_short(Path(frame.f_code.co_filename))}:{frame.f_lineno}"
    return at


def _frames(flow: AnyFlow) -> Iterator[FrameType]:
    """From the outermost generator to the one that yielded."""
    found: Any = flow
    while inspect.isgenerator(found):
        if found.gi_frame is not None:
            yield found.gi_frame
        found = found.gi_yieldfrom


def _short(path: Path) -> str:
    folder = PACKAGE.parent if path.is_relative_to(PACKAGE) else Path.cwd()
    short = path.relative_to(folder) if path.is_relative_to(folder) else path
    return short.as_posix()
