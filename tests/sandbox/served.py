"""A sandbox on a real socket of this machine, in a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from web_servers import listening, uvicorn

from xpay_flow.sandbox import FaultPlan, Sandbox, SandboxConfig
from xpay_flow.sandbox.web import create_app

S = TypeVar("S", bound=Sandbox)


@contextlib.contextmanager
def served(*, faults: FaultPlan | None = None, **settings: Any) -> Iterator[Sandbox]:
    """Yields a sandbox that answers under its own `checkout_base_url`."""
    with served_by(Sandbox, faults=faults, **settings) as sandbox:
        yield sandbox


@contextlib.contextmanager
def served_by(
    kind: Callable[..., S], *, faults: FaultPlan | None = None, **settings: Any
) -> Iterator[S]:
    """The same with a sandbox of a kind of your own."""
    sock = listening()
    port = sock.getsockname()[1]
    config = SandboxConfig(
        checkout_base_url=f"http://127.0.0.1:{port}", rate_limit=None, **settings
    )
    sandbox = kind(config, faults=faults)
    with uvicorn(create_app(sandbox), on=sock):
        yield sandbox
