"""That a handler within the store's transaction takes effect together with our record, or not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from xpay_flow import sample_records as b
from xpay_flow.effects import RunInTransaction
from xpay_flow.errors import ConfigurationError, StoreUnavailable
from xpay_flow.flow import AsyncFlow
from xpay_flow.flows import HandlerResult
from xpay_flow.payment import Payment
from xpay_flow.ports import Transactional
from xpay_flow.records import Change
from xpay_flow.settings import RETRY_SCHEDULE_S
from xpay_flow.stores import open_store

from .kit import Place
from .shop_tables import KINDS, LEASE_S, Shop, insert, shop_on


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with shop_on(request.param, request, tmp_path) as shop:
        yield shop


def outcomes(shop: Shop) -> list[tuple[str, str]]:
    """How this pass went: outcome and error of each call."""
    done = shop.world.flow.deliver()
    assert all(isinstance(one, HandlerResult) for one in done), done
    return [(one.outcome, one.error) for one in done if isinstance(one, HandlerResult)]


def test_what_a_handler_writes_is_committed_with_our_record(shop: Shop) -> None:
    """Its row and our `done` are there after one pass, and nothing more after the next."""
    shop.world.flow.on_success(transactional=True)(shop.write)
    key = shop.paid()
    assert [("done", "")] == outcomes(shop)
    assert [key] == shop.rows()
    assert "done" == shop.entry().status
    shop.world.advance(LEASE_S)
    assert [] == outcomes(shop)
    assert [key] == shop.rows()


def test_a_handler_that_raises_has_written_nothing(shop: Shop) -> None:
    """Its row is undone, the try is counted as failed, and the next try succeeds."""
    broken = [True]

    def fulfil(payment: Payment, tx: Any) -> None:
        insert(tx, payment.idempotency_key)
        if broken:
            raise RuntimeError("no paper")

    shop.world.flow.on_success(transactional=True)(fulfil)
    key = shop.paid()
    assert [("failed", "RuntimeError: no paper")] == outcomes(shop)
    assert [] == shop.rows()
    assert ["started", "failed"] == [entry.outcome for entry in shop.entry().log]
    assert "pending" == shop.entry().status
    broken.clear()
    shop.world.advance(6)
    assert [("done", "")] == outcomes(shop)
    assert [key] == shop.rows()


def test_a_lost_race_is_run_again_on_what_won(shop: Shop) -> None:
    """Events that comes between is not overwritten, and the handler's row is there once."""
    store: Any = shop.world.flow.store
    commit_with, rivals = store.commit_with, [1, 2]
    called: list[str] = []

    def raced(change: Change, work: Any) -> bool:
        if rivals:
            rivals.pop()
            shop.world.xpay.refund(x_intent_id, 5)
            shop.world.deliver_webhooks()
        won: bool = commit_with(change, work)
        return won

    def fulfil(payment: Payment, tx: Any) -> None:
        called.append(payment.idempotency_key)
        insert(tx, payment.idempotency_key)

    store.commit_with = raced
    shop.world.flow.on_success(transactional=True)(fulfil)
    key = shop.paid()
    (record,) = store.history("receipt:order-42")
    x_intent_id = record.intent.x_intent_ids[0]
    assert ("done", "") == outcomes(shop)[0]
    assert [key] == shop.rows() == called
    (record,) = store.history("receipt:order-42")
    assert ("done", 10) == (shop.entry().status, record.intent.refunded_minor)


def test_a_commit_whose_end_is_not_known_is_not_done_twice(shop: Shop) -> None:
    """The answer of the commit is lost: the record is read, and shows that it is done."""
    store: Any = shop.world.flow.store
    commit_with = store.commit_with

    def unheard(change: Change, work: Any) -> bool:
        commit_with(change, work)
        raise StoreUnavailable("the connection broke after the commit")

    store.commit_with = unheard
    shop.world.flow.on_success(transactional=True)(shop.write)
    key = shop.paid()
    assert [("done", "")] == outcomes(shop)
    store.commit_with = commit_with
    shop.world.advance(LEASE_S)
    assert [] == outcomes(shop)
    assert [key] == shop.rows()


def test_a_commit_that_the_store_refuses_is_tried_again_before_the_claim_runs_out(
    shop: Shop,
) -> None:
    """No connection was free: the call has failed, and its next try is not a lease away."""
    store: Any = shop.world.flow.store
    commit_with = store.commit_with

    def refused(_: Change, __: Any) -> bool:
        raise StoreUnavailable("no connection was free")

    store.commit_with = refused
    shop.world.flow.on_success(transactional=True)(shop.write)
    key = shop.paid()
    assert [("failed", "StoreUnavailable: no connection was free")] == outcomes(shop)
    store.commit_with = commit_with
    shop.world.advance(RETRY_SCHEDULE_S[0])
    assert [("done", "")] == outcomes(shop)
    assert [key] == shop.rows()


