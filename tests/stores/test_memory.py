"""The reference store, which all others are compared with."""

from __future__ import annotations

import pytest

from xpay_flow import sample_records as b
from xpay_flow.errors import ConfigurationError
from xpay_flow.ports import Erasing, RecentListing
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.store_suite import StoreSuite


class TestMemoryStore(StoreSuite):
    declares = (RecentListing, Erasing)

    def make_store(self) -> MemoryStore:
        return MemoryStore()


def test_a_snapshot_is_untouched_by_what_follows() -> None:
    """A store goes back to a snapshot as often as one likes, whatever happened since."""
    store = MemoryStore()
    first = b.attempt().record
    store.commit(b.attempt())
    before = store.snapshot()
    for _ in range(2):
        assert store.commit(b.next_change(first, b.created(), b.paid()))
        assert store.commit(b.attempt("order-2"))
        store.restore(before)
        assert [first] == list(store.history(first.key))
        assert [] == list(store.history("x:in_1"))
        assert [first] == list(store.recent(10))


def test_two_memory_stores_share_nothing() -> None:
    """A name in the URL would promise that two stores of this name are one, so it is refused."""
    assert isinstance(MemoryStore.from_url("memory://"), MemoryStore)
    with pytest.raises(ConfigurationError):
        MemoryStore.from_url("memory://shared")
