"""xpay-flow for any WSGI server, without a framework.

    app = xpay_flow_wsgi.routes(flow)                                       # to be mounted
    app = xpay_flow_wsgi.routes(flow, prefix="/xpay", otherwise=your_app)   # around your own

This only translates; `xpay_flow.endpoints` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from xpay_flow.adapter_kit import (
    Blocking,
    Body,
    Price,
    blocking,
    checked_prefix,
    length_required,
    parse_query,
    priced,
    unpriced,
)
from xpay_flow.endpoints import AsyncRequestHandler, Header, RequestHandler, WebRequest, WebResponse
from xpay_flow.errors import ConfigurationError

FLOW_KEY: Final = "xpay_flow.flow"


def routes(
    flow: RequestHandler | AsyncRequestHandler,
    *,
    prefix: str = "",
    otherwise: WSGIApplication | None = None,
    price: Price | None = None,
) -> WSGIApplication:
    """A WSGI app that answers the library's routes.

    Args:
        flow: a `Flow`.
        prefix: where the routes are, below where the app itself is mounted.
        otherwise: your app; it gets everything outside `prefix`, with the flow in its environ.
        price: adds `POST /checkout`: what the browser names, as a JSON object, becomes the request
            for it; see `xpay_flow.priced`.

    Raises:
        ConfigurationError: `flow` is an `AsyncFlow`, or `prefix` is no path.
    """
    return _App(priced(flow, price), checked_prefix(prefix), otherwise)


def flow_from(environ: WSGIEnvironment) -> Any:
    """The flow that `routes` was given, for the app it is wrapped around.

    Raises:
        ConfigurationError: this request did not come through `routes`.
    """
    try:
        return environ[FLOW_KEY]
    except KeyError:
        text = "this environ has no flow: wrap your app, routes(flow, otherwise=app)"
        raise ConfigurationError(text) from None


def answer(flow: Blocking, path: str, environ: WSGIEnvironment) -> WebResponse:
    """The answer of one of `adapter_kit.paths_of`, for frameworks with routes of their own.

    Args:
        path: such as "/webhook", wherever the framework has it.
        environ: the request, of whose body nothing was read yet.
    """
    body = Body(flow.flow)
    if not _read(environ, body):
        return length_required()
    request = WebRequest(
        method=environ["REQUEST_METHOD"],
        path=path,
        query=parse_query(_bytes(environ, "QUERY_STRING")),
        headers=tuple(_headers(environ)),
        body=bytes(body),
    )
    # A server with one thread would keep xPay waiting behind a customer who waits for xPay.
    return flow.handle(request, patient=bool(environ.get("wsgi.multithread")))


class _App:
    def __init__(
        self,
        flow: RequestHandler | AsyncRequestHandler,
        prefix: str,
        otherwise: WSGIApplication | None,
    ) -> None:
        self._flow = blocking(flow)
        self._prefix = prefix
        self._otherwise = otherwise

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = _bytes(environ, "PATH_INFO").decode("utf-8", "replace")
        ours = path.removeprefix(self._prefix) if path.startswith(self._prefix + "/") else None
        if ours is None and self._otherwise is not None:
            environ[FLOW_KEY] = unpriced(self._flow.flow)
            return self._otherwise(environ, start)
        response = answer(self._flow, ours or "/", environ)
        status = f"{response.status} {HTTPStatus(response.status).phrase}"
        start(status, list(response.headers))
        return [response.body]


def _bytes(environ: WSGIEnvironment, name: str) -> bytes:
    # "Bytes tunnelled through latin-1", as PEP 3333 has it.
    return str(environ.get(name, "")).encode("latin-1", "replace")


def _headers(environ: WSGIEnvironment) -> Iterator[Header]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key.removeprefix("HTTP_").replace("_", "-").lower(), str(value)
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield key.replace("_", "-").lower(), str(value)


def _read(environ: WSGIEnvironment, body: Body) -> bool:
    """Read as much as is wanted; False if the end of the body is not declared."""
    given = str(environ.get("CONTENT_LENGTH") or "")
    if environ.get("wsgi.input_terminated"):
        left = body.wanted
    elif given.isascii() and given.isdigit():
        # No more digits than this can matter, and int() refuses thousands of them.
        left = min(int(given[:18]), body.wanted)
    elif given or environ.get("HTTP_TRANSFER_ENCODING"):
        return False
    else:
        left = 0
    while left > 0 and (chunk := environ["wsgi.input"].read(left)):
        body.add(chunk)
        left -= len(chunk)
    return True
