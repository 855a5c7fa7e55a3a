"""What becomes of an engine's connections in a forked process? It makes some of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import Engine, Pool, event
from sqlalchemy.pool import ConnectionPoolEntry

from xpay_flow.stores.fork_gate import GATE

# A connection must not be used by two processes. A forked child starts with an empty pool, and
# leaves the parent's connections open: closing them would end them for the parent, too.
_engines: WeakSet[Engine] = WeakSet()
_IN_USE: Final = "counted by xpay_flow's fork gate"


def afresh_in_children(engine: Engine) -> None:
    """Have forked processes make connections of their own."""
    _engines.add(engine)
    if _is_on_a_file(engine) and not event.contains(engine, "checkout", _enter):
        event.listen(engine, "checkout", _enter)
        event.listen(engine, "checkin", _leave)


def _is_on_a_file(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:")


def _enter(_: object, record: ConnectionPoolEntry, __: object) -> None:
    # Engines that share their events are called twice.
    if (kept := record.record_info) is not None and _IN_USE not in kept:
        GATE.enter()
        kept[_IN_USE] = True


def _leave(_: object, record: ConnectionPoolEntry) -> None:
    if (kept := record.record_info) is not None and kept.pop(_IN_USE, False):
        GATE.leave()


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


def _before_fork() -> None:
    # SQLite's locks are those of a process, and a child would take its parent's to be its own.
    files = [engine for engine in list(_engines) if _is_on_a_file(engine)]
    if files:
        GATE.before_fork()
    for engine in files:
        if not engine.dialect.is_async:  # Those close in their event loop only.
            engine.pool.dispose()


def _in_child() -> None:
    begin_afresh(list(_engines))


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
