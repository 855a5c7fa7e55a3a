"""How does the adapter suite reach a server that listens at an address?

    class TestBehindUvicorn(AdapterSuite):
        def make_client(self, flow: AnyFlow, prefix: str) -> Client:
            return server_client(*served(app_with(flow, prefix)))

Each request has a connection of its own, and every wait a limit.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from itertools import chain

from xpay_flow.endpoints import Header

from .adapter_suite import Answer, Client
from .limits import TOGETHER_S


def server_client(host: str, port: int) -> Client:
    """A client of a real server. What a server reads ahead it cannot know."""

    def send(
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: bytes | Iterable[bytes] = b"",
    ) -> Answer:
        connection = HTTPConnection(host, port, timeout=TOGETHER_S)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            chunks = [body] if isinstance(body, bytes) else body
            framing = _framing(headers, body)
            for name, value in chain(headers, framing):
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders()
            # A server that has answered need not read the rest.
            with suppress(OSError):
                _send(connection, chunks, chunked=("Transfer-Encoding", "chunked") in framing)
            reply = connection.getresponse()
            received = tuple((name.lower(), value) for name, value in reply.getheaders())
            return Answer(reply.status, received, reply.read())
        finally:
            connection.close()

    return send


def _framing(headers: Sequence[Header], body: bytes | Iterable[bytes]) -> Sequence[Header]:
    if any(name.lower() == "content-length" for name, _ in headers):
        return ()
    if not isinstance(body, bytes):
        return (("Transfer-Encoding", "chunked"),)
    return (("Content-Length", str(len(body))),) if body else ()


def _send(connection: HTTPConnection, chunks: Iterable[bytes], *, chunked: bool) -> None:
    sock: socket.socket = connection.sock
    for chunk in chunks:
        if select.select([sock], [], [], 0)[0]:
            return
        sock.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
    if chunked:
        sock.sendall(b"0\r\n\r\n")
