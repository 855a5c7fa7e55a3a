"""How does a thread call a store that is awaited? In an event loop of its own, until it answers.

That is a process with one task: the calls of its driver are the steps, as with a store that blocks.
What the tasks of one loop share is not looked at.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

from xpay_flow.ports import Store

from .gate import Watch, unheeded
from .lookup import Table

_METHODS: Final = ("load", "history", "recent", "commit", "due")
_PASSES: Final = 3


def is_awaited(store: object) -> bool:
    """Whether its methods are coroutines."""
    return inspect.iscoroutinefunction(getattr(store, "commit", None))


class Awaited:
    """A store that is awaited, with a blocking face. It belongs to the thread that makes it."""

    def __init__(self, make: Callable[[], Any], table: Table) -> None:
        self._runner = asyncio.Runner()
        self._store = make()
        for name in _METHODS:
            if hasattr(self._store, name):
                setattr(self, name, partial(self._call, name))
        # It may connect at its first call, and later a call that waits for that would seem to
        # wait for another. These connections may never come to be used otherwise.
        self._watch = Watch(table, unheeded())
        with self._watch.on_this_thread():
            self._call("load", "unknown")
            self._call("due", "reconcile", 0, 1)

    def close(self) -> None:
        """As a program that ends well."""
        if hasattr(self._store, "aclose"):
            self._runner.run(_result(self._store.aclose()))
        self._runner.close()

    def leave(self) -> None:
        """As a process that dies: what is under way stays undone, and no connection is left."""
        self._watch.drop()
        self._runner.close()

    def _call(self, name: str, *words: Any) -> Any:
        return self._runner.run(_result(getattr(self._store, name)(*words)))


async def _result(awaited: Awaitable[Any]) -> Any:
    try:
        return await awaited
    finally:
        # The loop of a process would go on, and close the connections that were ended.
        for _ in range(_PASSES):
            await asyncio.sleep(0)


def opener(make: Callable[[], Any], table: Table) -> Callable[[], Store]:
    """What makes the same stores with a blocking face."""
    return lambda: cast(Store, Awaited(make, table))


def leave(store: object) -> None:
    """Let go of its event loop, if it has one."""
    if isinstance(store, Awaited):
        store.leave()
