"""How is an app called without a socket? As its server would, and with as little beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from io import BytesIO
from time import perf_counter
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from wsgiref.types import WSGIApplication

from .by_hand import PATH
from .orders import Order

Message: TypeAlias = MutableMapping[str, Any]
# Seconds that each webhook took, one after the other.
Caller: TypeAlias = Callable[[Sequence[Order]], list[float]]


class Refused(Exception):
    """A contestant did not do its work, so its time means nothing."""


def asgi_caller(app: Any, runner: asyncio.Runner) -> Caller:
    """A caller of an ASGI app, on one event loop that stays."""

    async def all_of(given: Sequence[Order]) -> list[float]:
        return [await _ask_asgi(app, order) for order in given]

    return lambda given: runner.run(all_of(given))


async def _ask_asgi(app: Any, order: Order) -> float:
    scope = _scope(order)
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": order.body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    began = perf_counter()
    await app(scope, receive, send)
    took = perf_counter() - began
    _check(statuses, [200])
    return took


def _scope(order: Order) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            *((name.lower().encode(), value.encode()) for name, value in order.headers),
            (b"host", b"shop.example"),
            (b"content-length", str(len(order.body)).encode()),
        ],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


def wsgi_caller(app: WSGIApplication) -> Caller:
    """A caller of a WSGI app."""
    return lambda given: [_ask_wsgi(app, order) for order in given]


def _ask_wsgi(app: WSGIApplication, order: Order) -> float:
    environ = _environ(order)
    statuses: list[str] = []

    def start(status: str, *_: object) -> Any:
        statuses.append(status)

    began = perf_counter()
    b"".join(app(environ, start))
    took = perf_counter() - began
    _check(statuses, ["200 OK"])
    return took


def _environ(order: Order) -> dict[str, Any]:
    headers = {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in order.headers
        if name.lower() != "content-type"
    }
    return {
        **headers,
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": PATH,
        "QUERY_STRING": "",
        "SERVER_NAME": urlsplit("//shop.example").hostname,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(order.body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(order.body),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _check(found: Sequence[object], wanted: Sequence[object]) -> None:
    if found != wanted:
        raise Refused(f"answered {found} and not {wanted}")
