"""How long does a webhook take over a real server and a real socket?

One uvicorn process for each contestant, all on this machine's loopback, and one client that takes
turns among them. It is a few lines on a stream, since a client such as httpx costs more than the
webhook that it sends, and would hide the differences.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeAlias

import attrs

from xpay_flow.testing.limits import within_s

from .by_hand import PATH
from .calling import Refused
from .measure import WARM_UP_TURNS, Contestant, Group, Size, compared
from .orders import Order, orders
from .serve import HOST
from .shops import SERVED_SHOPS, STARLETTE

# As xPay might send in a busy minute: enough to make writers queue.
AT_ONCE: Final = 8
_TURN_TIMEOUT_S: Final = 10.0
# Handlers run after the answer, and must not slow down the contestant whose turn is next.
_SETTLING_S: Final = 0.06
_SHUTDOWN_S: Final = 10.0
# A server counts its orders before it answers.
_ANSWER_S: Final = 120.0

# Sends these webhooks to a port; returns how long each took.
_Sending: TypeAlias = Callable[[int, Sequence[Order]], Coroutine[Any, Any, list[float]]]


@attrs.frozen
class Server:
    """A contestant that listens."""

    name: str
    process: subprocess.Popen[str]
    port: int


def measured(size: Size, folder: Path) -> list[Group]:
    """Seconds for one webhook: alone on its way, and its share when several are."""
    count = size.served_a_turn
    given = orders(2 * (WARM_UP_TURNS + size.served_turns) * count)
    half = len(given) // 2
    with asyncio.Runner() as runner, _serving(folder, len(given)) as servers:

        def contest(title: str, sending: _Sending, mine: Sequence[Order]) -> Group:
            def contestant(port: int) -> Contestant:
                batches = iter([mine[at : at + count] for at in range(0, len(mine), count)])
                return lambda: runner.run(_settled(sending(port, next(batches))))

            contestants = {server.name: contestant(server.port) for server in servers}
            return compared(title, contestants, size.served_turns, opponent=STARLETTE)

        return [
            contest("webhook over uvicorn, one at a time", _one_by_one, given[:half]),
            contest(f"webhook over uvicorn, {AT_ONCE} at a time", _together, given[half:]),
        ]


async def _settled(sending: Coroutine[Any, Any, list[float]]) -> list[float]:
    """The figures of one turn, once its server has done what it does after it has answered."""
    taken = await sending
    await asyncio.sleep(_SETTLING_S)
    return taken


async def _one_by_one(port: int, given: Sequence[Order]) -> list[float]:
    taken: list[float] = []
    async with asyncio.timeout(_TURN_TIMEOUT_S), _connected(port) as connection:
        for order in given:
            began = perf_counter()
            await connection.post(order)
            taken.append(perf_counter() - began)
    return taken


async def _together(port: int, given: Sequence[Order]) -> list[float]:
    left = iter(given)

    async def send(connection: Connection) -> None:
        for order in left:
            await connection.post(order)

    async with asyncio.timeout(_TURN_TIMEOUT_S), AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(_connected(port)) for _ in range(AT_ONCE)]
        began = perf_counter()
        await asyncio.gather(*map(send, connections))
        return [(perf_counter() - began) / len(given)]


# --- the client ----------------------------------------------------------------------------------


@attrs.frozen
class Connection:
    """One that is kept for many requests, one after the other."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, order: Order) -> None:
        """Deliver a webhook; anything but 200 ends the benchmark."""
        headers = (*order.headers, ("host", HOST), ("content-length", str(len(order.body))))
        lines = [f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + order.body)
        status, *rest = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        length = dict(line.lower().split(": ", 1) for line in rest if line)["content-length"]
        await self.reader.readexactly(int(length))
        if not status.startswith("HTTP/1.1 200 "):
            raise Refused(f"a server answered {status}")


@asynccontextmanager
async def _connected(port: int) -> AsyncGenerator[Connection, None]:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


# --- the servers ---------------------------------------------------------------------------------


@contextmanager
def _serving(folder: Path, count: int) -> Generator[list[Server], None, None]:
    """All contestants, listening; each must have every order paid in the end."""
    with ExitStack() as stack:
        # Started together, since they spend a while importing.
        processes = {
            name: stack.enter_context(_started(name, folder / f"served-{number}.db", count))
            for number, name in enumerate(SERVED_SHOPS)
        }
        servers = [
            Server(name, process, int(_line(process))) for name, process in processes.items()
        ]
        yield servers
        for server in servers:
            assert server.process.stdin is not None
            server.process.stdin.close()
            if odd := int(_line(server.process)):
                raise Refused(f"{server.name}: {odd} orders are not paid")


@contextmanager
def _started(name: str, path: Path, count: int) -> Generator[subprocess.Popen[str], None, None]:
    command = [sys.executable, "-m", f"{__package__}.serve", name, str(path), str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
            # What `Popen` would close for us, but only after waiting.
            process.wait(_SHUTDOWN_S)
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = within_s(_ANSWER_S, process.stdout.readline, what="a server")[0]
    if not line:
        raise Refused("a server has ended; see above")
    return line
