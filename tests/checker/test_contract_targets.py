"""A target names a store in one of several ways; what it holds is never emptied by mistake."""

from __future__ import annotations

import pytest

from xpay_flow import sample_records as b
from xpay_flow.checker.contract import ContractBound, check_store, contract_of
from xpay_flow.errors import ConfigurationError
from xpay_flow.stores.awaited import AwaitedStore
from xpay_flow.stores.memory import MemoryStore

QUICK = ContractBound(switches=0, faults=0)
FULL = MemoryStore()
FULL.commit(b.attempt())
SHARED = MemoryStore()
EMPTY = SHARED.snapshot()


def full() -> MemoryStore:
    return FULL


def shared() -> MemoryStore:
    return SHARED


def threaded() -> AwaitedStore:
    return AwaitedStore(MemoryStore())


def full_threaded() -> AwaitedStore:
    return AwaitedStore(FULL)


class Emptied(MemoryStore):
    """Many objects with the same data, and a way to empty them."""

    data = MemoryStore()

    def __init__(self) -> None:
        self.__dict__ = self.data.__dict__

    def reset(self) -> None:
        self.restore(EMPTY)


@pytest.mark.parametrize(
    ("target", "verdict", "lasting"),
    [
        ("memory://", "EXHAUSTED", False),
        ("sqlite:///a/folder/that/is/not/there.db", "EXHAUSTED", True),
        ("xpay_flow.stores.sqlite:SQLiteStore", "EXHAUSTED", True),
        ("xpay_flow.stores.memory:MemoryStore", "EXHAUSTED", False),
        ("tests.checker.stores.planted_sqlite:Plain", "EXHAUSTED", True),
        ("tests.checker.stores.planted_sqlite:ConflictSwallowed", "VIOLATED", True),
        # It keeps data in a way that is in no table.
        (f"{__name__}:Emptied", "UNFINISHED", True),
    ],
)
def test_a_target_is_checked(target: str, verdict: str, lasting: bool) -> None:
    """URLs, classes with a path, with from_url or without arguments are found and checked."""
    result = contract_of(target, bound=QUICK)
    assert (verdict, lasting) == (result.verdict, result.lasting)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (f"{__name__}:full", "holds records"),
        (f"{__name__}:shared", "pass reset="),
        (f"{__name__}:full_threaded", "holds records"),
        (f"{__name__}:threaded", "async store"),
        (f"{__name__}:nothing", "has no 'nothing'"),
        ("no_such_module:Store", "no module"),
        ("nonsense", "write MODULE:STORE"),
        (f"{__name__}:QUICK", "no class and no function"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_words(target: str, words: str) -> None:
    """A target that names no store, or one that could lose what it holds, is refused."""
    with pytest.raises(ConfigurationError, match=words):
        contract_of(target, bound=QUICK)
    assert FULL.load(b.attempt().record.key)


def test_stores_that_share_data_need_a_reset() -> None:
    """Without a way to empty them, stores that share data cannot be checked."""
    store = MemoryStore()
    with pytest.raises(ConfigurationError, match="reset"):
        check_store(lambda: store)
