"""That an AsyncFlow serves one event loop after another, and refuses a second one that runs."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
import web_servers
from flows.kit import UNHURRIED

from xpay_flow import AsyncFlow, Money, Settings
from xpay_flow import sample_records as b
from xpay_flow.errors import ConfigurationError
from xpay_flow.event_loop import LoopOwner
from xpay_flow.httpx_transport import AsyncHttpxTransport
from xpay_flow.ports import HttpRequest
from xpay_flow.sandbox import Sandbox
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import AsyncSandboxTransport

ENDS_S = 30.0


class Shop:
    """A flow whose background tasks call a handler, as a program has it for its whole life."""

    def __init__(self, folder: Path) -> None:
        self.xpay = Sandbox(UNHURRIED)
        self.store = SQLiteStore(folder / "payments.db")
        self.flow = AsyncFlow(
            self.store, Settings.sandbox(), transport=AsyncSandboxTransport(self.xpay)
        )
        self.fulfilled: list[str] = []
        self.called = threading.Event()

        @self.flow.on_success
        async def fulfil(payment: Any) -> None:
            self.fulfilled.append(payment.receipt_id)
            self.called.set()

    async def start(self, order: str) -> str:
        checkout = await self.flow.start_checkout(
            receipt_id=order,
            money=Money(1999, "USD"),
            callback_url="https://shop.example/thanks",
            customer={"name": "Ada Example", "email": "ada@example.org"},
        )
        return checkout.x_intent_id or ""

    async def buy(self, order: str) -> None:
        """A purchase, up to the call of the handler by a background task."""
        self.called.clear()
        await self.pay(order)
        assert await asyncio.to_thread(self.called.wait, ENDS_S)
        await self.flow.deliver()  # The call is recorded as done when this comes back.

    async def pay(self, order: str) -> None:
        self.xpay.pay(await self.start(order))
        for webhook in list(self.xpay.due()):
            self.xpay.outcome(webhook, 200)
            await self.flow.receive_webhook(webhook.headers, webhook.body)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    asyncio.run(shop.flow.close())


@contextmanager
def running_loop() -> Generator[asyncio.AbstractEventLoop]:
    """An event loop that runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result(ENDS_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(ENDS_S)
        loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=ENDS_S)


def test_async_flow_serves_one_event_loop_after_another(shop: Shop) -> None:
    """Each `asyncio.run` takes a purchase to its handler: tasks begin anew in each loop."""
    for order in ("order-1", "order-2", "order-3"):
        asyncio.run(shop.buy(order))
    assert ["order-1", "order-2", "order-3"] == shop.fulfilled


def test_async_flow_refuses_a_second_event_loop_that_runs(shop: Shop) -> None:
    """In words, and before anything is stored, or sent to xPay."""
    with running_loop() as loop:
        asyncio.run_coroutine_threadsafe(shop.start("order-1"), loop).result(ENDS_S)
        sent = len(shop.xpay.intents())
        with pytest.raises(ConfigurationError, match="open one for each event loop"):
            asyncio.run(shop.start("order-2"))
        with pytest.raises(ConfigurationError, match="open one for each event loop"):
            asyncio.run(shop.flow.status("in_1"))
        assert sent == len(shop.xpay.intents())
        assert [] == list(shop.store.history("receipt:order-2"))
        asyncio.run_coroutine_threadsafe(shop.start("order-3"), loop).result(ENDS_S)


def test_async_flow_without_an_owner_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a flow that takes no notice of loops does not call its handler in the second one."""
    monkeypatch.setattr(LoopOwner, "enter", lambda _: None)
    monkeypatch.setattr("serving.test_event_loop.ENDS_S", 0.5)
    shop = Shop(tmp_path)
    asyncio.run(shop.buy("order-1"))

    def buy_in_other_loops() -> None:
        # A task of the loop before may come to a call by chance.
        for number in range(2, 6):
            asyncio.run(shop.buy(f"order-{number}"))

    with pytest.raises((AssertionError, RuntimeError)):
        buy_in_other_loops()
    shop.store.close()
    # Its tasks have failed in the second loop, too, as they must; nobody else is told so.
    tasks = [loop._task for loop in shop.flow._loops if loop._task is not None]
    errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    assert any(isinstance(error, RuntimeError) for error in errors)


# --- the end -------------------------------------------------------------------------------------


# A program whose loop ends before its handler was called.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from serving.test_event_loop import Shop

shop = Shop(Path(sys.argv[1]))

async def main():
    await shop.pay("order-1")
    if sys.argv[2] == "closed":
        await shop.flow.close()

asyncio.run(main())
print(*shop.fulfilled)
"""


@pytest.mark.parametrize(
    ("how", "fulfilled", "reported"), [("left", "", True), ("closed", "order-1", False)]
)
def test_async_flow_reports_what_it_leaves_when_it_is_not_closed(
    tmp_path: Path, how: str, fulfilled: str, reported: bool
) -> None:
    """A program that ends without `close` leaves a line in the log, with the number of payments;
    one that closes its flow has delivered them, and reports nothing."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), how],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=ENDS_S,
    )
    assert fulfilled == done.stdout.strip()
    words = "handler calls of 1 payment(s) that this process has recorded stay due"
    assert reported == (words in done.stderr), done.stderr


# --- httpx ---------------------------------------------------------------------------------------


class KeptAlive(BaseHTTPRequestHandler):
    """Answers, and keeps the connection, as xPay does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""


@pytest.fixture
def address() -> Iterator[str]:
    with web_servers.handler(KeptAlive) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_httpx_transport_serves_one_event_loop_after_another(address: str) -> None:
    """A connection that was kept in a loop which has ended is not used again."""
    transport = AsyncHttpxTransport(Settings.sandbox())
    request = HttpRequest("GET", address, {})
    for _ in range(3):
        assert 200 == asyncio.run(transport.send(request)).status
    asyncio.run(transport.aclose())
    gc.collect()


def test_httpx_transport_refuses_a_second_event_loop_that_runs(address: str) -> None:
    """Before anything is sent."""
    transport = AsyncHttpxTransport(Settings.sandbox())
    request = HttpRequest("GET", address, {})
    with running_loop() as loop:
        asyncio.run_coroutine_threadsafe(transport.send(request), loop).result(ENDS_S)
        with pytest.raises(ConfigurationError, match="open one for each event loop"):
            asyncio.run(transport.send(request))
        asyncio.run_coroutine_threadsafe(transport.aclose(), loop).result(ENDS_S)


def test_an_httpx_client_of_the_shops_own_serves_one_event_loop(tmp_path: Path) -> None:
    """It cannot be made anew, so a flow refuses the next loop before anything is stored."""
    client = httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(500)), timeout=1
    )
    settings = Settings.sandbox()
    with SQLiteStore(tmp_path / "payments.db") as store:
        flow = AsyncFlow(
            store,
            settings,
            transport=AsyncHttpxTransport(settings, client=client),
            background=False,
        )
        asyncio.run(flow.deliver())

        async def start() -> None:
            await flow.start_checkout(
                receipt_id="order-1",
                money=Money(1999, "USD"),
                callback_url="https://shop.example/thanks",
                customer={"name": "Ada Example", "email": "ada@example.org"},
            )

        with pytest.raises(ConfigurationError, match=r"httpx\.AsyncClient that you gave"):
            asyncio.run(start())
        assert [] == list(store.history(b.attempt("order-1").record.key))
