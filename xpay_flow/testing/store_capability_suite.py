"""Does a store keep to the capabilities that it declares? Duties of others are not collected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import attrs
import pytest

from xpay_flow import sample_records as b
from xpay_flow.events import EventIdentity
from xpay_flow.ports import (
    FOUND_MAX,
    LOCKED,
    BatchCommitting,
    BatchLoading,
    Erasing,
    HandlerRolledBack,
    Lookup,
    RecentListing,
    RowLocking,
    Store,
    Transactional,
    is_locked,
)
from xpay_flow.realm import Realms
from xpay_flow.records import (
    Record,
    change,
    for_deciding,
    receipt_alias,
    with_events,
    without_payload,
)

from .store_making import Making, needs
from .store_steps import WORKS, due, found, put, together, tried

# Text in which a store that works on text may lose its way.
ODD: Final = '{"payload":"\\",\\"payload\\":\\"","why":"é \\u0000 ,\\"payload\\":"}'


class _Spoilt(Exception):
    """What a handler may raise."""


CAPABILITIES: Final[tuple[type[Any], ...]] = (
    RecentListing,
    Erasing,
    BatchLoading,
    BatchCommitting,
    Transactional,
    RowLocking,
)


def capabilities_of(store: Store) -> frozenset[type[Any]]:
    """What a store offers on the database at hand."""
    found: set[type[Any]] = {
        capability for capability in CAPABILITIES if isinstance(store, capability)
    }
    if isinstance(store, RowLocking) and not store.can_lock:
        found.remove(RowLocking)
    return frozenset(found)


class Capabilities(Making):
    """The duties of a store that can do more than it must."""

    def test_the_suite_declares_what_the_store_offers(self, store: Store) -> None:
        """`declares` names each capability of the store, and no other: none goes untested."""
        offered = sorted(capability.__name__ for capability in capabilities_of(store))
        assert offered == sorted(capability.__name__ for capability in self.declares)

    # --- RecentListing ----------------------------------------------------------------------------

    @needs(RecentListing)
    def test_the_recent_ones_come_newest_first(self, store: Store) -> None:
        """A store that lists shows what was stored last, newest first, and so does its reader."""
        capable(store, RecentListing)
        made = [put(store, b.attempt(f"order-{n}")) for n in (1, 3, 2)]
        for listing in (store, store.reader()):
            assert isinstance(listing, RecentListing)
            assert made[:0:-1] == list(listing.recent(2))
            assert made[::-1] == list(listing.recent(10))

    @needs(RecentListing)
    def test_a_change_does_not_make_a_record_recent(self, store: Store) -> None:
        """The list goes by the first commit, and shows each record as it is now."""
        listing = capable(store, RecentListing)
        older, younger = put(store, b.attempt("order-1")), put(store, b.attempt("order-2"))
        older = put(store, b.next_change(older, b.failed()))
        assert [younger, older] == list(listing.recent(10))

    @needs(RecentListing)
    def test_pages_of_recent_ones_follow_each_other(self, store: Store) -> None:
        """The last record of a page leads to the next page, though it changes and others come."""
        capable(store, RecentListing)
        made = [put(store, b.attempt(f"order-{n}")) for n in range(4)]
        put(store, b.attempt("order-4"))
        made[1] = put(store, b.next_change(made[1], b.failed()))
        for listing in (store, store.reader()):
            assert isinstance(listing, RecentListing)
            assert made[2:0:-1] == list(listing.recent(2, before=made[3].key))
            assert made[:1] == list(listing.recent(2, Realms((b.REALM,)), made[1].key))
            assert [] == list(listing.recent(2, before=made[0].key))

    @needs(RecentListing)
    def test_recent_records_are_listed_by_realm(self, store: Store) -> None:
        """Newer records of other realms take no room from those that are wanted."""
        capable(store, RecentListing)
        ours = put(store, b.attempt("order-1"))
        others = [put(store, b.attempt(f"order-{n}", realm="live/other")) for n in (1, 2)]
        realms = Realms((b.REALM,))
        for listing in (store, store.reader()):
            assert isinstance(listing, RecentListing)
            assert [ours] == list(listing.recent(1, realms))
            assert others[::-1] == list(listing.recent(9, realms.rest))

    # --- Erasing ----------------------------------------------------------------------------------

    @needs(Erasing)
    def test_payloads_are_blanked_and_nothing_else(self, store: Store) -> None:
        """Every event loses its payload and keeps all else; other records keep theirs."""
        erasing = capable(store, Erasing)
        events = (
            b.created(),
            b.failed("whe_1"),
            b.failed("whe_1", digest="1"),
            b.paid(payload=ODD),
        )
        whole, other = (
            put(store, *b.history(*events)),
            put(store, b.parked(b.paid(x_intent_id="x"))),
        )
        due_before = {work: due(store, work) for work in WORKS}
        for _ in range(2):
            erasing.blank_payloads(whole.key)
            erasing.scrub()
        blanked = with_events(whole, tuple(without_payload(each) for each in whole.events))
        assert whole != blanked
        assert [[blanked], [other]] == [found(store, key) for key in (whole.key, other.key)]
        assert due_before == {work: due(store, work) for work in WORKS}
        erasing.blank_payloads("missing")

    @needs(Erasing)
    def test_a_blanked_record_goes_on(self, store: Store) -> None:
        """Copies of blanked events are recognised, other contents named, new events recorded."""
        erasing = capable(store, Erasing)
        event = b.failed("whe_1")
        whole = put(store, *b.history(b.created(), event))
        erasing.blank_payloads(whole.key)
        (loaded,) = store.load(whole.key, event.identity)
        assert [(event.event_key, "")] == [(r.id, r.event.payload) for r in loaded.events]
        last = put(store, b.next_change(loaded, b.failed("whe_1", digest="2"), b.paid()))
        (after,) = found(store, whole.key)
        assert [r.id for r in whole.events] == [r.id for r in after.events[: len(whole.events)]]
        assert ("event_contradiction:whe_1",) == (last.intent and last.intent.attention)

    @needs(Erasing)
    def test_what_a_commit_erases_is_gone(self, store: Store) -> None:
        """Of an erased record nothing personal comes back, whichever way it is read."""
        erasing = capable(store, Erasing)
        whole = put(store, *b.history(b.created(), b.paid(payload='{"name":"Ada Example"}')))
        for entry in whole.outbox:
            whole = put(store, tried(whole, entry, "failed", "ValueError: Ada Example"))
            whole = put(store, tried(whole, whole.outbox[0], "done"))
        assert whole.intent is not None
        noted = attrs.evolve(whole.intent, metadata=(("for", "Ada Example"),))
        whole = put(store, change(whole, attrs.evolve(whole, intent=noted)))
        erased = put(store, change(whole, attrs.evolve(whole, erased="due")))
        erasing.blank_payloads(whole.key)
        erasing.scrub()
        assert "done" == erased.erased
        read = [
            *found(store, whole.key),
            *store.load(whole.key),
            *store.reader().history(whole.key),
        ]
        for record in read:
            assert "Ada" not in str(attrs.asdict(record))
            assert record.intent is not None
            assert (1999, "success") == (record.intent.money.amount_minor, record.intent.state)

    # --- BatchLoading -----------------------------------------------------------------------------

    @needs(BatchLoading)
    def test_many_names_find_what_each_finds(self, store: Store) -> None:
        """Each name is answered in its place: one record, some, the hundred oldest, or none."""
        finding = capable(store, BatchLoading)
        other, *pair = (put(store, b.attempt(f"order-{n}", n)) for n in (2, 1))
        pair.append(put(store, b.attempt("order-1", 2)))
        many = [put(store, b.attempt("order-3", n)) for n in range(FOUND_MAX + 1)]
        receipts = [receipt_alias(f"order-{n}") for n in (3, 1)]
        names = (other.key, receipts[0], "missing", receipts[1], pair[0].key, "\0", "\ud800")
        expected = [[other], many[:FOUND_MAX], [], pair, pair[:1], [], []]
        assert expected == _whole(finding, names)
        assert expected[::-1] == _whole(finding, names[::-1])

    @needs(BatchLoading)
    def test_many_names_find_what_is_there_now(self, store: Store) -> None:
        """What has been committed is found together as it is found alone."""
        finding = capable(store, BatchLoading)
        first, other = (put(store, b.attempt(f"order-{n}")) for n in (1, 2))
        assert [[first], [other]] == _whole(finding, (first.key, other.key))
        second = put(store, b.next_change(first, b.created(), b.paid()))
        assert [[second], [other]] == _whole(finding, (first.key, other.key))

    @needs(BatchLoading)
    def test_many_events_are_loaded_as_each_is(self, store: Store) -> None:
        """Each look-up is answered for its own event, also where two have one name."""
        finding = capable(store, BatchLoading)
        events_on_file = [b.failed(f"whe_{n % 3}", digest=str(n)) for n in range(6)]
        key = put(store, *b.history(*events_on_file)).key
        events = (*events_on_file, b.failed("whe_1"), b.paid())
        lookups: list[Lookup] = [(key, event.identity) for event in events]
        lookups += [(key, None), ("missing", events_on_file[0].identity)]
        alone = [[_loaded(r, e) for r in store.load(name, e)] for name, e in lookups]
        together = finding.load_many(lookups)
        assert len(lookups) == len(together)
        pairs = zip(lookups, together, strict=True)
        assert alone == [[_loaded(r, event) for r in records] for (_, event), records in pairs]

    @needs(BatchLoading)
    def test_no_name_finds_nothing(self, store: Store) -> None:
        """No name, no answer."""
        assert [] == list(capable(store, BatchLoading).load_many(()))

    # --- BatchCommitting --------------------------------------------------------------------------

    @needs(BatchCommitting)
    def test_a_batch_is_committed(self, store: Store) -> None:
        """Each change of a batch is committed as by itself: records, names and due times."""
        batching = capable(store, BatchCommitting)
        first = put(store, b.attempt("order-1"))
        steps = [b.attempt("order-2"), b.next_change(first, b.created(), b.paid())]
        assert [True, True] == list(batching.commit_many(steps))
        for step in steps:
            for alias in step.record.aliases:
                assert [step.record] == found(store, alias)
        assert [first.key] == list(store.due("deliver", 2 * b.NOW_MS, 10))

    @needs(BatchCommitting)
    def test_a_lost_race_leaves_the_rest_of_a_batch(self, store: Store) -> None:
        """Answers come in the order of the changes, and who lost a race loses alone."""
        batching = capable(store, BatchCommitting)
        first = put(store, b.attempt("order-1"))
        second = put(store, b.next_change(first, b.created()))
        steps = [b.attempt("order-2"), b.next_change(first, b.failed()), b.attempt("order-3")]
        assert [True, False, True] == list(batching.commit_many(steps))
        assert [second] == found(store, first.key)
        for step in (steps[0], steps[2]):
            assert [step.record] == found(store, step.record.key)

    @needs(BatchCommitting)
    def test_an_empty_batch_is_nothing(self, store: Store) -> None:
        """No change, no answer."""
        assert [] == list(capable(store, BatchCommitting).commit_many([]))

    # --- Transactional ----------------------------------------------------------------------------

    @needs(Transactional)
    def test_work_is_called_within_the_commit(self, store: Store) -> None:
        """The work of a handler is called once, with the transaction, and then all is durable."""
        transactional = capable(store, Transactional)
        given: list[Any] = []
        step = b.attempt()
        assert transactional.commit_with(step, given.append) is True
        assert 1 == len(given)
        assert given[0] is not None
        assert [step.record] == found(store, step.record.key)

    @needs(Transactional)
    def test_work_is_not_called_when_the_race_is_lost(self, store: Store) -> None:
        """A change that lost leaves no trace, and its work is not called."""
        transactional = capable(store, Transactional)
        first = put(store, b.attempt())
        second = put(store, b.next_change(first, b.created()))
        given: list[Any] = []
        assert transactional.commit_with(b.next_change(first, b.paid()), given.append) is False
        assert [] == given
        assert [second] == found(store, first.key)

    @needs(Transactional)
    @pytest.mark.parametrize("raised", [HandlerRolledBack, _Spoilt])
    def test_work_that_raises_undoes_everything(
        self, store: Store, raised: type[Exception]
    ) -> None:
        """Nothing of the change stays, it can be done again, and the error comes out as it is."""
        transactional = capable(store, Transactional)
        first = put(store, b.attempt())
        step = b.next_change(first, b.created("in_7"), b.paid(x_intent_id="in_7"))

        def spoil(_: Any) -> None:
            raise raised("no")

        with pytest.raises(raised):
            transactional.commit_with(step, spoil)
        assert [first] == found(store, first.key)
        assert [] == found(store, "x:in_7")
        assert [] == list(store.due("deliver", 2 * b.NOW_MS, 10))
        assert step.record == put(store, step)

    # --- RowLocking -------------------------------------------------------------------------------

    @needs(RowLocking)
    def test_a_record_is_held_by_one(self, store: Store) -> None:
        """While one worker holds a record another receives False, and later gets it."""
        claiming = with_lock(store)
        key, other = (put(store, b.attempt(f"order-{n}")).key for n in range(2))

        def taken(key: str) -> bool:
            with claiming.lock(key) as is_mine:
                return is_mine

        with claiming.lock(key) as is_mine:
            assert is_mine is True
            assert [False] == together(lambda: taken(key))
            assert [True] == together(lambda: taken(other))
        assert [True] == together(lambda: taken(key))

    @needs(RowLocking)
    def test_a_hold_ends_with_its_block(self, store: Store) -> None:
        """Also when the block is left by an error."""
        claiming = with_lock(store)
        key = put(store, b.attempt()).key
        with pytest.raises(_Spoilt), claiming.lock(key):
            raise _Spoilt
        with claiming.lock(key) as is_mine:
            assert is_mine is True

    @needs(RowLocking)
    def test_changes_do_not_wait_for_a_hold(self, store: Store) -> None:
        """While a worker holds a record, others read and change it."""
        claiming = with_lock(store)
        first = put(store, b.attempt())
        with claiming.lock(first.key):
            (second,) = together(lambda: put(store, b.next_change(first, b.paid())))
            assert [second] == found(store, first.key)

    @needs(RowLocking)
    def test_what_a_worker_has_left_is_abandoned(self, store: Store) -> None:
        """A call that was begun under a hold is listed as soon as the record is free."""
        claiming = with_lock(store)
        left = _begun(store, "order-1")
        put(store, b.attempt("order-2"))
        now_ms = b.NOW_MS
        with claiming.lock(left.key):
            assert [[]] == together(lambda: list(claiming.orphaned(now_ms, 10)))
        assert [left.key] == list(claiming.orphaned(now_ms, 10))
        # From then on it is due, and found as such.
        assert left.deliver_at_ms is not None
        assert [] == list(claiming.orphaned(left.deliver_at_ms, 10))

    @needs(RowLocking)
    def test_only_so_many_are_listed_as_abandoned(self, store: Store) -> None:
        """Never more than the limit, and none twice."""
        claiming = with_lock(store)
        keys = {_begun(store, f"order-{n}").key for n in range(3)}
        found = list(claiming.orphaned(b.NOW_MS, 2))
        assert 2 == len(found) == len(keys & set(found))
        assert sorted(keys) == sorted(claiming.orphaned(b.NOW_MS, 10))

    @needs(RowLocking)
    def test_orphaned_work_is_looked_up_by_realm(self, store: Store) -> None:
        """What a worker of another realm has left is not given, and takes no room."""
        claiming = with_lock(store)
        other, ours = _begun(store, "order-1", "live/other"), _begun(store, "order-1")
        realms = Realms((b.REALM,))
        assert [ours.key] == list(claiming.orphaned(b.NOW_MS, 1, realms))
        assert [other.key] == list(claiming.orphaned(b.NOW_MS, 9, realms.rest))


def capable(store: Store, capability: type[Any]) -> Any:
    """The store, as one that has this."""
    assert isinstance(store, capability), f"{type(store).__name__} is no {capability.__name__}"
    return store


def _whole(finding: BatchLoading, names: Sequence[str]) -> list[list[Record]]:
    """What is loaded for these names, if it is a part of what is recorded."""
    answers: list[list[Record]] = []
    loaded = finding.load_many([(name, None) for name in names])
    assert len(names) == len(loaded)
    for name, records in zip(names, loaded, strict=True):
        whole = [each for record in records for each in cast(Store, finding).history(record.key)]
        assert [for_deciding(record) for record in whole] == list(records), name
        answers.append(whole)
    return answers


def _loaded(record: Record, event: EventIdentity | None) -> tuple[object, ...]:
    """What matters of a loaded record: which other content came with it does not."""
    ids = [recorded.id for recorded in record.events]
    return with_events(record, ()), len(ids), event is not None and event.key in ids


def with_lock(store: Store) -> RowLocking:
    """The store, as one that can lock records on this database."""
    claiming: RowLocking = capable(store, RowLocking)
    assert claiming.can_lock
    return claiming


def _begun(store: Store, receipt_id: str, realm: str = b.REALM) -> Record:
    """A paid attempt whose handler is being called, under a hold."""
    first = put(store, b.attempt(receipt_id, realm=realm))
    paid = put(store, b.next_change(first, b.paid(x_intent_id=f"in_{receipt_id}")))
    begun = put(store, tried(paid, paid.outbox[-1], "started", LOCKED))
    assert is_locked(begun.outbox[-1])
    return begun
