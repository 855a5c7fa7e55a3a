"""xpay-flow for aiohttp.

    app.add_subapp("/xpay", xpay_flow_aiohttp.routes(flow))

    async def buy(request: web.Request) -> web.Response:
        flow = xpay_flow_aiohttp.flow_from(request)

This only translates; `xpay_flow.endpoints` decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, Final

from xpay_flow.adapter_kit import (
    ASGIAnswers,
    Price,
    Receive,
    only_flow,
    paths_of,
    priced,
    route_name,
    start,
)
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler
from xpay_flow.errors import MissingExtra

try:
    from aiohttp import web
except ImportError:
    raise MissingExtra("xpay_flow_aiohttp", "aiohttp") from None

# How often a waiting query looks whether its client is still there.
HANG_UP_LOOK_S: Final = 0.25


def routes(
    flow: RequestHandler | AsyncRequestHandler, *, price: Price | None = None
) -> web.Application:
    """An app with the library's routes, for `app.add_subapp("/xpay", …)`.

    The flow begins to deliver at the app's start-up, and not with its first request only.

    Args:
        flow: an `AsyncFlow` is awaited, a `Flow` is called in threads.
        price: adds `POST /checkout`: what the browser names, as a JSON object, becomes the request
            for it; see `xpay_flow.priced`.
    """
    flow = priced(flow, price)
    app, answers = web.Application(), ASGIAnswers(flow)
    for path in paths_of(flow):
        served = _Route(answers, path).answer
        # Every method goes to the endpoint, so that it is the endpoint that refuses one.
        app.router.add_route("*", path, served, name=f"xpay_{route_name(path)}")
        app.router.add_route("*", f"{path}/", served)

    async def started(_: web.Application) -> None:
        # The program that made the flow closes it.
        await start(flow)

    app.on_startup.append(started)
    return app


def flow_from(request: web.Request) -> Any:
    """The flow of the sub-app in this app, for handlers of your own.

    Raises:
        ConfigurationError: the app has no such sub-app, or those of several flows.
    """
    routes = request.app.router.routes()
    return only_flow(_flows_in(routes), "add_subapp(…, xpay_flow_aiohttp.routes(flow))")


def _flows_in(routes: Iterable[web.AbstractRoute]) -> Iterator[object]:
    for route in routes:
        owner = getattr(route.handler, "__self__", None)
        if isinstance(owner, _Route):
            yield owner.flow


class _Route:
    """One route of a flow, behind aiohttp's requests and responses."""

    def __init__(self, answers: ASGIAnswers, path: str) -> None:
        self.flow = answers.flow
        self._answers, self._path = answers, path

    async def answer(self, request: web.Request) -> web.StreamResponse:
        found = await self._answers.answer(self._path, _scope(request), _receiver(request))
        if found is None:
            return web.Response()  # The client is gone.
        response = web.Response(body=found.body, status=found.status, headers=dict(found.headers))
        if response.headers.get("Connection") == "close":
            response.force_close()
        return response


def _scope(request: web.Request) -> dict[str, Any]:
    """A request in the words of ASGI, which the rules for all frameworks in an event loop use."""
    return {
        "method": request.method,
        "query_string": request.rel_url.raw_query_string.encode("ascii", "replace"),
        "headers": request.raw_headers,
        "http_version": f"{request.version.major}.{request.version.minor}",
    }


def _receiver(request: web.Request) -> Receive:
    """The body of a request, and then its client's end, in the words of ASGI."""

    more = True

    async def receive() -> dict[str, Any]:
        nonlocal more
        if more:
            # Not `request.read()`: that has a limit of its own, and another answer to what is
            # beyond it.
            chunk = await request.content.readany()
            more = not request.content.at_eof()
            return {"type": "http.request", "body": chunk, "more_body": more}
        # aiohttp reports the end of a connection by its transport alone.
        while (transport := request.transport) is not None and not transport.is_closing():
            await asyncio.sleep(HANG_UP_LOOK_S)
        return {"type": "http.disconnect"}

    return receive
