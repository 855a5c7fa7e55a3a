"""Which store does a suite test, and which of the duties does that store have?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final, TypeVar

import pytest

from xpay_flow.ports import Store

D = TypeVar("D", bound=Callable[..., None])

# What a duty may need beside the capabilities of a store.
REOPENED: Final = "the same data, opened once more in any process"
KEPT: Final = "the same data, opened by the next process"
DRIVER: Final = "driver calls that can be cut short"


def needs(*what: object) -> Callable[[D], D]:
    """Marks a duty of those stores only that have these."""

    def marked(duty: D) -> D:
        duty.needs = frozenset(what)  # type: ignore[attr-defined]  # read by name below
        return duty

    return marked


def needs_of(duty: object) -> frozenset[object]:
    """What `needs` has marked it with."""
    found: frozenset[object] = getattr(duty, "needs", frozenset())
    return found


class Making:
    """What a subclass of the suite defines: `make_store`, and where it can, `reopen_store`.

    Attributes:
        declares: the capabilities of the store, such as `(RecentListing, Transactional)`. The
            duties of all others are not collected.
        has_driver: False if nothing that the store calls can be cut short by the suite, as when
            the data are kept by another program. The duties about crashes are then not collected.
    """

    declares: ClassVar[tuple[type[Any], ...]] = ()
    has_driver: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        """Leave out the duties that the store does not have: pytest collects no None."""
        super().__init_subclass__(**options)
        has = cls._has()
        for name in dir(cls):
            if name.startswith("test_") and name not in vars(cls):
                # A class between may have left it out, for want of what this one has.
                duty = next(found for found in _defined(cls, name) if found is not None)
                collected = duty if needs_of(duty) <= has else None
                if getattr(cls, name) is not collected:
                    setattr(cls, name, collected)

    @classmethod
    def _has(cls) -> frozenset[object]:
        is_reopened = cls.reopen_store is not Making.reopen_store
        is_kept = is_reopened or cls.reopen is not Making.reopen
        more = {REOPENED: is_reopened, KEPT: is_kept, DRIVER: cls.has_driver}
        return frozenset(cls.declares) | {what for what, there in more.items() if there}

    def make_store(self) -> Store:
        """A new store with nothing in it."""
        raise NotImplementedError

    def reopen_store(self, store: Store) -> Callable[[], Store]:
        """What opens the data of `store` once more, beside it and in any process.

        It is pickled, so give a `functools.partial` of something that can be imported. Leave it
        out, if the store keeps nothing beyond its process.
        """
        raise NotImplementedError

    def reopen(self, store: Store) -> Store:
        """What a new process would find of `store`, which is not used any more."""
        opener = self.reopen_store(store)
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


def _defined(cls: type, name: str) -> Iterator[object]:
    return (vars(base)[name] for base in cls.__mro__ if name in vars(base))
