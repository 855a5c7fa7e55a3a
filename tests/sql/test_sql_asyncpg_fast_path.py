"""That a webhook's own way to PostgreSQL, past SQLAlchemy, is as safe as the long one."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreUnavailable
from xpay_flow.records import for_deciding
from xpay_flow_sqlalchemy import AsyncSQLAlchemyStore, asyncpg_fast_path, engines

from .kit import Place

DRIVER = "postgresql+asyncpg"
MOST = engines.DIRECT


def play(
    place: Place, story: Callable[[AsyncSQLAlchemyStore], Awaitable[None]], **query: str
) -> None:
    """A story of an empty store, which is closed afterwards."""

    async def whole() -> None:
        async with AsyncSQLAlchemyStore.from_url(place.by(DRIVER, **query)) as store:
            await story(store)

    place.empty()
    asyncio.run(whole())


async def fetched(store: AsyncSQLAlchemyStore, query: str) -> list[tuple[Any, ...]]:
    """What one of its own connections answers."""
    assert store._direct is not None
    lent = await store._direct.connections.take()
    try:
        return [tuple(row) for row in await lent.driver_connection.fetch(query)]
    finally:
        store._direct.connections.give_back(lent)


SESSIONS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend'"
)


SCANNED = (
    "SELECT sum(idx_scan), sum(seq_tup_read) FROM pg_stat_user_tables"
    " WHERE relname <> 'xpay_flow_schema'"
)


def test_a_rush_has_a_bounded_number_of_connections_and_keeps_them(postgresql: Place) -> None:
    """However many come at once, all are served by the same few."""

    async def story(store: AsyncSQLAlchemyStore) -> None:
        seen: set[int] = set()
        for rush in range(3):
            changes = [b.attempt(f"order-{rush}-{n}") for n in range(5 * MOST)]
            assert all(await asyncio.gather(*map(store.commit, changes)))
            sessions = await asyncio.to_thread(postgresql.answer, SESSIONS)
            seen |= {pid for (pid,) in sessions}
        # Each look from outside is a session, too.
        assert len(seen) <= MOST + 3

    play(postgresql, story)


def test_what_a_rush_has_left_is_closed(postgresql: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that are not needed any more are closed, one with each that is used."""

    async def story(store: AsyncSQLAlchemyStore) -> None:
        assert store._direct is not None
        await asyncio.gather(*(store.load("x") for _ in range(MOST)))
        many = len(store._direct.connections._idle)
        assert 1 < many
        monkeypatch.setattr(asyncpg_fast_path, "UNUSED_S", -1.0)
        for _ in range(many):
            await store.load("x")
        assert 0 == len(store._direct.connections._idle)

    play(postgresql, story)


def test_a_statement_outlives_a_change_of_the_tables(postgresql: Place) -> None:
    """Statements prepared before a migration are prepared again, without an error."""
    kinds = ("varchar", "text")

    async def story(store: AsyncSQLAlchemyStore) -> None:
        first = b.attempt()
        assert await store.commit(first)
        for kind in kinds:
            assert [for_deciding(first.record)] == list(await store.load(first.record.key))
            change = f"ALTER TABLE xpay_flow_events ALTER COLUMN document TYPE {kind}"
            await fetched(store, change.replace("events", "intents"))
        assert [for_deciding(first.record)] == list(await store.load(first.record.key))
        assert await store.commit(b.next_change(first.record, b.paid()))

    play(postgresql, story)


@pytest.mark.parametrize(
    ("query", "some"), [({}, True), ({"prepared_statement_cache_size": "0"}, False)]
)
def test_nothing_is_prepared_where_the_url_says_so(
    postgresql: Place, query: dict[str, str], some: bool
) -> None:
    """A pooler between us and the server may give each transaction another connection."""

    async def story(store: AsyncSQLAlchemyStore) -> None:
        first = b.attempt()
        assert await store.commit(first)
        assert [for_deciding(first.record)] == list(await store.load(first.record.key))
        prepared = await fetched(store, "SELECT name FROM pg_prepared_statements WHERE name <> ''")
        assert some is any("xpay" in name or "asyncpg" in name for (name,) in prepared)

    play(postgresql, story, **query)


