"""How is a request sent through an adapter, without a server? A client for ASGI, one for WSGI.

`server_client.server_client` is one for a server that listens at an address. A framework that is
none of these needs a function of method, path, headers and body.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    MutableMapping,
    Sequence,
)
from io import RawIOBase
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from urllib.parse import unquote, unquote_to_bytes
from weakref import finalize
from wsgiref.types import WSGIApplication

import attrs

from xpay_flow.endpoints import Header

T = TypeVar("T")

# A stream is chunked where the headers give no length; one that is awaited takes its time.
AnyBody: TypeAlias = bytes | Iterable[bytes] | AsyncIterator[bytes]

# Longer than any query of the suite waits.
ANSWERED_S: Final = 60.0
# What an adapter must have given up by then, which takes it much less.
GIVEN_UP_S: Final = 5.0


@attrs.frozen(repr=False)
class Answer:
    """What a client got back; names of headers in lower case.

    Args:
        to: the request, in words; the suite fills it in.
    """

    status: int
    headers: tuple[Header, ...]
    body: bytes
    to: str = ""

    def __repr__(self) -> str:
        # The request first: pytest shortens what is long.
        return f"<{self.status} to {self.to}: {self.body[:100]!r}, {dict(self.headers)}>"

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Client(Protocol):
    """Sends one request through the adapter. May be called from several threads.

    `path` has the prefix and the query; `body` may be a stream, of which no more than needed
    should be read, and which is chunked where the headers give no length.
    """

    def __call__(
        self,
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: bytes | Iterable[bytes] = b"",
    ) -> Answer: ...


def asgi_client(app: Any, *, root_path: str = "") -> ASGIClient:
    """A client of an ASGI app; all calls share one event loop, as a server's requests do.

    Args:
        root_path: where a server would report that the app is mounted. Paths include it.
    """
    return ASGIClient(app, root_path)


class LoopInThread:
    """An event loop that runs until it is closed, or this object is gone."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run_for_ever, args=(self._loop,), daemon=True)
        self._thread.start()
        self._stop = finalize(self, _stop, self._loop)

    def run(self, awaited: Coroutine[Any, Any, T]) -> T:
        """The result, once there is one; it has a limit of its own."""
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(ANSWERED_S)

    def close(self) -> None:
        self._stop()
        self._thread.join(GIVEN_UP_S)


def _run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        # The runner cancels what is left when it ends.
        runner.get_loop().run_forever()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)


class ASGIClient:
    """See `asgi_client`. It can hang up, and take its time to send a body."""

    def __init__(self, app: Any, root_path: str) -> None:
        self._app, self._root_path = app, root_path
        self._loop = LoopInThread()

    def __call__(
        self, method: str, path: str, headers: Sequence[Header] = (), body: AnyBody = b""
    ) -> Answer:
        return self._loop.run(self._ask(method, path, headers, body))

    def close(self) -> None:
        """End the event loop, with whatever is under way."""
        self._loop.close()

    def hang_up(
        self,
        path: str,
        when: Callable[[], bool],
        method: str = "GET",
        headers: Sequence[Header] = (),
        body: bytes = b"",
    ) -> None:
        """Send a request, and hang up when it is time.

        A request that writes is cancelled soon after, as some servers do.

        Raises:
            AssertionError: the app goes on with a GET all the same.
        """
        self._loop.run(self._hang_up(path, when, method, headers, body))

    async def _ask(
        self, method: str, path: str, headers: Sequence[Header], body: AnyBody
    ) -> Answer:
        sent: list[MutableMapping[str, Any]] = []
        chunks, is_answered = chunks_of(body), asyncio.Event()

        async def receive() -> dict[str, Any]:
            if (chunk := await anext(chunks, None)) is None:
                if is_whole:
                    await is_answered.wait()
                    return {"type": "http.disconnect"}
                is_whole.append(True)
            return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                is_answered.set()

        is_whole: list[bool] = []
        scope = self._scope(method, path, with_length(method, headers, body))
        async with asyncio.timeout(ANSWERED_S):
            await self._app(scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        return Answer(
            start["status"],
            tuple((k.decode().lower(), v.decode("latin-1")) for k, v in start["headers"]),
            b"".join(message.get("body", b"") for message in sent),
        )

    async def _hang_up(
        self,
        path: str,
        when: Callable[[], bool],
        method: str,
        headers: Sequence[Header],
        body: bytes,
    ) -> None:
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            if (message := next(messages, None)) is not None:
                return message
            await _until(when)
            return {"type": "http.disconnect"}

        async def send(_: object) -> None:
            """There is no client any more."""

        scope = self._scope(method, path, with_length(method, headers, body))
        task = asyncio.ensure_future(self._app(scope, receive, send))
        if method == "GET":
            await asyncio.wait({task}, timeout=GIVEN_UP_S)
            if not task.done():
                task.cancel()
                raise AssertionError("the app waits on, though the client has hung up")
        else:
            await _until(when)
            # Some servers report it, and some cancel; what the app does all the same, it may do in
            # a thread.
            await asyncio.wait({task}, timeout=0.05)
            task.cancel()
            await asyncio.wait({task}, timeout=0.05)
        if task.done() and not task.cancelled():
            task.exception()  # is looked at: what a server would log is no error of the client

    def _scope(self, method: str, path: str, headers: Sequence[Header]) -> dict[str, Any]:
        path, _, query = path.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": self._root_path,
            "headers": [
                (name.lower().encode(), value.encode("latin-1"))
                for name, value in (("host", "shop.test"), *headers)
            ],
            "server": ("shop.test", 80),
            "client": ("127.0.0.1", 1),
        }


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(GIVEN_UP_S):
        while not is_so():
            await asyncio.sleep(0.001)


