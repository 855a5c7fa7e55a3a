"""How is a handler kept from ending our transaction, or from going on after it has ended?

SQLite calls us for each statement before it is prepared. Savepoints are the handler's own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager

from xpay_flow.ports import HandlerRolledBack


@contextmanager
def alone_with(
    connection: sqlite3.Connection, is_cut_off: Callable[[], bool]
) -> Generator[None, None, None]:
    """A block in which only the transaction that is open now may be written to.

    Args:
        is_cut_off: true where another thread ends the transaction, since the handler hangs.

    Raises:
        HandlerRolledBack: it is no longer open: an error of the database, or an `OR ROLLBACK`,
            has undone it.
    """
    connection.set_authorizer(_only_within(connection, is_cut_off))
    yield
    try:
        connection.set_authorizer(None)
    except sqlite3.ProgrammingError as error:
        raise HandlerRolledBack(f"the handler has closed our connection: {error}") from error
    if not connection.in_transaction:
        raise HandlerRolledBack(
            "the database has undone the transaction, and the handler went on without it"
        )


def _only_within(
    connection: sqlite3.Connection, is_cut_off: Callable[[], bool]
) -> Callable[..., int]:
    def judge(action: int, what: str | None, *_: object) -> int:
        if is_cut_off() and (action, what) == (sqlite3.SQLITE_TRANSACTION, "ROLLBACK"):
            return sqlite3.SQLITE_OK
        # Also `COMMIT` by `with connection:` and by `executescript`.
        if action == sqlite3.SQLITE_TRANSACTION or not connection.in_transaction:
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    return judge
