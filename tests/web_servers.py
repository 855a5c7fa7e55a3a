"""How is an app put behind a real server, for a test? In a thread, on a free port of loopback.

    with served(app) as port:

Each server is asked to end when the block does, and what does not end in time is an error.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, Final, TypeAlias

from xpay_flow.testing.server_client import in_loop

LIMIT_S: Final = 20.0
# A server whose test has been lost ends by itself.
RUNS_S: Final = 240.0

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


def hypercorn(app: Any) -> AbstractContextManager[int]:
    """An ASGI app behind hypercorn."""
    return in_loop(_hypercorn(app))


@asynccontextmanager
async def _hypercorn(app: Any) -> AsyncGenerator[int]:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    sock, config, ended = listening(), Config(), asyncio.Event()
    port = sock.getsockname()[1]
    config.graceful_timeout, config.loglevel = 1, "error"
    config.bind = [f"fd://{sock.detach()}"]  # which hypercorn closes

    async def end() -> None:
        async with asyncio.timeout(RUNS_S):
            await ended.wait()

    serving = asyncio.ensure_future(serve(app, config, shutdown_trigger=end))
    yield port
    ended.set()
    await serving


def aiohttp(app: Any) -> AbstractContextManager[int]:
    """An app of aiohttp behind its own server."""
    return in_loop(_aiohttp(app))


@asynccontextmanager
async def _aiohttp(app: Any) -> AsyncGenerator[int]:
    from aiohttp import web

    # Without lingering, in which it reads and drops what an adapter has left of a body.
    runner = web.AppRunner(app, shutdown_timeout=0.1, lingering_time=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


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


def _until(is_so: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(int(LIMIT_S * 200)):
        if is_so():
            return
        pause.wait(0.005)
