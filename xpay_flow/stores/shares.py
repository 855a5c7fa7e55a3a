"""How are the connections of a process shared out? Handlers hold some; others are always free.

A handler that runs may hold two: one for its row lock, one for its transaction. So many run at once
that two are left for webhooks, customers and the claims of the workers themselves.
"""

from __future__ import annotations

from typing import Final

import attrs

# The most connections of one process; PostgreSQL's own limit is 100 over all processes. They are
# opened when needed: eight handlers at once may need them all.
CONNECTIONS: Final = 18
# Behind a pooler there are no row locks, and eight handlers need no more.
CONNECTIONS_BEHIND_POOLER: Final = 10
# Those that no handler may hold.
FREE: Final = 2
# With fewer, no handler could run beside the free ones.
CONNECTIONS_MIN: Final = 3


@attrs.frozen
class Shares:
    """What a number of connections is enough for.

    Args:
        connections: of the whole process.
        row_locks: whether a handler's row lock has a connection of its own.
        handlers: how many handlers may run at once, each with all that it may hold.
    """

    connections: int
    row_locks: bool
    handlers: int


def shares(connections: int, can_lock: bool) -> Shares:
    """How these are shared out; where they are too few for row locks, claims run out instead."""
    row_locks = can_lock and connections >= FREE + 2
    handlers = (connections - FREE) // (2 if row_locks else 1)
    return Shares(connections, row_locks, max(1, handlers))
