"""Can flows be checked on SQLite itself? Its store on a database in memory that can be put back.

The statements, transactions and locks are those of the store that a shop runs. Missing is
the disk: no file, no log beside it, and no flush. A shop's own file is never touched.
"""

from __future__ import annotations

import sqlite3
from itertools import count

from xpay_flow.stores.sqlite import SQLiteReader, SQLiteStore
from xpay_flow.stores.sqlite_pool import Pool
from xpay_flow.stores.sqlite_schema import migrate

_numbers = count(1)


class SQLiteSnapshots(SQLiteStore):
    """`SQLiteStore` with `snapshot` and `restore`, for a search on one thread.

    Each has a database of its own, which is gone when it is closed.
    """

    def __init__(self) -> None:
        # SQLite's memory as a file: unlike `:memory:` several connections may open it, and one
        # that failed and was closed takes nothing with it.
        self._url = f"file:/xpay-flow-{next(_numbers)}?vfs=memdb"
        SQLiteReader.__init__(self, Pool(self._opened))
        self._readers = Pool(self._opened)
        self._anchor, self._copy = self._opened(), sqlite3.connect(":memory:")
        migrate(self._anchor)

    def snapshot(self) -> bytes:
        """Everything, as a value for `restore`: the bytes of a database file."""
        return self._anchor.serialize()

    def restore(self, snapshot: bytes) -> None:
        """Be as when `snapshot` was taken; it may be restored any number of times."""
        self._copy.deserialize(snapshot)
        self._copy.backup(self._anchor)

    def close(self) -> None:
        """Let go of the database, and of all that it holds."""
        super().close()
        self._anchor.close()
        self._copy.close()

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._url, uri=True, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = ON")
        return connection
