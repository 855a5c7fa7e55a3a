"""How does an async program use a store that blocks? One thread hop for each call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from xpay_flow.errors import ConfigurationError
from xpay_flow.ports import Listing, Reader, Store
from xpay_flow.records import Change, Record, Work


class ThreadedReader:
    """The async face of a blocking reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def load(self, alias: str) -> Sequence[Record]:
        return await asyncio.to_thread(self._reader.load, alias)

    async def recent(self, limit: int) -> Sequence[Record]:
        if not isinstance(self._reader, Listing):
            raise ConfigurationError("this store cannot list recent records")
        return await asyncio.to_thread(self._reader.recent, limit)


class ThreadedStore(ThreadedReader):
    """The async face of a blocking store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._store = store

    async def commit(self, change: Change) -> bool:
        return await asyncio.to_thread(self._store.commit, change)

    async def due(self, work: Work, now_ms: int, limit: int) -> Sequence[str]:
        return await asyncio.to_thread(self._store.due, work, now_ms, limit)

    def reader(self) -> ThreadedReader:
        return ThreadedReader(self._store.reader())
