"""Every duty of a store, on every database and driver."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from xpay_flow.ports import (
    BatchCommitting,
    BatchLoading,
    Erasing,
    RecentListing,
    RowLocking,
    Store,
    Transactional,
)
from xpay_flow.testing.store_suite import StoreSuite
from xpay_flow_sqlalchemy import SQLAlchemyStore, migrating

from .kit import BlockingStore, Place


class Called(StoreSuite):
    """A store that blocks; the database is emptied for each one."""

    declares = (
        RecentListing,
        Erasing,
        BatchLoading,
        BatchCommitting,
        Transactional,
        RowLocking,
    )
    # Each step is a round trip or some.
    histories = settings(StoreSuite.histories, max_examples=12)
    driver: str
    _place: Place

    def make_store(self) -> Store:
        self._place.empty()
        return self.opener_of(self._place.by(self.driver))()

    def reopen_store(self, store: Store) -> Callable[[], Store]:
        return self.opener_of(self._place.by(self.driver))

    def opener_of(self, url: str) -> Callable[[], Store]:
        return partial(SQLAlchemyStore.from_url, url)


class Awaited(Called):
    """A store that is awaited, in an event loop of its own, where it cannot be cut short."""

    has_driver = False

    def opener_of(self, url: str) -> Callable[[], Store]:
        return partial(BlockingStore, url)


class OnPostgreSQL:
    @pytest.fixture(autouse=True)
    def _database(self, postgresql: Place) -> None:
        self._place = postgresql


class OnMariaDB:
    @pytest.fixture(autouse=True)
    def _database(self, mariadb: Place) -> None:
        self._place = mariadb


class TestPsycopg(OnPostgreSQL, Called):
    driver = "postgresql"


class TestAsyncPsycopg(OnPostgreSQL, Awaited):
    driver = "postgresql+psycopg_async"


class TestAsyncpg(OnPostgreSQL, Awaited):
    driver = "postgresql+asyncpg"


class TestPyMySQL(OnMariaDB, Called):
    driver = "mariadb"


class TestAiomysql(OnMariaDB, Awaited):
    driver = "mariadb+aiomysql"


class TestSQLite(StoreSuite):
    declares = (RecentListing, Erasing, BatchLoading, BatchCommitting, Transactional)

    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.folder, self.made = tmp_path, 0
        migrating.upgrade(f"sqlalchemy+sqlite:///{tmp_path}/empty.db")

    def make_store(self) -> SQLAlchemyStore:
        self.made += 1
        shutil.copy(self.folder / "empty.db", self.folder / f"{self.made}.db")
        return self.reopen_store()()

    def reopen_store(self, store: Store | None = None) -> Callable[[], SQLAlchemyStore]:
        path = self.folder / f"{self.made}.db"
        return partial(SQLAlchemyStore.from_url, f"sqlalchemy+sqlite:///{path}")
