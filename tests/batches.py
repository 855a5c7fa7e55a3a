"""That many changes in one transaction are what they would be one after the other.

Subclass `Batches`, and give it an empty store.
"""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreUnavailable
from xpay_flow.ports import BatchCommitting
from xpay_flow.records import Change, Record
from xpay_flow.stores.coalescing import TOGETHER_MAX
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.store_suite import put

EVENTS = (b.created, b.failed, b.paid, b.refunded)


class Batches:
    def test_batches_answer_and_store_as_the_reference_does(self, store: Any) -> None:
        """Random batches of new records, next versions, lost races and changed aliases: the same
        answers, records and due lists as one after the other in the reference store."""
        assert isinstance(store, BatchCommitting)
        reference, chance = MemoryStore(), random.Random(7)
        for _ in range(40):
            batch = a_batch(reference, chance)
            expected = [reference.commit(change) for change in batch]
            assert expected == list(store.commit_many(batch))
            names = sorted({alias for change in batch for alias in change.record.aliases})
            found = [list(reference.load(alias)) for alias in names]
            assert found == [list(store.load(alias)) for alias in names]
            assert found == list(map(list, store.load_many([(name, None) for name in names])))
        assert list(reference.recent(200)) == list(store.recent(200))
        for work in ("deliver", "reconcile"):
            assert reference.due(work, 2**52, 200) == list(store.due(work, 2**52, 200))

    def test_an_empty_batch_and_a_full_one(self, store: Any) -> None:
        """Nothing is nothing, and as many as ever go together fit."""
        assert [] == list(store.commit_many([]))
        full = [b.attempt(f"order-{number}") for number in range(TOGETHER_MAX)]
        assert [True] * TOGETHER_MAX == list(store.commit_many(full))
        assert [False] * TOGETHER_MAX == list(store.commit_many(full))

    def test_one_that_cannot_be_written_keeps_all_out(self, store: Any) -> None:
        """An error leaves nothing of a batch behind, so that each may be tried alone."""
        first = put(store, b.attempt())
        # A event that is on file already, as no flow would bring it.
        broken = attrs.evolve(b.next_change(first, b.paid()), new_events=(first.events[0],))
        with pytest.raises(StoreUnavailable):
            store.commit_many([b.attempt("order-2"), broken])
        assert [] == list(store.history("attempt:sandbox/local:1:order-2"))
        assert [first] == list(store.history(first.key))


def a_batch(reference: MemoryStore, chance: random.Random) -> list[Change]:
    batch = {}
    for number in chance.sample(range(30), chance.randint(1, 8)):
        first = b.attempt(f"order-{number}")
        known = reference.history(first.record.key)
        change = a_step(known[0], chance) if known and chance.random() < 0.8 else first
        batch[change.record.key] = change
    return list(batch.values())


def a_step(record: Record, chance: random.Random) -> Change:
    events = chance.sample(EVENTS, chance.randint(1, 3))
    change = b.next_change(record, *(event() for event in events))
    if chance.random() < 0.2:
        return attrs.evolve(change, expected_version=record.version + chance.choice((-1, 1)))
    if chance.random() < 0.3:
        aliases = frozenset({record.key, f"x:{chance.random()}"})
        return attrs.evolve(change, record=attrs.evolve(change.record, aliases=aliases))
    return change
