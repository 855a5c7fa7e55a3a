"""That purchases are safe behind a pooler in transaction mode: with the option they are fulfilled,
and without it the store does not open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from time import monotonic
from typing import Any

import pytest
from click.testing import CliRunner
from flows.kit import UNHURRIED
from sqlalchemy import create_engine, text

from xpay_flow import AsyncFlow, Flow, Money, Settings
from xpay_flow import sample_records as b
from xpay_flow.cli.root import xpay_flow
from xpay_flow.errors import ConfigurationError, StoreUnavailable
from xpay_flow.sandbox import Delivery, Sandbox
from xpay_flow.stores import open_store
from xpay_flow.testing.limits import within_s
from xpay_flow.testing.store_suite import put
from xpay_flow.testing.world import AsyncSandboxTransport, SandboxTransport
from xpay_flow_sqlalchemy import SQLAlchemyStore, engines, migrating
from xpay_flow_sqlalchemy import pooler as poolers_found

from .kit import BlockingStore, Place
from .poolers import IGNORES_SETTINGS, pooler

DRIVERS = ["postgresql+psycopg", "postgresql+psycopg_async", "postgresql+asyncpg"]
PURCHASES = 40
AT_ONCE = 8
ENDS_S = 120.0
# A statement is given up after 2.4 s, and a connection after 2 s.
GIVEN_UP_S = 6.0


@contextmanager
def bounded() -> Iterator[None]:
    began = monotonic()
    yield
    assert monotonic() - began < GIVEN_UP_S


def in_turn(buy: Callable[[int], None], first: int, purchases: int) -> None:
    """What one of the threads does."""
    for number in range(first, purchases, AT_ONCE):
        buy(number)


# --- purchases -----------------------------------------------------------------------------------


class Shop:
    """What a shop on either face does with one customer after another."""

    def __init__(self) -> None:
        self.xpay = Sandbox(UNHURRIED, seed=0)
        self.paid: set[str] = set()
        self.errors: list[Exception] = []
        self._lock = threading.Lock()

    def order(self, number: int) -> dict[str, Any]:
        return {
            "receipt_id": f"order-{number}",
            "money": Money(1999, "USD"),
            "callback_url": "https://shop.example/thanks",
            "customer": {"name": "Ada Example", "email": "ada@example.org"},
        }

    def webhooks(self) -> list[Delivery]:
        with self._lock:
            due = list(self.xpay.due())
            for delivery in due:
                self.xpay.outcome(delivery, 200)
        return due

    def fulfil(self, payment: Any) -> None:
        self.paid.add(payment.receipt_id)

    def blocking(self, url: str, purchases: int = PURCHASES) -> None:
        """Purchases from several threads of one `Flow`."""
        transport = SandboxTransport(self.xpay)
        with Flow.open(url, Settings.sandbox(), transport=transport, background=False) as flow:
            flow.ports.shared.rate_limiter._spacing_ms = 0
            flow.on_success(self.fulfil)

            def buy(number: int) -> None:
                try:
                    self.xpay.pay(flow.start_checkout(**self.order(number)).x_intent_id or "")
                    for webhook in self.webhooks():
                        flow.receive_webhook(webhook.headers, webhook.body)
                    flow.deliver()
                except Exception as error:
                    self.errors.append(error)

            within_s(ENDS_S, *(partial(in_turn, buy, n, purchases) for n in range(AT_ONCE)))
            flow.deliver()

    async def awaiting(self, url: str, purchases: int = PURCHASES) -> None:
        """The same in tasks of one `AsyncFlow`."""
        transport = AsyncSandboxTransport(self.xpay)
        gate = asyncio.Semaphore(AT_ONCE)
        async with AsyncFlow.open(
            url, Settings.sandbox(), transport=transport, background=False
        ) as flow:
            flow.ports.shared.rate_limiter._spacing_ms = 0
            flow.on_success(self.fulfil)

            async def buy(number: int) -> None:
                async with gate:
                    try:
                        checkout = await flow.start_checkout(**self.order(number))
                        self.xpay.pay(checkout.x_intent_id or "")
                        for webhook in self.webhooks():
                            await flow.receive_webhook(webhook.headers, webhook.body)
                        await flow.deliver()
                    except Exception as error:
                        self.errors.append(error)

            async with asyncio.timeout(ENDS_S):
                await asyncio.gather(*map(buy, range(purchases)))
                await flow.deliver()

    def go(self, url: str, purchases: int = PURCHASES) -> None:
        if "async" in url:
            asyncio.run(self.awaiting(url, purchases))
        else:
            self.blocking(url, purchases)


@pytest.mark.parametrize("connections", [4, 20])
@pytest.mark.parametrize("driver", DRIVERS)
def test_all_purchases_are_fulfilled_behind_a_pooler(
    postgresql: Place, driver: str, connections: int
) -> None:
    """With few connections of the server and with many, each of 40 orders is fulfilled, and no
    customer, webhook or worker meets an error."""
    postgresql.empty()
    with pooler(postgresql, default_pool_size=connections) as place:
        shop = Shop()
        shop.go(place.by(driver, pooler="transaction"))
    assert [] == shop.errors
    assert {f"order-{n}" for n in range(PURCHASES)} == shop.paid


def test_prepared_statements_behind_a_pooler_are_noticed(
    postgresql: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: without the option's settings, and without the look at the start, purchases fail."""
    postgresql.empty()
    monkeypatch.setattr(poolers_found, "refuse_unless_named", lambda *_: "none")
    with pooler(postgresql, default_pool_size=4, **IGNORES_SETTINGS) as place:
        shop = Shop()
        try:
            shop.go(place.by("postgresql+asyncpg"), purchases=8)
        except StoreUnavailable as error:  # Of the last delivery.
            shop.errors.append(error)
    assert shop.errors


