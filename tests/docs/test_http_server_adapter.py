"""The adapter of the how-to does all that an adapter must do."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler
from typing import Any

from examples.http_server_adapter import flow_from, routes
from xpay_flow.endpoints import Header
from xpay_flow.testing.adapter_suite import AdapterSuite, Answer, AnyFlow, Client, sync_only

NOBODY = ("127.0.0.1", 1)
NO_SERVER: Any = None  # a handler needs it for nothing that is done here


class TestHttpServerAdapter(AdapterSuite):
    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return client(routes(sync_only(flow), prefix=prefix))

    def test_a_handler_knows_its_flow(self) -> None:
        """Code of the user's finds the flow by the same word as in every adapter."""
        world = self.open()
        nothing: Any = Connection(b"", iter(()))
        handler = routes(sync_only(world.flow))(nothing, NOBODY, NO_SERVER)
        assert world.flow is flow_from(handler)


def client(handler: type[BaseHTTPRequestHandler]) -> Client:
    """A client of a handler, without a socket between them."""

    def send(
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: bytes | Iterable[bytes] = b"",
    ) -> Answer:
        length = [("Content-Length", str(len(body)))] if body and isinstance(body, bytes) else []
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in (*length, *headers))]
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        connection: Any = Connection(head, iter([body] if isinstance(body, bytes) else body))
        handler(connection, NOBODY, NO_SERVER)
        return read_answer(connection.sent, method)

    return send


def read_answer(sent: bytes, method: str) -> Answer:
    connection: Any = Connection(sent, iter(()))
    reply = HTTPResponse(connection, method=method)
    reply.begin()
    headers = tuple((name.lower(), value) for name, value in reply.getheaders())
    return Answer(reply.status, headers, reply.read())


class Connection:
    """As much of a socket as `http.server` and `http.client` use."""

    def __init__(self, head: bytes, body: Iterator[bytes]) -> None:
        self._input = _Input(head, body)
        self.sent = b""

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(self._input, 1024)

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def settimeout(self, seconds: float) -> None:
        """Nobody waits here."""


class _Input(io.RawIOBase):
    """A request as it comes, the body chunk by chunk."""

    def __init__(self, head: bytes, body: Iterator[bytes]) -> None:
        self._left, self._body = head, body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._body, b"")
        taken = self._left[: len(buffer)]
        self._left = self._left[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)
