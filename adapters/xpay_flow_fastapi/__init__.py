"""xpay-flow for FastAPI.

    app.include_router(xpay_flow_fastapi.routes(flow), prefix="/xpay")

    @app.post("/buy")
    async def buy(flow: Annotated[AsyncFlow, Depends(xpay_flow_fastapi.flow_from)]): ...

This only translates; `xpay_flow.endpoints` decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

from xpay_flow.adapter_kit import (
    ASGIAnswers,
    Price,
    lifespan,
    only_flow,
    paths_of,
    priced,
    route_name,
)
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler
from xpay_flow.errors import MissingExtra

try:
    from fastapi import APIRouter, Request, Response
except ImportError:
    raise MissingExtra("xpay_flow_fastapi", "fastapi") from None

_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_TAGS: Final[list[Any]] = ["payments"]
_QUERY_DOCS: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": name == "xpay_intent_id",
            "description": text,
            "schema": schema,
        }
        for name, text, schema in (
            ("xpay_intent_id", "The id that xPay sent the customer back with.", {"type": "string"}),
            ("wait", "Seconds to wait for an event.", {"type": "number", "default": 0}),
            (
                "seen",
                "The status already shown, which does not end the wait.",
                {"type": "string", "enum": ["SUCCESS", "FAILED", "PENDING"]},
            ),
        )
    ]
}
_STATUS_EXAMPLE: Final = {"status": "SUCCESS", "final": True, "refunded": "none"}
_STATUS_DOCS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "FAILED is the latest event; with `final` false a success may follow.",
        "content": {"application/json": {"example": _STATUS_EXAMPLE}},
    },
    400: {"description": "A parameter is missing or makes no sense."},
    404: {"description": "No such payment is known (yet); to be shown as pending."},
    503: {"description": "The store did not answer."},
}


def routes(flow: RequestHandler | AsyncRequestHandler, *, price: Price | None = None) -> APIRouter:
    """A router with the library's routes, for `app.include_router(…, prefix=…)`.

    The flow begins to deliver at the app's start-up, and not with its first request only.

    Args:
        flow: an `AsyncFlow` is awaited, a `Flow` is called in threads.
        price: adds `POST /checkout`: what the browser names, as a JSON object, becomes the request
            for it; see `xpay_flow.priced`.
    """
    served = _Served(priced(flow, price))
    router = APIRouter(lifespan=lifespan(served.flow))
    router.add_api_route(
        "/payment-status",
        served.status,
        methods=["GET"],
        name="xpay_payment_status",
        summary="How a payment stands",
        description="For the customer's browser. Reads only; the webhook decides.",
        tags=_TAGS,
        response_class=Response,
        responses=_STATUS_DOCS,
        openapi_extra=_QUERY_DOCS,
    )
    # Every method goes to the endpoint, so that it is the endpoint that refuses one.
    for path in paths_of(served.flow):
        for slash in ("", "/"):
            router.add_api_route(
                path + slash,
                served.at(path),
                methods=_METHODS,
                name=f"xpay_{route_name(path)}_any",
                include_in_schema=False,
            )
    return router


def flow_from(request: Request) -> Any:
    """The flow of the router that this app includes; a dependency for your own routes.

    Raises:
        ConfigurationError: the app includes no such router, or several with different flows.
    """
    flows = _flows_in(request.app.routes)
    return only_flow(flows, "include_router(xpay_flow_fastapi.routes(flow))")


def _flows_in(routes: Iterable[object]) -> Iterator[RequestHandler | AsyncRequestHandler]:
    for route in routes:
        owner = getattr(getattr(route, "endpoint", None), "__self__", None)
        if isinstance(owner, _Served):
            yield owner.flow
        # Newer versions keep an included router whole, older ones copy its routes.
        inner = getattr(route, "original_router", None)
        yield from _flows_in(getattr(inner, "routes", ()))


class _Served:
    """A flow behind FastAPI's requests and responses."""

    def __init__(self, flow: RequestHandler | AsyncRequestHandler) -> None:
        self.flow = flow
        self._answers = ASGIAnswers(flow)

    async def status(self, request: Request) -> Response:
        return await self.answer("/payment-status", request)

    def at(self, path: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await self.answer(path, request)

        return answer

    async def answer(self, path: str, request: Request) -> Response:
        response = await self._answers.answer(path, request.scope, request.receive)
        if response is None:
            return Response()  # The client is gone.
        # Starlette adds headers of its own only where it is given none.
        return Response(response.body, response.status, headers=dict(response.headers))
