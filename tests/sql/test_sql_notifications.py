"""That a payment which another process records is shown at once, where PostgreSQL reports it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from xpay_flow import AsyncFlow, Flow
from xpay_flow import sample_records as b
from xpay_flow.settings import Settings
from xpay_flow.stores import open_store
from xpay_flow.testing.adapter_suite import event, signature, until
from xpay_flow_sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore

from .kit import ANSWERS_S, Place

DRIVERS = ["postgresql", "postgresql+psycopg_async", "postgresql+asyncpg"]
SETTINGS = Settings.sandbox()
WAIT_S = 25.0


class NeverLooks:
    """A clock that stands still, so that a watcher never looks."""

    def __init__(self) -> None:
        self.is_let_go = threading.Event()

    def now_ms(self) -> int:
        return b.NOW_MS

    def pause(self, seconds: float) -> None:
        self.is_let_go.wait(WAIT_S)


class AsyncNeverLooks(NeverLooks):
    async def pause(self, seconds: float) -> None:  # type: ignore[override]  # the async namesake
        while not self.is_let_go.is_set():
            await asyncio.sleep(0.01)


class Customer:
    """A customer who waits in a process of its own, as it were: another flow on the database."""

    def __init__(self, url: str) -> None:
        self.status: Any = None
        store: Any = open_store(url)
        self.flow: Any
        self.clock: NeverLooks
        if isinstance(store, AsyncSQLAlchemyStore):
            self.flow, self.clock = AsyncFlow(store, SETTINGS, background=False), AsyncNeverLooks()
        else:
            self.flow, self.clock = Flow(store, SETTINGS, background=False), NeverLooks()
        self.flow._watcher._clock = self.clock
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    @property
    def is_waiting(self) -> bool:
        return bool(self.flow.ports.shared.waiting.keys())

    def _wait(self) -> None:
        if isinstance(self.flow, AsyncFlow):
            asyncio.run(self._await())
        else:
            self.status = self.flow.status("in_1", wait_s=WAIT_S)
            self.flow.close()

    async def _await(self) -> None:
        self.status = await self.flow.status("in_1", wait_s=WAIT_S)
        self.clock.is_let_go.set()
        await self.flow.close()

    def shown(self) -> Any:
        """What was shown without a look. The customer leaves before the database does."""
        self._thread.join(ANSWERS_S / 2)
        status = self.status
        self.clock.is_let_go.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        return status


@pytest.fixture
def place(postgresql: Place) -> Place:
    postgresql.empty()
    with SQLAlchemyStore.from_url(postgresql.by("postgresql")) as store:
        for step in b.history(b.created()):
            assert store.commit(step)
    return postgresql


def until_listening(place: Place) -> None:
    listens = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    until(lambda: bool(place.answer(f"{listens} AND datname = current_database()")), "one listens")


def pay(url: str) -> None:
    """The webhook of another process, which ends at once."""
    body = event("in_1", "whe_1")
    store: Any = open_store(url)
    if isinstance(store, AsyncSQLAlchemyStore):

        async def paid() -> None:
            async with AsyncFlow(store, SETTINGS, background=False) as flow:
                await flow.receive_webhook([signature(body)], body)

        asyncio.run(paid())
    else:
        with Flow(store, SETTINGS, background=False) as flow:
            flow.receive_webhook([signature(body)], body)


@pytest.mark.parametrize("writer", DRIVERS)
@pytest.mark.parametrize("waiter", DRIVERS)
def test_a_commit_elsewhere_is_shown_by_a_notification(
    place: Place, waiter: str, writer: str
) -> None:
    """Whatever the drivers of the two, a commit wakes a customer whose watcher does not look."""
    customer = Customer(place.by(waiter))
    until(lambda: customer.is_waiting, "the customer waits")
    until_listening(place)
    pay(place.by(writer))
    assert "SUCCESS" == customer.shown().status


@pytest.mark.parametrize("driver", DRIVERS)
def test_without_notifications_it_would_not_be_shown(
    place: Place, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above has teeth: where nothing is reported, the customer waits on."""
    monkeypatch.setattr("xpay_flow.change_reports._Reports._is_new", lambda *_: False)
    monkeypatch.setattr("sql.test_sql_notifications.ANSWERS_S", 2.0)
    customer = Customer(place.by(driver))
    until(lambda: customer.is_waiting, "the customer waits")
    pay(place.by(driver))
    assert customer.shown() is None
