"""Is this a store? Every duty of `xpay_flow.ports.Store` once, by name.

    class TestMyStore(StoreSuite):
        declares = (RecentListing, Transactional)  # from xpay_flow.ports; what it has of these

        def make_store(self) -> Store:
            return MyStore(self.path)

        def reopen_store(self, store: Store) -> Callable[[], Store]:
            return partial(MyStore, self.path)

A subclass names what the store can do, how to make an empty one, and how to open a kept one again.
It adds what is special to its store, and takes nothing away. Duties of capabilities that it does
not declare are not collected; nor, without `reopen_store`, those about processes and crashes.
"""

from __future__ import annotations

import threading
from itertools import chain
from typing import ClassVar, Final

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreError
from xpay_flow.events import Event
from xpay_flow.money import AMOUNT_MINOR_MAX, Money
from xpay_flow.ports import FOUND_MAX, Store
from xpay_flow.realm import EVERY_REALM, UNNAMED, Realms
from xpay_flow.records import (
    CLOCK_SKEW_MS,
    Record,
    Work,
    change,
    for_deciding,
    receipt_alias,
    with_events,
)

from .store_capability_suite import Capabilities
from .store_crash_suite import Crashes
from .store_machine import StoreMachine
from .store_making import KEPT, needs
from .store_steps import WORKS, due, found, named, put, samples, soon, together, tried, waiting
from .store_together_suite import AmongSeveral

RACES: Final = 10

# Names that no record has, though a careless store may stumble over them.
HOSTILE_ALIASES: Final = (
    "",
    "%",
    "intent:' OR '1'='1",
    "x:\x00",
    "x:\ud800",
    "x:" + "9" * 10_000,
    "intent:PI_ORDER-1_1",
)


# Text that a wrong character set, a normalisation or a trim would change.
TEXTS: Final = (
    "“zu wenig Geld” 💸 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "支払い אין מספיק कम पैसे",
    "e\u0301 is not \u00e9; \ufb01 is not fi; \u212b is not \u00c5",
    " \t blanks around, and lines\r\n\n ",
    "'); DROP TABLE records; -- \\ %s ? :x {0} \"",
    "\ufeff\ufffe\uffff\U0010ffff",
    "null",
)

# Names that one or another collation takes for the same.
LOOK_ALIKES: Final = (
    *(
        "x:Order-e",
        "x:order-e",
        "x:order-\u00e9",
        "x:order-e\u0301",
        "x:order-e ",
        "x:order-\uff45",
    ),
    *("x:stra\u00dfe", "x:strasse", "x:1", "x:01", "x:1.0", "x:\U0001f6d2", "x:\U0001f6d3"),
)

# The first integers that 32 bits, a float and 63 bits do not hold, and the last that a column does.
BIG_INTEGERS: Final = (2**31, 2**32 + 1, 2**53 + 1, 2**62 + 1, 2**63 - 1)

# In 2025: Berlin and New York set their clocks back; Berlin sets them forward; Lord Howe Island
# sets them back by half an hour.
CLOCK_CHANGES_MS: Final = (
    1_761_440_400_000,
    1_762_063_200_000,
    1_743_296_400_000,
    1_743_865_200_000,
)


# Contents under one event id: more than a load may give.
CONTENTS: Final = 8


