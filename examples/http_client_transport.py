"""A transport to xPay on nothing but the standard library.

    flow = Flow.open("sqlite:///payments.db", settings, transport=HttpClientTransport(settings))

Each exchange has a connection of its own, so threads and forks may share a transport. It knows no
proxies, and Python's own certificates decide.
"""

import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection, IncompleteRead
from urllib.parse import urlsplit

from xpay_flow import Settings
from xpay_flow.call_within import call_within
from xpay_flow.ports import HttpRequest, HttpResponse, NoAnswer

ANSWER_BYTES_MAX = 4 * 1024 * 1024


class HttpClientTransport:
    def __init__(self, settings: Settings) -> None:
        self._limit_s = settings.connect_timeout_s + settings.read_timeout_s

    def send(self, request: HttpRequest) -> HttpResponse:
        """One exchange; raises NoAnswer when no whole response came back in time."""
        limit_s = min(self._limit_s, request.within_s)
        url = urlsplit(request.url)
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        try:
            connection = kind(url.hostname or "", url.port, timeout=limit_s)
            try:
                # The timeout of a socket begins anew with each byte; this one does not.
                return call_within(limit_s, lambda: exchange(connection, request))
            finally:
                hang_up(connection)
        except Exception as error:  # Whatever it was, xPay may have seen the request.
            raise NoAnswer(type(error).__name__) from error


def exchange(connection: HTTPConnection, request: HttpRequest) -> HttpResponse:
    url = urlsplit(request.url)
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    connection.request(request.method, target, request.body or None, dict(request.headers))
    with connection.getresponse() as response:
        # Headers that are cut off are headers to `http.client`, and a body that is cut off is a
        # body: an answer must tell where it ends, and end there.
        has_end = response.chunked or response.length is not None
        body = response.read(ANSWER_BYTES_MAX + 1)
        if not has_end or response.length or len(body) > ANSWER_BYTES_MAX:
            raise IncompleteRead(b"", response.length)
        return HttpResponse(response.status, dict(response.headers.items()), body)


def hang_up(connection: HTTPConnection) -> None:
    """End the connection, and with it a thread that still reads from it."""
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
