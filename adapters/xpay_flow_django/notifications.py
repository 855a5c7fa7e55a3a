"""How do processes on Django's PostgreSQL report changes to each other? With NOTIFY and LISTEN.

Not in the transaction of a webhook: PostgreSQL commits those that notify one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import connections

# How often a thread that listens looks whether it is to stop.
LOOKS_S: Final = 0.5
CHANNEL: Final = "xpay_flow_intent_changes"
# It waits for no disk: what is lost with the server is found by looking.
_REPORT: Final = (
    "SELECT set_config('synchronous_commit', 'off', true), count(pg_notify(%s, digest))"
    " FROM unnest(%s::text[]) AS digest"
)


def report(digests: Sequence[str], using: str) -> None:
    """Pass these words to all who listen."""
    with connections[using].cursor() as cursor:
        cursor.execute(_REPORT, [CHANNEL, list(digests)])


def can_listen(using: str) -> bool:
    """Whether the driver is psycopg 3, which reports what it hears without being polled."""
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return connections[using].vendor == "postgresql" and is_psycopg3


def listen(reported: Callable[[str], None], stopping: Callable[[], bool], using: str) -> None:
    """Call `reported` with each word, until `stopping`, on a connection beside the thread's own."""
    connection = connections[using].copy()
    connection.ensure_connection()
    driver: Any = connection.connection
    try:
        driver.execute(f"LISTEN {CHANNEL}")
        while not stopping():
            for notification in driver.notifies(timeout=LOOKS_S):
                reported(notification.payload)
    finally:
        connection.close()
