from functools import partial
from pathlib import Path

import pytest
from xpay_flow_jsonfile import JSONFileStore

from xpay_flow.ports import RecentListing
from xpay_flow.testing.store_suite import StoreSuite


class TestJSONFileStore(StoreSuite):
    declares = (RecentListing,)

    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.folder, self.made = tmp_path, 0

    def make_store(self) -> JSONFileStore:
        self.made += 1
        return JSONFileStore(self.folder / f"{self.made}.json")

    def reopen_store(self, store: JSONFileStore) -> partial[JSONFileStore]:
        return partial(JSONFileStore, store.path)
