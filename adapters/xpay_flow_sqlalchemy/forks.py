"""What becomes of an engine's connections in a forked process? It makes some of its own."""

from __future__ import annotations

import os
import sys
from weakref import WeakSet

from sqlalchemy import Engine

# A connection must not be used by two processes. A forked child starts with an empty pool, and
# leaves the parent's connections open: closing them would end them for the parent, too.
_engines: WeakSet[Engine] = WeakSet()


def afresh_in_children(engine: Engine) -> None:
    """Have forked processes make connections of their own."""
    _engines.add(engine)


def _in_child() -> None:
    for engine in list(_engines):
        engine.dispose(close=False)


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_in_child)
