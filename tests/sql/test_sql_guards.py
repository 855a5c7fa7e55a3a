"""What the databases themselves refuse, and what becomes of their errors."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import servers
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import Event
from xpay_flow.records import attempt_key, without_payload
from xpay_flow.stores.codec import part_to_document, to_text
from xpay_flow.stores.shares import CONNECTIONS
from xpay_flow.testing.store_suite import put, together
from xpay_flow.testing.world import World
from xpay_flow_sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore, engines, migrating, stores
from xpay_flow_sqlalchemy import database as databases

from .kit import ANSWERS_S, BlockingStore, Place

KINDS = ["postgresql", "mariadb", "sqlite"]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLAlchemyStore]:
    """An empty store on each database in turn."""
    if request.param == "sqlite":
        url = f"sqlalchemy+sqlite:///{tmp_path}/payments.db"
        migrating.upgrade(url)
    else:
        place: Place = request.getfixturevalue(request.param)
        place.empty()
        url = place.by(request.param)
    with SQLAlchemyStore.from_url(url) as store:
        yield store


def executing(statement: str) -> Callable[[Connection], Any]:
    return lambda connection: connection.execute(text(statement))


# --- what is refused -----------------------------------------------------------------------------


def test_the_database_refuses_a_reader_that_writes(store: SQLAlchemyStore) -> None:
    """A reader's transactions are read-only to the database itself, each of them."""
    first = put(store, b.attempt())
    reader = store.reader()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"(?i)read.?only"):
            reader._database.read_only(executing("DELETE FROM xpay_flow_aliases"))
        assert [first] == list(reader.history(first.key))
    second = put(store, b.next_change(first, b.paid()))
    assert [second] == list(reader.history(first.key)), "the same connections write for others"


def test_versions_are_those_of_the_records(store: SQLAlchemyStore) -> None:
    """A reader finds many versions at once, and nothing for keys of which there is no record."""
    first = put(store, b.attempt())
    second = put(store, b.next_change(put(store, b.attempt("order-2")), b.paid()))
    keys = (first.key, second.key, "unknown")
    assert {first.key: 1, second.key: 2} == store.reader().versions(keys)
    assert {} == store.reader().versions(["unknown"])


@pytest.mark.parametrize(
    "statement", ["UPDATE xpay_flow_events SET why = 'x'", "DELETE FROM xpay_flow_events"]
)
def test_events_cannot_be_changed(store: SQLAlchemyStore, statement: str) -> None:
    """Not even plain SQL changes what is on file."""
    first = put(store, b.attempt())
    with pytest.raises(StoreUnavailable, match="append-only"):
        store._database.write(executing(statement))
    assert [first] == list(store.history(first.key))


ERASED = "document = :erased"


@pytest.mark.parametrize(
    ("statement", "change"),
    [
        (f"UPDATE xpay_flow_events SET {ERASED}, why = 'x' WHERE kind = 'intent.success'", {}),
        (f"UPDATE xpay_flow_events SET {ERASED}, at_ms = 5 WHERE kind = 'intent.success'", {}),
        (
            f"UPDATE xpay_flow_events SET {ERASED} WHERE kind = 'intent.success'",
            {"amount_minor": 1},
        ),
        (f"UPDATE xpay_flow_events SET {ERASED} WHERE kind = 'intent.success'", {"payload": "{}"}),
    ],
)
def test_of_an_event_the_payload_alone_can_be_erased(
    store: SQLAlchemyStore, statement: str, change: dict[str, Any]
) -> None:
    """Plain SQL may take the payload out, and nothing else with it."""
    whole = put(store, *b.history(b.created(), b.paid()))
    (paid,) = (each for each in whole.events if each.event.kind == "intent.success")

    def update(statement: str, event: Event) -> Callable[[Connection], Any]:
        document = to_text(part_to_document(attrs.evolve(paid, event=event)))
        return lambda connection: connection.execute(text(statement), {"erased": document})

    blanked = without_payload(paid).event
    with pytest.raises(StoreUnavailable, match="append-only"):
        store._database.write(update(statement, attrs.evolve(blanked, **change)))
    assert [whole] == list(store.history(whole.key))
    allowed = f"UPDATE xpay_flow_events SET {ERASED} WHERE kind = 'intent.success'"
    store._database.write(update(allowed, blanked))
    (after,) = store.history(whole.key)
    assert [*whole.events[:-1], without_payload(paid)] == list(after.events)


def test_a_event_is_on_file_once(store: SQLAlchemyStore) -> None:
    """A second copy of one event is refused by the database, and the whole change with it."""
    first = put(store, b.attempt())
    step = b.next_change(first, b.paid())
    (again,) = first.events
    twice = type(step)(
        record=step.record,
        expected_version=step.expected_version,
        new_events=(*step.new_events, again),
        changed_entries=step.changed_entries,
    )
    with pytest.raises(StoreUnavailable, match="nothing was changed"):
        store.commit(twice)
    assert [first] == list(store.history(first.key))


