"""xpay-flow for Starlette.

    app = Starlette(
        routes=[Mount("/xpay", routes=xpay_flow_starlette.routes(flow)), …],
        lifespan=xpay_flow_starlette.lifespan(flow),
    )

This only translates; `xpay_flow.endpoints` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from xpay_flow.adapter_kit import Price, only_flow, paths_of, priced, route_name
from xpay_flow.adapter_kit import lifespan as lifespan
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler
from xpay_flow.errors import MissingExtra
from xpay_flow_asgi import Endpoint, endpoint

try:
    from starlette.requests import HTTPConnection
    from starlette.routing import Route
except ImportError:
    raise MissingExtra("xpay_flow_starlette", "starlette") from None


def routes(
    flow: RequestHandler | AsyncRequestHandler, *, price: Price | None = None
) -> list[Route]:
    """The library's routes, for `Mount("/xpay", routes=routes(flow))`.

    Args:
        flow: an `AsyncFlow` is awaited, a `Flow` is called in threads.
        price: adds `POST /checkout`: what the browser names, as a JSON object, becomes the request
            for it; see `xpay_flow.priced`.
    """
    served = priced(flow, price)
    # Without methods every one goes to the endpoint, so that it is the endpoint that refuses one.
    return [
        Route(path + slash, endpoint(served, path), name=f"xpay_{route_name(path)}{word}")
        for path in paths_of(served)
        for slash, word in (("", ""), ("/", "_slash"))
    ]


def flow_from(request: HTTPConnection) -> Any:
    """The flow of the routes in this app, for endpoints of your own.

    Raises:
        ConfigurationError: the app has no such routes, or those of several flows.
    """
    return only_flow(
        _flows_in(request.app.routes), "Mount(…, routes=xpay_flow_starlette.routes(flow))"
    )


def _flows_in(routes: Iterable[Any]) -> Iterator[object]:
    for route in routes:
        served = getattr(route, "endpoint", None)
        if isinstance(served, Endpoint):
            yield served.flow
        yield from _flows_in(getattr(route, "routes", None) or ())
