"""How does an async program use a store that blocks? By default, one thread hop for each call."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from xpay_flow.errors import ConfigurationError
from xpay_flow.ports import (
    AsyncStore,
    BatchCommitting,
    BatchLoading,
    Reader,
    RecentListing,
    RowLocking,
    Store,
    Transactional,
)
from xpay_flow.records import Change, Record, Work
from xpay_flow.threads import Threads


class AwaitedReader:
    """The async face of a blocking reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._threads = Threads("xpay-flow store")

    async def load(self, alias: str) -> Sequence[Record]:
        return await self._threads.call(self._reader.load, alias)

    async def recent(self, limit: int) -> Sequence[Record]:
        if not isinstance(self._reader, RecentListing):
            raise ConfigurationError("this store cannot list recent records")
        return await self._threads.call(self._reader.recent, limit)


class AwaitedStore(AwaitedReader):
    """The async face of a blocking store. It can do what that one can."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._store = store
        self.can_lock = isinstance(store, RowLocking) and store.can_lock

    async def load_many(self, aliases: Sequence[str]) -> Sequence[Sequence[Record]]:
        """See `xpay_flow.ports.BatchLoading`."""
        return await self._threads.call(cast(BatchLoading, self._store).load_many, aliases)

    async def commit(self, change: Change) -> bool:
        return await self._threads.call(self._store.commit, change)

    async def due(self, work: Work, now_ms: int, limit: int) -> Sequence[str]:
        return await self._threads.call(self._store.due, work, now_ms, limit)

    async def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        """See `xpay_flow.ports.Transactional`; `work` is called in the thread of the store."""
        store = cast(Transactional, self._store)
        return await self._threads.call(store.commit_with, change, work)

    async def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        """See `xpay_flow.ports.BatchCommitting`."""
        return await self._threads.call(cast(BatchCommitting, self._store).commit_many, changes)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[bool, None]:
        """See `xpay_flow.ports.RowLocking`."""
        held = cast(RowLocking, self._store).lock(key)
        is_mine = await self._threads.call(held.__enter__)
        try:
            yield is_mine
        finally:
            await self._threads.call(held.__exit__, None, None, None)

    async def orphaned(self, now_ms: int, limit: int) -> Sequence[str]:
        """See `xpay_flow.ports.RowLocking`."""
        return await self._threads.call(cast(RowLocking, self._store).orphaned, now_ms, limit)

    def reader(self) -> AwaitedReader:
        return AwaitedReader(self._store.reader())


def awaited_store(store: AsyncStore | Store) -> AsyncStore:
    """`store` if it is awaited, and else its awaited face.

    Raises:
        ConfigurationError: some of its methods are awaited and some are not.
    """
    if inspect.iscoroutinefunction(store.commit) != inspect.iscoroutinefunction(store.load):
        raise ConfigurationError(
            f"{type(store).__name__} is half awaited: write all its methods with `async def`, "
            "or none of them"
        )
    if inspect.iscoroutinefunction(store.load):
        return cast(AsyncStore, store)
    return AwaitedStore(cast(Store, store))
