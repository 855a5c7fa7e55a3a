"""One contestant on a real server: `python -m benchmarks.serve NAME FILE ORDERS`.

A process of its own, so that the client does not share its interpreter. It prints its port, ends
when its standard input does, and so cannot outlive its parent process, and then prints how many of
the orders are not paid.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Final

import uvicorn

from .orders import orders
from .shops import SERVED_SHOPS

HOST: Final = "127.0.0.1"
_BACKLOG: Final = 64
_SHUTDOWN_S: Final = 2


class _Server(uvicorn.Server):
    """Ends with its standard input, and not by a signal meant for the benchmark."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def served(name: str, path: Path, count: int) -> None:
    """Serve until stdin ends. Orders are the same in every process that makes as many."""
    shop = SERVED_SHOPS[name](path, orders(count))
    config = uvicorn.Config(
        shop.app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    server = _Server(config)
    # The protocol is named, since only then does asyncio send small answers without delay.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind((HOST, 0))
        sock.listen(_BACKLOG)
        print(sock.getsockname()[1], flush=True)
        threading.Thread(target=_until_stdin_ends, args=(server,), daemon=True).start()
        await server.serve([sock])
    print(shop.unpaid(), flush=True)
    if inspect.isawaitable(closing := shop.close()):
        await closing


def _until_stdin_ends(server: _Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    asyncio.run(served(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
