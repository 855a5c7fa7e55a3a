"""That a webhook finds a connection however many handlers run, and no wait is without a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import partial
from time import monotonic
from typing import Any

import pytest
from sqlalchemy.util import await_only, greenlet_spawn

from xpay_flow import sample_records as b
from xpay_flow.errors import ConfigurationError, StoreUnavailable
from xpay_flow.stores import open_store
from xpay_flow.stores.turns import Turns
from xpay_flow.testing.store_suite import put
from xpay_flow_sqlalchemy import SQLAlchemyStore

from .kit import BlockingStore, Place

ENDS_S = 30.0
# A webhook is answered 503 after this.
WEBHOOK_S = 1.5
WORKERS = 8

DRIVERS = [
    ("postgresql", "postgresql+psycopg"),
    ("postgresql", "postgresql+psycopg_async"),
    ("postgresql", "postgresql+asyncpg"),
    ("mariadb", "mariadb+pymysql"),
    ("mariadb", "mariadb+aiomysql"),
]


def opened(url: str) -> Any:
    return BlockingStore(url) if "async" in url or "aio" in url else open_store(url)


def handlers_at_once(store: Any) -> int:
    most: int = getattr(store, "store", store).handlers_at_once_max
    return most


@contextmanager
def workers_in_handlers(store: Any, expected: int) -> Generator[list[bool]]:
    """Workers of this process that all want to call a transactional handler, `expected` of which
    are in it; what became of each call is known afterwards."""
    steps = [
        b.next_change(put(store, b.attempt(f"order-{n}")), b.paid(f"whe_{n}"))
        for n in range(WORKERS)
    ]
    inside, leave = threading.Semaphore(0), threading.Event()
    won: list[bool] = []

    def handle(_: object) -> None:
        inside.release()
        leave.wait(ENDS_S)

    def work(step: Any) -> None:
        with store.lock(step.record.key) as is_mine:
            assert is_mine
            won.append(store.commit_with(step, handle))

    threads = [threading.Thread(target=partial(work, step), daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    try:
        for _ in range(expected):
            assert inside.acquire(timeout=ENDS_S)
        yield won
    finally:
        leave.set()
        for thread in threads:
            thread.join(ENDS_S)


def seconds(call: Callable[[], object]) -> float:
    began = monotonic()
    call()
    return monotonic() - began


@pytest.mark.parametrize(("kind", "driver"), DRIVERS)
def test_handlers_leave_connections_to_webhooks(
    request: pytest.FixtureRequest, kind: str, driver: str
) -> None:
    """However many workers hold locks and transactions of a small pool, a record is made, read and
    changed within a webhook's time; and afterwards each call has ended."""
    place: Place = request.getfixturevalue(kind)
    place.empty()
    # Awaited handlers would block the loop of this store, so they are called where it blocks.
    url = place.by(driver, connections="6")
    with closing(opened(url)) as store:
        if isinstance(store, BlockingStore):
            most = handlers_at_once(store)
            assert 2 == most
            _locks_leave_connections(store, most)
            return
        with workers_in_handlers(store, 2) as won:
            assert seconds(lambda: _webhook(store)) < WEBHOOK_S
        assert [True] * WORKERS == won


def _webhook(store: Any) -> None:
    first = put(store, b.attempt("order-of-a-customer"))
    assert [first] == list(store.history(first.key))
    put(store, b.next_change(first, b.created(), b.paid()))


def _locks_leave_connections(store: BlockingStore, most: int) -> None:
    """The same with locks alone, of which more are wanted than there are."""
    records = [put(store, b.attempt(f"order-{n}")) for n in range(WORKERS)]
    inside, leave = threading.Semaphore(0), threading.Event()
    locked: list[bool] = []

    def work(key: str) -> None:
        with store.lock(key) as is_mine:
            locked.append(is_mine)
            inside.release()
            leave.wait(ENDS_S)

    threads = [threading.Thread(target=work, args=(r.key,), daemon=True) for r in records]
    for thread in threads:
        thread.start()
    for _ in range(most):
        assert inside.acquire(timeout=ENDS_S)
    assert seconds(lambda: _webhook(store)) < WEBHOOK_S
    leave.set()
    for thread in threads:
        thread.join(ENDS_S)
    assert [True] * WORKERS == locked


def test_handlers_without_turns_take_all_connections(postgresql: Place) -> None:
    """Planted: a store that lets any number of handlers hold connections has none left."""
    postgresql.empty()
    url = postgresql.by("postgresql+psycopg", connections="4")
    with SQLAlchemyStore.from_url(url) as store:
        store._locks = store._transactions = Turns(100, "of everything")
        steps = [put(store, b.attempt(f"order-{n}")) for n in range(4)]
        held = [store.lock(record.key) for record in steps]
        for one in held:
            assert one.__enter__()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            _webhook(store)
        for one in held:
            one.__exit__(None, None, None)


def test_too_few_connections_for_row_locks_leave_leases(postgresql: Place) -> None:
    """With three connections a handler holds one of them, and its claim has to run out."""
    with SQLAlchemyStore.from_url(postgresql.by("postgresql", connections="3")) as store:
        assert not store.can_lock
        assert 1 == store.handlers_at_once_max


@pytest.mark.parametrize("word", ["2", "0", "-1", "many", "1e3"])
def test_connections_is_a_number_that_is_enough(postgresql: Place, word: str) -> None:
    """The option is refused in words where it is no number, or too small to share out."""
    with pytest.raises(ConfigurationError, match="connections must be a whole number, at least 3"):
        open_store(postgresql.by("postgresql", connections=word))


@pytest.mark.parametrize("of", ["_readers", "_hot"])
@pytest.mark.parametrize(("kind", "driver"), DRIVERS)
def test_a_connection_in_use_while_the_store_closes_is_closed_when_it_comes_back(
    request: pytest.FixtureRequest, kind: str, driver: str, of: str
) -> None:
    """A report or a customer's look may end after the close; no pool keeps its connection."""
    place: Place = request.getfixturevalue(kind)
    place.empty()
    store = opened(place.by(driver))
    is_awaited = isinstance(store, BlockingStore)
    database = getattr(store.store._store if is_awaited else store, of)

    def look(connection: Any) -> Any:
        used = connection.connection.driver_connection
        if is_awaited:
            await_only(store.store.aclose())
        else:
            store.close()
        return used

    if is_awaited:
        used = store.loop.result(greenlet_spawn(database.read, look))
        store.loop.close()
    else:
        used = database.read(look)
    assert _is_closed(used)


def _is_closed(used: Any) -> bool:
    """Each driver has a name of its own for it."""
    if hasattr(used, "is_closed"):
        return bool(used.is_closed())
    return not used.open if hasattr(used, "open") else bool(used.closed)
