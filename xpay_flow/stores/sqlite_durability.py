"""Which pragmas make SQLite commits durable, and keep writers from waiting for readers?

Both stores on SQLite use the same: ours and the one on SQLAlchemy.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from xpay_flow.errors import StoreUnavailable

# A loser of the race for the switch finds it made at the next try; more tries are for programs
# that write to the file at the same time.
LOOKS_MAX: Final = 5


def keep_commits(connection: Any) -> None:
    """Have a commit that has returned survive a power cut, on this connection."""
    connection.execute("PRAGMA synchronous = FULL")
    # On macOS a plain flush stops in the disk's own memory; elsewhere this does nothing.
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    # What is deleted or replaced is overwritten with zeros: a customer's data are no free space.
    connection.execute("PRAGMA secure_delete = ON")


def write_ahead(connection: Any) -> str:
    """Have readers and the writer of this file not wait for each other; kept in the file.

    Returns:
        The journal's mode: another one than ``wal`` if the file is not on a local disk.

    Raises:
        sqlite3.OperationalError: another program kept the file locked.
    """
    for _ in range(LOOKS_MAX - 1):
        try:
            return _switched(connection)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            # SQLite waits for a lock, but not where it has to make one of another: of several
            # that switch at once, all but one fail immediately. So wait with a transaction.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    return _switched(connection)


# A reader may be in the middle of the log. Each look waits as long as others do for locks.
EMPTY_LOG_MAX: Final = 10


def empty_log(connection: Any, *, tries: int = EMPTY_LOG_MAX) -> None:
    """Fold the write-ahead log into the file, and cut it to nothing: it holds what was replaced.

    Raises:
        StoreUnavailable: other connections were reading all the time.
    """
    for _ in range(tries):
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return
    raise StoreUnavailable(
        "what was erased can still be in the -wal file, since other processes read it all the "
        "time: run this again"
    )


def _switched(connection: Any) -> str:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    return str(mode)