def test_a_part_belongs_to_a_record(store: SQLAlchemyStore) -> None:
    """No part is left without its record."""
    put(store, b.attempt())
    with pytest.raises(StoreUnavailable, match=r"(?i)foreign key"):
        store._database.write(executing("DELETE FROM xpay_flow_intents"))


def test_names_are_compared_to_the_byte(store: SQLAlchemyStore) -> None:
    """Capitals, accents and blanks at the end make another order."""
    names = ("order-1", "Order-1", "órder-1", "order-1 ", "order-1\u00a0")
    made = [put(store, b.attempt(name)) for name in names]
    for name, record in zip(names, made, strict=True):
        assert [record] == list(store.history(attempt_key(name, 1, b.REALM)))


def test_the_longest_names_fit(store: SQLAlchemyStore) -> None:
    """Ids of 255 characters outside of the basic plane are kept whole."""
    name = "\U0001f6d2" * 255
    record = put(store, b.attempt(name))
    event = b.webhook("intent.success", name, x_intent_id=name, amount_minor=1999, currency="USD")
    record = put(store, b.next_change(record, event))
    assert [record] == list(store.history(f"x:{name}"))


def test_people_can_query(store: SQLAlchemyStore) -> None:
    """The columns hold what the record holds."""
    put(store, *b.history(b.created(), b.paid(), b.refunded("rf_1", 500)))
    query = (
        "SELECT receipt_id, state, amount_minor, currency, refunded_minor, created_at_ms"
        " FROM xpay_flow_intents"
    )
    rows = store._database.read(lambda connection: connection.execute(text(query)).all())
    assert [("order-1", "success", 1999, "USD", 500, b.NOW_MS)] == [tuple(row) for row in rows]


def test_nothing_is_readable_in_an_sqlite_file_after_erase(tmp_path: Path) -> None:
    """What SQLAlchemy has replaced in the file of the shop is overwritten, and its log is empty."""
    url = f"sqlalchemy+sqlite:///{tmp_path}/payments.db"
    migrating.upgrade(url)
    world = World(store=SQLAlchemyStore.from_url(url))
    for n in range(10):
        world.flow.start_checkout(
            receipt_id=f"order-{n}",
            money=b.PRICE,
            callback_url="https://shop.example",
            customer={"name": "Ada Canary", "email": "ada@mail.example"},
            metadata={"for": "Ada Canary"},
        )
        world.xpay.pay(world.flow.timeline(f"order-{n}").intent.x_intent_id or "")  # type: ignore[union-attr]
    world.deliver_webhooks()
    world.flow.deliver()
    assert b"Canary" in _bytes_of(tmp_path)
    assert 10 == len(world.flow.erase("ada@mail.example"))
    assert b"Canary" not in _bytes_of(tmp_path)
    world.flow.close()


def _bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


# --- several at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_no_isolation_makes_two_win(postgresql: Place, level: str) -> None:
    """However strict a database is set, of two writers one wins and the other hears of it."""
    postgresql.empty()
    options = f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"
    with SQLAlchemyStore.from_url(postgresql.by("postgresql", options=options)) as store:
        for n in range(10):
            first = put(store, b.attempt(f"order-{n}"))
            steps = [b.next_change(first, b.failed(f"whe_{i}")) for i in range(3)]
            won = together(*(lambda step=step: store.commit(step) for step in steps))
            assert [False, False, True] == sorted(won)


class Conflict(Exception):
    """What a driver raises when the database wants the transaction again."""

    sqlstate = "40001"


@pytest.mark.parametrize("failures", [2, 3])
def test_a_conflict_is_tried_again_and_not_for_ever(store: SQLAlchemyStore, failures: int) -> None:
    """What the database asks to repeat is repeated twice, and then it is unavailable."""
    tries: list[int] = []

    def work(connection: Connection) -> str:
        tries.append(1)
        if len(tries) <= failures:
            raise OperationalError("…", {}, Conflict("could not serialize access"))
        return "done"

    if failures < databases.TRIES:
        assert "done" == store._database.write(work)
    else:
        with pytest.raises(StoreUnavailable, match="serialize"):
            store._database.write(work)
    assert min(failures + 1, databases.TRIES) == len(tries)


def test_two_that_wait_for_each_other_both_get_through(mariadb: Place) -> None:
    """A deadlock that the database breaks costs a try, and no payment."""
    mariadb.empty()
    with SQLAlchemyStore.from_url(mariadb.by("mariadb")) as store:
        first, second = (put(store, b.attempt(f"order-{n}")) for n in (1, 2))
        both = threading.Barrier(2)
        tries: list[str] = []

        def cross(mine: str, other: str) -> str:
            def work(connection: Connection) -> str:
                _touch(connection, mine)
                tries.append(mine)
                if len(tries) <= 2:
                    both.wait(10)
                _touch(connection, other)
                return mine

            return store._database.write(work)

        keys = (first.key, second.key)
        assert [*keys] == together(lambda: cross(*keys), lambda: cross(*keys[::-1]))
        assert 3 == len(tries)


