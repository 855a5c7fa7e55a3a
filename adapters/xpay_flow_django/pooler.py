"""Is a connection pooler in transaction mode between Django and PostgreSQL?

Django itself prepares nothing. What remains is that a row lock, held while a handler runs, would
keep one of the pooler's few connections of the server; `"POOLER": "transaction"` in `XPAY_FLOW` has
leases in place of them.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Any, Final

from django.db import connections

# Clients beside the first; one of them is likely to be given the first one's process.
_OTHERS: Final = 3

ADD_SETTING: Final = (
    "a connection pooler in transaction mode is between Django and PostgreSQL, where a handler's "
    "row lock would keep one of its connections"
)
HINT: Final = 'set "POOLER": "transaction" in XPAY_FLOW'


def is_found(alias: str) -> bool:
    """Whether another client is given the process of the server that this thread was given."""
    own = connections[alias]
    own.ensure_connection()
    driver: Any = own.connection
    server = _server(own)
    # A pooler gives each client a number of its own, which is no process of the server.
    if server == driver.info.backend_pid or own.in_atomic_block:
        return False
    with ExitStack() as stack:
        for _ in range(_OTHERS):
            other = stack.enter_context(closing(own.copy()))
            # It keeps its transaction, and with it the server's process.
            other.set_autocommit(False)
            if _server(other) == server:
                return True
    return _server(own) != server


def _server(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])
