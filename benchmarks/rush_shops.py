"""Who competes in a rush of webhooks? Ours with and without group commit, and one by hand.

A process of its own: `python -m benchmarks.rush_shops NAME PLACE ORDERS`, where the place is a file
of SQLite or the URL of an empty PostgreSQL database. It prints its port, ends when its standard
input does, and prints then how many of the orders are not paid.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hmac
import json
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import asyncpg
import attrs
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import xpay_flow_asgi
from xpay_flow import AsyncFlow, messages
from xpay_flow.records import Change
from xpay_flow.stores import open_store
from xpay_flow_sqlalchemy import migrating

from .by_hand import PATH
from .orders import SETTINGS, Order, fill, first_commit, orders
from .serve import HOST, _Server, _until_stdin_ends
from .shops import ASGI_SHOPS, PREFIX, STARLETTE, Shop

FLOOR: Final = "an app that does nothing"
BY_HAND: Final = "by hand"
OURS: Final = "xpay-flow: AsyncFlow"
OURS_ALONE: Final = "xpay-flow: AsyncFlow, each commit alone"
CONTESTANTS: Final = (BY_HAND, FLOOR, OURS_ALONE, OURS)
# As many as a store of ours opens at most.
_CONNECTIONS: Final = 10
_BACKLOG: Final = 256

_SCHEMA: Final = """
    CREATE TABLE payments (
        x_intent_id text PRIMARY KEY, amount bigint NOT NULL, currency text NOT NULL,
        state text NOT NULL, version bigint NOT NULL
    )
"""
_READ: Final = "SELECT amount, currency, state, version FROM payments WHERE x_intent_id = $1"
_PAY: Final = (
    "UPDATE payments SET state = 'success', version = version + 1"
    " WHERE x_intent_id = $1 AND version = $2"
)


async def shop_of(name: str, place: str, given: Sequence[Order]) -> Shop:
    """The contestant, on a place with all the orders, none of them paid."""
    if name == FLOOR:
        return Shop(app=_answer, unpaid=lambda: 0, close=_closed)
    if name != BY_HAND:
        return await _ours(place, given, group_commit=name == OURS)
    if "://" in place:
        return await _by_hand(place, given)
    return ASGI_SHOPS[STARLETTE](Path(place), given)


async def _answer(_: Any, receive: Any, send: Any) -> None:
    """What every app has to do: read the request, and answer."""
    while (await receive()).get("more_body"):
        pass
    body = b'{"received":true}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _closed() -> None:
    """There is nothing to close."""


async def _by_hand(url: str, given: Sequence[Order]) -> Shop:
    pool = await asyncpg.create_pool(url, min_size=_CONNECTIONS, max_size=_CONNECTIONS)
    await pool.execute(_SCHEMA)
    rows = [(o.x_intent_id, *_money(o), "created", 1) for o in given]
    await pool.executemany("INSERT INTO payments VALUES ($1, $2, $3, $4, $5)", rows)
    key = SETTINGS.webhook_secrets[0].encode()

    async def webhook(request: Request) -> JSONResponse:
        body = await request.body()
        digest = base64.b64encode(hmac.digest(key, body, "sha512"))
        if not hmac.compare_digest(digest, request.headers[messages.HMAC_HEADER].encode()):
            return JSONResponse({"received": False}, 401)
        event = json.loads(body)
        async with pool.acquire() as connection:
            paid = await _pay(connection, event)
        return JSONResponse({"received": paid}, 200 if paid else 503)

    async def close() -> None:
        left.append(await pool.fetchval("SELECT count(*) FROM payments WHERE state <> 'success'"))
        await pool.close()

    left: list[int] = []
    endpoint: Callable[[Request], Awaitable[JSONResponse]] = webhook
    app = Starlette(routes=[Route(PATH, endpoint, methods=["POST"])])
    return Shop(app=app, unpaid=lambda: left[0], close=close)


async def _pay(connection: Any, event: dict[str, Any]) -> bool:
    row = await connection.fetchrow(_READ, event["intentId"])
    if row is None or (event["amount"], event["currency"]) != (row["amount"], row["currency"]):
        return False
    if row["state"] == "success":
        return True
    done: str = await connection.execute(_PAY, event["intentId"], row["version"])
    return done == "UPDATE 1"


def _money(order: Order) -> tuple[int, str]:
    assert order.record.intent is not None
    money = order.record.intent.money
    return money.amount_minor, money.currency


async def _ours(place: str, given: Sequence[Order], *, group_commit: bool) -> Shop:
    if "://" in place:
        url = place.replace("postgresql://", "postgresql+asyncpg://")
        await asyncio.to_thread(migrating.upgrade, url)
        store: Any = open_store(url)
        await _filled(store, given)
    else:
        fill(Path(place), given)
        store = open_store(f"sqlite:///{place}")
    flow = AsyncFlow(store, SETTINGS, background=False, group_commit=group_commit)
    left: list[int] = []

    async def close() -> None:
        for order in given:
            (record,) = await flow.ports.store.history(order.record.key)
            left.append(record.intent is None or record.intent.state != "success")
        await flow.close()

    app = xpay_flow_asgi.routes(flow, prefix=PREFIX)
    return Shop(app=app, unpaid=lambda: sum(left), close=close)


async def _filled(store: Any, given: Sequence[Order]) -> None:
    changes = iter(_first(order) for order in given)
    while batch := list(islice(changes, 500)):
        assert all(await store.commit_many(batch))


def _first(order: Order) -> Change:
    return first_commit(attrs.evolve(order.record, reconcile_at_ms=None))


async def served(name: str, place: str, count: int) -> None:
    """Serve until stdin ends."""
    shop = await shop_of(name, place, orders(count))
    # The orders are the benchmark's: no server keeps so many in memory for a collector to look at.
    gc.collect()
    gc.freeze()
    server = _Server(
        uvicorn.Config(shop.app, log_level="warning", access_log=False, lifespan="off")
    )
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind((HOST, 0))
        sock.listen(_BACKLOG)
        print(sock.getsockname()[1], flush=True)
        threading.Thread(target=_until_stdin_ends, args=(server,), daemon=True).start()
        await server.serve([sock])
    if name == BY_HAND and "://" not in place:
        print(shop.unpaid(), flush=True)
    closed = shop.close()
    if closed is not None:
        await closed
        print(shop.unpaid(), flush=True)


if __name__ == "__main__":
    asyncio.run(served(sys.argv[1], sys.argv[2], int(sys.argv[3])))
