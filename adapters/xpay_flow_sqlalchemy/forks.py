"""What becomes of an engine's connections in a forked process? It makes some of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

from sqlalchemy import Engine, Pool

# A connection must not be used by two processes. A forked child starts with an empty pool, and
# leaves the parent's connections open: closing them would end them for the parent, too.
_engines: WeakSet[Engine] = WeakSet()


def afresh_in_children(engine: Engine) -> None:
    """Have forked processes make connections of their own."""
    _engines.add(engine)


def begin_afresh(engines: Iterable[Engine]) -> None:
    """Have them make new connections, and leave those that are open to themselves."""
    pools: dict[int, Pool] = {}
    for engine in engines:
        engine.dispose(close=False)
        share_events(pools.setdefault(id(engine.dialect), engine.pool), engine.pool)


def share_events(pool: Any, twin: Any) -> None:
    """Have the pools of one dialect share their events.

    The dialect learns from its first connection what the server is. SQLAlchemy has all other
    connections wait for that where the events are the same.
    """
    twin.dispatch = pool.dispatch


def _in_child() -> None:
    begin_afresh(list(_engines))


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_in_child)
