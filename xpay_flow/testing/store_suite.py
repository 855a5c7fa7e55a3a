"""Is this a store? Every duty of `xpay_flow.ports.Store` once, by name.

    class TestMyStore(StoreSuite):
        def make_store(self) -> Store:
            return MyStore(...)

A subclass says how to make an empty store, and how to open a kept one again; it adds what is
special to its store, and takes nothing away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import ClassVar, Final, TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from xpay_flow.events import Event
from xpay_flow.money import Money
from xpay_flow.ports import FOUND_MAX, Listing, Store
from xpay_flow.records import Change, Owed, Record, Try, Work, change, receipt_alias

from . import builders as b
from .store_machine import WORKS, StoreMachine

T = TypeVar("T")

# Threads that wait for each other longer than this wait for ever.
TOGETHER_S: Final = 10.0
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


class StoreSuite:
    """Subclass it and define `make_store`."""

    # How many random histories are compared with the reference store, and how long they are.
    histories: ClassVar[settings] = settings(
        max_examples=40,
        stateful_step_count=20,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],
    )

    def make_store(self) -> Store:
        """A new store with nothing in it."""
        raise NotImplementedError

    def reopen(self, store: Store) -> Store | None:  # noqa: ARG002 - for subclasses
        """What a new process would find of `store`; None if it keeps nothing beyond its process."""
        return None

    def discard(self, store: Store) -> None:
        """Let go of a store that `make_store` or `reopen` made."""
        getattr(store, "close", lambda: None)()

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = self.make_store()
        yield store
        self.discard(store)

    # --- finding ---------------------------------------------------------------------------------

    def test_an_unknown_name_finds_nothing(self, store: Store) -> None:
        """Looking for what is not there gives nothing, whatever the name looks like."""
        put(store, b.attempt())
        for alias in HOSTILE_ALIASES:
            assert [] == list(store.load(alias)), alias

    def test_every_alias_finds_the_record(self, store: Store) -> None:
        """A record is found under each of its names, also those that it got later."""
        last = put(store, *b.history(b.created("in_7"), b.paid(x_intent_id="in_7")))
        assert 4 == len(last.aliases)
        for alias in last.aliases:
            assert [last] == list(store.load(alias)), alias

    def test_an_alias_taken_away_finds_nothing(self, store: Store) -> None:
        """A record is not found under a name that it has lost, and still under the others."""
        first = put(store, b.attempt())
        kept = frozenset({first.key})
        last = put(store, change(first, attrs.evolve(first, aliases=kept)))
        for alias in first.aliases - kept:
            assert [] == list(store.load(alias)), alias
        assert [last] == list(store.load(first.key))

    def test_attempts_of_one_receipt_come_oldest_first(self, store: Store) -> None:
        """Records under one name come in the order of their first commit, whatever came later."""
        # In no order of their keys, and the oldest is changed last.
        first, *others = [put(store, b.attempt("order-1", n)) for n in (2, 3, 1)]
        first = put(store, b.next_change(first, b.failed()))
        assert [first, *others] == list(store.load(receipt_alias("order-1")))

    def test_age_is_that_of_the_record_not_of_the_alias(self, store: Store) -> None:
        """A record that gets a name late still comes before younger ones that had it."""
        older, younger = put(store, b.attempt("order-1")), put(store, b.attempt("order-2"))
        younger = put(store, named(younger, "x:shared"))
        older = put(store, named(older, "x:shared"))
        assert [older, younger] == list(store.load("x:shared"))

    def test_a_name_finds_a_bounded_number(self, store: Store) -> None:
        """Of very many records under one name, the oldest hundred are found."""
        made = [put(store, b.attempt("order-1", n)) for n in range(FOUND_MAX + 1)]
        assert made[:FOUND_MAX] == list(store.load(receipt_alias("order-1")))

    # --- committing ------------------------------------------------------------------------------

    def test_a_first_commit_refuses_a_key_that_exists(self, store: Store) -> None:
        """Two attempts in one place: the second is refused, and the first is untouched."""
        first = put(store, b.attempt())
        assert store.commit(b.attempt(money=Money(5, "EUR"))) is False
        assert [first] == list(store.load(first.key))

    def test_a_stale_version_is_refused_and_changes_nothing(self, store: Store) -> None:
        """A change that is based on an older version leaves no trace of itself."""
        first = put(store, b.attempt())
        current = put(store, b.next_change(first, b.created()))
        stale = b.next_change(first, b.created("in_stale"), b.paid(), b.refunded())
        due_before = {work: due(store, work) for work in WORKS}
        assert store.commit(stale) is False
        assert [current] == list(store.load(first.key))
        assert [] == list(store.load("x:in_stale"))
        assert due_before == {work: due(store, work) for work in WORKS}

    def test_a_version_that_is_not_there_is_refused(self, store: Store) -> None:
        """A change of a record that does not exist, or not yet so far, is refused."""
        first = b.attempt()
        second = b.next_change(first.record, b.created())
        third = b.next_change(second.record, b.paid())
        assert store.commit(second) is False
        assert [] == list(store.load(first.record.key))
        put(store, first)
        assert store.commit(third) is False
        assert [first.record] == list(store.load(first.record.key))

    def test_facts_are_only_added(self, store: Store) -> None:
        """Each commit adds its facts behind those on file, and none is ever lost."""
        news = [b.created(), b.failed("whe_1"), b.failed("whe_2"), b.paid(), b.refunded()]
        done = put(store, *b.history(*news))
        (found,) = store.load(done.key)
        ids = ["own/stored#", *(event.fact_id for event in news)]
        assert ids == [fact.id for fact in found.facts]
        assert found.intent is not None
        assert frozenset(ids) == found.intent.evidence

    def test_effects_are_kept_in_place(self, store: Store) -> None:
        """A changed effect replaces itself: no effect comes twice, moves or gets lost."""
        last = put(store, *b.history(b.failed(), b.paid(), b.refunded()))
        assert 3 <= len(last.effects)
        last = put(store, tried(last, last.effects[1], "failed", "ReadTimeout: …"))
        last = put(store, tried(last, last.effects[1], "done"))
        (found,) = store.load(last.key)
        assert last.effects == found.effects

    def test_what_is_read_is_what_was_put(self, store: Store) -> None:
        """Every part of a record comes back as it was, with any text and the greatest amounts."""
        for step in samples():
            record = put(store, step)
            assert [record] == list(store.load(record.key))

    # --- what needs work -------------------------------------------------------------------------

    def test_each_kind_of_work_is_due_by_its_own_time(self, store: Store) -> None:
        """A record is due for exactly the work whose time has come, to the millisecond."""
        record = put(store, waiting(b.attempt(), deliver_at_ms=100, ask_at_ms=200))
        expected: dict[tuple[Work, int], list[str]] = {
            ("deliver", 99): [],
            ("deliver", 100): [record.key],
            ("ask", 199): [],
            ("ask", 200): [record.key],
        }
        for (work, now_ms), keys in expected.items():
            assert keys == list(store.due(work, now_ms, 10)), (work, now_ms)

    def test_what_is_never_due_is_not_due(self, store: Store) -> None:
        """A record that waits for nothing, or no longer, is not due for any work."""
        put(store, waiting(b.attempt("order-1"), deliver_at_ms=None, ask_at_ms=None))
        once = put(store, waiting(b.attempt("order-2"), deliver_at_ms=1, ask_at_ms=1))
        (effect,) = (e for e in once.effects if e.status == "owed")
        put(store, change(once, attrs.evolve(tried(once, effect, "done").record, ask_at_ms=None)))
        assert {work: [] for work in WORKS} == {work: due(store, work) for work in WORKS}

    def test_the_longest_due_come_first_and_not_too_many(self, store: Store) -> None:
        """Work comes in the order in which it became due, and never more than was asked for."""
        keys = {
            at_ms: put(store, waiting(b.attempt(f"order-{at_ms}"), at_ms, at_ms)).key
            for at_ms in (3, 1, 5, 2, 4)
        }
        for work in WORKS:
            assert [keys[1], keys[2], keys[3], keys[4]] == list(store.due(work, 4, 10))
            assert [keys[1], keys[2]] == list(store.due(work, 5, 2))

    def test_a_due_key_finds_its_record(self, store: Store) -> None:
        """What `due` gives can be given to `load`."""
        made = [put(store, b.attempt()), put(store, b.parked(b.paid(x_intent_id="in_9")))]
        found = [store.load(key) for key in store.due("ask", 2 * b.NOW_MS, 10)]
        assert {r.key for r in made} == {r.key for records in found for r in records}

    # --- several at once -------------------------------------------------------------------------

    def test_one_of_two_writers_wins(self, store: Store) -> None:
        """Of two threads that change the same version, exactly one is told that it did."""
        for n in range(RACES):
            first = put(store, b.attempt(f"order-{n}"))
            steps = [b.next_change(first, b.failed(f"whe_{i}")) for i in range(2)]
            won = together(*(lambda step=step: store.commit(step) for step in steps))
            assert [False, True] == sorted(won)
            assert [steps[won.index(True)].record] == list(store.load(first.key))

    def test_one_of_two_makers_wins(self, store: Store) -> None:
        """Of two threads that make the same attempt, exactly one is told that it did."""
        for n in range(RACES):
            steps = [b.attempt(f"order-{n}", money=Money(i + 1, "USD")) for i in range(2)]
            won = together(*(lambda step=step: store.commit(step) for step in steps))
            assert [False, True] == sorted(won)
            assert [steps[won.index(True)].record] == list(store.load(steps[0].record.key))

    def test_a_load_sees_one_version(self, store: Store) -> None:
        """While others commit, a load gives the parts of one version and never a mixture."""
        steps = b.history(*(b.failed(f"whe_{n}") for n in range(30)))
        wanted = {step.record.version: step.record for step in steps}
        put(store, steps[0])
        loading, ended = threading.Event(), threading.Event()

        def write() -> list[Record]:
            try:
                return [put(store, step) for step in steps[1:] if _soon(loading)]
            finally:
                ended.set()

        def read() -> list[Record]:
            seen: list[Record] = []
            while not ended.is_set():
                loading.set()
                seen += store.load(steps[0].record.key)
            return seen

        written, seen = together(write, read)
        assert list(wanted.values())[1:] == written
        assert [] == [r.version for r in seen if r != wanted[r.version]]

    # --- reading only ----------------------------------------------------------------------------

    def test_a_reader_reads_the_same(self, store: Store) -> None:
        """A reader finds what was committed before it was made, and after."""
        first = put(store, b.attempt())
        reader = store.reader()
        assert [first] == list(reader.load(first.key))
        second = put(store, b.next_change(first, b.paid()))
        assert [second] == list(reader.load(first.key))

    def test_a_reader_cannot_write(self, store: Store) -> None:
        """A reader has no verb that changes anything."""
        verbs = {name for name in dir(store.reader()) if not name.startswith("_")}
        assert set() == verbs & {"commit", "due", "reader"}

    def test_the_recent_ones_come_newest_first(self, store: Store) -> None:
        """A store that lists shows what was stored last, newest first, and so does its reader."""
        if not isinstance(store, Listing):
            pytest.skip("this store does not list")
        made = [put(store, b.attempt(f"order-{n}")) for n in (1, 3, 2)]
        for listing in (store, store.reader()):
            assert isinstance(listing, Listing)
            assert made[:0:-1] == list(listing.recent(2))
            assert made[::-1] == list(listing.recent(10))

    # --- keeping ---------------------------------------------------------------------------------

    def test_what_was_committed_is_still_there_later(self, store: Store) -> None:
        """A commit that returned outlives the process; so do aliases and due times."""
        made = [put(store, step) for step in samples()]
        due_before = {work: due(store, work) for work in WORKS}
        again = self.reopen(store)
        if again is None:
            pytest.skip("this store keeps nothing beyond its process")
        for record in made:
            assert [record] == list(again.load(record.key))
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


# --- steps that the tests take -------------------------------------------------------------------


def put(store: Store, *steps: Change) -> Record:
    """Commit these, and give back the last record."""
    for step in steps:
        assert store.commit(step) is True, f"version {step.record.version} was not taken"
    return steps[-1].record


def due(store: Store, work: Work) -> list[str]:
    """All that is due at the end of time."""
    return sorted(store.due(work, 2**62, 1000))


def named(record: Record, alias: str) -> Change:
    """Give a record one more name."""
    return change(record, attrs.evolve(record, aliases=record.aliases | {alias}))


def tried(record: Record, effect: Owed, outcome: str, error: str = "") -> Change:
    """One try to run the handler of an effect."""
    changed = attrs.evolve(
        effect,
        status="done" if outcome == "done" else "owed",
        tries=effect.tries + 1,
        next_at_ms=effect.next_at_ms + 60_000,
        log=effect.logged(
            Try(
                at_ms=effect.next_at_ms,
                version=record.version + 1,
                outcome=outcome,
                error=error,
            )
        ),
    )
    return change(record, record.with_effect(changed))


def waiting(step: Change, deliver_at_ms: int | None, ask_at_ms: int | None) -> Change:
    """The first commit of a record, with an effect that is due then (None: with none)."""
    record, effects = step.record, step.record.effects
    if deliver_at_ms is not None:
        owed = Owed(id=f"{record.key}:on_failed", name="on_failed", next_at_ms=deliver_at_ms)
        settled = Owed(id=f"{record.key}:done", name="on_failed", status="done", next_at_ms=0)
        effects = (settled, owed)
    nothing = Record(key=record.key)
    return change(nothing, attrs.evolve(record, effects=effects, ask_at_ms=ask_at_ms))


def samples() -> Sequence[Change]:
    """First commits of records that differ in all that a record can hold."""
    news = {
        "plain": (),
        "paid": (b.created(), b.paid(error_code=None, payment_method="CARD")),
        "unlucky": (b.created("in_2"), b.failed(error_code="“zu wenig Geld” 💸"), b.failed("w2")),
        "refunded": (b.paid(), b.refunded("rf_1", 500), b.refunded("rf_2", None)),
        "disputed": (b.paid(), b.disputed(), b.disputed("intent.dispute_won", "dp_2")),
        "twins": (b.created("in_a"), b.paid(x_intent_id="in_b", amount_minor=10**15)),
        "bestellung-№-42-\U0001f6d2-'\"\\": (b.paid(payload='{"a":"\\u0000 é\\n"}'),),
    }
    prices = {"plain": Money(1, "JPY"), "twins": Money(10**15, "USD")}
    made = [
        _at_once(b.attempt(name, money=prices.get(name, b.PRICE)), events)
        for name, events in news.items()
    ]
    unknown = b.webhook("unknown", "whe_odd", x_intent_id="in_9", receipt_id="é", payload="[]")
    return [*made, b.parked(unknown)]


def _at_once(first: Change, events: Sequence[Event]) -> Change:
    """The whole history in one commit, as when parked news is adopted."""
    told = reduce(lambda record, event: b.next_change(record, event).record, events, first.record)
    return change(Record(key=told.key), told)


def _soon(event: threading.Event) -> bool:
    """Wait for the event to happen once more."""
    happened = event.wait(TOGETHER_S)
    event.clear()
    return happened


def together(*calls: Callable[[], T]) -> list[T]:
    """Their answers, when all begin at the same moment."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], T]) -> T:
        barrier.wait(TOGETHER_S)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return [running.result(TOGETHER_S) for running in [threads.submit(begin, c) for c in calls]]