# --- what the start finds ------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, IGNORES_SETTINGS], ids=["refuses", "ignores"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_store_behind_a_pooler_does_not_open_without_the_option(
    postgresql: Place, driver: str, settings: dict[str, str]
) -> None:
    """The error names the option, whether the pooler refuses a session's settings or drops them."""
    with (
        pooler(postgresql, default_pool_size=4, **settings) as place,
        pytest.raises(ConfigurationError, match=r"\?pooler=transaction to the URL"),
    ):
        open_store(place.by(driver))


def test_an_engine_that_prepares_is_refused_behind_a_pooler(postgresql: Place) -> None:
    """An engine of the shop's own must prepare nothing where it says that there is a pooler."""
    with pooler(postgresql) as place:
        for arguments in ({}, {"prepare_threshold": 1}):
            engine = create_engine(place.by("postgresql+psycopg"), connect_args=arguments)
            with pytest.raises(ConfigurationError, match="prepares statements"):
                SQLAlchemyStore(engine, pooler="transaction")
            engine.dispose()
        engine = create_engine(
            place.by("postgresql+psycopg"), connect_args={"prepare_threshold": None}
        )
        with pytest.raises(ConfigurationError, match="pooler"):
            SQLAlchemyStore(engine)
        store = SQLAlchemyStore(engine, pooler="transaction")
        assert not store.can_lock
        assert "transaction" == store.pooler_found
        engine.dispose()


def test_a_pooler_in_session_mode_needs_no_option(postgresql: Place) -> None:
    """It keeps a connection for each client, so nothing of a session is lost."""
    settings = {"ignore_startup_parameters": "options"}
    with (
        pooler(postgresql, "session", **settings) as place,
        SQLAlchemyStore.from_url(place.by("postgresql")) as store,
    ):
        assert store.can_lock
        assert "unknown" == store.pooler_found


def test_no_pooler_is_found_where_there_is_none(postgresql: Place) -> None:
    """The server itself is known by its process; the option may be given all the same."""
    for options in ({}, {"pooler": "transaction"}):
        with SQLAlchemyStore.from_url(postgresql.by("postgresql", **options)) as store:
            assert "none" == store.pooler_found


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://localhost/shop?pooler=session", "write pooler=transaction"),
        ("postgresql://localhost/shop?pooler=yes", "write pooler=transaction"),
        ("mariadb://localhost/shop?pooler=transaction", "is for PostgreSQL"),
        ("sqlalchemy+sqlite:///shop.db?pooler=transaction", "is for PostgreSQL"),
    ],
)
def test_the_option_of_a_pooler_is_one_word(url: str, words: str) -> None:
    """Whatever else is refused before anything is connected."""
    with pytest.raises(ConfigurationError, match=words):
        engines.place(url)


# --- limits, and the tables ----------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_pooler_without_a_free_connection_is_not_waited_for_long(
    postgresql: Place, driver: str
) -> None:
    """Where another client keeps the only connection of the server, a statement is given up."""
    postgresql.empty()
    with pooler(postgresql, default_pool_size=1) as place:
        url = place.by(driver, pooler="transaction")
        store: Any = BlockingStore(url) if "async" in url else open_store(url)
        with closing(store):
            first = put(store, b.attempt())
            with place.engine().begin() as other:
                other.execute(text("SELECT 1"))
                with bounded(), pytest.raises(StoreUnavailable):
                    store.commit(b.next_change(first, b.paid()))
            put(store, b.next_change(first, b.paid()))


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_tables_are_made_through_a_pooler(postgresql: Place, driver: str) -> None:
    """`xpay-flow db` works behind it, with the same option."""
    with pooler(postgresql, default_pool_size=2) as place:
        url = place.by(driver, pooler="transaction", table_prefix="pooled_")
        assert 0 == migrating.current(url)
        assert 0 < migrating.upgrade(url)
        migrating.check(url)
        migrating.remove(url)


def test_doctor_reports_a_pooler(postgresql: Place) -> None:
    """Without the option it is a problem to fix, and with it a note."""
    with pooler(postgresql, default_pool_size=4) as place:
        missing = CliRunner().invoke(xpay_flow, ["doctor", "--store", place.by("postgresql")])
        assert "add ?pooler=transaction to the URL" in missing.output
        url = place.by("postgresql", pooler="transaction")
        named = CliRunner().invoke(xpay_flow, ["doctor", "--store", url])
        assert "behind a connection pooler in transaction mode, which the URL names" in named.output


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_listens_behind_a_pooler(postgresql: Place, driver: str) -> None:
    """LISTEN would be the session's, which is not ours."""
    url = postgresql.by(driver, pooler="transaction")
    store: Any = BlockingStore(url) if "async" in url else open_store(url)
    with closing(store):
        assert not getattr(store, "store", store).can_listen
