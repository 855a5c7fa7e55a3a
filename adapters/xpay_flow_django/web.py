"""How does a URLconf include the routes, and a view find its flow?

    urlpatterns = [path("xpay/", include(xpay_flow_django.routes(flow)))]

This only translates; `xpay_flow.endpoints` decides.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

from django.conf import settings as project
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver, re_path

from xpay_flow import XPayFlowError
from xpay_flow.adapter_kit import (
    CHECKOUT,
    Body,
    Price,
    blocking,
    is_async,
    length_required,
    only_flow,
    parse_query,
    paths_of,
    priced,
    route_name,
)
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler, WebRequest, WebResponse

from .conf import flow_settings
from .database import connection_is_managed

V = TypeVar("V", bound=Callable[..., Any])

# The attribute that marks our views, also where a decorator wraps them.
MARK: Final = "xpay_flow"
# And that names the route.
PATH: Final = "xpay_flow_path"


def routes(
    flow: RequestHandler | AsyncRequestHandler, *, price: Price | None = None
) -> list[URLPattern]:
    """The library's routes, for `path("xpay/", include(routes(flow)))`.

    They are exempt from CSRF tokens, from logins and from ATOMIC_REQUESTS: xPay has none of the
    first two, and an answer of 200 must mean that the commit is over. Only `POST /checkout` wants
    the token that Django gives a browser.

    Args:
        flow: a `Flow`; or an `AsyncFlow`, which needs an ASGI server.
        price: adds `POST /checkout`: what the browser names, as a JSON object, becomes the request
            for it; see `xpay_flow.priced`.
    """
    served = priced(flow, price)
    return [
        re_path(
            f"^{re.escape(name[1:])}/?$",
            _view_at(name, served),
            name=f"xpay_flow_{route_name(name)}",
        )
        for name in paths_of(served)
    ]


def flow_from(request: HttpRequest) -> Any:
    """The flow of the routes in this project, for views of your own.

    Raises:
        ConfigurationError: the URLconf includes no routes, or those of several flows, of which
            none is of the account in `XPAY_FLOW`.
    """
    return flow_in(getattr(request, "urlconf", None))


def flow_in(urlconf: str | None = None) -> Any:
    """The flow whose routes a URLconf includes; by default `ROOT_URLCONF`.

    Of several, that of the account in `XPAY_FLOW`.
    """
    flows = [getattr(view, MARK) for view in views_in(urlconf)]
    if len({id(flow) for flow in flows}) > 1:
        with suppress(XPayFlowError):  # Then nothing distinguishes them.
            realm = flow_settings().realm
            flows = [flow for flow in flows if flow.settings.realm == realm] or flows
    return only_flow(flows, "include(xpay_flow_django.routes(flow)) in the URLconf")


def views_in(urlconf: str | None = None) -> Iterator[Callable[..., Any]]:
    """Our views in a URLconf."""
    return _marked_views(get_resolver(urlconf).url_patterns)


def never_atomic(view: V) -> V:
    """Have ATOMIC_REQUESTS leave this view alone, on each database."""
    for alias in project.DATABASES:
        transaction.non_atomic_requests(using=alias)(view)
    return view


def _marked_views(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[Callable[..., Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _marked_views(pattern.url_patterns)
        elif hasattr(view := _view(pattern), MARK):
            yield view


def _view(pattern: Any) -> Callable[..., Any]:
    view: Callable[..., Any] = pattern.callback
    return view


def _view_at(at: str, flow: RequestHandler | AsyncRequestHandler) -> Callable[..., HttpResponse]:
    view: Any = never_atomic(_awaited(flow, at) if is_async(flow) else _called(flow, at))
    # The browser that begins a checkout has a token; xPay has none.
    view.csrf_exempt, view.login_required = at != CHECKOUT, False
    setattr(view, MARK, flow)
    setattr(view, PATH, at)
    # Django calls it and awaits it, as it finds it.
    made: Callable[..., HttpResponse] = view
    return made


def _called(
    flow: RequestHandler | AsyncRequestHandler, at: str
) -> Callable[[HttpRequest], HttpResponse]:
    served = blocking(flow)

    def view(request: HttpRequest) -> HttpResponse:
        if (parsed := _parse_request(request, at, flow)) is None:
            return _answer(length_required())
        # A server with one thread would keep xPay waiting behind a customer who waits for xPay.
        patient = bool(request.META.get("wsgi.multithread", True))
        token = connection_is_managed.set(True)
        try:
            return _answer(served.handle(parsed, patient=patient))
        finally:
            connection_is_managed.reset(token)

    return view


def _awaited(flow: Any, at: str) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def view(request: HttpRequest) -> HttpResponse:
        if (parsed := _parse_request(request, at, flow)) is None:
            return _answer(length_required())
        token = connection_is_managed.set(True)
        try:
            return _answer(await flow.handle(parsed))
        finally:
            connection_is_managed.reset(token)

    return view


def _parse_request(
    request: HttpRequest, at: str, flow: RequestHandler | AsyncRequestHandler
) -> WebRequest | None:
    """The request as a `WebRequest`; None if the end of its body is not declared."""
    meta = request.META
    if meta.get("HTTP_TRANSFER_ENCODING") and "wsgi.version" in meta:
        # Django reads Content-Length bytes, and so would see an empty body.
        return None
    body = Body(flow)
    # Not `request.body`: that has a limit of its own, and another answer to what is beyond it.
    while body.wanted and (chunk := request.read(body.wanted)):
        body.add(chunk)
    return WebRequest(
        method=request.method or "",
        path=at,
        query=parse_query(meta.get("QUERY_STRING", "").encode()),
        headers=tuple(request.headers.items()),
        body=bytes(body),
    )


def _answer(response: WebResponse) -> HttpResponse:
    answer = HttpResponse(response.body, status=response.status)
    # Ours are complete, and 304 has no type.
    del answer.headers["Content-Type"]
    for name, value in response.headers:
        answer.headers[name] = value
    return answer
