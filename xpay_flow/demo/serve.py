"""Shop and local xPay on this machine, in one process, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Final

import attrs
import uvicorn
from starlette.types import ASGIApp

from xpay_flow import AsyncFlow, ConfigurationError, Pages, Settings
from xpay_flow.sandbox import Sandbox, SandboxConfig
from xpay_flow.sandbox.web import create_app as create_xpay

from .orders import Orders
from .shop import ITEM, Handlers, create_app
from .trouble import Trouble

HOST: Final = "127.0.0.1"
SHOP_NAME: Final = "Kiln & Cup"
# A customer who watches should not wait long; the defaults of `Settings` are for shops.
RECONCILE_SCHEDULE_S: Final = (3, 5, 10, 30, 60, 300, 900)
RETRY_SCHEDULE_S: Final = (1, 2, 4)
LEASE_S: Final = 5
POLL_S: Final = 1.0
# An open page that waits for an event must not keep the process from ending.
GOODBYE_S: Final = 2


@attrs.frozen(kw_only=True)
class Demo:
    """The running demo."""

    shop_url: str
    xpay_url: str
    payments_path: Path
    flow: AsyncFlow
    orders: Orders
    servers: tuple[_Server, ...] = attrs.field(repr=False)

    def stop(self) -> None:
        """Have both servers finish their requests and end."""
        for server in self.servers:
            server.should_exit = True


@contextlib.asynccontextmanager
async def running(payments_path: Path, port: int, xpay_port: int) -> AsyncGenerator[Demo, None]:
    """The demo, listening. Leaving the context ends it.

    Args:
        payments_path: a SQLite file; the shop's own orders are kept beside it.
        port, xpay_port: where to listen; another one is taken where these are not free.
    """
    with listening(port) as shop_socket, listening(xpay_port) as xpay_socket:
        shop_url, xpay_url = _url_of(shop_socket), _url_of(xpay_socket)
        config = SandboxConfig(
            shop_name=SHOP_NAME,
            checkout_base_url=xpay_url,
            webhook_url=f"{shop_url}/xpay/webhook",
        )
        sandbox = Sandbox(config)
        flow = open_flow(payments_path, xpay_url)
        orders = Orders(payments_path.with_suffix(".orders.db"))
        trouble = Trouble(sandbox)
        Handlers(orders, trouble).register(flow)
        shop = create_app(flow, orders, trouble, shop_url=shop_url, xpay_url=xpay_url)
        servers = (_Server(create_xpay(sandbox)), _Server(shop))
        demo = Demo(
            shop_url=shop_url,
            xpay_url=xpay_url,
            payments_path=payments_path,
            flow=flow,
            orders=orders,
            servers=servers,
        )
        async with _serving(servers, (xpay_socket, shop_socket)):
            yield demo


def open_flow(payments_path: Path, xpay_url: str) -> AsyncFlow:
    """The shop's flow, on settings that fit the local xPay and an impatient audience."""
    return AsyncFlow.open(
        f"sqlite:///{payments_path}",
        Settings.sandbox(
            base_url=xpay_url,
            reconcile_schedule_s=RECONCILE_SCHEDULE_S,
            retry_schedule_s=RETRY_SCHEDULE_S,
            lease_s=LEASE_S,
            requests_per_minute=600,
        ),
        pages=Pages(
            title=SHOP_NAME,
            home_url="/",
            retry_url="/order",
            success_url="/order",
            stylesheet_url="/shop.css",
            item_key=ITEM,
        ),
        poll_s=POLL_S,
    )


@contextlib.contextmanager
def listening(port: int) -> Generator[socket.socket, None, None]:
    """A socket of this machine on `port`, or on a free one where that is taken; 0 is any."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        # A port that was in use a moment ago, by ourselves, can be taken again at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
            sock.listen(128)
        except OSError:
            if not port:
                raise ConfigurationError("no port of this machine is free") from None
        else:
            yield sock
            return
    with listening(0) as other:
        yield other


def _url_of(sock: socket.socket) -> str:
    return f"http://{HOST}:{sock.getsockname()[1]}"


class _Server(uvicorn.Server):
    """One of several servers in this process: signals are not its business."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=GOODBYE_S,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def _serving(
    servers: tuple[_Server, ...], sockets: tuple[socket.socket, ...]
) -> AsyncGenerator[None, None]:
    tasks = [
        asyncio.create_task(server.serve([sock]))
        for server, sock in zip(servers, sockets, strict=True)
    ]
    try:
        while not all(server.started for server in servers):
            if any(task.done() for task in tasks):
                raise ConfigurationError("a server of the demo did not start; see above")
            await asyncio.sleep(0.01)
        yield
    finally:
        # What is still open is cut after a moment, which is expected.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
