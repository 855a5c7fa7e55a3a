"""Which duties does each broken store break, and which of the same group does it not?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from tests.checker.stores import planted_files as files
from tests.checker.stores import planted_sqlite as sqlite
from xpay_flow.ports import Store

from . import planted_capabilities as able
from . import planted_in_memory as memory
from . import planted_on_disk as disk

HISTORIES: Final = "test_random_histories_match_the_reference"

# The duties that belong together, so that one fault may break several of them.
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "finding": (
        "test_an_unknown_name_finds_nothing",
        "test_every_alias_finds_the_record",
        "test_an_alias_taken_away_finds_nothing",
        "test_attempts_of_one_receipt_come_oldest_first",
        "test_age_is_that_of_the_record_not_of_the_alias",
        "test_a_name_finds_a_bounded_number",
    ),
    "versions": (
        "test_a_first_commit_refuses_a_key_that_exists",
        "test_a_stale_version_is_refused_and_changes_nothing",
        "test_a_version_that_is_not_there_is_refused",
    ),
    "values": (
        "test_events_are_only_added",
        "test_entries_are_kept_in_place",
        "test_what_is_read_is_what_was_put",
        "test_any_text_comes_back",
        "test_names_that_look_alike_are_apart",
        "test_keys_that_look_alike_are_apart",
        "test_a_nul_is_kept_or_refused_whole",
        "test_the_greatest_amounts_come_back",
    ),
    "deciding": (
        "test_what_is_loaded_is_bounded",
        "test_a_load_knows_the_contents_of_an_event",
        "test_an_event_is_not_recorded_twice",
    ),
    "work": (
        "test_each_kind_of_work_is_due_by_its_own_time",
        "test_what_is_never_due_is_not_due",
        "test_the_longest_due_come_first_and_not_too_many",
        "test_a_due_key_finds_its_record",
        "test_integers_have_64_bits",
        "test_times_are_apart_by_a_millisecond",
        "test_times_go_on_when_the_clocks_change",
    ),
    "clocks": ("test_due_times_of_a_clock_that_was_set_back_are_not_believed",),
    "writers at once": ("test_one_of_two_writers_wins", "test_one_of_two_makers_wins"),
    "readers at once": ("test_a_load_sees_one_version",),
    "trying again": (
        "test_threads_that_try_again_lose_nothing",
        "test_tasks_that_try_again_lose_nothing",
    ),
    "two stores": (
        "test_what_one_store_commits_another_finds",
        "test_a_version_of_another_store_is_not_overwritten",
    ),
    "processes": (
        "test_one_of_two_processes_wins",
        "test_processes_that_try_again_lose_nothing",
    ),
    "reading only": ("test_a_reader_reads_the_same", "test_a_reader_cannot_write"),
    "keeping": ("test_what_was_committed_is_still_there_later",),
    "declaring": ("test_the_suite_declares_what_the_store_offers",),
    "listing": (
        "test_the_recent_ones_come_newest_first",
        "test_a_change_does_not_make_a_record_recent",
        "test_pages_of_recent_ones_follow_each_other",
    ),
    "erasing": (
        "test_payloads_are_blanked_and_nothing_else",
        "test_a_blanked_record_goes_on",
        "test_what_a_commit_erases_is_gone",
    ),
    "realms": (
        "test_work_is_looked_up_by_realm",
        "test_parked_events_are_of_a_realm",
        "test_one_receipt_in_two_realms_is_two_records",
        "test_recent_records_are_listed_by_realm",
        "test_orphaned_work_is_looked_up_by_realm",
    ),
    "many names": (
        "test_many_names_find_what_each_finds",
        "test_many_names_find_what_is_there_now",
        "test_many_events_are_loaded_as_each_is",
        "test_no_name_finds_nothing",
    ),
    "batches": (
        "test_a_batch_is_committed",
        "test_a_lost_race_leaves_the_rest_of_a_batch",
        "test_an_empty_batch_is_nothing",
    ),
    "shared transactions": (
        "test_work_is_called_within_the_commit",
        "test_work_is_not_called_when_the_race_is_lost",
        "test_work_that_raises_undoes_everything",
    ),
    "claims": (
        "test_a_record_is_held_by_one",
        "test_a_hold_ends_with_its_block",
        "test_changes_do_not_wait_for_a_hold",
        "test_what_a_worker_has_left_is_abandoned",
        "test_only_so_many_are_listed_as_abandoned",
    ),
    "crashes": (
        "test_a_commit_cut_short_is_whole_or_absent",
        "test_a_batch_cut_short_is_whole_or_absent",
        "test_a_shared_transaction_cut_short_is_whole_or_absent",
    ),
    "histories": (HISTORIES,),
}


@attrs.frozen
class Planted:
    """A fault, and all the duties of one group that it breaks."""

    kind: Callable[..., Store]
    group: str
    fails: frozenset[str]

    @property
    def id(self) -> str:
        return f"{getattr(self.kind, '__name__', '?')}-{self.group.replace(' ', '-')}"


def _in(group: str, *stores: Callable[..., Store], fails: str) -> tuple[Planted, ...]:
    """Stores that break the same duties of a group, each identified by its first words."""
    duties = frozenset(_duty(group, words) for words in fails.split(", "))
    return tuple(Planted(store, group, duties) for store in stores)


def _duty(group: str, words: str) -> str:
    (found,) = (d for d in GROUPS[group] if d.startswith(f"test_{words.replace(' ', '_')}"))
    return found


PLANTED: Final[tuple[Planted, ...]] = (
    *_in("finding", memory.MatchesLoosely, memory.ChokesOnNames, fails="an unknown"),
    *_in("finding", memory.FilesOnceOnly, fails="every, an alias, age"),
    *_in("finding", memory.KeepsOldNames, fails="an alias"),
    *_in("finding", memory.LatestFirst, fails="attempts, age"),
    *_in("finding", memory.SortedByKey, fails="attempts, a name"),
    *_in("finding", memory.SortedByName, fails="age"),
    *_in("finding", memory.FindsAll, fails="a name"),
    *_in("versions", memory.BlindOverwrite, fails="a first"),
    *_in(
        "versions",
        *(memory.VersionNotChecked, memory.ConflictSwallowed),
        fails="a first, a stale, a version",
    ),
    *_in("versions", memory.EqualVersionsPass, fails="a first, a stale"),
    *_in("versions", memory.HalfUndone, fails="a stale"),
    *_in("versions", memory.AnyOlderVersion, fails="a version"),
    *_in("values", memory.EventsSorted, fails="events, what"),
    *_in("values", memory.EventsLost, fails="events, any, names, a nul, the greatest"),
    *_in("values", memory.EntriesAppended, fails="entries, any"),
    *_in("values", memory.WesternLetters, memory.BasicPlaneOnly, fails="what, any"),
    *_in("values", memory.Composes, memory.Trims, fails="any"),
    *_in("values", memory.CutsAtNul, fails="a nul"),
    *_in("values", memory.SmallIntegers, fails="what, the greatest"),
    *_in(
        "values",
        *(memory.MatchesLoosely, memory.PassesOverBlanks, memory.PassesOverAccents),
        fails="names, keys",
    ),
    *_in("values", memory.OneKeyForBoth, fails="keys"),
    *_in("deciding", memory.LoadsTheHistory, memory.LoadsAllContents, fails="what, a load"),
    *_in("deciding", memory.LoadsWhatHasEnded, fails="what"),
    *_in("deciding", memory.KnowsCopiesOnly, fails="what, a load"),
    *_in("deciding", memory.TakesPrefixesForIds, fails="a load"),
    *_in("deciding", memory.RecordsCopies, fails="an event"),
    *_in("work", memory.DueForgets, fails="each, the longest, integers, times are, times go"),
    *_in("work", memory.DueRarely, fails="each, the longest, integers, times are, times go"),
    *_in("work", memory.WorkMixedUp, fails="each"),
    *_in("work", memory.NeverIsNow, fails="what"),
    *_in("work", memory.NewestWorkFirst, fails="the longest, times are, times go"),
    *_in("work", memory.NoLimit, fails="the longest"),
    *_in(
        "work",
        memory.DueByRow,
        fails="each, the longest, a due, integers, times are, times go",
    ),
    *_in("work", memory.TimesInSeconds, fails="each, the longest, integers, times are"),
    *_in("work", memory.TimesInFloats, fails="integers"),
    *_in("work", memory.TimesIn32Bits, fails="integers, times are, times go"),
    *_in("work", memory.TimesOnTheWall, fails="times go"),
    *_in("clocks", memory.BelievesEveryTime, memory.BelievesNoTimeAhead, fails="due times"),
    *_in("writers at once", memory.LooksThenWrites, fails="one of two writers, one of two makers"),
    *_in("readers at once", memory.TornReads, fails="a load"),
    *_in("trying again", memory.LooksThenWrites, fails="threads, tasks"),
    *_in("two stores", disk.NamesRemembered, sqlite.Remembers, fails="what one store"),
    *_in("two stores", disk.ComparesWithMemory, fails="what one store, a version"),
    *_in("processes", disk.LocksItsOwnProcess, fails="one of two, processes"),
    *_in("reading only", memory.StaleReader, fails="a reader reads"),
    *_in("reading only", memory.ReaderIsTheStore, fails="a reader cannot"),
    *_in("keeping", memory.KeepsNothing, memory.LosesDueTimes, fails="what"),
    *_in("declaring", able.SuiteNamesLess, able.SuiteNamesMore, fails="the suite"),
    *_in("listing", memory.OldestListedFirst, fails="the recent, a change, pages"),
    *_in("listing", memory.ListsTheFirstPageAgain, fails="pages"),
    *_in("listing", memory.LatestChangedListedFirst, fails="a change, pages"),
    *_in("erasing", able.BlanksTheLastOnly, fails="payloads"),
    *_in("erasing", able.BlanksByDeleting, fails="payloads, a blanked"),
    *_in("erasing", able.KeepsWhatItReplaces, fails="what a commit"),
    *_in("realms", memory.WorksInEveryRealm, fails="work, parked"),
    *_in("realms", memory.OthersTakeTheRoom, memory.OneRealmAtATime, fails="work"),
    *_in("realms", memory.NoRealmButItsOwn, fails="work"),
    *_in("realms", memory.ParkedAreNobodys, fails="parked"),
    *_in("realms", memory.OneRecordForAReceipt, fails="one receipt, work, recent"),
    *_in("realms", memory.ListsEveryRealm, fails="recent"),
    *_in("realms", able.AbandonedInEveryRealm, fails="orphaned"),
    *_in(
        "many names",
        *(able.AnswersInTheirOwnOrder, able.NamesWithoutRowsLeftOut),
        fails="many names find what each, many events",
    ),
    *_in("many names", able.OneLimitForAll, fails="many names find what each"),
    *_in("many names", able.FoundTogetherIsRemembered, fails="many names find what is"),
    *_in("many names", able.OneEventForAName, fails="many events"),
    *_in("many names", able.SomeNameIsWanted, fails="no name"),
    *_in("batches", able.FirstOfBatchOnly, fails="a batch, a lost"),
    *_in("batches", able.BatchEndsAtALoss, fails="a lost"),
    *_in("batches", able.BatchIsNeverEmpty, fails="an empty"),
    *_in("shared transactions", able.WorkLeftOut, fails="work is called, work that raises"),
    *_in("shared transactions", able.WorkFirst, fails="work is not"),
    *_in(
        "shared transactions",
        *(able.WorkLater, able.WorkMayFail, able.WorkErrorsAreInDoubt),
        fails="work that raises",
    ),
    *_in("claims", able.HoldsNothing, fails="a record"),
    *_in("claims", able.HoldsForEver, fails="a record, a hold, what"),
    *_in("claims", able.HoldsAfterAnError, fails="a hold"),
    *_in("claims", able.HoldsEverything, fails="a record, what"),
    *_in("claims", able.HoldsUpNews, fails="changes"),
    *_in("claims", able.AbandonedNever, fails="what, only"),
    *_in("claims", able.AbandonedWhileHeld, able.AbandonedAndDue, fails="what"),
    *_in("claims", able.AbandonedAtOnce, fails="only"),
    *_in(
        "crashes",
        *(disk.EvidenceFirst, sqlite.EntriesLater, sqlite.NamesLater, sqlite.NoTransaction),
        *(sqlite.AnswersFirst, sqlite.ForeignError, files.Documents),
        fails="a commit",
    ),
    *_in("crashes", disk.OneByOne, fails="a batch"),
    *_in("crashes", disk.EntriesAfterTheWork, fails="a commit, a shared"),
    *_in(
        "histories",
        *(memory.FilesOnceOnly, memory.KeepsOldNames, memory.LatestFirst, memory.BlindOverwrite),
        *(memory.VersionNotChecked, memory.ConflictSwallowed, memory.EventsLost),
        *(memory.EntriesAppended, memory.DueForgets, memory.NoLimit),
        fails="random",
    ),
)
