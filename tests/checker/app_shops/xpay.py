"""What each of these shops has copied from xPay's documentation."""

import base64
import hashlib
import hmac
import json
import sqlite3

SECRET = b"sandbox_signing_key_0123456789"
SCHEMA = """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, receipt_id TEXT UNIQUE, status TEXT DEFAULT 'pending',
    amount INTEGER, currency TEXT
);
CREATE TABLE shipments (id INTEGER PRIMARY KEY, order_id INTEGER);
CREATE TABLE seen (event_id TEXT PRIMARY KEY);
INSERT INTO orders (receipt_id, amount, currency) VALUES ('order-42', 1999, 'USD');
"""


def authentic(body: bytes, signature: str) -> bool:
    true = base64.b64encode(hmac.new(SECRET, body, hashlib.sha512).digest()).decode()
    return hmac.compare_digest(signature, true)


def connect() -> sqlite3.Connection:
    return sqlite3.connect("shop.db")


def reset() -> None:
    """Tables, and one order that waits for its payment."""
    connect().executescript(SCHEMA)


def asgi(handle, trusts=authentic):
    """A small ASGI app; `handle` is given the event, and gives a status."""

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        signature = dict(scope["headers"]).get(b"xpay-signature", b"").decode()
        try:
            status = handle(json.loads(body)) if trusts(body, signature) else 401
        except Exception:
            status = 500
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def wsgi(handle):
    """The same as WSGI."""

    def app(environ, start_response):
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        try:
            trusted = authentic(body, environ.get("HTTP_XPAY_SIGNATURE", ""))
            status = handle(json.loads(body)) if trusted else 401
        except Exception:
            status = 500
        start_response(f"{status} -", [])
        return [b""]

    return app
