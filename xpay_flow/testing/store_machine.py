"""Does a store answer as the reference does, over any history? A Hypothesis state machine.

Two stores receive the same: `MemoryStore`, and the one under test. Every answer must be equal.
Work that became due in the same millisecond may come in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from xpay_flow import sample_records as b
from xpay_flow.events import Event
from xpay_flow.ports import RecentListing, Store
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import (
    CLOCK_SKEW_MS,
    Change,
    HandlerAttempt,
    Record,
    RecordedEvent,
    Work,
    change,
)
from xpay_flow.stores.memory import MemoryStore

from .store_steps import WORKS, as_loaded, found, tried

# Few of everything, so that histories meet.
# The samples' own realm most often: only there do attempts meet.
REALM_NAMES: Final = st.sampled_from([b.REALM, b.REALM, "live/other"])
REALMS: Final = st.sampled_from(
    [EVERY_REALM, Realms((b.REALM,)), Realms((b.REALM,)).rest, Realms((b.REALM, "live/other"))]
)
RECEIPTS: Final = st.sampled_from(["order-1", "order-2"])
X_INTENTS: Final = st.sampled_from(["in_1", "in_2"])
TIMES_MS: Final = st.integers(b.NOW_MS - 2, b.NOW_MS + 2)
WORK: Final = st.sampled_from(WORKS)
EVENTS: Final[st.SearchStrategy[Event]] = st.one_of(
    st.builds(b.created, X_INTENTS),
    st.builds(b.paid, st.sampled_from(["whe_1", "whe_2"]), x_intent_id=X_INTENTS),
    st.builds(b.failed, st.sampled_from(["whe_3", "whe_4"]), error_code=st.text(max_size=5)),
    st.builds(b.refunded, st.sampled_from(["rf_1", "rf_2"]), st.none() | st.integers(0, 10**15)),
    st.builds(b.disputed, dispute_id=st.sampled_from(["dp_1", "dp_2"])),
)


class StoreMachine(RuleBasedStateMachine):
    """Random commits, right and wrong ones, to `store` and to the reference."""

    def __init__(self, store: Store, discard: Callable[[Store], None]) -> None:
        super().__init__()
        self.store, self.discard = store, discard
        self.reference = MemoryStore()
        # Every version of every record, also those that were replaced: the source of stale changes.
        self.versions: list[Record] = []

    def teardown(self) -> None:
        self.discard(self.store)

    # --- what is done ----------------------------------------------------------------------------

    @initialize()
    def begin_one(self) -> None:
        self._commit(b.attempt())

    @initialize(receipt_id=RECEIPTS, n=st.integers(2, 4))
    def begin_owing(self, receipt_id: str, n: int) -> None:
        """With several outbox, of which the first is tried: every history has one in its place."""
        events = [b.failed(), b.paid(), *(b.refunded(f"rf_{i}", i) for i in range(n))]
        steps = b.history(*events, receipt_id=f"{receipt_id}-pending")
        last = steps[-1].record
        for step in (*steps, tried(last, last.outbox[0], "failed")):
            self._commit(step)

    @rule(receipt_id=RECEIPTS, n=st.integers(1, 3), at_ms=TIMES_MS, realm=REALM_NAMES)
    def begin(self, receipt_id: str, n: int, at_ms: int, realm: str) -> None:
        """Also of an attempt that exists: then both refuse."""
        self._commit(b.attempt(receipt_id, n, at_ms=at_ms, realm=realm))

    @rule(event=EVENTS.filter(lambda event: event.x_intent_id is not None), at_ms=TIMES_MS)
    def park(self, event: Event, at_ms: int) -> None:
        self._commit(b.parked(event, at_ms=at_ms))

    @rule(data=st.data(), events=st.lists(EVENTS, max_size=3), at_ms=TIMES_MS)
    def learn(self, data: st.DataObject, events: list[Event], at_ms: int) -> None:
        """An event for some version of some record; unless it is the last one, both refuse."""
        record = self._some_version(data)
        if record.intent is not None:
            self._commit(b.next_change(record, *events, at_ms=at_ms))
        else:
            self._commit(change(record, _with_events(record, events, at_ms)))

    @rule(data=st.data(), done=st.booleans(), at_ms=TIMES_MS)
    def deliver(self, data: st.DataObject, done: bool, at_ms: int) -> None:
        record = self._some_version(data)
        if not record.outbox:
            return
        entry = data.draw(st.sampled_from(record.outbox))
        after = attrs.evolve(
            entry,
            status="done" if done else "pending",
            tries=entry.tries + 1,
            next_at_ms=at_ms,
            log=entry.logged(
                HandlerAttempt(
                    at_ms=at_ms, version=record.version + 1, outcome="done" if done else "failed"
                )
            ),
        )
        self._commit(change(record, record.with_entry(after)))

    @rule(data=st.data(), reconcile_at_ms=st.none() | TIMES_MS, ahead=st.booleans())
    def reconcile(self, data: st.DataObject, reconcile_at_ms: int | None, ahead: bool) -> None:
        record = self._some_version(data)
        reconciled = attrs.evolve(
            record,
            reconcile_count=record.reconcile_count + 1,
            reconcile_at_ms=reconcile_at_ms,
            # By a clock that is not believed at some of the moments that are compared.
            due_set_ms=b.NOW_MS + CLOCK_SKEW_MS if ahead else None,
        )
        self._commit(change(record, reconciled))

    @rule(data=st.data(), extra=st.frozensets(st.sampled_from(["x:shared", "x:other"])))
    def rename(self, data: st.DataObject, extra: frozenset[str]) -> None:
        record = self._some_version(data)
        self._commit(change(record, attrs.evolve(record, aliases=extra | {record.key})))

    # --- what is compared ------------------------------------------------------------------------

    @rule(work=WORK, now_ms=TIMES_MS, limit=st.integers(1, 5), realms=REALMS)
    def due(self, work: Work, now_ms: int, limit: int, realms: Realms) -> None:
        self._compare_due(work, now_ms, limit, realms)

    @invariant()
    def the_same_is_due_in_the_end(self) -> None:
        for work in WORKS:
            self._compare_due(work, b.NOW_MS + 86_400_000, 2)

    def _compare_due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> None:
        expected = self.reference.due(work, now_ms, limit, realms)
        keys = self.store.due(work, now_ms, limit, realms)
        assert self._times(work, expected) == self._times(work, keys)
        assert len(set(keys)) == len(keys), f"a key comes twice in {keys}"

    def _compare_due_of(self, record: Record) -> None:
        """At the very millisecond at which the record is due, and just before."""
        for work in WORKS:
            at_ms = record.due_at_ms(work)
            if at_ms is not None:
                self._compare_due(work, at_ms, 5)
                self._compare_due(work, at_ms - 1, 5)

    @rule(limit=st.integers(1, 5), realms=REALMS)
    def recent(self, limit: int, realms: Realms) -> None:
        if isinstance(self.store, RecentListing):
            expected = list(self.reference.recent(limit, realms))
            assert expected == list(self.store.recent(limit, realms))

    def _commit(self, step: Change) -> None:
        names = sorted(
            alias
            for record in (*self.reference.history(step.record.key), step.record)
            for alias in record.aliases
        )
        won = self.reference.commit(as_loaded(step))
        assert won is self.store.commit(as_loaded(step))
        if won:
            self.versions.append(step.record)
            self._compare_due_of(step.record)
        for alias in names:
            assert found(self.reference, alias) == found(self.store, alias), alias

    def _some_version(self, data: st.DataObject) -> Record:
        """Often the last one. Counted from the end, so that a failure shrinks to no race."""
        back = data.draw(st.just(1) | st.integers(1, len(self.versions)))
        return self.versions[-back]

    def _times(self, work: Work, keys: Sequence[str]) -> list[int | None]:
        return [record.due_at_ms(work) for key in keys for record in self.reference.load(key)]


def _with_events(record: Record, events: Sequence[Event], at_ms: int) -> Record:
    """Parked events; a copy of one adds nothing."""
    known: dict[str, Any] = {recorded.id: recorded for recorded in record.events}
    for event in events:
        recorded = RecordedEvent(
            event=event,
            disposition="unknown",
            why="unmatched",
            at_ms=at_ms,
            version=record.version + 1,
        )
        known.setdefault(recorded.id, recorded)
    return attrs.evolve(record, events=tuple(known.values()))
