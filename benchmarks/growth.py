"""Does a webhook cost the same among a million stored intents? And does a look for work?

Both databases are alike but for how many intents wait in them, and take turns.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import asyncpg
import attrs

from xpay_flow import AsyncFlow, Flow
from xpay_flow import sample_records as b
from xpay_flow.records import Change
from xpay_flow.stores.rows import EVENT_COLUMNS, INTENT_COLUMNS, OUTBOX_COLUMNS
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow_sqlalchemy import AsyncSQLAlchemyStore, migrating

from .measure import WARM_UP_TURNS, Contestant, Group, Size, compared
from .orders import SETTINGS, Order, first_commit, orders
from .places import Server

# As the store calls it: `due("ask", now_ms, limit)`.
_LOOK: Final = ("reconcile", 2**40, 10)
# Nothing of these is ever due.
_NEVER_MS: Final = 2**50
_MODEL: Final = "order-of-another"

_TABLES: Final = {
    "intents": INTENT_COLUMNS,
    "events": EVENT_COLUMNS,
    "outbox": OUTBOX_COLUMNS,
    "aliases": ("record_key", "alias"),
}
# Columns that name the order in one way or another.
_NAMES: Final = ("record_key", "intent_id", "receipt_id", "alias", "document")


@attrs.frozen
class Shop:
    """One database, and how to do something with it that takes so many seconds."""

    receive: Callable[[Order], float]
    look: Callable[[], float]


def measured(size: Size, folder: Path, server: Server) -> list[Group]:
    """Seconds for a webhook, and for a look for work of which ten are found."""
    given = orders((WARM_UP_TURNS + size.turns) * size.webhooks_a_turn)
    with ExitStack() as stack:
        on_sqlite = [
            stack.enter_context(_on_sqlite(folder / f"{stored}.db", stored, given))
            for stored in size.stored
        ]
        places = stack.enter_context(server.databases(len(size.stored)))
        runner = stack.enter_context(asyncio.Runner())
        on_postgresql = [
            stack.enter_context(_on_postgresql(place, stored, given, runner))
            for place, stored in zip(places, size.stored, strict=True)
        ]
        return [
            *_compared("SQLite", on_sqlite, given, size),
            *_compared("PostgreSQL", on_postgresql, given, size),
        ]


def _compared(
    where: str, shops: Sequence[Shop], given: Sequence[Order], size: Size
) -> Sequence[Group]:
    names = [f"{stored:,} stored intents" for stored in size.stored]
    count = size.webhooks_a_turn

    def webhooks(shop: Shop) -> Contestant:
        left = iter(given)
        return lambda: [shop.receive(next(left)) for _ in range(count)]

    def looks(shop: Shop) -> Contestant:
        return lambda: [shop.look() for _ in range(count)]

    return [
        compared(
            title,
            {name: contestant(shop) for name, shop in zip(names, shops, strict=True)},
            size.turns,
            opponent=names[0],
        )
        for title, contestant in (
            # What is paid is due no more, so they are looked for first.
            (f"ten that are due on {where}, among others", looks),
            (f"a webhook on {where}, among others", webhooks),
        )
    ]


def _others() -> Change:
    """What all the others look like."""
    record = attrs.evolve(b.attempt(_MODEL).record, reconcile_at_ms=_NEVER_MS)
    return first_commit(record)


def _mine(given: Sequence[Order]) -> list[Change]:
    """The orders themselves, each due for reconciliation some time."""
    records = (attrs.evolve(order.record, reconcile_at_ms=n + 1) for n, order in enumerate(given))
    return [first_commit(record) for record in records]


def _copies(table: str, count: int, prefix: str = "") -> str:
    """The statement that repeats the rows of the model under other names."""
    columns = _TABLES[table]
    renamed = (
        f"replace({each}, '{_MODEL}', '{_MODEL}-' || n)" if each in _NAMES else each
        for each in columns
    )
    return (
        f"WITH RECURSIVE numbers(n) AS"
        f" (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
        f" INSERT INTO {prefix}{table} ({', '.join(columns)})"
        f" SELECT {', '.join(renamed)} FROM {prefix}{table} CROSS JOIN numbers"
        f" WHERE record_key = 'attempt:sandbox/local:1:{_MODEL}'"
    )


@contextmanager
def _on_sqlite(path: Path, stored: int, given: Sequence[Order]) -> Generator[Shop, None, None]:
    with SQLiteStore(path) as store:
        assert store.commit(_others())
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            for table in _TABLES:
                connection.execute(_copies(table, stored))
            connection.commit()
        assert all(store.commit_many(_mine(given)))
        flow = Flow(store, SETTINGS, background=False)
        yield Shop(
            receive=lambda order: _timed(lambda: flow.receive_webhook(order.headers, order.body)),
            look=lambda: _timed(lambda: _ten(store.due(*_LOOK))),
        )
        flow.close()


@contextmanager
def _on_postgresql(
    url: str, stored: int, given: Sequence[Order], runner: asyncio.Runner
) -> Generator[Shop, None, None]:
    by_asyncpg = url.replace("postgresql://", "postgresql+asyncpg://")
    migrating.upgrade(by_asyncpg)
    store = AsyncSQLAlchemyStore.from_url(by_asyncpg)
    flow = AsyncFlow(store, SETTINGS, background=False)

    async def filled() -> None:
        assert await store.commit(_others())
        connection = await asyncpg.connect(url)
        # Nothing refers to what is not there: these are copies.
        await connection.execute("SET session_replication_role = replica")
        for table in _TABLES:
            await connection.execute(_copies(table, stored, "xpay_flow_"))
        assert all(await store.commit_many(_mine(given)))
        # As the server does by itself, sooner or later.
        await connection.execute("VACUUM ANALYZE")
        await connection.close()

    async def received(order: Order) -> float:
        began = perf_counter()
        await flow.receive_webhook(order.headers, order.body)
        return perf_counter() - began

    async def looked() -> float:
        began = perf_counter()
        _ten(await store.due(*_LOOK))
        return perf_counter() - began

    runner.run(filled())
    yield Shop(
        receive=lambda order: runner.run(received(order)),
        look=lambda: runner.run(looked()),
    )
    runner.run(flow.close())


def _ten(found: Sequence[str]) -> None:
    assert len(found) == _LOOK[2], found


def _timed(act: Callable[[], Any]) -> float:
    began = perf_counter()
    act()
    return perf_counter() - began
