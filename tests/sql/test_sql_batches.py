"""That many changes in one transaction are what they would be one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from batches import Batches

from xpay_flow import sample_records as b
from xpay_flow_sqlalchemy import AsyncSQLAlchemyStore

from .kit import Place
from .shop_tables import KINDS, shop_on


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with shop_on(request.param, request, tmp_path) as shop:
        yield shop.world.flow.store


class TestBatches(Batches):
    pass


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg_async"])
def test_a_batch_of_postgresql_is_one_transaction(postgresql: Place, driver: str) -> None:
    """All rows of new and known records carry one transaction's number, over each driver."""
    postgresql.empty()

    first, *others = [b.attempt(f"order-{number}") for number in range(3)]

    async def story() -> Sequence[bool]:
        async with AsyncSQLAlchemyStore.from_url(postgresql.by(driver)) as store:
            assert await store.commit(first)
            assert await store.commit(others[0])
            return await store.commit_many([b.next_change(first.record, b.paid()), *others])

    assert [True, False, True] == list(asyncio.run(story()))
    first = "attempt:sandbox/local:1:order-1"
    newest = f"SELECT xmin::text FROM xpay_flow_intents WHERE record_key <> '{first}'"
    assert 1 == len(set(postgresql.answer(newest)))
