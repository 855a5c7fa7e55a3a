"""A duty ends with an error, and not never, when the store does not come back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

import xpay_flow.checker.contract  # noqa: F401  (the duty imports it, which takes a while)
from xpay_flow.events import EventIdentity
from xpay_flow.ports import Store
from xpay_flow.records import Record
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing import limits, store_crash_suite, store_processes
from xpay_flow.testing.store_processes import Opener, in_processes
from xpay_flow.testing.store_suite import StoreSuite

SHORT_S = 0.2
STAYS_AWAY = threading.Event()


def stay_away() -> None:
    """What a driver does that waits for a lock which is never given back."""
    STAYS_AWAY.wait(60)


class LockedOut(SQLiteStore):
    """Opened once more, it waits for what a dead process holds."""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        stay_away()
        return super().load(alias, event)


class OnLockedOut(StoreSuite):
    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, 0

    def make_store(self) -> Store:
        self.made += 1
        return SQLiteStore(self.folder / f"{self.made}.db")

    def reopen_store(self, store: Store) -> Callable[[], Store]:
        return partial(LockedOut, self.folder / f"{self.made}.db")


@pytest.fixture(autouse=True)
def _comes_back_at_last() -> object:
    STAYS_AWAY.clear()
    yield
    STAYS_AWAY.set()


def test_within_s_says_where_a_call_stands() -> None:
    """The error shows the stack of the thread that did not come back."""
    with pytest.raises(AssertionError, match=r"within 0 s(.|\n)*in stay_away"):
        limits.within_s(SHORT_S, lambda: None, stay_away)


def test_within_s_raises_what_a_call_has_raised() -> None:
    """An error of a call comes out as it is, and a skipped test is skipped."""
    with pytest.raises(ZeroDivisionError):
        limits.within_s(SHORT_S, lambda: 1 / 0)
    with pytest.raises(pytest.skip.Exception):
        limits.within_s(SHORT_S, lambda: pytest.skip("no server"))
    assert [1, 2] == limits.within_s(60, lambda: 1, lambda: 2)


def test_a_crash_duty_ends_where_the_next_process_is_locked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that, opened after a crash, waits for the locks of the dead fails the duty."""
    # Long enough to come there, also on a busy machine.
    monkeypatch.setattr(store_crash_suite, "DUTY_S", 5.0)
    with pytest.raises(AssertionError, match="in stay_away"):
        OnLockedOut(tmp_path).test_a_commit_cut_short_is_whole_or_absent("die")


def _never(opener: Opener, work: str) -> list[bool]:
    opener()
    threading.Event().wait(60)
    return []


def _dies(opener: Opener, work: str) -> list[bool]:
    raise SystemExit(work)


@pytest.mark.parametrize(
    ("act", "begins_s", "words"), [(_never, 1.0, "has not ended"), (_dies, 30.0, "died without")]
)
def test_in_processes_ends_where_a_process_does_not(
    act: Callable[[Opener, str], list[bool]],
    begins_s: float,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that hangs or dies is an error that names it, and is gone afterwards."""
    monkeypatch.setattr(store_processes, "BEGINS_S", begins_s)
    with pytest.raises(AssertionError, match=words):
        in_processes(act, partial(SQLiteStore, tmp_path / "its.db"), ["work"])
