"""xpay-flow for the `http.server` of the standard library.

    ThreadingHTTPServer(("127.0.0.1", 8000), routes(flow, prefix="/xpay")).serve_forever()

This only translates; `xpay_flow.endpoints` decides.
"""

from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

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
from xpay_flow.endpoints import RequestHandler, WebRequest, WebResponse


def routes(
    flow: RequestHandler, *, prefix: str = "", price: Price | None = None
) -> type["XPayHandler"]:
    """A handler for `ThreadingHTTPServer` that answers the library's routes below `prefix`."""

    class Handler(XPayHandler):
        served, prefix_ = blocking(priced(flow, price)), checked_prefix(prefix)

    return Handler


def flow_from(handler: "XPayHandler") -> RequestHandler:
    """The flow that `routes` was given."""
    flow: RequestHandler = unpriced(handler.served.flow)
    return flow


class XPayHandler(BaseHTTPRequestHandler):
    served: Blocking
    prefix_: str
    timeout = 2  # seconds; xPay itself waits no longer

    def answer(self) -> None:
        body = Body(self.served.flow)
        response = (
            self.served.handle(self._request(body)) if self._read(body) else length_required()
        )
        self._respond(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def _read(self, body: Body) -> bool:
        """Read as much as is wanted; False if the body's end is unknown."""
        length = self.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit():
            body.add(self.rfile.read(min(int(length[:18]), body.wanted)))
            return True
        return not length and "Transfer-Encoding" not in self.headers

    def _request(self, body: Body) -> WebRequest:
        path, _, query = self.path.partition("?")
        path = unquote(path)
        ours = path.removeprefix(self.prefix_) if path.startswith(self.prefix_ + "/") else "/"
        return WebRequest(
            method=self.command,
            path=ours,
            query=parse_query(query.encode("latin-1", "replace")),
            headers=tuple(self.headers.items()),
            body=bytes(body),
        )

    def _respond(self, response: WebResponse) -> None:
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)