def test_a_cancelled_read_is_not_the_answer_of_another(postgresql: Place) -> None:
    """A waiter that takes the turn of a cancelled one gets its own result."""

    async def story(store: AsyncSQLAlchemyStore) -> None:
        made = [b.attempt(f"order-{n}") for n in range(4)]
        assert all(await store.commit_many(made))
        for _ in range(3 * MOST):
            given_up = [asyncio.create_task(store.load(made[0].record.key)) for _ in range(4)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for task in given_up:
                task.cancel()
            for change in made[1:]:
                assert [for_deciding(change.record)] == list(await store.load(change.record.key))
            await asyncio.gather(*given_up, return_exceptions=True)

    play(postgresql, story)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_process_leaves_the_parents_connections_alone(postgresql: Place) -> None:
    """A child has connections of its own, and those of its parent live on."""
    postgresql.empty()
    store = AsyncSQLAlchemyStore.from_url(postgresql.by(DRIVER))
    first = b.attempt()

    async def is_found() -> bool:
        return [first.record] == list(await store.history(first.record.key))

    with asyncio.Runner() as runner:
        assert runner.run(store.commit(first))
        before = runner.run(fetched(store, "SELECT pg_backend_pid()"))
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if asyncio.Runner().run(is_found()) else 1
            finally:
                os._exit(code)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert runner.run(is_found())
        assert before == runner.run(fetched(store, "SELECT pg_backend_pid()"))
        runner.run(store.aclose())


def test_a_closed_store_has_no_connections(postgresql: Place) -> None:
    """Using it is an error."""
    before = len(postgresql.answer(SESSIONS))

    async def story(store: AsyncSQLAlchemyStore) -> None:
        await asyncio.gather(*(store.load("x") for _ in range(MOST)))
        await store.aclose()
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.load("x")
        for _ in range(1000):
            if len(await asyncio.to_thread(postgresql.answer, SESSIONS)) <= before:
                return
        raise AssertionError("connections are left open")

    play(postgresql, story)


def test_an_answer_that_never_comes_is_not_waited_for(
    postgresql: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server keeps no time limit, ours ends the wait, and the next try is fine."""
    monkeypatch.setattr(engines, "STATEMENT_MS", 500)

    async def story(store: AsyncSQLAlchemyStore) -> None:
        await fetched(store, "SET statement_timeout = 0")
        first = b.attempt()
        assert await store.commit(first)
        step = b.next_change(first.record, b.paid())
        with postgresql.engine().begin() as other:
            other.execute(text("UPDATE xpay_flow_intents SET reconcile_at_ms = 1"))
            with pytest.raises(StoreUnavailable, match="not known"):
                await store.commit(step)
        # It may have been written, and then this is a copy.
        await store.commit(step)
        assert [step.record] == list(await store.history(first.record.key))

    play(postgresql, story)


def test_a_batch_reads_no_whole_table(postgresql: Place) -> None:
    """What is written down together is found by indexes, however little it is of the whole."""

    async def story(store: AsyncSQLAlchemyStore) -> None:
        made = [b.attempt(f"order-{n}") for n in range(2000)]
        assert all(await store.commit_many(made))
        await fetched(store, "SELECT pg_stat_force_next_flush()")
        await asyncio.to_thread(analysed)
        for few in (1, 10, 32):
            steps = [b.next_change(made.pop().record, b.created(), b.paid()) for _ in range(few)]
            assert all(await store.commit_many(steps))
            assert await store.commit(b.next_change(steps[0].record, b.refunded()))

    def analysed() -> None:
        with postgresql.connected() as admin:
            admin.execute(text("ANALYZE"))
            admin.execute(text("SELECT pg_stat_reset()"))

    play(postgresql, story)
    # A session reports its reads when it ends, at the latest.
    for _ in range(1000):
        looked_up, read = postgresql.answer(SCANNED)[0]
        if looked_up:
            break
    assert (True, 0) == (looked_up > 0, read)
