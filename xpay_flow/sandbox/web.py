"""The local xPay on a socket: its API, its checkout page, its webhooks and an overview page.

run(Sandbox(SandboxConfig(webhook_url="http://127.0.0.1:8000/xpay/webhook")))
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

from xpay_flow.errors import ConfigurationError, MissingExtra

try:
    import jinja2 as jinja2
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
except ImportError:
    raise MissingExtra("xpay_flow.sandbox", "cli") from None

from . import exchange
from .checkout import CheckoutPage
from .control import ControlApi
from .local import Sandbox
from .net import is_local_name
from .overview import OverviewPage
from .rendering import bounded_body
from .sender import sender_loop as sender_loop

log = logging.getLogger("xpay_flow.sandbox")


def create_app(sandbox: Sandbox, *, send_webhooks: bool = True) -> Starlette:
    """The whole of xPay as an ASGI application.

    Its lifespan sends the webhooks; switch that off where `sender_loop` or `deliver_due` does.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        sending = asyncio.create_task(sender_loop(sandbox)) if send_webhooks else None
        try:
            yield
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.wait([sending])

    async def api(request: Request) -> Response:
        return await _answer(sandbox, request)

    routes = [
        *OverviewPage(sandbox).routes(),
        *ControlApi(sandbox).routes(),
        *CheckoutPage(sandbox).routes(),
        # Everything else is the merchant API, which knows its own paths and refusals.
        Route("/{path:path}", api, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def run(
    sandbox: Sandbox, host: str = "127.0.0.1", port: int = 4010, *, any_host: bool = False
) -> None:
    """Serves until interrupted.

    `checkout_base_url` of the configuration must be the address that is served here. Raises
    ConfigurationError for a host that others can reach, unless `any_host` allows it: they
    could read the sandbox's intents and make it call webhooks.
    """
    if not any_host and not is_local_name(host):
        raise ConfigurationError(f"{host!r} is reachable by others; pass any_host=True to allow it")
    uvicorn.run(
        create_app(sandbox),
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        # An open page must not keep the process from ending.
        timeout_graceful_shutdown=2,
    )


async def _answer(sandbox: Sandbox, request: Request) -> Response:
    """Hands a request of the merchant API to the sandbox, and its answer back."""
    body = await bounded_body(request, sandbox.config.body_bytes_max)
    raw_path: bytes = request.scope.get("raw_path") or request.url.path.encode()
    answer = sandbox.handle(
        exchange.Request(
            request.method,
            raw_path.partition(b"?")[0].decode("latin-1"),
            request.scope["query_string"].decode("latin-1"),
            tuple(request.headers.items()),
            body,
        )
    )
    if isinstance(answer, exchange.NoAnswer):
        log.warning("fault: the answer to %s breaks off", request.method)
        return _BrokenResponse()
    await asyncio.sleep(answer.delay_ms / 1000)
    return Response(answer.body, answer.status, dict(answer.headers))


class _BrokenResponse(Response):
    """An answer that breaks off: a length is promised, and the connection ends before it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        headers = [(b"content-type", b"application/json"), (b"content-length", b"64")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # The server closes the connection when an application returns with more to come.
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
