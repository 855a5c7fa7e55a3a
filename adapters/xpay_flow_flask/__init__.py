"""xpay-flow for Flask.

    app.register_blueprint(xpay_flow_flask.routes(flow), url_prefix="/xpay")

    @app.post("/buy")
    def buy():
        flow = xpay_flow_flask.flow_from()

This only translates; `xpay_flow.endpoints` decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from xpay_flow.adapter_kit import Blocking, Price, blocking, only_flow, paths_of, priced, route_name
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler
from xpay_flow.errors import MissingExtra
from xpay_flow_wsgi import answer

try:
    from flask import Blueprint, Flask, Response, current_app
    from flask import request as current_request
    from flask.blueprints import BlueprintSetupState
except ImportError:
    raise MissingExtra("xpay_flow_flask", "flask") from None

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_EXTENSION: Final = "xpay_flow"


def routes(
    flow: RequestHandler | AsyncRequestHandler,
    name: str = "xpay_flow",
    *,
    price: Price | None = None,
) -> Blueprint:
    """A blueprint with the library's routes, for `app.register_blueprint(…, url_prefix="/xpay")`.

    The webhook is exempt from Flask-WTF's CSRF tokens, where the app has them before it registers
    this: xPay has none, and its signature takes their place.

    Args:
        flow: a `Flow`.
        name: of the blueprint, for `url_for("xpay_flow.return")`; one for each flow.
        price: adds `POST /checkout`: what the browser names, as a JSON object, becomes the request
            for it; see `xpay_flow.priced`.

    Raises:
        ConfigurationError: `flow` is an `AsyncFlow`.
    """
    served = blocking(priced(flow, price))
    blueprint = Blueprint(name, __name__)
    for path in paths_of(served.flow):
        # Every method goes to the endpoint, so that it is the endpoint that refuses one.
        blueprint.add_url_rule(
            path,
            route_name(path),
            _view(served, path),
            methods=_METHODS,
            strict_slashes=False,
            provide_automatic_options=False,
        )
    blueprint.record(lambda state: _register(state, flow, f"{name}.webhook"))
    return blueprint


def flow_from() -> Any:
    """The flow of the blueprint that the current app has, for views of your own.

    Raises:
        ConfigurationError: the app has no such blueprint, or those of several flows.
    """
    flows = current_app.extensions.get(_EXTENSION, ())
    return only_flow(flows, "register_blueprint(xpay_flow_flask.routes(flow))")


def _register(
    state: BlueprintSetupState, flow: RequestHandler | AsyncRequestHandler, webhook: str
) -> None:
    app: Flask = state.app  # type: ignore[assignment]  # the app of a blueprint is a Flask
    app.extensions.setdefault(_EXTENSION, []).append(flow)
    csrf = app.extensions.get("csrf")
    if csrf is not None:
        csrf.exempt(app.view_functions[webhook])


def _view(served: Blocking, path: str) -> Callable[[], Response]:
    def view() -> Response:
        # The environ and not the request: Flask's own limits and parsers never see the body.
        found = answer(served, path, current_request.environ)
        response = Response(found.body, found.status)
        # Ours are complete, and 304 has no type.
        response.headers.clear()
        for name, value in found.headers:
            response.headers[name] = value
        return response

    return view
