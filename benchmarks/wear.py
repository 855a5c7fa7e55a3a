"""Is a database in the state in which a shop's is after some hours? New files are not.

A write-ahead log first grows, and a flush of a file that grows costs more, since the file system
notes its new size. At 1000 pages SQLite folds it into the database and then writes over it. A
contestant that writes fewer pages would stay in the slow phase for longer.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from xpay_flow.stores.sqlite import SQLiteStore

# More than the 1000 pages of 4 KiB at which SQLite begins anew.
_LOG_BYTES: Final = 5 * 1024 * 1024


def wear_in(path: Path) -> None:
    """Give the file a log that has its full size and is to be written over.

    Another connection must keep the file open: the last to close it deletes the log.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("CREATE TABLE worn (bytes BLOB)")
        connection.execute("INSERT INTO worn VALUES (zeroblob(?))", (_LOG_BYTES,))
        connection.execute("DROP TABLE worn")
        connection.execute("PRAGMA wal_checkpoint (RESTART)")
    finally:
        connection.close()
    assert path.with_name(f"{path.name}-wal").stat().st_size > _LOG_BYTES


def wear_in_ours(store: SQLiteStore, path: Path) -> None:
    """The same for a store of ours, which opens its file when it is first used."""
    assert not store.load("unknown")
    wear_in(path)
