"""xpay-flow for aiohttp.

    app.add_subapp("/xpay", xpay_flow_aiohttp.routes(flow))

    async def buy(request: web.Request) -> web.Response:
        flow = xpay_flow_aiohttp.flow_from(request)

This only translates; `xpay_flow.endpoints` decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from xpay_flow.adapter_kit import ROUTES, Body, answering, only_flow, parse_query, route_name, start
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler, WebRequest, WebResponse
from xpay_flow.errors import MissingExtra

try:
    from aiohttp import web
except ImportError:
    raise MissingExtra("xpay_flow_aiohttp", "aiohttp") from None


def routes(flow: RequestHandler | AsyncRequestHandler) -> web.Application:
    """An app with the library's routes, for `app.add_subapp("/xpay", …)`.

    The flow begins to deliver at the app's start-up, and not with its first request only.

    Args:
        flow: an `AsyncFlow` is awaited, a `Flow` is called in threads.
    """
    app, answer = web.Application(), answering(flow)
    for path in ROUTES:
        served = _Route(flow, path, answer).answer
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

    def __init__(
        self,
        flow: RequestHandler | AsyncRequestHandler,
        path: str,
        answer: Callable[[WebRequest], Awaitable[WebResponse]],
    ) -> None:
        self.flow, self._path, self._answer = flow, path, answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        found = await self._answer(
            WebRequest(
                method=request.method,
                path=self._path,
                query=parse_query(request.rel_url.raw_query_string.encode("ascii", "replace")),
                headers=tuple(request.headers.items()),
                body=await self._read(request),
            )
        )
        return web.Response(body=found.body, status=found.status, headers=dict(found.headers))

    async def _read(self, request: web.Request) -> bytes:
        # Not `request.read()`: that has a limit of its own, and another answer to what is beyond.
        body = Body(self.flow)
        while body.wanted and (chunk := await request.content.read(body.wanted)):
            body.add(chunk)
        return bytes(body)
