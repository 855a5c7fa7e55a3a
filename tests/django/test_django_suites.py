"""Every duty of a store, on both kinds of database and with both faces."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import django_kit as kit
import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from hypothesis import settings

from xpay_flow.events import EventIdentity
from xpay_flow.ports import (
    BatchCommitting,
    BatchLoading,
    Erasing,
    Lookup,
    RecentListing,
    RowLocking,
    Store,
    Transactional,
)
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work
from xpay_flow.stores.awaited import AwaitedReader as AsyncReader
from xpay_flow.testing.store_suite import StoreSuite
from xpay_flow_django import AsyncDjangoStore, DjangoStore


class AwaitedReader:
    """An awaited reader for the suite, which blocks."""

    def __init__(self, reader: AsyncReader | AsyncDjangoStore) -> None:
        self._reader = reader

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return async_to_sync(self._reader.load)(alias, event)

    def history(self, alias: str) -> Sequence[Record]:
        return async_to_sync(self._reader.history)(alias)

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        return async_to_sync(self._reader.recent)(limit, realms, before)


class AwaitedStore(AwaitedReader):
    """An awaited store for the suite, which blocks."""

    def __init__(self, alias: str) -> None:
        self.store = AsyncDjangoStore(alias)
        super().__init__(self.store)

    def commit(self, change: Change) -> bool:
        return async_to_sync(self.store.commit)(change)

    def blank_payloads(self, key: str) -> None:
        async_to_sync(self.store.blank_payloads)(key)

    def scrub(self) -> None:
        async_to_sync(self.store.scrub)()

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        return async_to_sync(self.store.load_many)(lookups)

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        return async_to_sync(self.store.commit_many)(changes)

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        async def awaited(connection: Any) -> object:
            return work(connection)

        return async_to_sync(self.store.commit_with)(change, awaited)

    @property
    def can_lock(self) -> bool:
        return self.store.can_lock

    @contextmanager
    def lock(self, key: str) -> Generator[bool]:
        held = self.store.lock(key)
        is_mine = async_to_sync(held.__aenter__)()
        try:
            yield is_mine
        finally:
            async_to_sync(held.__aexit__)(None, None, None)

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        return async_to_sync(self.store.orphaned)(now_ms, limit, realms)

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return async_to_sync(self.store.due)(work, now_ms, limit, realms)

    def reader(self) -> AwaitedReader:
        return AwaitedReader(self.store.reader())

    def close(self) -> None:
        async_to_sync(self.store.aclose)()


class OnSQLite(StoreSuite):
    declares: ClassVar[tuple[type[Any], ...]] = (
        RecentListing,
        Erasing,
        BatchLoading,
        BatchCommitting,
        Transactional,
    )
    histories = settings(StoreSuite.histories, max_examples=4)

    @pytest.fixture(autouse=True)
    def _database(self, sqlite: str) -> None:
        self.alias = sqlite

    def emptied(self) -> None:
        kit.new_sqlite_file()

    def opened(self) -> Store:
        return DjangoStore(self.alias)

    def make_store(self) -> Store:
        self.emptied()
        # As in a request that has used the database before: it stays open.
        connections[self.alias].ensure_connection()
        return self.opened()

    def discard(self, store: Store) -> None:
        super().discard(store)
        # Each thread has a connection of its own, which ends with nothing else.
        connections[self.alias].close()

    def reopen_store(self, store: Store) -> Callable[[], Store]:
        return partial(kit.opened_anywhere, self.alias, dict(connections.settings[self.alias]))


class OnPostgreSQL(OnSQLite):
    declares = (*OnSQLite.declares, RowLocking)
    # Each step is some round trips.
    histories = settings(StoreSuite.histories, max_examples=2)

    @pytest.fixture(autouse=True)
    def _database(self, postgresql: str) -> None:
        self.alias = postgresql

    def emptied(self) -> None:
        kit.empty_postgresql()


class Awaited:
    """The same code behind another face, so what happens between processes is left out."""

    reopen_store = StoreSuite.reopen_store
    histories = settings(StoreSuite.histories, max_examples=2)
    alias: str

    def opened(self) -> Store:
        return AwaitedStore(self.alias)

    def reopen(self, store: Store) -> Store:
        return self.opened()


class TestSQLite(OnSQLite):
    pass


class TestAwaitedSQLite(Awaited, OnSQLite):
    pass


class TestPostgreSQL(OnPostgreSQL):
    pass


class TestAwaitedPostgreSQL(Awaited, OnPostgreSQL):
    pass