def _touch(connection: Connection, key: str) -> None:
    update = text(
        "UPDATE xpay_flow_intents SET reconcile_at_ms = reconcile_at_ms + 1 WHERE record_key = :key"
    )
    connection.execute(update, {"key": key})


# --- errors --------------------------------------------------------------------------------------


def test_a_closed_store_is_unavailable(store: SQLAlchemyStore) -> None:
    """After close(), every call raises StoreUnavailable."""
    reader = store.reader()
    store.close()
    for use in (lambda: store.commit(b.attempt()), lambda: reader.load("x")):
        with pytest.raises(StoreUnavailable, match="closed"):
            use()


def test_errors_quote_no_row(store: SQLAlchemyStore) -> None:
    """What goes to a log holds neither the checkout's address nor the order's data."""
    step = b.history(b.created())[-1]
    first = put(store, b.attempt())
    again = type(step)(
        record=step.record, expected_version=1, new_events=(*step.new_events, *first.events)
    )
    with pytest.raises(StoreUnavailable) as caught:
        store.commit(again)
    assert "secret=" not in str(caught.value)
    assert "\n" not in str(caught.value)


def opened(url: str) -> SQLAlchemyStore | BlockingStore:
    return BlockingStore(url) if "async" in url else SQLAlchemyStore.from_url(url)