class StoreSuite(AmongSeveral, Capabilities, Crashes):
    """Subclass it and define `make_store`."""

    # How many random histories are compared with the reference store, and how long they are.
    histories: ClassVar[settings] = settings(
        max_examples=40,
        stateful_step_count=20,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],
    )

    # --- finding ---------------------------------------------------------------------------------

    def test_an_unknown_name_finds_nothing(self, store: Store) -> None:
        """Looking for an unknown name gives nothing, whatever the name looks like."""
        put(store, b.attempt())
        for alias in HOSTILE_ALIASES:
            assert [] == found(store, alias), alias

    def test_every_alias_finds_the_record(self, store: Store) -> None:
        """A record is found under each of its names, also those that it got later."""
        last = put(store, *b.history(b.created("in_7"), b.paid(x_intent_id="in_7")))
        assert 4 == len(last.aliases)
        for alias in last.aliases:
            assert [last] == found(store, alias), alias

    def test_an_alias_taken_away_finds_nothing(self, store: Store) -> None:
        """A record is not found under a name that it has lost, and still under the others."""
        first = put(store, b.attempt())
        kept = frozenset({first.key})
        last = put(store, change(first, attrs.evolve(first, aliases=kept)))
        for alias in first.aliases - kept:
            assert [] == found(store, alias), alias
        assert [last] == found(store, first.key)

    def test_attempts_of_one_receipt_come_oldest_first(self, store: Store) -> None:
        """Records under one name come in the order of their first commit, whatever came later."""
        # In no order of their keys, and the oldest is changed last.
        first, *others = [put(store, b.attempt("order-1", n)) for n in (2, 3, 1)]
        first = put(store, b.next_change(first, b.failed()))
        assert [first, *others] == found(store, receipt_alias("order-1"))

    def test_age_is_that_of_the_record_not_of_the_alias(self, store: Store) -> None:
        """A record that gets a name late still comes before younger ones that had it."""
        older, younger = put(store, b.attempt("order-1")), put(store, b.attempt("order-2"))
        younger = put(store, named(younger, "x:shared"))
        older = put(store, named(older, "x:shared"))
        assert [older, younger] == found(store, "x:shared")

    def test_a_name_finds_a_bounded_number(self, store: Store) -> None:
        """Of very many records under one name, the oldest hundred are found."""
        made = [put(store, b.attempt("order-1", n)) for n in range(FOUND_MAX + 1)]
        assert made[:FOUND_MAX] == found(store, receipt_alias("order-1"))

    # --- committing ------------------------------------------------------------------------------

    def test_a_first_commit_refuses_a_key_that_exists(self, store: Store) -> None:
        """Two attempts in one place: the second is refused, and the first is untouched."""
        first = put(store, b.attempt())
        assert store.commit(b.attempt(money=Money(5, "EUR"))) is False
        assert [first] == found(store, first.key)

    def test_a_stale_version_is_refused_and_changes_nothing(self, store: Store) -> None:
        """A change that is based on an older version leaves no trace of itself."""
        first = put(store, b.attempt())
        current = put(store, b.next_change(first, b.created()))
        stale = b.next_change(first, b.created("in_stale"), b.paid(), b.refunded())
        due_before = {work: due(store, work) for work in WORKS}
        assert store.commit(stale) is False
        assert [current] == found(store, first.key)
        assert [] == found(store, "x:in_stale")
        assert due_before == {work: due(store, work) for work in WORKS}

    def test_a_version_that_is_not_there_is_refused(self, store: Store) -> None:
        """A change of a record that does not exist, or not yet so far, is refused."""
        first = b.attempt()
        second = b.next_change(first.record, b.created())
        third = b.next_change(second.record, b.paid())
        assert store.commit(second) is False
        assert [] == found(store, first.record.key)
        put(store, first)
        assert store.commit(third) is False
        assert [first.record] == found(store, first.record.key)

    def test_events_are_only_added(self, store: Store) -> None:
        """Each commit adds its events behind those on file, and none is ever lost."""
        events = [b.created(), b.failed("whe_1"), b.failed("whe_2"), b.paid(), b.refunded()]
        done = put(store, *b.history(*events))
        (whole,) = found(store, done.key)
        ids = ["own/stored#", *(event.event_key for event in events)]
        assert ids == [recorded.id for recorded in whole.events]
        assert whole.intent is not None
        assert frozenset(ids) == whole.intent.evidence

    def test_entries_are_kept_in_place(self, store: Store) -> None:
        """A changed outbox entry replaces itself: none comes twice, moves or gets lost."""
        last = put(store, *b.history(b.failed(), b.paid(), b.refunded()))
        assert 3 <= len(last.outbox)
        last = put(store, tried(last, last.outbox[1], "failed", "ReadTimeout: …"))
        last = put(store, tried(last, last.outbox[1], "done"))
        (whole,) = found(store, last.key)
        assert last.outbox == whole.outbox

    def test_what_is_read_is_what_was_put(self, store: Store) -> None:
        """Every part of a record comes back as it was, with any text and the greatest amounts."""
        for step in samples():
            record = put(store, step)
            assert [record] == found(store, record.key)

    @pytest.mark.parametrize("text", TEXTS)
    def test_any_text_comes_back(self, store: Store, text: str) -> None:
        """Text of any script comes back letter for letter, in events, outbox and metadata."""
        first = put(store, b.attempt())
        assert first.intent is not None
        noted = attrs.evolve(first.intent, metadata=(("note", text),))
        first = put(store, change(first, attrs.evolve(first, intent=noted)))
        last = put(store, b.next_change(first, b.failed(error_code=text), b.paid()))
        last = put(store, tried(last, last.outbox[0], "failed", text))
        assert [last] == found(store, last.key)

    def test_names_that_look_alike_are_apart(self, store: Store) -> None:
        """Names are compared character by character: no case, accent or blank is passed over."""
        made = {
            name: put(store, named(put(store, b.attempt(f"order-{n}")), name))
            for n, name in enumerate(LOOK_ALIKES)
        }
        for name, record in made.items():
            assert [record] == found(store, name), ascii(name)

    def test_keys_that_look_alike_are_apart(self, store: Store) -> None:
        """Two receipts that differ in case, accent or blank are two payments."""
        made = [put(store, b.attempt(name)) for name in LOOK_ALIKES]
        for record in made:
            assert [record] == found(store, record.key), ascii(record.key)

    def test_a_nul_is_kept_or_refused_whole(self, store: Store) -> None:
        """No text is cut at a character that a database has no place for."""
        first = put(store, b.attempt())
        step = b.next_change(first, b.failed(error_code="before\x00after"))
        try:
            expected = step.record if store.commit(step) else first
        except StoreError:
            expected = first
        assert [expected] == found(store, first.key)

    @pytest.mark.parametrize("number", BIG_INTEGERS)
    def test_integers_have_64_bits(self, store: Store, number: int) -> None:
        """A time, however far, is kept to the last bit, and compared to the last bit."""
        record = put(store, waiting(b.attempt(), deliver_at_ms=number, reconcile_at_ms=number))
        assert [record] == found(store, record.key)
        for work in WORKS:
            assert [] == list(store.due(work, number - 1, 10))
            assert [record.key] == list(store.due(work, number, 10))

    def test_the_greatest_amounts_come_back(self, store: Store) -> None:
        """Neither 32 bits nor the digits of a float are enough for money."""
        price = Money(AMOUNT_MINOR_MAX - 1, "USD")
        first = put(store, b.attempt(money=price))
        last = put(store, b.next_change(first, b.paid(money=price)))
        last = put(store, b.next_change(last, b.refunded("rf_1", AMOUNT_MINOR_MAX - 2)))
        last = put(store, b.next_change(last, b.refunded("rf_2", 1)))
        (whole,) = found(store, last.key)
        assert last == whole
        assert whole.intent is not None
        assert price.amount_minor == whole.intent.refunded_minor

    # --- deciding --------------------------------------------------------------------------------

    def test_what_is_loaded_is_bounded(self, store: Store) -> None:
        """However long the history, a load gives what is pending, and of the events at most two."""
        event, last = b.failed("whe_0"), put(store, *b.history(b.created(), b.paid()))
        last = put(store, tried(last, last.outbox[0], "done"))
        (young,) = store.load(last.key, event.identity)
        others = [b.failed("whe_0", digest=f"{n:032}") for n in range(1, CONTENTS)]
        recorded_events = [*others, *(b.failed(f"whe_{n}") for n in range(1, CONTENTS)), event]
        last = put(store, b.next_change(last, *recorded_events))
        for entry in last.outbox:
            last = put(store, tried(last, entry, "done"))
        (old,) = store.load(last.key, event.identity)
        assert 2 == len(old.events)
        assert ((), ()) == (young.outbox, old.outbox)
        assert () == young.events
        for loaded in (store.load(last.key), store.load(last.key, b.failed("whe_new").identity)):
            assert [()] == [record.events for record in loaded]
        assert last == found(store, last.key)[0]

    def test_a_load_knows_the_contents_of_an_event(self, store: Store) -> None:
        """An event is loaded if it is recorded, and so is another content under the same id."""
        ids = ("whe_1", "WHE_1", "whe_1#", "whe_1#1", "whe_1$", "whe_", "whe_11", "wh\u00e9_1", "")
        recorded_events = {
            name: [b.failed(name, digest=str(n)) for n in range(contents)]
            for contents, name in enumerate(ids)
        }
        last = put(store, *b.history(*chain.from_iterable(recorded_events.values())))
        for name, recorded in recorded_events.items():
            for event in (*recorded, b.failed(name, digest="new"), b.failed(name, digest="")):
                _is_loaded(store, last, event, [each.event_key for each in recorded])

    def test_an_event_is_not_recorded_twice(self, store: Store) -> None:
        """A change that holds a recorded event once more is refused, and changes nothing."""
        last = put(store, *b.history(b.created(), b.failed("whe_1")))
        again = b.next_change(for_deciding(last), b.failed("whe_1"), b.paid())
        with pytest.raises(StoreError):
            store.commit(again)
        assert [last] == list(store.history(last.key))
        assert last.version + 1 == put(store, b.next_change(last, b.paid())).version

    # --- what needs work -------------------------------------------------------------------------

    def test_each_kind_of_work_is_due_by_its_own_time(self, store: Store) -> None:
        """A record is due for exactly the work whose time has come, to the millisecond."""
        record = put(store, waiting(b.attempt(), deliver_at_ms=100, reconcile_at_ms=200))
        expected: dict[tuple[Work, int], list[str]] = {
            ("deliver", 99): [],
            ("deliver", 100): [record.key],
            ("reconcile", 199): [],
            ("reconcile", 200): [record.key],
        }
        for (work, now_ms), keys in expected.items():
            assert keys == list(store.due(work, now_ms, 10)), (work, now_ms)

    def test_what_is_never_due_is_not_due(self, store: Store) -> None:
        """A record that waits for nothing, or no longer, is not due for any work."""
        put(store, waiting(b.attempt("order-1"), deliver_at_ms=None, reconcile_at_ms=None))
        once = put(store, waiting(b.attempt("order-2"), deliver_at_ms=1, reconcile_at_ms=1))
        (entry,) = (e for e in once.outbox if e.status == "pending")
        put(
            store,
            change(once, attrs.evolve(tried(once, entry, "done").record, reconcile_at_ms=None)),
        )
        assert {work: [] for work in WORKS} == {work: due(store, work) for work in WORKS}

    def test_the_longest_due_come_first_and_not_too_many(self, store: Store) -> None:
        """Work comes in the order in which it became due, and never more than the limit."""
        keys = {
            at_ms: put(store, waiting(b.attempt(f"order-{at_ms}"), at_ms, at_ms)).key
            for at_ms in (3, 1, 5, 2, 4)
        }
        for work in WORKS:
            assert [keys[1], keys[2], keys[3], keys[4]] == list(store.due(work, 4, 10))
            assert [keys[1], keys[2]] == list(store.due(work, 5, 2))

    def test_due_times_of_a_clock_that_was_set_back_are_not_believed(self, store: Store) -> None:
        """A record whose times were set in what is the future now is due, after all others."""
        ahead_ms = b.NOW_MS + CLOCK_SKEW_MS + 1
        steps = {
            # The clock by which the times were set, and both times.
            "far": waiting(b.attempt("order-far"), ahead_ms + 2, ahead_ms + 2),
            "near": waiting(b.attempt("order-near"), ahead_ms + 1, ahead_ms + 1),
            "believed": waiting(b.attempt("order-believed"), ahead_ms, ahead_ms),
            "late": waiting(b.attempt("order-late"), b.NOW_MS, b.NOW_MS),
            "never": waiting(b.attempt("order-never"), None, None),
        }
        set_ms = {"far": ahead_ms, "near": ahead_ms, "believed": ahead_ms - 1, "never": ahead_ms}
        keys: dict[str, str] = {}
        for name, step in steps.items():
            record = attrs.evolve(step.record, due_set_ms=set_ms.get(name))
            keys[name] = put(store, attrs.evolve(step, record=record)).key
        for work in WORKS:
            expected = [keys["late"], keys["near"], keys["far"]]
            assert expected == list(store.due(work, b.NOW_MS, 10))
            assert expected[:2] == list(store.due(work, b.NOW_MS, 2))
            assert expected[:1] == list(store.due(work, b.NOW_MS + 1, 10))

    def test_times_are_apart_by_a_millisecond(self, store: Store) -> None:
        """Within one second, what is due comes in the order of its milliseconds."""
        keys = [
            put(store, waiting(b.attempt(f"order-{ms}"), b.NOW_MS + ms, b.NOW_MS + ms)).key
            for ms in (999, 1, 500, 0)
        ]
        for work in WORKS:
            assert keys[3:0:-2] == list(store.due(work, b.NOW_MS + 1, 10))
            assert [*keys[3:0:-1]][0:1] == list(store.due(work, b.NOW_MS, 10))
            assert [keys[3], keys[1], keys[2], keys[0]] == list(store.due(work, b.NOW_MS + 999, 10))

    @pytest.mark.parametrize("changes_at_ms", CLOCK_CHANGES_MS)
    def test_times_go_on_when_the_clocks_change(self, store: Store, changes_at_ms: int) -> None:
        """No hour comes twice and none is left out, wherever the server stands."""
        half_h = 1_800_000
        times = [changes_at_ms + n * half_h for n in (1, -1, 2, -2, 0)]
        keys = {
            at_ms: put(store, waiting(b.attempt(f"order-{at_ms}"), at_ms, at_ms)).key
            for at_ms in times
        }
        for work in WORKS:
            for now_ms in sorted(times):
                expected = [keys[at_ms] for at_ms in sorted(times) if at_ms <= now_ms]
                assert expected == list(store.due(work, now_ms, 10))

    def test_work_is_looked_up_by_realm(self, store: Store) -> None:
        """What is due in other realms is not given, and takes no room from what is wanted."""
        first = {
            realm: put(store, waiting(b.attempt("order-1", realm=realm), n, n)).key
            for n, realm in enumerate(("sandbox/old", "live/other", b.REALM), start=1)
        }
        ours = [first[b.REALM], put(store, waiting(b.attempt("order-2"), 4, 4)).key]
        both = Realms((b.REALM, "sandbox/old"))
        for work in WORKS:
            assert ours == list(store.due(work, 9, 2, Realms((b.REALM,))))
            assert [first["sandbox/old"], *ours] == list(store.due(work, 9, 9, both))
            assert [first["live/other"]] == list(store.due(work, 9, 9, both.rest))
            assert [] == list(store.due(work, 9, 9, Realms(("live/no",))))
            assert [*first.values(), ours[1]] == list(store.due(work, 9, 9, EVERY_REALM))

    def test_parked_events_are_of_a_realm(self, store: Store) -> None:
        """Events that belong to no intent are due in the realm in which they came, and no other."""
        event = b.paid(x_intent_id="in_9")
        keys = {
            realm: put(store, b.parked(event, realm=realm)).key for realm in (b.REALM, "live/other")
        }
        for realm, key in keys.items():
            assert [key] == list(store.due("reconcile", 2**52, 9, Realms((realm,))))
        assert sorted(keys.values()) == sorted(r.key for r in store.load("x:in_9"))

    def test_one_receipt_in_two_realms_is_two_records(self, store: Store) -> None:
        """A receipt of the same name in another realm is another record under the same alias."""
        steps = [b.attempt(realm=realm) for realm in (b.REALM, "live/other", UNNAMED)]
        made = [put(store, step) for step in steps]
        assert made == found(store, receipt_alias("order-1"))
        assert [b.REALM, "live/other", UNNAMED] == [
            record.realm for record in store.load(receipt_alias("order-1"))
        ]

    def test_a_due_key_finds_its_record(self, store: Store) -> None:
        """What `due` gives can be given to `load`."""
        made = [put(store, b.attempt()), put(store, b.parked(b.paid(x_intent_id="in_9")))]
        loaded = [store.load(key) for key in store.due("reconcile", 2 * b.NOW_MS, 10)]
        assert {r.key for r in made} == {r.key for records in loaded for r in records}

    # --- several at once -------------------------------------------------------------------------

    def test_one_of_two_writers_wins(self, store: Store) -> None:
        """Of two threads that change the same version, exactly one receives True."""
        for n in range(RACES):
            first = put(store, b.attempt(f"order-{n}"))
            steps = [b.next_change(first, b.failed(f"whe_{i}")) for i in range(2)]
            won = together(*(lambda step=step: store.commit(step) for step in steps))
            assert [False, True] == sorted(won)
            assert [steps[won.index(True)].record] == found(store, first.key)

    def test_one_of_two_makers_wins(self, store: Store) -> None:
        """Of two threads that make the same attempt, exactly one receives True."""
        for n in range(RACES):
            steps = [b.attempt(f"order-{n}", money=Money(i + 1, "USD")) for i in range(2)]
            won = together(*(lambda step=step: store.commit(step) for step in steps))
            assert [False, True] == sorted(won)
            assert [steps[won.index(True)].record] == found(store, steps[0].record.key)

    def test_a_load_sees_one_version(self, store: Store) -> None:
        """While others commit, what is read is the parts of one version and never a mixture."""
        steps = b.history(*(b.failed(f"whe_{n}") for n in range(30)))
        wanted = {step.record.version: step.record for step in steps}
        put(store, steps[0])
        loading, ended = threading.Event(), threading.Event()

        def write() -> list[Record]:
            try:
                return [put(store, step) for step in steps[1:] if soon(loading)]
            finally:
                ended.set()

        def read() -> list[Record]:
            seen: list[Record] = []
            while not ended.is_set():
                loading.set()
                seen += store.history(steps[0].record.key)
            return seen

        written, seen = together(write, read)
        assert list(wanted.values())[1:] == written
        assert [] == [r.version for r in seen if r != wanted[r.version]]

    # --- reading only ----------------------------------------------------------------------------

    def test_a_reader_reads_the_same(self, store: Store) -> None:
        """A reader finds what was committed before it was made, and after."""
        first = put(store, b.attempt())
        reader = store.reader()
        assert [first] == found(reader, first.key)
        second = put(store, b.next_change(first, b.paid()))
        assert [second] == found(reader, first.key)

    def test_a_reader_cannot_write(self, store: Store) -> None:
        """A reader has no method that changes anything."""
        verbs = {name for name in dir(store.reader()) if not name.startswith("_")}
        assert set() == verbs & {"commit", "due", "reader"}

    # --- keeping ---------------------------------------------------------------------------------

    @needs(KEPT)
    def test_what_was_committed_is_still_there_later(self, store: Store) -> None:
        """A commit that returned outlives the process; so do aliases and due times."""
        made = [put(store, step) for step in samples()]
        due_before = {work: due(store, work) for work in WORKS}
        again = self.reopen(store)
        for record in made:
            assert [record] == found(again, record.key)
        assert due_before == {work: due(again, work) for work in WORKS}
        self.discard(again)

    # --- all of it -------------------------------------------------------------------------------

    def test_random_histories_match_the_reference(self) -> None:
        """Over any history of commits, won and lost, the store answers as `MemoryStore` does."""
        suite = self

        class Machine(StoreMachine):
            def __init__(self) -> None:
                super().__init__(suite.make_store(), suite.discard)

        run_state_machine_as_test(Machine, settings=self.histories)


def _is_loaded(store: Store, whole: Record, event: Event, recorded: list[str]) -> None:
    """Of these contents of an event's id, it is loaded with the right ones."""
    expected = for_deciding(whole, event.identity)
    (loaded,) = store.load(whole.key, event.identity)
    ids = [each.id for each in loaded.events]
    assert (event.event_key in recorded) is (event.event_key in ids), event
    assert set(ids) <= set(recorded), event
    assert len(expected.events) == len(ids) == len(set(ids)), event
    # Which other content is loaded makes no difference.
    assert expected == with_events(loaded, expected.events)
    assert loaded.intent is not None
    assert frozenset(ids) == loaded.intent.evidence
