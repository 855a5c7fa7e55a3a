"""That an awaited store serves one event loop after another, and refuses a second one that runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from serving.test_event_loop import ENDS_S, running_loop
from sqlalchemy.util import await_only

from xpay_flow import sample_records as b
from xpay_flow.errors import ConfigurationError
from xpay_flow.event_loop import LoopOwner
from xpay_flow_sqlalchemy import AsyncSQLAlchemyStore

from .kit import Place

DRIVERS = [
    ("postgresql", "postgresql+psycopg_async"),
    ("postgresql", "postgresql+asyncpg"),
    ("mariadb", "mariadb+aiomysql"),
]
HELD_BACK_S = 0.5
# Connections of a loop that has ended are cleared away, with warnings of the drivers: they shall
# not be met by other tests.
PROGRAM = """
import sys
from sql import test_sql_event_loops

test_sql_event_loops.one_loop_after_another(*sys.argv[1:])
"""


@pytest.fixture(params=DRIVERS, ids=[driver for _, driver in DRIVERS])
def store(request: pytest.FixtureRequest) -> AsyncSQLAlchemyStore:
    kind, driver = request.param
    place: Place = request.getfixturevalue(kind)
    place.empty()
    return AsyncSQLAlchemyStore.from_url(place.by(driver))


async def used(store: AsyncSQLAlchemyStore, number: int) -> list[Any]:
    """Writes and reads at once, on several connections; one holds a row, and none is closed."""
    changes = [b.attempt(f"order-{number}-{n}") for n in range(6)]
    assert [True] * 6 == list(await asyncio.gather(*map(store.commit, changes)))
    async with store.lock(changes[0].record.key) as is_mine:
        assert is_mine
        assert 1 == len(await store.reader().load(changes[0].record.key))
    return [len(await store.load(change.record.key)) for change in changes]


@pytest.mark.parametrize("is_afresh", [False, True])
def test_no_connection_is_used_before_the_first_one_has_asked_what_the_server_is(
    store: Any, is_afresh: bool
) -> None:
    """A report and a webhook may be the first two uses, each on a connection of its own pool.

    The answer to the first connection's question is held back for a while, or until the other
    connection has been used.
    """
    dialect = store._engine.sync_engine.dialect
    ask = dialect.initialize
    if is_afresh:
        store._store.drop_connections()

    async def story() -> list[Any]:
        asks, used = asyncio.Event(), asyncio.Event()

        def asked(connection: Any) -> None:
            asks.set()
            with suppress(TimeoutError):
                await_only(asyncio.wait_for(used.wait(), HELD_BACK_S))
            ask(connection)

        dialect.initialize = asked

        async def first() -> list[Any]:
            return list(await store.reader().history("none"))

        async def second() -> list[Any]:
            await asyncio.wait_for(asks.wait(), ENDS_S)
            try:
                return list(await store.due("deliver", 9, 9))
            finally:
                used.set()

        try:
            async with asyncio.timeout(ENDS_S):
                return [*await asyncio.gather(first(), second())]
        finally:
            await store.aclose()

    assert [[], []] == asyncio.run(story())


def one_loop_after_another(url: str, planted: str = "") -> None:
    """The story of a program that begins an event loop for each thing that it does."""
    store = AsyncSQLAlchemyStore.from_url(url)
    if planted:
        LoopOwner.enter = lambda _: None  # type: ignore[method-assign]
    for number in range(3):
        assert [1] * 6 == asyncio.run(used(store, number))
    asyncio.run(store.aclose())


def ran(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    place.empty()
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=4 * ENDS_S,
    )


@pytest.mark.parametrize(("kind", "driver"), DRIVERS)
def test_an_awaited_store_serves_one_event_loop_after_another(
    request: pytest.FixtureRequest, kind: str, driver: str
) -> None:
    """Connections of a loop that has ended are not used in the next."""
    place: Place = request.getfixturevalue(kind)
    done = ran(place, place.by(driver))
    assert 0 == done.returncode, done.stderr


def test_a_store_without_an_owner_is_found(postgresql: Place) -> None:
    """Planted: a store that keeps its connections for the next loop fails there."""
    done = ran(postgresql, postgresql.by("postgresql+psycopg_async"), "planted")
    asyncpg = ran(postgresql, postgresql.by("postgresql+asyncpg"), "planted")
    assert (0, 0) != (done.returncode, asyncpg.returncode)


def test_an_awaited_store_refuses_a_second_event_loop_that_runs(
    store: AsyncSQLAlchemyStore,
) -> None:
    """Before anything is stored; and the first one goes on to be served."""
    change = b.attempt("order-of-another")
    with running_loop() as loop:
        asyncio.run_coroutine_threadsafe(used(store, 1), loop).result(ENDS_S)
        for act in (store.commit(change), store.load("x"), store.reader().load("x")):
            with pytest.raises(ConfigurationError, match="open one for each event loop"):
                asyncio.run(_awaited(act))
        assert [] == asyncio.run_coroutine_threadsafe(
            _awaited(store.load(change.record.key)), loop
        ).result(ENDS_S)
        asyncio.run_coroutine_threadsafe(store.aclose(), loop).result(ENDS_S)


async def _awaited(act: Any) -> Any:
    return await act
