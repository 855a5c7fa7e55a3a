"""xpay-flow for any ASGI server, without a framework.

    app = xpay_flow_asgi.routes(flow)                                       # to be mounted
    app = xpay_flow_asgi.routes(flow, prefix="/xpay", otherwise=your_app)   # around your own

This only translates; `xpay_flow.endpoints` decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast

from xpay_flow.adapter_kit import ASGIAnswers, Price, below, checked_prefix, priced, start, unpriced
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler, WebResponse
from xpay_flow.errors import ConfigurationError

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

FLOW_KEY: Final = "xpay_flow.flow"


def routes(
    flow: RequestHandler | AsyncRequestHandler,
    *,
    prefix: str = "",
    otherwise: ASGIApp | None = None,
    price: Price | None = None,
) -> ASGIApp:
    """An ASGI app that answers the library's routes.

    Args:
        flow: a `Flow` is called in threads, an `AsyncFlow` is awaited.
        prefix: where the routes are, below where the app itself is mounted.
        otherwise: your app; it gets everything outside `prefix`, with the flow in its scope.
        price: adds `POST /checkout`: what the browser names, as a JSON object, becomes the request
            for it; see `xpay_flow.priced`.

    Raises:
        ConfigurationError: `prefix` is no path.
    """
    return _App(priced(flow, price), checked_prefix(prefix), otherwise)


def endpoint(flow: RequestHandler | AsyncRequestHandler, path: str) -> Endpoint:
    """An ASGI app that answers one of `adapter_kit.paths_of`, for frameworks that route to one.

    Args:
        path: such as "/webhook", wherever the framework has it.
    """
    return Endpoint(flow, path)


def flow_from(scope: Scope) -> Any:
    """The flow that `routes` was given, for the app it is wrapped around.

    Raises:
        ConfigurationError: this request did not come through `routes`.
    """
    try:
        return scope[FLOW_KEY]
    except KeyError:
        text = "this scope has no flow: wrap your app, routes(flow, otherwise=app)"
        raise ConfigurationError(text) from None


class _Serving:
    def __init__(self, flow: RequestHandler | AsyncRequestHandler) -> None:
        self.flow = flow
        self._answers = ASGIAnswers(flow)

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answers.answer(path, scope, receive)
        if response is None:
            return
        # Servers raise this when the client has left meanwhile.
        with suppress(OSError):
            await _respond(response, send)


class Endpoint(_Serving):
    """One route, whose address the framework knows. See `endpoint`."""

    def __init__(self, flow: RequestHandler | AsyncRequestHandler, path: str) -> None:
        super().__init__(flow)
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(self.path, scope, receive, send)


class _App(_Serving):
    def __init__(
        self, flow: RequestHandler | AsyncRequestHandler, prefix: str, otherwise: ASGIApp | None
    ) -> None:
        super().__init__(flow)
        self._prefix = prefix
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = below(scope.get("root_path", ""), scope.get("path", ""))
        ours = path.removeprefix(self._prefix) if path.startswith(self._prefix + "/") else None
        if scope["type"] == "http" and (ours is not None or self._otherwise is None):
            await self._serve(ours or "/", scope, receive, send)
        elif self._otherwise is not None:
            if scope["type"] == "lifespan":
                receive = _starting(self.flow, receive)
            await self._otherwise({**scope, FLOW_KEY: unpriced(self.flow)}, receive, send)
        elif scope["type"] == "lifespan":
            await _live(_starting(self.flow, receive), send)
        else:
            await send({"type": "websocket.close", "code": 1000})


async def _respond(response: WebResponse, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def _starting(flow: RequestHandler | AsyncRequestHandler, receive: Receive) -> Receive:
    """`receive`, which has the flow begin to deliver at the server's start-up.

    So a shop that was killed goes on when it is started, and not with its first request.
    """

    async def received() -> Message:
        event = await receive()
        if event["type"] == "lifespan.startup":
            await start(flow)
        return event

    return received


async def _live(receive: Receive, send: Send) -> None:
    """Nothing to stop here: the app that made the flow closes it."""
    while True:
        event = cast(str, (await receive())["type"])
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
