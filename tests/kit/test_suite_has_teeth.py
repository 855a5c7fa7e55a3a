"""The suite finds what is wrong with a store, by the name of the duty that is broken."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import Phase, settings

from xpay_flow.checker.contract import a_place
from xpay_flow.checker.contract.files import Place
from xpay_flow.errors import StoreError
from xpay_flow.ports import Store
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.store_capability_suite import CAPABILITIES, capabilities_of
from xpay_flow.testing.store_making import DRIVER, KEPT, REOPENED, needs_of
from xpay_flow.testing.store_suite import StoreSuite

from .planted_capabilities import Able
from .planted_duties import GROUPS, PLANTED, Planted
from .planted_on_disk import PlainAble

# What a test fails with. Anything else is an unplanned fault of a broken store.
FAILURES: Final = (AssertionError, pytest.fail.Exception, StoreError, UnicodeError)


class Suite(StoreSuite):
    """The suite for a class of stores: in memory, or made with a path."""

    # The same histories every time, and the first failure is enough.
    histories = settings(
        StoreSuite.histories,
        max_examples=40,
        derandomize=True,
        phases=[Phase.generate],
        database=None,
    )

    # All duties are there; those that a store does not have are not called.
    declares = CAPABILITIES

    def __init__(self, kind: Callable[..., Store], place: Place) -> None:
        self.kind, self.place = kind, place
        self.on_disk = not issubclass(kind, MemoryStore) if isinstance(kind, type) else True
        self.made = 0

    def make_store(self) -> Store:
        self.made += 1
        return self.kind(self.place.folder / f"{self.made}.db") if self.on_disk else self.kind()

    def reopen_store(self, store: Store) -> Callable[[], Store]:
        return partial(self.kind, self.place.folder / f"{self.made}.db")

    def reopen(self, store: Store) -> Store:
        # Some stores in memory say that they keep what they are given.
        return getattr(store, "reopened", lambda: super(Suite, self).reopen(store))()

    def _offered(self) -> frozenset[object]:
        store = self.make_store()
        self.declares = tuple(getattr(store, "declared", capabilities_of(store)))
        is_kept = self.on_disk or hasattr(store, "reopened")
        self.discard(store)
        on_disk = {REOPENED, DRIVER} if self.on_disk else set()
        return frozenset({*self.declares, *on_disk, *({KEPT} if is_kept else ())})

    def fails(self, duty: str) -> bool:
        """Whether the store breaks this duty, in any of its cases."""
        return any(self._fails(getattr(self, duty), case) for case in _cases(getattr(self, duty)))

    def _fails(self, method: Callable[..., None], case: dict[str, Any]) -> bool:
        if not needs_of(method) <= self._offered():
            return False
        store = self.make_store() if "store" in inspect.signature(method).parameters else None
        try:
            method(**({"store": store} if store else {}), **case)
        except FAILURES:
            return True
        finally:
            if store is not None:
                self.discard(store)
        return False


def _cases(method: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """The cases of a duty, as its marks say."""
    marks = [m for m in getattr(method, "pytestmark", ()) if m.name == "parametrize"]
    names = [mark.args[0] for mark in marks]
    for values in product(*(mark.args[1] for mark in marks)):
        yield dict(zip(names, values, strict=True))


def broken_duties(kind: Callable[..., Store], group: str) -> set[str]:
    """The duties of the group in which this store fails."""
    with a_place() as place:
        suite = Suite(kind, place)
        return {duty for duty in GROUPS[group] if suite.fails(duty)}


def test_every_duty_has_a_store_that_breaks_it() -> None:
    """No duty is in the suite without a store that shows what it is good for."""
    duties = sorted(name for name in dir(StoreSuite) if name.startswith("test_"))
    assert duties == sorted(duty for group in GROUPS.values() for duty in group)
    assert duties == sorted({duty for planted in PLANTED for duty in planted.fails})


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.id)
def test_a_broken_store_is_found_by_the_name_of_its_fault(planted: Planted) -> None:
    """A store that is wrong in one way fails in the duties that it breaks, and in no other of
    their group."""
    assert planted.fails == broken_duties(planted.kind, planted.group)


ON_DISK: Final = ("two stores", "processes", "keeping", "crashes")


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        *((kind, group) for kind in (MemoryStore, Able) for group in GROUPS),
        *((kind, group) for kind in (SQLiteStore, PlainAble) for group in ON_DISK),
    ],
)
def test_a_good_store_passes(kind: type[Store], group: str) -> None:
    """The right stores do each duty, so what is found above is the fault of the broken ones."""
    assert set() == broken_duties(kind, group)
