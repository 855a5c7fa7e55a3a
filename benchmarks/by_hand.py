"""What would a careful shop write itself? The opponent: one table, one version check.

It verifies the signature, reads the row, compares the money, and updates the row unless another
writer did so meanwhile, in WAL with a full flush like ours. The shop that keeps a history also
stores each event once and the handler call that it makes due, in the same transaction.
"""

from __future__ import annotations

import base64
import hmac
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from xpay_flow import messages

from .orders import Order

PATH: Final = "/xpay/webhook"

_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE payments (
        x_intent_id TEXT PRIMARY KEY, receipt_id TEXT NOT NULL, amount INTEGER NOT NULL,
        currency TEXT NOT NULL, state TEXT NOT NULL, version INTEGER NOT NULL
    );
    CREATE TABLE events (event_id TEXT PRIMARY KEY, x_intent_id TEXT NOT NULL, body TEXT NOT NULL);
    CREATE TABLE calls (
        id TEXT PRIMARY KEY, x_intent_id TEXT NOT NULL, status TEXT NOT NULL, tries INTEGER NOT NULL
    );
    CREATE INDEX due_now ON calls (status, x_intent_id);
"""
_READ: Final = "SELECT amount, currency, state, version FROM payments WHERE x_intent_id = ?"
_PAY: Final = (
    "UPDATE payments SET state = 'success', version = version + 1"
    " WHERE x_intent_id = ? AND version = ?"
)
_PENDING: Final = "SELECT id, tries FROM calls WHERE status = 'pending' AND x_intent_id = ?"
_CLAIM: Final = "UPDATE calls SET status = 'running', tries = tries + 1 WHERE id = ? AND tries = ?"


class Shop:
    """A webhook written by hand; threads share its connection, one at a time."""

    def __init__(self, path: Path, secret: str, *, keeps_history: bool) -> None:
        self._key = secret.encode()
        self._keeps_history = keeps_history
        self._lock = Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = FULL")

    def add(self, given: Sequence[Order]) -> None:
        """Make the tables, and one row for each order."""
        self._connection.executescript(_SCHEMA)
        self._connection.execute("BEGIN")
        for order in given:
            assert order.record.intent is not None
            money = order.record.intent.money
            row = (order.x_intent_id, order.receipt_id, money.amount_minor, money.currency)
            self._connection.execute("INSERT INTO payments VALUES (?, ?, ?, ?, 'created', 1)", row)
        self._connection.execute("COMMIT")

    def receive(self, signature: str, body: bytes) -> int:
        """Record one webhook; the status to answer."""
        digest = base64.b64encode(hmac.digest(self._key, body, "sha512"))
        if not hmac.compare_digest(digest, signature.encode()):
            return 401
        event = json.loads(body)
        with self._lock:
            return self._record(event, body)

    def _record(self, event: dict[str, Any], body: bytes) -> int:
        x_intent_id = event["intentId"]
        row = self._connection.execute(_READ, (x_intent_id,)).fetchone()
        if row is None:
            return 404
        amount, currency, state, version = row
        if event["eventType"] != messages.INTENT_SUCCESS or state == "success":
            return 200
        if (event["amount"], event["currency"]) != (amount, currency):
            return 200
        self._connection.execute("BEGIN IMMEDIATE")
        changed = self._connection.execute(_PAY, (x_intent_id, version)).rowcount
        if changed and self._keeps_history:
            self._keep(event["eventId"], x_intent_id, body)
        self._connection.execute("COMMIT")
        return 200 if changed else 503

    def _keep(self, event_id: str, x_intent_id: str, body: bytes) -> None:
        values = (event_id, x_intent_id, body.decode())
        self._connection.execute("INSERT INTO events VALUES (?, ?, ?)", values)
        call = (f"{x_intent_id}:on_success", x_intent_id)
        self._connection.execute("INSERT INTO calls VALUES (?, ?, 'pending', 0)", call)

    def claim(self, x_intent_id: str) -> bool:
        """Claim the pending call of an order, so that no other process makes it."""
        with self._lock:
            (call,) = self._connection.execute(_PENDING, (x_intent_id,)).fetchall()
            return self._connection.execute(_CLAIM, call).rowcount == 1

    def unpaid(self) -> int:
        """How many orders are not paid."""
        query = "SELECT count(*) FROM payments WHERE state <> 'success'"
        return int(self._connection.execute(query).fetchone()[0])

    def close(self) -> None:
        self._connection.close()


def starlette_app(shop: Shop, *, in_thread: bool = True) -> Starlette:
    """The shop's webhook on Starlette.

    Args:
        in_thread: False holds up the event loop while the disk is flushed.
    """

    async def webhook(request: Request) -> JSONResponse:
        body = await request.body()
        signature = request.headers.get(messages.HMAC_HEADER, "")
        if in_thread:
            status = await run_in_threadpool(shop.receive, signature, body)
        else:
            status = shop.receive(signature, body)
        return JSONResponse({"received": status == 200}, status)

    endpoint: Callable[[Request], Awaitable[JSONResponse]] = webhook
    return Starlette(routes=[Route(PATH, endpoint, methods=["POST"])])


def wsgi_app(shop: Shop) -> WSGIApplication:
    """The shop's webhook on bare WSGI."""

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        status = shop.receive(environ.get("HTTP_XPAY_SIGNATURE", ""), body)
        answer = json.dumps({"received": status == 200}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
        start(f"{status} {HTTPStatus(status).phrase}", headers)
        return [answer]

    return app
