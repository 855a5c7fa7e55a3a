"""How can a browser begin a checkout without a route of the shop's own?

    routes(flow, price=price)     adds  POST /checkout  {"order": "42"}
                                  →     {"fwdUrl": "https://…", "xIntentId": "in_1"}

The browser names an order, and `price` gives the whole request for it: what is charged comes from
the server. Without `price` there is no such address.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import attrs

from .checkout_request import CheckoutRequest
from .endpoints import (
    AsyncRequestHandler,
    Header,
    RequestHandler,
    WebRequest,
    WebResponse,
    json_response,
)
from .errors import ConfigurationError, InvalidValue, XPayFlowError
from .flows import Checkout

log = logging.getLogger("xpay_flow.checkout")

# Each with and without a slash at its end.
ROUTES: Final = ("/webhook", "/payment-status", "/return", "/xpay-flow.js", "/xpay-flow.css")
CHECKOUT: Final = "/checkout"
_RETRY_AFTER_S: Final = 5

# What the browser has sent, as a JSON object; None for an order that the shop does not have.
Price: TypeAlias = Callable[
    [Mapping[str, Any]], "CheckoutRequest | Awaitable[CheckoutRequest | None] | None"
]


class Priced:
    """A `Flow` that answers `POST /checkout`, too."""

    def __init__(self, flow: RequestHandler, price: Price) -> None:
        self.flow, self._price = flow, price
        self.settings = flow.settings
        self.start = flow.start

    def handle(self, request: WebRequest) -> WebResponse:
        if not _is_checkout(request):
            return self.flow.handle(request)
        if isinstance(order := _order(request, self.settings.body_bytes_max), WebResponse):
            return order
        try:
            priced = self._price(order)
            if inspect.iscoroutine(priced):
                priced.close()
                raise ConfigurationError("price must be a plain function: this is a Flow")
            if priced is None:
                return _no_such_order()
            return _begun(
                cast(Any, self.flow).start_checkout(**_arguments(cast(CheckoutRequest, priced)))
            )
        except XPayFlowError as error:
            return _failed(error)


class AsyncPriced:
    """An `AsyncFlow` that answers `POST /checkout`, too. `price` may be a coroutine function."""

    def __init__(self, flow: AsyncRequestHandler, price: Price) -> None:
        self.flow, self._price = flow, price
        self.settings = flow.settings
        self.start = flow.start

    async def handle(self, request: WebRequest) -> WebResponse:
        if not _is_checkout(request):
            return await self.flow.handle(request)
        if isinstance(order := _order(request, self.settings.body_bytes_max), WebResponse):
            return order
        try:
            priced = self._price(order)
            if inspect.isawaitable(priced):
                priced = await priced
            if priced is None:
                return _no_such_order()
            return _begun(await cast(Any, self.flow).start_checkout(**_arguments(priced)))
        except XPayFlowError as error:
            return _failed(error)


def priced(
    flow: RequestHandler | AsyncRequestHandler, price: Price | None
) -> RequestHandler | AsyncRequestHandler:
    """`flow`, which answers `POST /checkout`, too, if there is a `price`."""
    if price is None:
        return flow
    if inspect.iscoroutinefunction(flow.handle):
        return AsyncPriced(cast(AsyncRequestHandler, flow), price)
    return Priced(cast(RequestHandler, flow), price)


def paths_of(flow: RequestHandler | AsyncRequestHandler) -> tuple[str, ...]:
    """The addresses that a flow answers, below where an adapter mounts them."""
    return (*ROUTES, CHECKOUT) if isinstance(flow, Priced | AsyncPriced) else ROUTES


def unpriced(flow: object) -> Any:
    """The flow of the shop, as it was given to `routes`."""
    return flow.flow if isinstance(flow, Priced | AsyncPriced) else flow


def _is_checkout(request: WebRequest) -> bool:
    return request.path.removesuffix("/") == CHECKOUT


def _order(request: WebRequest, bytes_max: int) -> Mapping[str, Any] | WebResponse:
    """What the browser names, or the refusal of a request that names nothing."""
    if request.method != "POST":
        return json_response(405, {"error": "this address takes POST"}, (("Allow", "POST"),))
    if len(request.body) > bytes_max:
        return json_response(413, {"error": "too-large"})
    media_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        # A page of another site can send a form on a customer's behalf, and JSON only if we let it.
        return json_response(415, {"error": "send application/json"})
    try:
        order: object = json.loads(request.body)
    except (ValueError, RecursionError):
        order = None  # What is no JSON names no order, either.
    if not isinstance(order, dict):
        return json_response(400, {"error": "send a JSON object that names the order"})
    return cast("dict[str, Any]", order)


def _arguments(priced: CheckoutRequest) -> dict[str, Any]:
    return attrs.asdict(priced, recurse=False)


def _begun(checkout: Checkout) -> WebResponse:
    return json_response(200, {"fwdUrl": checkout.url, "xIntentId": checkout.x_intent_id})


def _no_such_order() -> WebResponse:
    return json_response(404, {"error": "there is no such order"})


def _failed(error: XPayFlowError) -> WebResponse:
    """The browser is given the kind of failure, and the log everything."""
    is_customers = error.status_hint < 500
    log.log(logging.INFO if is_customers else logging.ERROR, "a checkout was not begun: %s", error)
    content = {"error": type(error).__name__}
    if isinstance(error, InvalidValue):
        content["detail"] = str(error)
    after_s = getattr(error, "retry_after_s", None) or _RETRY_AFTER_S
    headers: tuple[Header, ...] = (("Retry-After", str(after_s)),)
    return json_response(error.status_hint, content, headers if error.status_hint == 503 else ())
