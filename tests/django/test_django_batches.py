"""That the ORM puts many changes down in one transaction, as it would one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from batches import Batches
from django.db import connections
from django.test.utils import CaptureQueriesContext

from xpay_flow import sample_records as b
from xpay_flow.ports import FOUND_MAX
from xpay_flow.records import Change, for_deciding
from xpay_flow.stores.coalescing import coalesced_commit
from xpay_flow.testing.store_suite import put
from xpay_flow_django import AsyncDjangoStore, DjangoStore


@pytest.fixture
def store(alias: str) -> DjangoStore:
    connections[alias].ensure_connection()
    return DjangoStore(alias)


class TestBatches(Batches):
    pass


def test_a_batch_of_postgresql_is_one_transaction(postgresql: str) -> None:
    """All rows of known records carry one transaction's number, also around a lost race."""
    store = DjangoStore(postgresql)
    first, second, _ = [put(store, b.attempt(f"order-{number}")) for number in range(3)]
    batch = [b.next_change(first, b.paid()), b.attempt("order-2"), b.next_change(second, b.paid())]
    assert [True, False, True] == list(store.commit_many(batch))
    with connections[postgresql].cursor() as cursor:
        cursor.execute("SELECT xmin::text FROM xpay_flow_intent WHERE receipt_id <> 'order-2'")
        numbers = cursor.fetchall()
    assert (2, 1) == (len(numbers), len(set(numbers)))


def test_load_many_needs_one_statement_for_each_name(store: DjangoStore, alias: str) -> None:
    """Each name finds what it finds alone, in the order in which the names are given."""
    made = [for_deciding(put(store, b.attempt(f"order-{number}"))) for number in range(9)]
    keys = [record.key for record in reversed(made)]
    with CaptureQueriesContext(connections[alias]) as queries:
        found = store.load_many([(name, None) for name in (*keys, "unknown", "receipt:order-3")])
    assert [*([record] for record in reversed(made)), [], [made[3]]] == list(map(list, found))
    assert len(found) == len(queries)


def test_versions_are_those_of_the_records(store: DjangoStore) -> None:
    """A reader finds many versions at once, and nothing for keys of which there is no record."""
    first = put(store, b.attempt())
    assert {first.key: 1} == store.reader().versions((first.key, "unknown"))


def test_a_name_of_many_records_finds_the_first(store: DjangoStore) -> None:
    """As many as one name alone finds, also where another name has some of the others."""
    made = [for_deciding(put(store, b.attempt(n=n))) for n in range(1, FOUND_MAX + 3)]
    receipt, last = store.load_many([("receipt:order-1", None), (made[-1].key, None)])
    assert (made[:FOUND_MAX], made[-1:]) == (list(receipt), list(last))


def test_webhooks_that_arrive_together_are_written_together(alias: str) -> None:
    """Under ASGI a flow on the awaited store needs fewer transactions than there are webhooks."""
    batches: list[int] = []

    class Counted(AsyncDjangoStore):
        async def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
            batches.append(len(changes))
            return await super().commit_many(changes)

    async def story() -> None:
        store = Counted(alias)
        commit = coalesced_commit(store)
        changes = [b.attempt(f"order-{number}") for number in range(9)]
        assert [True] * 9 == await asyncio.gather(*map(commit, changes))
        assert 9 == len(await store.recent(20))

    asyncio.run(story())
    assert [9] == batches