def ended(place: Place) -> None:
    """End all other connections to the database, as an operator or a failover would."""
    place.answer(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg_async", "postgresql+asyncpg"])
def test_looking_survives_a_lost_connection(postgresql: Place, driver: str) -> None:
    """A connection that was ended while it rested costs a reader nothing."""
    postgresql.empty()
    store = opened(postgresql.by(driver))
    first = put(store, b.attempt())
    ended(postgresql)
    assert [first] == list(store.history(first.key))
    put(store, b.next_change(first, b.paid()))
    reader = store.reader()
    assert first.key == reader.history(first.key)[0].key
    ended(postgresql)
    assert first.key == reader.history(first.key)[0].key
    store.close()


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg_async", "postgresql+asyncpg"])
def test_a_reader_takes_no_connection_that_the_store_needs(
    postgresql: Place, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While as many read as may, a commit finds a connection; and they while others commit."""
    postgresql.empty()
    take_one_connection(monkeypatch)
    store = opened(postgresql.by(driver))
    first = put(store, b.attempt())
    reader = store.reader()

    def commit() -> None:
        with suppress(StoreUnavailable):
            store.commit(b.next_change(first, b.paid()))

    committing = threading.Thread(target=commit)
    with row_is_locked(postgresql, first.key):
        committing.start()
        try:
            until_one_waits(postgresql)
            found = reader.load(first.key)
            assert committing.is_alive()
        finally:
            committing.join(ANSWERS_S)
    assert [first.key] == [record.key for record in found]
    store.close()


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg_async"])
def test_a_reader_in_the_pool_of_the_store_would_be_found(
    postgresql: Place, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one pool for both, whoever looks waits behind a commit until no time is left."""
    postgresql.empty()
    monkeypatch.setattr(stores, "reader_engine", lambda engine: engine)
    with pytest.raises(StoreUnavailable):
        test_a_reader_takes_no_connection_that_the_store_needs(postgresql, driver, monkeypatch)


def take_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have stores opened from here on keep one connection, and wait a moment for it."""
    few = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.2}
    monkeypatch.setattr(engines, "_pool_options", lambda _: few)


@contextmanager
def row_is_locked(place: Place, key: str) -> Generator[None]:
    """Another program's transaction holds the record."""
    with place.engine().begin() as connection:
        lock = "SELECT 1 FROM xpay_flow_intents WHERE record_key = :key FOR UPDATE"
        connection.execute(text(lock), {"key": key})
        yield


def until_one_waits(place: Place) -> None:
    """Come back when a statement waits for the lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    for _ in range(1000):
        if place.answer(f"{waiting} AND datname = current_database()"):
            return
    raise AssertionError("no statement waits for the lock")


def test_writing_over_a_lost_connection_is_not_known(postgresql: Place) -> None:
    """An unknown outcome is not reported as "nothing happened", and the next try is fine."""
    postgresql.empty()
    with SQLAlchemyStore.from_url(postgresql.by("postgresql")) as store:
        first = put(store, b.attempt())
        ended(postgresql)
        with pytest.raises(StoreUnavailable, match="not known"):
            store.commit(b.next_change(first, b.paid()))
        put(store, b.next_change(first, b.paid()))


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+asyncpg"])
def test_an_idle_connection_is_pinged_first(
    postgresql: Place, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    """After a quiet time, a connection that was ended meanwhile is noticed before it is used."""
    postgresql.empty()
    monkeypatch.setattr(engines, "IDLE_S", -1.0)
    store = opened(postgresql.by(driver))
    first = put(store, b.attempt())
    ended(postgresql)
    put(store, b.next_change(first, b.paid()))
    store.close()


def test_waiting_for_a_row_ends_in_time(postgresql: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row locked by another session is an answer of 503 before xPay stops listening."""
    postgresql.empty()
    monkeypatch.setattr(engines, "STATEMENT_MS", 50)
    with SQLAlchemyStore.from_url(postgresql.by("postgresql")) as store:
        first = put(store, b.attempt())
        with postgresql.engine().begin() as other:
            _touch(other, first.key)
            with pytest.raises(StoreUnavailable, match=r"nothing was changed.*statement timeout"):
                store.commit(b.next_change(first, b.paid()))
        put(store, b.next_change(first, b.paid()))


def test_a_rush_waits_for_a_connection_and_not_for_ever(
    postgresql: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are bounded; who gets none in time hears that the store is unavailable."""
    monkeypatch.setattr(engines, "POOL_WAIT_S", 0.05)
    postgresql.empty()
    with SQLAlchemyStore.from_url(postgresql.by("postgresql", connections="3")) as store:

        def nested(_: Connection) -> None:
            store._database.read(innermost)

        def innermost(_: Connection) -> None:
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                store._database.read(lambda _: store.load("x"))

        store._database.read(nested)
        put(store, b.attempt())


# --- a standby that does not answer --------------------------------------------------------------


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg_async", "postgresql+asyncpg"])
def test_a_commit_that_no_standby_has_is_not_acknowledged(postgresql: Place, driver: str) -> None:
    """Ending the wait for the standby is not an acknowledgement, though PostgreSQL commits."""
    postgresql.empty()
    names = postgresql.answer("SHOW synchronous_standby_names")
    if names != [("nobody",)]:
        which = servers.POSTGRESQL.variable
        servers.absent(f"the server of {which} must have synchronous_standby_names=nobody")
    with postgresql.connected() as admin:
        name = postgresql.url.database
        admin.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = 'on'"))
        store = opened(postgresql.by(driver))
        try:
            executing = together(lambda: _refused(store), lambda: _cancel_the_wait(admin))
        finally:
            admin.execute(text(f"ALTER DATABASE {name} RESET synchronous_commit"))
            store.close()
    assert "standby" in str(executing[0])
    assert [(1,)] == postgresql.answer("SELECT count(*) FROM xpay_flow_intents")


def _refused(store: SQLAlchemyStore | BlockingStore) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        store.commit(b.attempt())
    return str(caught.value)


def _cancel_the_wait(admin: Connection) -> str:
    waiting = text(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE wait_event = 'SyncRep' AND datname = current_database()"
    )
    for _ in range(10_000):
        if admin.execute(waiting).all():
            return ""
    raise AssertionError("no session waits for a standby")


# --- cancelling ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "driver"),
    [
        ("postgresql", "postgresql+asyncpg"),
        ("postgresql", "postgresql+psycopg_async"),
        ("mariadb", "mariadb+aiomysql"),
    ],
)
def test_a_cancelled_commit_blocks_no_other(
    request: pytest.FixtureRequest, kind: str, driver: str
) -> None:
    """A webhook whose time is up lets go of its connection, and the next delivery is recorded."""
    place: Place = request.getfixturevalue(kind)
    place.empty()

    async def story() -> bool:
        async with AsyncSQLAlchemyStore.from_url(place.by(driver)) as store:
            first = b.attempt()
            assert await store.commit(first)
            step = b.next_change(first.record, b.paid())
            with place.engine().begin() as other:
                _touch(other, first.record.key)
                for _ in range(CONNECTIONS + 1):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.02):
                            await store.commit(step)
            return await store.commit(step)

    assert asyncio.run(story()) is True


def test_a_server_that_is_missing_fails_where_it_must_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """These tests are left out on a laptop, with a reason, and never in continuous integration."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no server"):
        servers.absent("there is no server")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no server"):
        servers.absent("there is no server")


@pytest.mark.skipif("TEST_MARIADB_URL" in os.environ, reason="the server is not of this run")
def test_a_server_of_the_tests_keeps_its_temporary_tables_to_itself(mariadb: Place) -> None:
    """A MariaDB that starts removes those that it finds, so another run's must lie elsewhere."""
    [(temporary, data)] = mariadb.answer("SELECT @@tmpdir, @@datadir")
    assert Path(data).parent == Path(temporary)
