"""A shop whose customers wait: `python -m benchmarks.waiting_shop KIND URL`.

A process of its own, like those of `benchmarks.serve`: it prints its port, and ends when its
standard input does.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
import threading
from typing import Any, Final

import attrs
import uvicorn

import xpay_flow_asgi
from xpay_flow import AsyncFlow, Flow

from .orders import SETTINGS
from .serve import HOST, _Server, _until_stdin_ends
from .shops import PREFIX

# All strangers connect at once.
_BACKLOG: Final = 4096
# So that every stranger who knows a payment does wait, which is the harder case.
_PATIENT: Final = attrs.evolve(SETTINGS, status_waiting_max=100_000)


async def served(kind: str, url: str) -> None:
    """Serve until stdin ends."""
    flow: Any = {"Flow": Flow, "AsyncFlow": AsyncFlow}[kind].open(url, _PATIENT, background=False)
    app: Any = xpay_flow_asgi.routes(flow, prefix=PREFIX)
    server = _Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind((HOST, 0))
        sock.listen(_BACKLOG)
        print(sock.getsockname()[1], flush=True)
        threading.Thread(target=_until_stdin_ends, args=(server,), daemon=True).start()
        server.config.timeout_graceful_shutdown = 1
        await server.serve([sock])
    if kind == "Flow":
        flow.close()
    else:
        await flow.close()


def many_files() -> int:
    """Let this process open as many files as the system allows; returns how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


if __name__ == "__main__":
    many_files()
    asyncio.run(served(sys.argv[1], sys.argv[2]))
