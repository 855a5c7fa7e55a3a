"""How many may hold something at once? So many; others wait for a limited time.

What holds a connection while a handler runs takes a turn first, so that enough connections are
left for webhooks and customers. A turn that does not come in time is StoreUnavailable.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from threading import Semaphore
from typing import Final
from weakref import WeakSet

from xpay_flow.errors import StoreUnavailable

# A worker may wait so long for those that run handlers: longer than a handler should take, and
# well below a lease (60 s), since a call that waits for its transaction is claimed already.
HOLD_WAIT_S: Final = 30.0


class Turns:
    """The turns of threads.

    Args:
        what: is held, for the error.
    """

    def __init__(self, at_once: int, what: str, wait_s: float = HOLD_WAIT_S) -> None:
        self._at_once, self._what, self._wait_s = at_once, what, wait_s
        self.begin()
        _all.add(self)

    def begin(self) -> None:
        """All turns are free, also those that were taken."""
        self._free = Semaphore(self._at_once)
        self._held: dict[int, Semaphore] = {}

    @contextmanager
    def taken(self, owner: object = None) -> Generator[None]:
        """One turn, for the block. Raises StoreUnavailable.

        Args:
            owner: by which `give_back` knows the turn.
        """
        free = self._free
        if not free.acquire(timeout=self._wait_s):
            raise StoreUnavailable(_words(self._at_once, self._what, self._wait_s))
        held = object() if owner is None else owner
        self._held[id(held)] = free
        try:
            yield
        finally:
            self.give_back(held)

    def give_back(self, owner: object) -> None:
        """End a turn, also of a thread that hangs. Does nothing where it has ended."""
        if (free := self._held.pop(id(owner), None)) is not None:
            free.release()


class AsyncTurns:
    """The same for the tasks of an event loop; who comes first is served first.

    In another loop, all turns are free again.
    """

    def __init__(self, at_once: int, what: str, wait_s: float = HOLD_WAIT_S) -> None:
        self._at_once, self._what, self._wait_s = at_once, what, wait_s
        self._free = asyncio.Semaphore(at_once)
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def taken(self) -> AsyncGenerator[None]:
        """One turn, for the block. Raises StoreUnavailable."""
        free = await self.take()
        try:
            yield
        finally:
            free.release()

    async def take(self) -> asyncio.Semaphore:
        """One turn, until what this returns is released. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._free = loop, asyncio.Semaphore(self._at_once)
        free = self._free
        try:
            async with asyncio.timeout(self._wait_s):
                await free.acquire()
        except TimeoutError:
            raise StoreUnavailable(_words(self._at_once, self._what, self._wait_s)) from None
        return free


def _words(at_once: int, what: str, wait_s: float) -> str:
    return f"of {at_once} {what} none was free for {wait_s:g} s; nothing was changed"


# A thread that had a turn is not carried into a forked process, and would never give it back.
_all: Final[WeakSet[Turns]] = WeakSet()


def _in_child() -> None:
    for turns in list(_all):
        turns.begin()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_in_child)