def test_a_handler_cannot_end_our_transaction(shop: Shop) -> None:
    """Commit, rollback and close are refused, in words, and nothing is written of it all."""
    ways = ["commit", "rollback", "close"]
    for number, way in enumerate(ways):

        def fulfil(payment: Payment, tx: Any, way: str = way) -> None:
            insert(tx, payment.idempotency_key)
            getattr(tx, way)()
            insert(tx, "after the end")

        shop.world.flow.on_success(transactional=True)(fulfil)
        shop.paid(f"order-{number}")
        ((outcome, error),) = outcomes(shop)
        assert "failed" == outcome, way
        assert error, way
        assert [] == shop.rows(), way


def test_a_handler_that_swallows_the_end_is_found_out(shop: Shop) -> None:
    """One that catches the refusal, or an error of the database, does not count as done."""

    def commits(payment: Payment, tx: Any) -> None:
        insert(tx, payment.idempotency_key)
        try:
            tx.commit()
        except Exception:
            return

    def stumbles(payment: Payment, tx: Any) -> None:
        insert(tx, payment.idempotency_key)
        try:
            tx.execute(text("SELECT * FROM no_such_table"))
        except Exception:
            return

    shop.world.flow.on_success(transactional=True)(commits)
    first = shop.paid("order-1")
    if "sqlite:///" in shop.url and "+" not in shop.url:
        # SQLite refuses the statement alone, and the transaction is whole.
        assert [("done", "")] == outcomes(shop)
        assert [first] == shop.rows()
        return
    ((outcome, _),) = outcomes(shop)
    assert ("failed", []) == (outcome, shop.rows())
    shop.world.flow.on_success(transactional=True)(stumbles)
    second = shop.paid("order-2")
    ((outcome, _),) = outcomes(shop)
    # PostgreSQL has given the transaction up; the others go on with it.
    done = not shop.url.startswith("postgresql")
    assert ("done" if done else "failed") == outcome
    assert ([second] if done else []) == shop.rows()


