"""That a job is one worker's as long as it lives, and free as soon as it does not."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from xpay_flow import sample_records as b
from xpay_flow.flow import AsyncFlow
from xpay_flow.flows import HandlerResult
from xpay_flow.payment import Payment
from xpay_flow.ports import RowLocking, is_locked
from xpay_flow.testing.store_suite import put
from xpay_flow_sqlalchemy import AsyncSQLAlchemyStore

from .kit import Place
from .shop_tables import LEASE_S, Shop, shop_on

SOON_S = 1.0


@pytest.fixture(params=["postgresql", "mariadb"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with shop_on(request.param, request, tmp_path) as shop:
        yield shop


@contextmanager
def worker_at_work(shop: Shop, *, row_locks: bool = True) -> Generator[int]:
    """A process that has begun to call a handler, and never comes to its end; its id."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _work_for_ever(shop, writable, row_locks)
        finally:
            os._exit(1)
    os.close(writable)
    assert b"at work" == os.read(readable, 10)
    try:
        yield child
    finally:
        os.close(readable)
        kill(child)


def _work_for_ever(shop: Shop, writable: int, row_locks: bool) -> None:
    def fulfil(_: Payment) -> None:
        os.write(writable, b"at work")
        signal.pause()

    store: Any = shop.opened()
    store.can_lock = row_locks
    flow = shop.world.new_flow(store)
    flow.on_success(fulfil)
    flow.deliver()


def kill(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def delivered(shop: Shop) -> list[str]:
    """A pass of this process: how each call ended."""
    return [one.outcome for one in shop.world.flow.deliver() if isinstance(one, HandlerResult)]


def test_a_killed_workers_job_is_taken_over_at_once(shop: Shop) -> None:
    """Not while it lives; and within a second after `kill -9`, while the shop's clock stands
    still, so that no claim has run out."""
    key = shop.paid()
    with worker_at_work(shop) as child:
        assert [] == delivered(shop)
        kill(child)
        died = monotonic()
        while not (done := delivered(shop)):
            assert monotonic() - died < SOON_S
    assert ["done"] == done
    assert [key] == shop.world.called("on_success")
    assert ["started", "started", "done"] == [entry.outcome for entry in shop.entry().log]


def test_a_long_handler_is_not_called_twice(shop: Shop) -> None:
    """A worker that lives keeps its job, also when its claim has run out."""
    shop.paid()
    with worker_at_work(shop):
        shop.world.advance(LEASE_S)
        assert [] == delivered(shop)


def test_a_worker_that_only_writes_claims_is_respected(shop: Shop) -> None:
    """Beside workers that hold records there may be such that cannot: theirs must run out."""
    shop.paid()
    with worker_at_work(shop, row_locks=False) as child:
        assert [] == delivered(shop)
        kill(child)
        assert [] == delivered(shop)
        shop.world.advance(LEASE_S)
        assert ["done"] == delivered(shop)


def test_a_worker_that_cannot_hold_respects_those_that_do(shop: Shop) -> None:
    """The claim is written as well, so a worker that reads claims only keeps away."""
    shop.paid()
    with worker_at_work(shop):
        store: Any = shop.world.flow.store
        store.can_lock = False
        assert [] == delivered(shop)


def test_a_call_that_kills_its_workers_is_not_free_at_once_for_ever(shop: Shop) -> None:
    """The second worker to die of one call leaves a claim that has to run out; then the call is
    given up, so that it takes no third one, and an operator is alerted."""
    shop.paid()
    for _ in range(2):
        with worker_at_work(shop) as child:
            kill(child)
    assert not is_locked(shop.entry())
    assert [] == delivered(shop)
    shop.world.advance(LEASE_S)
    assert ["gave_up", "done"] == delivered(shop)
    assert [] == shop.world.called("on_success")
    assert 1 == len(shop.world.called("on_attention"))


def test_an_event_does_not_wait_for_a_lock(shop: Shop) -> None:
    """While a worker holds a record, changes of it are committed as ever."""
    store: Any = shop.world.flow.store
    first = put(store, b.attempt())
    assert isinstance(store, RowLocking)
    with store.lock(first.key) as is_mine:
        assert is_mine
        second = put(store, b.next_change(first, b.created("in_1"), b.paid()))
        with store.lock(first.key) as again:
            assert not again
    with store.lock(first.key) as again:
        assert again
    assert [second] == list(store.history(first.key))


def test_two_workers_share_the_work(shop: Shop) -> None:
    """Many jobs, several workers at once: each handler is called once."""
    keys = sorted(shop.paid(f"order-{number}") for number in range(12))
    flows = [shop.world.new_flow(shop.opened()) for _ in range(3)]
    together = threading.Barrier(len(flows))

    def work(number: int) -> None:
        together.wait(10)
        flows[number].deliver()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(flows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for flow in flows:
        flow.close()
    assert keys == sorted(shop.world.called("on_success"))


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg_async", "postgresql"])
def test_an_awaited_worker_holds_too(
    postgresql: Place, request: pytest.FixtureRequest, tmp_path: Path, driver: str
) -> None:
    """While its handler is awaited, others find the record held; also over a blocking driver."""
    with shop_on("postgresql", request, tmp_path) as shop:
        key = shop.paid()
        called: list[str] = []

        async def story() -> None:
            async with AsyncFlow.open(
                postgresql.by(driver), shop.world.settings, background=False
            ) as flow:

                async def fulfil(payment: Payment) -> None:
                    assert [] == delivered(shop)
                    called.append(payment.idempotency_key)

                flow.on_success(fulfil)
                await flow.deliver()

        asyncio.run(story())
        assert [key] == called
        assert "done" == shop.entry().status


def test_a_cancelled_worker_lets_go(
    postgresql: Place, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A task that is ended in the middle of a handler gives the record up."""
    with shop_on("postgresql", request, tmp_path) as shop:
        shop.paid()

        async def story() -> None:
            store = AsyncSQLAlchemyStore.from_url(postgresql.by("postgresql+asyncpg"))
            async with AsyncFlow(store, shop.world.settings, background=False) as flow:
                begun = asyncio.Event()

                async def fulfil(_: Payment) -> None:
                    begun.set()
                    await asyncio.Event().wait()

                flow.on_success(fulfil)
                working = asyncio.create_task(flow.deliver())
                async with asyncio.timeout(60):
                    await begun.wait()
                working.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await working

        asyncio.run(story())
        with shop.world.flow.store.lock("attempt:sandbox/local:1:order-42") as is_mine:  # type: ignore[attr-defined]
            assert is_mine
