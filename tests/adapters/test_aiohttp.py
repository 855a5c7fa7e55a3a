"""The aiohttp adapter does every duty of one behind aiohttp's own server, on a socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web

import xpay_flow_aiohttp as adapter
from xpay_flow.testing.adapter_suite import AdapterSuite, AnyFlow, Client
from xpay_flow.testing.server_client import server_client

LIMIT_S = 10


class Server:
    """An app behind aiohttp's server, in a thread with an event loop of its own."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="aiohttp server")
        self._thread.start()
        assert self._started.wait(LIMIT_S)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        runner = web.AppRunner(self._app, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port: int = runner.addresses[0][1]
            self._started.set()
            async with asyncio.timeout(120):
                await self._ended.wait()
        finally:
            await runner.cleanup()


class Serving(AdapterSuite):
    is_served = True

    @pytest.fixture(autouse=True)
    def _stop_servers(self) -> Iterator[None]:
        self.servers: list[Server] = []
        yield
        for server in self.servers:
            server.stop()

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        self.servers.append(Server(app_with(flow, prefix)))
        return server_client("127.0.0.1", self.servers[-1].port)


class TestFlow(Serving):
    pass


class TestAsyncFlow(Serving):
    is_async = True


def app_with(flow: AnyFlow, prefix: str = "/xpay") -> web.Application:
    if not prefix:
        return adapter.routes(flow)
    app = web.Application()
    app.add_subapp(prefix, adapter.routes(flow))
    return app