def test_a_session_may_be_bound_to_the_transaction(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The ORM's own commit flushes into our transaction, and does not end it."""
    for kind in KINDS[1:]:
        with shop_on(kind, request, tmp_path) as shop:

            def fulfil(payment: Payment, tx: Any) -> None:
                with Session(bind=tx) as session:
                    session.execute(
                        text("INSERT INTO shop_orders VALUES (:done)"),
                        {"done": payment.idempotency_key},
                    )
                    session.commit()
                raise RuntimeError("after the session's commit")

            shop.world.flow.on_success(transactional=True)(fulfil)
            shop.paid()
            ((outcome, error),) = outcomes(shop)
            assert ("failed", "RuntimeError: after the session's commit") == (outcome, error), kind
            assert [] == shop.rows(), kind


def test_sqlite_keeps_a_handler_from_going_on_without_us(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """`with tx:`, a script, and an `OR ROLLBACK` that is caught: none gets around our record."""

    def with_block(payment: Payment, tx: Any) -> None:
        with tx:
            insert(tx, payment.idempotency_key)

    def script(payment: Payment, tx: Any) -> None:
        tx.executescript(f"INSERT INTO shop_orders VALUES ('{payment.idempotency_key}')")

    def rolls_back(payment: Payment, tx: Any) -> None:
        tx.execute("CREATE TABLE once (x PRIMARY KEY)")
        tx.execute("INSERT INTO once VALUES (1)")
        try:
            tx.execute("INSERT OR ROLLBACK INTO once VALUES (1)")
        except Exception:
            insert(tx, "on its own")

    with shop_on("embedded", request, tmp_path) as shop:
        for number, handler in enumerate((with_block, script, rolls_back)):
            shop.world.flow.on_success(transactional=True)(handler)
            shop.paid(f"order-{number}")
            ((outcome, _),) = outcomes(shop)
            assert ("failed", []) == (outcome, shop.rows()), handler.__name__


def test_the_effect_holds_the_very_change(shop: Shop) -> None:
    """One effect carries the handler's name and the change, and `done` is in that change."""
    shop.world.flow.on_success(transactional=True)(shop.write)
    shop.paid()
    requested: list[RunInTransaction] = []
    store: Any = shop.world.flow.store
    assert isinstance(store, Transactional)
    commit_with = store.commit_with

    def seen(change: Change, work: Any) -> bool:
        (entry,) = change.changed_entries
        requested.append(RunInTransaction(entry.name, None, change))  # type: ignore[arg-type]
        won: bool = commit_with(change, work)
        return won

    store.commit_with = seen
    shop.world.flow.deliver()
    (one,) = requested
    assert ["done"] == [entry.status for entry in one.change.changed_entries]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_connection_lost_before_the_commit_is_known_to_have_changed_nothing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The transaction is undone with its connection, and the error does not leave it open."""
    with shop_on(kind, request, tmp_path) as shop:
        store: Any = shop.opened()
        place: Place = request.getfixturevalue(kind)

        def lose(tx: Any) -> None:
            insert(tx, "order-1")
            mine = {"postgresql": "pg_backend_pid()", "mariadb": "connection_id()"}[kind]
            end = {"postgresql": "SELECT pg_terminate_backend({0})", "mariadb": "KILL {0}"}[kind]
            own = tx.execute(text(f"SELECT {mine}")).scalar_one()
            with place.connected() as other:
                other.execute(text(end.format(own)))
            insert(tx, "order-2")

        with store, pytest.raises(StoreUnavailable, match="nothing was changed"):
            store.commit_with(b.attempt("order-1"), lose)
        assert [] == shop.rows()
        assert [] == list(shop.world.flow.store.history("receipt:order-1"))


# --- awaited -------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg_async"])
def test_an_awaited_handler_writes_within_the_transaction(
    postgresql: Place, request: pytest.FixtureRequest, tmp_path: Path, driver: str
) -> None:
    """A coroutine is given an `AsyncConnection`: done together, or undone together."""
    with shop_on("postgresql", request, tmp_path) as shop:
        good, bad = shop.paid("order-1"), shop.paid("order-2")

        async def fulfil(payment: Payment, tx: Any) -> None:
            values = {"done": payment.idempotency_key}
            await tx.execute(text("INSERT INTO shop_orders VALUES (:done)"), values)
            if payment.receipt_id == "order-2":
                raise RuntimeError("no paper")

        async def deliver() -> dict[str, str]:
            async with AsyncFlow.open(
                postgresql.by(driver), shop.world.settings, background=False
            ) as flow:
                flow.on_success(transactional=True)(fulfil)
                done = await flow.deliver()
            return {one.entry_id: one.outcome for one in done if isinstance(one, HandlerResult)}

        # Its clock is the real one, which is far beyond the world's.
        assert {good: "done", bad: "failed"} == asyncio.run(deliver())
        assert [good] == shop.rows()


def test_an_awaited_session_may_be_bound_to_the_transaction(
    postgresql: Place, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Its own commit flushes into our transaction, which is undone with all that it wrote."""
    with shop_on("postgresql", request, tmp_path) as shop:
        good, bad = shop.paid("order-1"), shop.paid("order-2")

        async def fulfil(payment: Payment, tx: Any) -> None:
            async with AsyncSession(bind=tx) as session:
                values = {"done": payment.idempotency_key}
                await session.execute(text("INSERT INTO shop_orders VALUES (:done)"), values)
                await session.commit()
            if payment.receipt_id == "order-2":
                raise RuntimeError("after the session's commit")

        async def deliver() -> dict[str, str]:
            url = postgresql.by("postgresql+asyncpg")
            async with AsyncFlow.open(url, shop.world.settings, background=False) as flow:
                flow.on_success(transactional=True)(fulfil)
                done = await flow.deliver()
            return {one.entry_id: one.outcome for one in done if isinstance(one, HandlerResult)}

        assert {good: "done", bad: "failed"} == asyncio.run(deliver())
        assert [good] == shop.rows()


def test_a_plain_handler_is_called_in_the_thread_of_a_blocking_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """AsyncFlow on SQLite gives a plain function the connection of the store's thread."""
    with shop_on("embedded", request, tmp_path) as shop:
        key = shop.paid()

        async def deliver() -> None:
            async with AsyncFlow(
                open_store(shop.url), shop.world.settings, background=False
            ) as flow:
                flow.on_success(transactional=True)(shop.write)
                await flow.deliver()

        asyncio.run(deliver())
        assert [key] == shop.rows()


def test_a_handler_of_the_wrong_kind_is_refused(
    postgresql: Place, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Whether it must be a coroutine depends on the store, and is checked when it is registered."""

    async def awaited(payment: Payment, tx: Any) -> None: ...

    def plain(payment: Payment, tx: Any) -> None: ...

    with shop_on("embedded", request, tmp_path) as shop:
        with pytest.raises(ConfigurationError, match="coroutine"):
            shop.world.flow.on_success(transactional=True)(awaited)
        flow = AsyncFlow(shop.world.flow.store, shop.world.settings, background=False)
        with pytest.raises(ConfigurationError, match="plain function"):
            flow.on_success(transactional=True)(awaited)
        asyncio.run(flow.close())
    url = postgresql.by("postgresql+asyncpg")
    flow = AsyncFlow.open(url, shop.world.settings, background=False)
    with pytest.raises(ConfigurationError, match="must be a coroutine"):
        flow.on_success(transactional=True)(plain)
    asyncio.run(flow.close())
