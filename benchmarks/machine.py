"""What machine is this? And what do two things cost on it that everything else is made of?"""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
from pathlib import Path
from time import perf_counter
from typing import Final

from .measure import Group, Row, Size, in_turns

_PAGE_BYTES: Final = 4096
_FLUSHES_A_TURN: Final = 10
_HOPS_A_TURN: Final = 20


def described() -> dict[str, str | int | float]:
    """Facts that explain the figures."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 0,
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
    }


def measured(size: Size, folder: Path) -> list[Group]:
    """One flush of the disk, and one hop of an event loop into a thread and back."""
    path = folder / "flushed"
    path.write_bytes(bytes(_PAGE_BYTES * _FLUSHES_A_TURN))
    with asyncio.Runner() as runner, path.open("r+b", buffering=0) as file:
        os.fsync(file.fileno())
        taken = in_turns(
            {
                "overwrite 4 KiB of a file and flush it": lambda: _flushes(file.fileno()),
                "from an event loop to a thread and back": lambda: runner.run(_hops()),
            },
            size.turns,
        )
    rows = tuple(Row(name=name, turns=turns) for name, turns in taken.items())
    return [Group(title="units of this machine", rows=rows)]


def _flushes(descriptor: int) -> list[float]:
    # As SQLite does it to a log that has its size already.
    flush = getattr(os, "fdatasync", os.fsync)
    taken: list[float] = []
    for page in range(_FLUSHES_A_TURN):
        began = perf_counter()
        os.lseek(descriptor, page * _PAGE_BYTES, os.SEEK_SET)
        os.write(descriptor, bytes(_PAGE_BYTES))
        flush(descriptor)
        taken.append(perf_counter() - began)
    return taken


async def _hops() -> list[float]:
    taken: list[float] = []
    for _ in range(_HOPS_A_TURN):
        began = perf_counter()
        await asyncio.to_thread(int)
        taken.append(perf_counter() - began)
    return taken