async def half_sent() -> AsyncIterator[bytes]:
    """A body that stops in the middle."""
    yield b"{"
    async with asyncio.timeout(2 * GIVEN_UP_S):
        await asyncio.Event().wait()


async def byte_by_byte() -> AsyncIterator[bytes]:
    """A body that never stops, and is never silent for long."""
    for _ in range(int(2 * GIVEN_UP_S / 0.05)):
        yield b" "
        await asyncio.sleep(0.05)


def until(is_so: Callable[[], bool], what: str) -> None:
    """Come back when it is so. Raises AssertionError after some seconds."""
    turn = threading.Event()
    for _ in range(int(GIVEN_UP_S / 0.01)):
        if is_so():
            return
        turn.wait(0.01)
    raise AssertionError(f"it was never so that {what}")


async def chunks_of(body: AnyBody) -> AsyncIterator[bytes]:
    """A body piece by piece."""
    if isinstance(body, AsyncIterator):
        async for chunk in body:
            yield chunk
        return
    for chunk in [body] if isinstance(body, bytes) else body:
        yield chunk


def with_length(method: str, headers: Sequence[Header], body: AnyBody) -> Sequence[Header]:
    """The headers of a request, and how its body ends, where they do not give it."""
    if "content-length" in {name.lower() for name, _ in headers}:
        return headers
    if not isinstance(body, bytes):
        return (*headers, ("Transfer-Encoding", "chunked"))
    if body or method == "POST":
        return (*headers, ("Content-Length", str(len(body))))
    return headers


def wsgi_client(app: WSGIApplication, *, script_name: str = "") -> Client:
    """A client of a WSGI app, called as a server with several threads would.

    Args:
        script_name: where a server would report that the app is mounted. It is cut off the path.
    """

    def send(
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: bytes | Iterable[bytes] = b"",
    ) -> Answer:
        headers = with_length(method, headers, body)
        if script_name and not path.startswith(script_name + "/"):
            return Answer(404, (), b"")  # as a server would
        environ = _environ(method, path.removeprefix(script_name), headers, body)
        environ["SCRIPT_NAME"] = script_name
        started: list[tuple[str, list[Header]]] = []

        def start(status: str, reply: list[Header], _: Any = None) -> Callable[[bytes], object]:
            started.append((status, reply))
            return lambda _: None

        content = b"".join(app(environ, start))
        ((status, reply),) = started
        headers = tuple((name.lower(), value) for name, value in reply)
        return Answer(int(status.split()[0]), headers, content)

    return send


def _environ(
    method: str, path: str, headers: Sequence[Header], body: bytes | Iterable[bytes]
) -> dict[str, Any]:
    path, _, query = path.partition("?")
    stream = [body] if isinstance(body, bytes) else body
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "shop.test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.test",
        "wsgi.version": (1, 0),
        "wsgi.input": _Input(iter(stream)),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "http",
    }
    if ("Transfer-Encoding", "chunked") in headers:
        # As of a server that puts chunks together, whose stream ends with the body.
        environ["wsgi.input_terminated"] = True
    for name, value in headers:
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        # As servers do with a header that comes twice.
        environ[key] = (
            f"{environ[key]},{value}" if key.startswith("HTTP_") and key in environ else value
        )
    return environ


class _Input(RawIOBase):
    """A body that is read as it comes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while size < 0 or len(self._left) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._left += chunk
        size = len(self._left) if size < 0 else size
        taken, self._left = self._left[:size], self._left[size:]
        return taken
