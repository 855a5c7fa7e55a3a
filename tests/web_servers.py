"""How is an app put behind a real server, for a test? In a thread, on a free port of loopback.

    with served(app) as port:

Each server is asked to end when the block does, and what does not end in time is an error.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, TypeAlias

LIMIT_S: Final = 20.0

# What serves an app while its block lasts, and yields the port.
Serves: TypeAlias = Callable[[Any], AbstractContextManager[int]]


class AppNow:
    """An app that is the one which was set last."""

    app: Any = None


class AsgiNow(AppNow):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.app(scope, receive, send)
            return
        while (event := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": f"{event}.complete"})
        await send({"type": f"{event}.complete"})


class WsgiNow(AppNow):
    def __call__(self, environ: Any, start: Any) -> Any:
        return self.app(environ, start)


def listening(port: int = 0) -> socket.socket:
    """A socket that listens before its server starts: a client that is early waits in the queue."""
    return socket.create_server(("127.0.0.1", port), backlog=1024)


@contextmanager
def uvicorn(app: Any, *, on: socket.socket | None = None, lifespan: Any = "auto") -> Generator[int]:
    """An ASGI app behind uvicorn."""
    import uvicorn as found

    with on or listening() as sock:
        config = found.Config(app, log_config=None, lifespan=lifespan, timeout_graceful_shutdown=1)
        server = found.Server(config)
        with _thread("uvicorn", lambda: server.run(sockets=[sock])) as thread:
            _until(lambda: server.started or not thread.is_alive())
            assert server.started, "uvicorn has not started"
            try:
                yield sock.getsockname()[1]
            finally:
                server.should_exit = True


@contextmanager
def hypercorn(app: Any) -> Generator[int]:
    """An ASGI app behind hypercorn."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    sock = listening()
    port, config = sock.getsockname()[1], Config()
    config.graceful_timeout, config.loglevel = 1, "error"
    config.bind = [f"fd://{sock.detach()}"]  # which hypercorn closes

    async def serving(started: Callable[[], None], ended: Callable[[], Awaitable[None]]) -> None:
        started()
        await serve(app, config, shutdown_trigger=ended)

    with _loop("hypercorn", serving):
        yield port


@contextmanager
def aiohttp(app: Any) -> Generator[int]:
    """An app of aiohttp behind its own server."""
    from aiohttp import web

    ports: list[int] = []

    async def serving(started: Callable[[], None], ended: Callable[[], Awaitable[None]]) -> None:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            ports.append(runner.addresses[0][1])
            started()
            await ended()
        finally:
            await runner.cleanup()

    with _loop("aiohttp", serving):
        yield ports[0]


@contextmanager
def werkzeug(app: Any) -> Generator[int]:
    """A WSGI app behind the server of `flask run`, with a thread for each connection."""
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app, threaded=True)
    with _stdlib(server):
        yield server.port


@contextmanager
def waitress(app: Any) -> Generator[int]:
    """A WSGI app behind waitress, with threads for all who wait."""
    try:
        from waitress import wasyncore
        from waitress.server import create_server
    except ImportError:
        import servers  # which needs drivers of databases, as a page's own environment has none

        servers.absent(f"{servers.WANTS}waitress: pip install waitress")

    served: dict[Any, Any] = {}
    server: Any = create_server(app, host="127.0.0.1", port=0, threads=40, map=served)
    with _thread("waitress", server.run):
        try:
            yield int(server.effective_port)
        finally:
            # Where its loop is, which ends when nothing is left to listen to.
            server.trigger.pull_trigger(lambda: wasyncore.close_all(served))


@contextmanager
def handler(kind: Any) -> Generator[int]:
    """A `BaseHTTPRequestHandler` behind `http.server`."""
    from http.server import ThreadingHTTPServer

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # and not the 5 of the standard library
        daemon_threads = True

    server = Server(("127.0.0.1", 0), kind)
    with _stdlib(server):
        yield server.server_address[1]


@contextmanager
def _stdlib(server: Any) -> Generator[None]:
    with _thread("a server", lambda: server.serve_forever(poll_interval=0.01)):
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


@contextmanager
def _thread(name: str, run: Callable[[], object]) -> Generator[threading.Thread]:
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(LIMIT_S)
        assert not thread.is_alive(), f"{name} does not end"


@contextmanager
def _loop(
    name: str,
    serving: Callable[
        [Callable[[], None], Callable[[], Awaitable[None]]], Coroutine[Any, Any, None]
    ],
) -> Generator[None]:
    """A server in an event loop of its own."""
    loop, ended, started = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def wait() -> None:
        async with asyncio.timeout(240):
            await ended.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serving(started.set, wait))

    with _thread(name, run):
        assert started.wait(LIMIT_S), f"{name} has not started"
        try:
            yield
        finally:
            loop.call_soon_threadsafe(ended.set)


def _until(is_so: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(int(LIMIT_S * 200)):
        if is_so():
            return
        pause.wait(0.005)
