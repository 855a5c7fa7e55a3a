"""The embedded store."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpay_flow.ports import Store
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.store_suite import StoreSuite


class TestSQLiteStore(StoreSuite):
    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.folder, self.made = tmp_path, 0

    def make_store(self) -> SQLiteStore:
        self.made += 1
        return SQLiteStore(self.folder / f"{self.made}.db")

    def reopen(self, store: Store) -> SQLiteStore:
        assert isinstance(store, SQLiteStore)
        store.close()
        return SQLiteStore(self.folder / f"{self.made}.db")
