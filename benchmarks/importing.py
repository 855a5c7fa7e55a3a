"""How long does an import take? Each in a fresh interpreter, with everything compiled before."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from .measure import Contestant, Group, Size, compared

OPPONENT: Final = "import attrs, transitions"
_STATEMENTS: Final = (
    OPPONENT,
    "import xpay_flow",
    "from xpay_flow import Flow",
    "import httpx",
)
_TIMED: Final = """
from time import perf_counter
began = perf_counter()
{statement}
print(perf_counter() - began)
"""


def measured(size: Size) -> list[Group]:
    """Seconds that the statement alone takes."""
    contestants = {statement: _importing(statement) for statement in _STATEMENTS}
    return [compared("import", contestants, size.import_turns, opponent=OPPONENT)]


def _importing(statement: str) -> Contestant:
    command = [sys.executable, "-c", _TIMED.format(statement=statement)]

    def turn() -> list[float]:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return [float(done.stdout)]

    return turn
