"""The store of the how-to does all that a store must do."""

from pathlib import Path

import pytest
from hypothesis import settings

from examples.document_store import DocumentStore
from xpay_flow.ports import Store
from xpay_flow.testing.store_suite import StoreSuite


class TestDocumentStore(StoreSuite):
    # Each commit waits for the disk.
    histories = settings(StoreSuite.histories, max_examples=10)

    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.folder, self.made = tmp_path, 0

    def make_store(self) -> Store:
        self.made += 1
        return DocumentStore(str(self.folder / f"{self.made}.db"))

    def reopen(self, store: Store) -> Store:
        assert isinstance(store, DocumentStore)
        return DocumentStore(store.path)
