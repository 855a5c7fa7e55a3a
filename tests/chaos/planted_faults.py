"""Which mistakes must a run find? Those of the shops that it is for, made on purpose.

`PLANT` in the environment of a process names one; in a sound shop it is not set.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from xpay_flow import Payment, messages
from xpay_flow_asgi import ASGIApp, Message, Receive, Scope, Send

from .evidence import ADD_TO_LEDGER

PLANT: Final = "CHAOS_PLANT"

# What each is called, and a fault that it must be found by.
EARLY: Final = "answers before it has stored"
BY_ITSELF: Final = "fulfils in a transaction of its own"
BELIEVES: Final = "believes whatever came last"
AFRESH: Final = "begins afresh at each click"
PLANTED: Final = {
    EARLY: "lost",
    BY_ITSELF: "paid twice",
    BELIEVES: "wrong state",
    AFRESH: "charged twice",
}

# As long as a call to a slow warehouse, or a queue in memory, so that a process is seldom killed at
# anything else.
SLOW_S: Final = 1.0
_STATES: Final = {messages.INTENT_FAILED: "failed", messages.INTENT_SUCCESS: "success"}
_OVERWRITE: Final = text("UPDATE xpay_flow_intents SET state = :state WHERE x_intent_id = :x")


def planted() -> str:
    """The mistake that this process is to make; nothing, for none."""
    return os.environ.get(PLANT, "")


def around(app: ASGIApp, url: str) -> ASGIApp:
    """The shop's web app, with its mistake."""
    makes: dict[str, Callable[[], ASGIApp]] = {
        EARLY: lambda: _answering_early(app),
        BELIEVES: lambda: _believing(app, url),
    }
    return makes.get(planted(), lambda: app)()


def fulfilling_by_itself(url: str) -> Callable[[Payment], Awaitable[None]]:
    """A handler whose row is committed before the library can say that it is done."""
    engine = create_async_engine(url, poolclass=NullPool)

    async def fulfil(payment: Payment) -> None:
        values = {"receipt_id": payment.receipt_id, "key": payment.idempotency_key}
        async with engine.begin() as connection:
            await connection.execute(text(ADD_TO_LEDGER), values)
        await asyncio.sleep(SLOW_S)

    return fulfil


def _answering_early(app: ASGIApp) -> ASGIApp:
    tasks: set[asyncio.Future[None]] = set()

    async def later(scope: Scope, body: bytes) -> None:
        await asyncio.sleep(SLOW_S)
        await app(scope, _saying(body), _nothing)

    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        task = asyncio.ensure_future(later(scope, body))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return early


def _believing(app: ASGIApp, url: str) -> ASGIApp:
    engine = create_async_engine(url, poolclass=NullPool)

    async def believing(scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        await app(scope, _saying(body), send)
        event: dict[str, Any] = json.loads(body)
        if state := _STATES.get(event["eventType"]):
            async with engine.begin() as connection:
                await connection.execute(_OVERWRITE, {"state": state, "x": event["intentId"]})

    return believing


async def _body(receive: Receive) -> bytes:
    """All of it; a webhook's comes in one piece or in a few."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _saying(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _nothing(_: Message) -> None:
    """The event is not recorded."""
