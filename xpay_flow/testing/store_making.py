"""How does a suite come by a store? What a subclass says about its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from xpay_flow.ports import Store


class Making:
    """What a subclass of the suite defines: `make_store`, and where it can, `reopen_store`."""

    def make_store(self) -> Store:
        """A new store with nothing in it."""
        raise NotImplementedError

    def reopen_store(self, store: Store) -> Callable[[], Store] | None:  # noqa: ARG002
        """What opens the data of `store` once more, beside it and in any process.

        It is pickled, so give a `functools.partial` of something that can be imported. None, if
        the store keeps nothing beyond its process.
        """
        return None

    def reopen(self, store: Store) -> Store | None:
        """What a new process would find of `store`, which is not used any more."""
        opener = self.reopen_store(store)
        if opener is None:
            return None
        self.discard(store)
        return opener()

    def discard(self, store: Store) -> None:
        """Let go of a store that this suite has opened."""
        getattr(store, "close", lambda: None)()

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = self.make_store()
        yield store
        self.discard(store)

    def opener(self, store: Store) -> Callable[[], Store]:
        """`reopen_store`, for a duty that cannot do without."""
        opener = self.reopen_store(store)
        if opener is None:
            pytest.skip("the suite was not told, by reopen_store, how to open the same data again")
        return opener
