"""The suite finds what is wrong with a store, by the name of the duty that is broken."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
from hypothesis import Phase, settings

from xpay_flow.ports import Store
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.store_suite import StoreSuite

from . import broken

ALL = "test_random_histories_match_the_reference"

# Each duty of the suite, and the stores that break it.
PLANTED: dict[str, tuple[type[MemoryStore], ...]] = {
    "test_an_unknown_name_finds_nothing": (broken.MatchesLoosely, broken.ChokesOnNames),
    "test_every_alias_finds_the_record": (broken.FilesOnceOnly,),
    "test_an_alias_taken_away_finds_nothing": (broken.KeepsOldNames,),
    "test_attempts_of_one_receipt_come_oldest_first": (broken.LatestFirst, broken.SortedByKey),
    "test_age_is_that_of_the_record_not_of_the_alias": (broken.SortedByName,),
    "test_a_name_finds_a_bounded_number": (broken.FindsAll,),
    "test_a_first_commit_refuses_a_key_that_exists": (broken.BlindOverwrite,),
    "test_a_stale_version_is_refused_and_changes_nothing": (
        broken.VersionNotChecked,
        broken.ConflictSwallowed,
        broken.HalfUndone,
    ),
    "test_a_version_that_is_not_there_is_refused": (broken.AnyOlderVersion,),
    "test_facts_are_only_added": (broken.FactsLost, broken.FactsSorted),
    "test_effects_are_kept_in_place": (broken.EffectsAppended,),
    "test_what_is_read_is_what_was_put": (broken.WesternLetters, broken.SmallIntegers),
    "test_each_kind_of_work_is_due_by_its_own_time": (broken.DueForgets, broken.WorkMixedUp),
    "test_what_is_never_due_is_not_due": (broken.NeverIsNow,),
    "test_the_longest_due_come_first_and_not_too_many": (broken.NewestWorkFirst, broken.NoLimit),
    "test_a_due_key_finds_its_record": (broken.DueByRow,),
    "test_one_of_two_writers_wins": (broken.LooksThenWrites,),
    "test_one_of_two_makers_wins": (broken.LooksThenWrites,),
    "test_a_load_sees_one_version": (broken.TornReads,),
    "test_a_reader_reads_the_same": (broken.StaleReader,),
    "test_a_reader_cannot_write": (broken.ReaderIsTheStore,),
    "test_the_recent_ones_come_newest_first": (broken.OldestListedFirst,),
    "test_what_was_committed_is_still_there_later": (broken.KeepsNothing, broken.LosesDueTimes),
    ALL: (
        broken.FilesOnceOnly,
        broken.KeepsOldNames,
        broken.LatestFirst,
        broken.BlindOverwrite,
        broken.VersionNotChecked,
        broken.ConflictSwallowed,
        broken.FactsLost,
        broken.EffectsAppended,
        broken.DueForgets,
        broken.NoLimit,
    ),
}


def run(duty: str, make_store: Callable[[], MemoryStore]) -> None:
    """Put a store to one duty of the suite."""

    class Suite(StoreSuite):
        # The same histories every time, and the first failure is enough.
        histories = settings(
            StoreSuite.histories,
            max_examples=200,
            derandomize=True,
            phases=[Phase.generate],
            database=None,
        )

        def make_store(self) -> Store:
            return make_store()

        def reopen(self, store: Store) -> Store | None:
            return getattr(store, "reopened", lambda: store)()

    suite = Suite()
    method = getattr(suite, duty)
    method(suite.make_store()) if inspect.signature(method).parameters else method()


def test_every_duty_has_a_store_that_breaks_it() -> None:
    """No duty is in the suite without a store that shows what it is good for."""
    assert sorted(PLANTED) == sorted(name for name in dir(StoreSuite) if name.startswith("test_"))


@pytest.mark.parametrize("duty", PLANTED)
def test_a_good_store_passes(duty: str) -> None:
    """The reference store does each duty, so what follows is the fault of the broken ones."""
    run(duty, MemoryStore)


@pytest.mark.parametrize(
    ("duty", "store"),
    [
        pytest.param(duty, store, id=f"{store.__name__}-{duty}")
        for duty, stores in PLANTED.items()
        for store in stores
    ],
)
def test_a_broken_store_is_found(duty: str, store: type[MemoryStore]) -> None:
    """A store that is wrong in one way fails in the very duty that it breaks."""
    with pytest.raises((AssertionError, UnicodeEncodeError)):
        run(duty, store)
