"""Which URL opens which store, and who may use it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from xpay_flow import AsyncFlow, Flow, Money, Settings
from xpay_flow import sample_records as b
from xpay_flow.errors import ConfigurationError, MissingExtra, SchemaMismatch, StoreUnavailable
from xpay_flow.sandbox import Delivery, Sandbox, SandboxConfig
from xpay_flow.stores import fork_gate, open_store, sqlite_file
from xpay_flow.testing.store_suite import put
from xpay_flow.testing.world import WEBHOOK_URL, AsyncSandboxTransport, World
from xpay_flow_sqlalchemy import (
    AsyncSQLAlchemyStore,
    Names,
    SQLAlchemyStore,
    Tables,
    engines,
    migrating,
)

from .kit import Place

CALLED = [
    ("postgresql", "postgresql"),
    ("postgresql", "postgres"),
    ("mariadb", "mariadb"),
    ("mariadb", "mysql"),
]
AWAITED = [
    ("postgresql", "postgresql+asyncpg"),
    ("postgresql", "postgresql+psycopg_async"),
    ("mariadb", "mariadb+aiomysql"),
    ("mariadb", "mysql+aiomysql"),
]


def url_of(request: pytest.FixtureRequest, kind: str, driver: str) -> str:
    place: Place = request.getfixturevalue(kind)
    place.empty()
    return place.by(driver)


# --- by URL --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "driver"), CALLED)
def test_a_purchase_on_a_store_by_url(
    request: pytest.FixtureRequest, kind: str, driver: str
) -> None:
    """From `sqlite:///` to a server is one line: the rest of the shop is as it was."""
    world = World(open_store(url_of(request, kind, driver)))
    assert isinstance(world.flow.store, SQLAlchemyStore)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    assert 1 == len(world.called("on_success"))
    assert "SUCCESS" == world.status(checkout.x_intent_id).status
    assert 1 == len(world.flow.recent())
    world.flow.close()


@pytest.mark.parametrize(("kind", "driver"), AWAITED)
def test_a_purchase_on_an_awaited_store_by_url(
    request: pytest.FixtureRequest, kind: str, driver: str
) -> None:
    """`AsyncFlow.open` finds the awaited store by its driver."""
    url = url_of(request, kind, driver)

    async def buy() -> tuple[list[str], str]:
        xpay = Sandbox(SandboxConfig(webhook_url=WEBHOOK_URL))
        options: dict[str, Any] = {
            "transport": AsyncSandboxTransport(xpay),
            "background": False,
        }
        paid: list[str] = []
        async with AsyncFlow.open(url, Settings.sandbox(), **options) as flow:
            assert isinstance(flow.store, AsyncSQLAlchemyStore)
            flow.on_success(lambda payment: paid.append(payment.receipt_id))
            checkout = await flow.start_checkout(
                receipt_id="order-1",
                money=Money(1999, "USD"),
                callback_url="https://shop.example/thanks",
                customer={"name": "Ada Example", "email": "ada@example.org"},
            )
            xpay.pay(checkout.x_intent_id or "")
            deliveries: list[Delivery] = []
            xpay.deliver_due(lambda delivery: deliveries.append(delivery) or 200)
            for delivery in deliveries:
                await flow.receive_webhook(delivery.headers, delivery.body)
            await flow.deliver()
            status = await flow.status(checkout.x_intent_id or "")
        return paid, status.status

    assert (["order-1"], "SUCCESS") == asyncio.run(buy())


def test_a_flow_opens_it(postgresql: Place) -> None:
    """`Flow.open` needs the URL and nothing else."""
    with Flow.open(postgresql.by("postgresql"), Settings.sandbox(), background=False) as flow:
        assert isinstance(flow.store, SQLAlchemyStore)


def test_an_awaited_store_looks_at_the_tables_when_it_is_opened(postgresql: Place) -> None:
    """A program whose tables are missing does not start, though it cannot wait for an answer."""
    with pytest.raises(SchemaMismatch, match="xpay-flow db upgrade"):
        AsyncSQLAlchemyStore.from_url(postgresql.by("postgresql+asyncpg", table_prefix="no_"))


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgresql+asyncpg", "mariadb", "mariadb+aiomysql"]
)
def test_a_server_that_is_not_there(scheme: str) -> None:
    """A refused connection is StoreUnavailable, and its text holds no password."""
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        open_store(f"{scheme}://bob:hunter2@127.0.0.1:1/shop")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg"])
def test_a_database_that_is_not_there(postgresql: Place, scheme: str) -> None:
    """So is a refusal by the server itself, from whichever tree the driver raises it."""
    url = postgresql.url.set(drivername=scheme, database="no_such").render_as_string(False)
    with pytest.raises(StoreUnavailable, match="no_such"):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlalchemy+sqlite://", "in memory"),
        ("sqlalchemy+sqlite:///:memory:", "in memory"),
        ("postgresql://bob:hunter2@[::1/shop", "not the URL of a database"),
        ("postgresql://db/shop?table_prefix=A", "table prefix"),
        ("postgresql://db/shop?table_prefix=a&table_prefix=b", "more than once"),
        ("postgresql+pg8000://db/shop", r"no installed package|psycopg"),
    ],
)
def test_a_url_that_cannot_be_meant(url: str, words: str) -> None:
    """The error is shown without the password."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("driver", "extra"),
    [
        ("postgresql", "postgresql"),
        ("postgres", "postgresql"),
        ("postgresql+asyncpg", "asyncpg"),
        ("mysql", "mysql"),
    ],
)
def test_a_missing_driver_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, driver: str, extra: str
) -> None:
    """A missing driver is an error that names what to install."""
    for module in ("psycopg", "asyncpg", "pymysql"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises((MissingExtra, ConfigurationError), match=rf"xpay-flow\[{extra}\]"):
        open_store(f"{driver}://db/shop")


def test_importing_xpay_flow_loads_no_sqlalchemy() -> None:
    """Who does not use it does not pay for it; the command line neither."""
    code = "import sys, xpay_flow, xpay_flow.cli.root; print('sqlalchemy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert "False" == done.stdout.strip()


# --- on an engine of the shop's own --------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    migrating.upgrade(f"sqlalchemy+sqlite:///{path}?table_prefix=pay_")
    return path


def test_an_engine_of_the_shops_stays_open(path: Path) -> None:
    """Who brought the engine closes it."""
    engine = create_engine(f"sqlite:///{path}")
    with SQLAlchemyStore(engine, Tables(names=Names(prefix="pay_"))) as store:
        put(store, b.attempt())
    with engine.connect() as connection:
        assert 1 == connection.exec_driver_sql("SELECT count(*) FROM pay_intents").scalar_one()
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
def test_an_engine_that_commits_each_statement_is_refused(
    request: pytest.FixtureRequest, path: Path, kind: str
) -> None:
    """A change of several statements would not be atomic on it."""
    place: Place | None = request.getfixturevalue(kind) if kind != "sqlite" else None
    url = place.by("mariadb+pymysql") if place else f"sqlite:///{path}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
        SQLAlchemyStore(engine)
    engine.dispose()


def test_an_awaited_engine_of_the_shops(postgresql: Place) -> None:
    """An awaited store on an engine without a pool looks at the tables when it is first used."""
    postgresql.empty()

    async def use(tables: Tables) -> list[str]:
        engine = create_async_engine(postgresql.by("postgresql+asyncpg"), poolclass=NullPool)
        async with AsyncSQLAlchemyStore(engine, tables) as store:
            await store.commit(b.attempt())
            return [record.key for record in await store.history("receipt:order-1")]

    assert ["attempt:sandbox/local:1:order-1"] == asyncio.run(use(Tables()))
    with pytest.raises(SchemaMismatch):
        asyncio.run(use(Tables(names=Names(prefix="no_"))))


def test_a_driver_whose_warnings_we_cannot_hear_is_refused() -> None:
    """A commit that no standby has could be acknowledged with it."""
    engine = create_engine("postgresql+pg8000://db/shop", module=_nothing_but_a_name())
    with pytest.raises(ConfigurationError, match="psycopg"):
        SQLAlchemyStore(engine)


def _nothing_but_a_name() -> object:
    class Module:
        __version__ = "1.31.0"
        paramstyle = "format"
        Error = Exception

    return Module


# --- several processes ---------------------------------------------------------------------------


@pytest.fixture
def store(postgresql: Place) -> Iterator[SQLAlchemyStore]:
    postgresql.empty()
    with SQLAlchemyStore.from_url(postgresql.by("postgresql")) as store:
        yield store


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_process_has_connections_of_its_own(store: SQLAlchemyStore) -> None:
    """A server that opens the store and then forks its workers may use it in all of them."""
    first = put(store, b.attempt())
    child = os.fork()
    if not child:
        code = 1
        try:
            put(store, b.next_change(first, b.paid()))
            code = 0
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (second,) = store.history(first.key)
    assert 2 == second.version
    put(store, b.next_change(second, b.refunded()))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_no_connection_to_an_sqlite_file_is_carried_into_a_child(tmp_path: Path) -> None:
    """SQLite takes a parent's locks to be its own; a child of a transaction refuses the file."""
    url = f"sqlalchemy+sqlite:///{tmp_path}/payments.db"
    migrating.upgrade(url)
    engine = engines.open_engine(engines.place(url))
    store = SQLAlchemyStore(engine)
    key = put(store, b.attempt()).key

    def forked() -> int:
        child = os.fork()
        if not child:
            code = 1
            try:
                assert not engine.pool.checkedin()  # type: ignore[attr-defined]
                store.history(key)
                code = 0
            except StoreUnavailable:
                code = 3
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert 0 == forked()
    with pytest.MonkeyPatch.context() as patched, engine.connect():
        patched.setattr(fork_gate, "FORK_WAIT_S", 0)
        assert 3 == forked()
    put(store, b.attempt("order-2"))
    store.close()
    engine.dispose()


def test_the_sqlite_file_is_as_durable_as_the_other_stores(tmp_path: Path) -> None:
    """A commit that returned survives a power cut here, too."""
    url = f"sqlalchemy+sqlite:///{tmp_path}/payments.db"
    migrating.upgrade(url)
    engine = engines.open_engine(engines.place(url))
    with engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    engine.dispose()
    assert ["wal", 2, 1] == found


def test_a_sqlite_file_of_the_shops_own_keeps_its_journal_mode(tmp_path: Path) -> None:
    """Our tables stand beside the shop's, and its other programs find the file as they left it."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as shop:
        shop.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
    url = f"sqlalchemy+sqlite:///{path}"
    migrating.upgrade(url)
    with SQLAlchemyStore.from_url(url) as store:
        put(store, b.attempt())
    with closing(sqlite3.connect(path)) as shop:
        assert ("delete",) == shop.execute("PRAGMA journal_mode").fetchone()


def _remove(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def _replace(path: Path) -> None:
    other = path.with_name("other.db")
    migrating.upgrade(f"sqlalchemy+sqlite:///{other}")
    other.replace(path)


@pytest.mark.parametrize("act", [_remove, _replace])
def test_a_file_that_was_removed_or_replaced_is_not_written_to(
    act: Callable[[Path], None], tmp_path: Path
) -> None:
    """Reads and commits fail in words, as in the store without SQLAlchemy."""
    path = tmp_path / "payments.db"
    url = f"sqlalchemy+sqlite:///{path}"
    migrating.upgrade(url)
    with SQLAlchemyStore.from_url(url) as store:
        first = put(store, b.attempt())
        act(path)
        for call in (
            lambda: store.commit(b.next_change(first, b.paid())),
            lambda: store.load(first.key),
            lambda: store.reader().history(first.key),
        ):
            with pytest.raises(StoreUnavailable, match="while it was open"):
                call()


def test_no_file_is_made_in_place_of_one_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may give a new file the number of the removed one, which is then taken for it."""
    for module in (engines, sqlite_file):
        monkeypatch.setattr(module, "identity", lambda path: (1, os.stat(path).st_nlink))
    path = tmp_path / "payments.db"
    url = f"sqlalchemy+sqlite:///{path}"
    migrating.upgrade(url)
    with SQLAlchemyStore.from_url(url) as store:
        first = put(store, b.attempt())
        _remove(path)
        for look in (store.load, store.reader().history):
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="is gone while it was open"):
                    look(first.key)
    assert [] == list(tmp_path.iterdir())


def test_a_file_that_is_made_by_an_upgrade_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Others on the machine cannot read the customers' data, whatever the umask."""
    path = tmp_path / "payments.db"
    before = os.umask(0)
    try:
        migrating.upgrade(f"sqlalchemy+sqlite:///{path}")
    finally:
        os.umask(before)
    assert 0o600 == path.stat().st_mode & 0o777
