"""Each adapter does its duties over a real socket, too, behind a server that shops use."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import uvicorn
from hypercorn.asyncio import serve
from hypercorn.config import Config
from werkzeug.serving import make_server

from xpay_flow.testing.adapter_suite import AdapterSuite, AnyFlow, Client
from xpay_flow.testing.server_client import server_client

from . import test_fastapi, test_flask, test_litestar, test_quart, test_starlette

LIMIT_S = 20


class Uvicorn:
    """An ASGI app behind uvicorn, in a thread."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="uvicorn")
        self._thread.start()
        pause = threading.Event()
        for _ in range(LIMIT_S * 100):
            if self._server.started:
                break
            pause.wait(0.01)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()


class Hypercorn:
    """An ASGI app behind hypercorn, in a thread."""

    def __init__(self, app: Any) -> None:
        config = Config()
        config.bind, config.graceful_timeout = ["127.0.0.1:0"], 1
        self._config = config
        (sock,) = config.create_sockets().insecure_sockets
        self.port: int = sock.getsockname()[1]
        config.bind = [f"fd://{sock.detach()}"]
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(app,), name="hypercorn")
        self._thread.start()
        _wait_until_it_listens(self.port)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _run(self, app: Any) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(serve(app, self._config, shutdown_trigger=self._end))

    async def _end(self) -> None:
        async with asyncio.timeout(240):
            await self._ended.wait()


def _wait_until_it_listens(port: int) -> None:
    pause = threading.Event()
    for _ in range(LIMIT_S * 100):
        try:
            socket.create_connection(("127.0.0.1", port), LIMIT_S).close()
        except ConnectionRefusedError:
            pause.wait(0.01)
        else:
            return
    raise AssertionError(f"nothing listens on port {port}")


class Werkzeug:
    """A WSGI app behind the server of `flask run`, in threads."""

    def __init__(self, app: Any) -> None:
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, name="werkzeug")
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(LIMIT_S)
        self._server.server_close()
        assert not self._thread.is_alive()


class Served(AdapterSuite):
    is_served = True
    hangs_up = True
    server: ClassVar[Any]
    app_with: ClassVar[Any]

    @pytest.fixture(autouse=True)
    def _stop_servers(self) -> Iterator[None]:
        self.servers: list[Any] = []
        yield
        for server in self.servers:
            server.stop()

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        self.servers.append(type(self).server(type(self).app_with(flow, prefix)))
        return server_client("127.0.0.1", self.servers[-1].port, hangs_up=self.hangs_up)


class TestFastAPIBehindUvicorn(Served):
    is_async = True
    server, app_with = Uvicorn, test_fastapi.app_with


class TestStarletteBehindUvicorn(Served):
    server, app_with = Uvicorn, test_starlette.app_with


class TestLitestarBehindUvicorn(Served):
    is_async = True
    server, app_with = Uvicorn, test_litestar.app_with


class TestQuartBehindHypercorn(Served):
    is_async = True
    server, app_with = Hypercorn, test_quart.app_with


class TestFlaskBehindWerkzeug(Served):
    hangs_up = False
    server, app_with = Werkzeug, test_flask.app_with
