"""xpay-flow for Quart.

    app.register_blueprint(xpay_flow_quart.routes(flow), url_prefix="/xpay")

    @app.post("/buy")
    async def buy():
        flow = xpay_flow_quart.flow_from()

This only translates; `xpay_flow.endpoints` decides. Quart takes a body into memory as it comes,
before any view can refuse it; so the routes are answered in front of it, where its middleware is.
"""

from __future__ import annotations

from typing import Any, cast

from xpay_flow.adapter_kit import Price, only_flow
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler
from xpay_flow.errors import MissingExtra
from xpay_flow_asgi import FLOW_KEY, ASGIApp
from xpay_flow_asgi import routes as asgi_routes

try:
    from quart import Blueprint, Quart, Request
    from quart import request as current_request
except ImportError:
    raise MissingExtra("xpay_flow_quart", "quart") from None


def routes(
    flow: RequestHandler | AsyncRequestHandler,
    name: str = "xpay_flow",
    *,
    price: Price | None = None,
) -> Blueprint:
    """A blueprint with the library's routes, for `app.register_blueprint(…, url_prefix="/xpay")`.

    Args:
        flow: an `AsyncFlow` is awaited, a `Flow` is called in threads.
        name: of the blueprint; one for each flow.
        price: adds `POST /checkout`: what the browser names, as a JSON object, becomes the request
            for it; see `xpay_flow.priced`.
    """
    blueprint = Blueprint(name, __name__)

    def register(state: Any) -> None:
        app = cast(Quart, state.app)
        prefix = (state.url_prefix or "").rstrip("/")
        inner = cast(ASGIApp, app.asgi_app)
        app.asgi_app = asgi_routes(flow, prefix=prefix, otherwise=inner, price=price)  # type: ignore[method-assign, assignment]

    blueprint.record(register)
    return blueprint


def flow_from(request: Request | None = None) -> Any:
    """The flow of the blueprint that this app has, for views of your own.

    Args:
        request: by default the current one.

    Raises:
        ConfigurationError: the app has no such blueprint.
    """
    scope = (request or current_request).scope
    flows = [scope[FLOW_KEY]] if FLOW_KEY in scope else []  # type: ignore[typeddict-item]
    return only_flow(flows, "register_blueprint(xpay_flow_quart.routes(flow))")
