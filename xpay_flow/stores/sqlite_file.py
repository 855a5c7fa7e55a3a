"""Whose is an SQLite file, and is it still the one that was opened? For every store on SQLite."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TypeAlias

from xpay_flow.errors import StoreUnavailable, quoted

# Which file it is, whatever its name.
Identity: TypeAlias = tuple[int, int]


def make_private(path: str) -> None:
    """A new file is for its owner alone; SQLite gives its companions the same rights."""
    # What cannot be made, SQLite explains; what is there keeps its rights.
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def identity(path: str) -> Identity:
    """The file that has this name now. Raises OSError."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def refuse_another_file(path: str, opened: Identity) -> None:
    """Raise StoreUnavailable if the name is no longer that of the file that was opened."""
    try:
        if identity(path) == opened:
            return
        what = "was replaced by another"
    except OSError:
        what = "is gone"
    raise StoreUnavailable(
        f"the file {quoted(path)} {what} while it was open, and what is written now would be lost: "
        "put it back, or start this process anew"
    )
