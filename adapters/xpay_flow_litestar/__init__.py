"""xpay-flow for Litestar.

    app = Litestar(
        route_handlers=[buy, Router("/xpay", route_handlers=xpay_flow_litestar.routes(flow))],
        lifespan=[xpay_flow_litestar.lifespan(flow)],
    )

    @post("/buy")
    async def buy(request: Request) -> Redirect:
        flow = xpay_flow_litestar.flow_from(request)

This only translates; `xpay_flow.endpoints` decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from xpay_flow.adapter_kit import Price, only_flow, paths_of, priced, route_name
from xpay_flow.adapter_kit import lifespan as lifespan
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler
from xpay_flow.errors import MissingExtra
from xpay_flow_asgi import Endpoint, endpoint

try:
    from litestar import Litestar, Request, asgi
    from litestar.handlers import ASGIRouteHandler
    from litestar.types import Receive, Scope, Send
except ImportError:
    raise MissingExtra("xpay_flow_litestar", "litestar") from None

# The attribute that marks our handlers.
_MARK: Final = "xpay_flow"


def routes(
    flow: RequestHandler | AsyncRequestHandler, *, price: Price | None = None
) -> list[ASGIRouteHandler]:
    """The library's routes, for `Router("/xpay", route_handlers=routes(flow))`.

    The webhook's handler opts out of Litestar's CSRF tokens: xPay has none, and its signature takes
    their place.

    Args:
        flow: an `AsyncFlow` is awaited, a `Flow` is called in threads.
        price: adds `POST /checkout`: what the browser names, as a JSON object, becomes the request
            for it; see `xpay_flow.priced`.
    """
    served = priced(flow, price)
    return [_handler(path, endpoint(served, path)) for path in paths_of(served)]


def flow_from(request: Request[Any, Any, Any]) -> Any:
    """The flow of the routes in this app; for handlers of your own.

    Raises:
        ConfigurationError: the app has no such routes, or those of several flows.
    """
    mounted = "Router(…, route_handlers=xpay_flow_litestar.routes(flow))"
    return only_flow(_flows_in(request.app), mounted)


def _handler(path: str, served: Endpoint) -> ASGIRouteHandler:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await served(cast(Any, scope), cast(Any, receive), cast(Any, send))

    # On the function, since Litestar copies everything else of a handler.
    setattr(answer, _MARK, served.flow)
    opt = {"exclude_from_csrf": path == "/webhook"}
    return asgi(path, name=f"xpay_{route_name(path)}", opt=opt, copy_scope=True)(answer)


def _flows_in(app: Litestar) -> Iterator[object]:
    for route in app.routes:
        handler = getattr(route, "route_handler", None)
        if (flow := getattr(getattr(handler, "fn", None), _MARK, None)) is not None:
            yield flow
