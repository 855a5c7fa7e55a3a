"""What a webhook costs on the wire, and what becomes of it when the wire breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreUnavailable
from xpay_flow.ports import Store
from xpay_flow.testing.store_suite import put
from xpay_flow.testing.world import World
from xpay_flow_sqlalchemy import SQLAlchemyStore

from .kit import BlockingStore, Place
from .wire import Wire, wire_to

PG_DRIVERS = ["postgresql", "postgresql+psycopg_async", "postgresql+asyncpg"]
# psycopg and SQLAlchemy prepare a statement when it has been seen some times.
OFTEN = 16


def opened(place: Place, driver: str, wire: Wire) -> SQLAlchemyStore | BlockingStore:
    """A store on an empty database, behind the wire."""
    place.empty()
    through = Place(place.url.set(host="127.0.0.1", port=wire.port), place.kind)
    url = through.by(driver)
    return BlockingStore(url) if "a" in driver.partition("+")[2] else SQLAlchemyStore.from_url(url)


@pytest.fixture
def pg_wire(postgresql: Place) -> Iterator[Wire]:
    with wire_to(postgresql.url.host, postgresql.url.port) as wire:
        yield wire


@pytest.fixture
def maria_wire(mariadb: Place) -> Iterator[Wire]:
    with wire_to(mariadb.url.host, mariadb.url.port) as wire:
        yield wire


def warmed(store: Store) -> None:
    """Everything has been prepared that is prepared once."""
    for n in range(OFTEN):
        record = put(store, *b.history(b.created(), b.paid(), receipt_id=f"warm-{n}"))
        if n % 2 == 0:
            # Several events at once make another statement than one.
            put(store, b.next_change(record, b.refunded(), b.refunded("rf_2")))
        store.history(f"receipt:warm-{n}")


@pytest.mark.parametrize("driver", PG_DRIVERS)
def test_reading_and_writing_are_one_round_trip_each(
    postgresql: Place, pg_wire: Wire, driver: str
) -> None:
    """On PostgreSQL a record is found in one round trip, and a change is durable after another."""
    store = opened(postgresql, driver, pg_wire)
    warmed(store)
    before = pg_wire.turns
    (record,) = store.history("receipt:warm-1")
    assert 1 == pg_wire.turns - before
    put(store, b.next_change(record, b.refunded(), b.refunded("rf_2")))
    assert 2 == pg_wire.turns - before
    put(store, b.attempt("new"))
    assert 3 == pg_wire.turns - before
    store.close()


def test_a_webhook_is_two_round_trips(postgresql: Place, pg_wire: Wire) -> None:
    """From the delivery to the 200 there are one look and one durable write."""
    store = opened(postgresql, "postgresql", pg_wire)
    warmed(store)
    world = World(store)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    trips: list[int] = []

    def post(delivery: object) -> int | None:
        before = pg_wire.turns
        status = world.post(delivery)  # type: ignore[arg-type]
        trips.append(pg_wire.turns - before)
        return status

    assert 1 <= world.xpay.deliver_due(post)
    assert {2} == set(trips)
    world.flow.close()


@pytest.mark.parametrize("driver", PG_DRIVERS)
def test_a_change_is_one_transaction(postgresql: Place, pg_wire: Wire, driver: str) -> None:
    """Record, events, outbox and aliases of a change carry one transaction's number."""
    store = opened(postgresql, driver, pg_wire)
    step = b.attempt()
    put(store, b.next_change(put(store, step), b.paid(), b.created("in_2")))
    tables = ("events", "outbox", "aliases")
    newest = " UNION ".join(
        f"(SELECT xmin::text FROM xpay_flow_{table} ORDER BY xmin::text::bigint DESC LIMIT 1)"
        for table in tables
    )
    assert [(1,)] == postgresql.answer(
        f"SELECT count(*) FROM ({newest} UNION SELECT xmin::text FROM xpay_flow_intents) AS x"
    )
    store.close()


@pytest.mark.parametrize("driver", PG_DRIVERS)
def test_a_lost_answer_of_postgresql_is_not_known(
    postgresql: Place, pg_wire: Wire, driver: str
) -> None:
    """A connection that breaks after the commit is reported as such; a repeat is absorbed."""
    store = opened(postgresql, driver, pg_wire)
    # Not the statement's own words: asyncpg sends those first, to have them prepared.
    _loses_an_answer(store, pg_wire, b"attempt:sandbox/local:1:lost")


@pytest.mark.parametrize("driver", ["mariadb", "mariadb+aiomysql"])
def test_a_lost_answer_of_mariadb_is_not_known(
    mariadb: Place, maria_wire: Wire, driver: str
) -> None:
    """The same where the commit is a statement of its own."""
    store = opened(mariadb, driver, maria_wire)
    _loses_an_answer(store, maria_wire, b"COMMIT")


def _loses_an_answer(store: SQLAlchemyStore | BlockingStore, wire: Wire, words: bytes) -> None:
    put(store, b.attempt("connected"))
    step = b.attempt("lost")
    wire.cut_after(words)
    with pytest.raises(StoreUnavailable, match="not known"):
        store.commit(step)
    assert wire.was_cut
    # The answer was written, and never read: the change is there.
    assert store.commit(step) is False
    assert [step.record] == list(store.history(step.record.key))
    store.close()
