"""How do many changes that arrive together share one flush to the disk?

The first goes at once. Those that arrive while it is on its way go together in the next
transaction, and each is acknowledged after that one only. So nobody waits for company.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast

import attrs

from xpay_flow.ports import AsyncBatching, AsyncStore
from xpay_flow.records import Change

# What is written in one transaction: enough to share its cost, and not so much that the first of
# them waits for long.
TOGETHER_MAX: Final = 64


@attrs.frozen(eq=False)
class _Waiting:
    change: Change
    answer: asyncio.Future[bool]


class Gathering:
    """`commit` of a store for many at once; the store must be `AsyncBatching`, too."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def commit(self, change: Change) -> bool:
        """See `xpay_flow.ports.Store`. Whoever gives up waiting may still have committed."""
        loop = asyncio.get_running_loop()
        if self._writer is None or self._writer.done() or self._writer.get_loop() is not loop:
            # What waited in another loop, which has ended, waits no more.
            self._waiting = []
            self._writer = loop.create_task(self._write(), name="xpay-flow group commit")
        waiting = _Waiting(change, loop.create_future())
        self._waiting.append(waiting)
        return await waiting.answer

    async def _write(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            try:
                await self._put(batch)
            finally:
                # Only if this task itself was ended: nobody may wait for ever.
                for waiting in batch:
                    waiting.answer.cancel()

    def _next_batch(self) -> list[_Waiting]:
        """The longest waiting, at most one for each record; the others go with the next."""
        keys: set[str] = set()
        batch: list[_Waiting] = []
        left: list[_Waiting] = []
        for waiting in self._waiting:
            key = waiting.change.record.key
            if waiting.answer.done():
                continue  # Whoever asked was cancelled before anything was begun.
            if len(batch) < TOGETHER_MAX and key not in keys:
                keys.add(key)
                batch.append(waiting)
            else:
                left.append(waiting)
        self._waiting = left
        return batch

    async def _put(self, batch: Sequence[_Waiting]) -> None:
        if len(batch) == 1 or not await self._put_together(batch):
            await asyncio.gather(*map(self._put_alone, batch))

    async def _put_together(self, batch: Sequence[_Waiting]) -> bool:
        store = cast(AsyncBatching, self._store)
        try:
            won = await store.commit_many([waiting.change for waiting in batch])
        except Exception:
            # One of them may be at fault, or nobody knows what took effect: each alone is told
            # what becomes of it. What was committed already loses its race.
            return False
        for waiting, answer in zip(batch, won, strict=True):
            _answer(waiting, answer)
        return True

    async def _put_alone(self, waiting: _Waiting) -> None:
        try:
            _answer(waiting, await self._store.commit(waiting.change))
        except Exception as error:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)


def _answer(waiting: _Waiting, won: bool) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result(won)
