"""How does the adapter suite reach a server that listens at an address?

    class TestBehindUvicorn(AdapterSuite):
        is_served = True

        def make_client(self, flow: AnyFlow, prefix: str) -> Client:
            return server_client(*served(app_with(flow, prefix)))

Each request has a connection of its own, and every wait a limit. `loop_client` starts a server that
runs in an event loop, and stops it with the test.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import StreamReader
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from http.client import parse_headers
from io import BytesIO
from typing import TypeVar

from xpay_flow.endpoints import Header

from .adapter_clients import (
    GIVEN_UP_S,
    Answer,
    AnyBody,
    Client,
    LoopInThread,
    chunks_of,
    with_length,
)
from .limits import TOGETHER_S

T = TypeVar("T")


def server_client(host: str, port: int, *, hangs_up: bool = True) -> Client:
    """A client of a real server. It can hang up, and take its time to send a body.

    Args:
        hangs_up: False for servers that report neither to the app, as those of WSGI.
    """
    client = ServerClient(host, port)
    return client if hangs_up else client.__call__


@contextmanager
def in_loop(serving: AbstractAsyncContextManager[T]) -> Generator[T]:
    """Enter and leave `serving` in an event loop, in a thread that ends with the block."""
    loop = LoopInThread()
    try:
        found = loop.run(_entered(serving))
        try:
            yield found
        finally:
            loop.run(_left(serving))
    finally:
        loop.close()


def loop_client(serving: AbstractAsyncContextManager[int]) -> Client:
    """A client of a server that runs in an event loop, and ends with its test.

    Args:
        serving: starts the server on a free port of 127.0.0.1, which it yields, and stops it.
    """
    stack = ExitStack()
    return ServerClient("127.0.0.1", stack.enter_context(in_loop(serving)), stack.close)


async def _entered(serving: AbstractAsyncContextManager[T]) -> T:
    return await serving.__aenter__()


async def _left(serving: AbstractAsyncContextManager[object]) -> None:
    await serving.__aexit__(None, None, None)


def _nothing_to_end() -> None:
    """The server is not ours."""


class ServerClient:
    """See `server_client` and `loop_client`."""

    def __init__(self, host: str, port: int, close: Callable[[], None] = _nothing_to_end) -> None:
        self._address = host, port
        self.close = close

    def __call__(
        self, method: str, path: str, headers: Sequence[Header] = (), body: AnyBody = b""
    ) -> Answer:
        return asyncio.run(self._ask(method, path, headers, body))

    def hang_up(
        self,
        path: str,
        when: Callable[[], bool],
        method: str = "GET",
        headers: Sequence[Header] = (),
        body: bytes = b"",
    ) -> None:
        """Send a request, and close the connection when it is time."""
        asyncio.run(self._hang_up(path, when, method, headers, body))

    async def _ask(
        self, method: str, path: str, headers: Sequence[Header], body: AnyBody
    ) -> Answer:
        async with asyncio.timeout(TOGETHER_S), _connected(self._address) as sock:
            reader = StreamReader()
            # A server that has answered need not read the rest, and may end the connection; what
            # it has answered is read all the same.
            tasks = [
                asyncio.ensure_future(_receive(sock, reader)),
                asyncio.ensure_future(_send(sock, method, path, headers, body)),
            ]
            try:
                return await _answer(reader, method)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _hang_up(
        self,
        path: str,
        when: Callable[[], bool],
        method: str,
        headers: Sequence[Header],
        body: bytes,
    ) -> None:
        async with asyncio.timeout(GIVEN_UP_S), _connected(self._address) as sock:
            await _send(sock, method, path, headers, body)
            while not when():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def _connected(address: tuple[str, int]) -> AsyncGenerator[socket.socket, None]:
    with socket.socket() as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        yield sock


async def _receive(sock: socket.socket, reader: StreamReader) -> None:
    with suppress(OSError):
        while data := await asyncio.get_running_loop().sock_recv(sock, 65536):
            reader.feed_data(data)
    reader.feed_eof()


async def _send(
    sock: socket.socket, method: str, path: str, headers: Sequence[Header], body: AnyBody
) -> None:
    headers = with_length(method, headers, body)
    lines = [f"{method} {path} HTTP/1.1", "Host: shop.test"]
    lines += [f"{name}: {value}" for name, value in headers]
    is_chunked = ("Transfer-Encoding", "chunked") in headers
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("latin-1"))
    async for chunk in chunks_of(body):
        await loop.sock_sendall(
            sock, b"%x\r\n%s\r\n" % (len(chunk), chunk) if is_chunked else chunk
        )
    if is_chunked:
        await loop.sock_sendall(sock, b"0\r\n\r\n")


async def _answer(reader: StreamReader, method: str) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    status = int(first.split()[1])
    received = parse_headers(BytesIO(rest))
    headers = tuple((name.lower(), value) for name, value in received.items())
    if method == "HEAD" or status in (204, 304):
        return Answer(status, headers, b"")
    if received.get("transfer-encoding", "").lower() == "chunked":
        return Answer(status, headers, await _chunked(reader))
    length = received.get("content-length")
    body = await (reader.read() if length is None else reader.readexactly(int(length)))
    return Answer(status, headers, body)


async def _chunked(reader: StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    return b"".join(parts)
