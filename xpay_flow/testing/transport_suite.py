"""Is this a transport to xPay? Every duty of one, by name.

    class TestMyTransport(TransportSuite):
        def make_transport(self) -> Transport:
            return MyTransport()

An `AsyncTransport` is awaited. The suite is the server: it listens on loopback, notes what arrives,
and answers as no xPay should. Proxies, certificates and connections that are kept are not tried.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from http.client import parse_headers
from io import BytesIO
from typing import Any, Final, TypeAlias

import attrs
import pytest

from xpay_flow.ports import AsyncTransport, HttpRequest, HttpResponse, NoAnswer, Transport

from .limits import TOGETHER_S, within_s

# A transport that can stop has stopped by then.
GIVEN_UP_S: Final = 5.0
# xPay's largest documented answer, a list of 100 intents, is far below this.
ENDLESS_BYTES: Final = 64 * 1024 * 1024
KEY: Final = "sk_a_secret_key_of_the_test"
# What JSON, a form or text would not leave as it is.
BODY: Final = b'{ "name" : "Zo\\u00eb \xe2\x82\xb9",\r\n "amount":1 }\xff'


@attrs.frozen
class Arrived:
    """One request, as it came over the wire; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


# Writes an answer on a connection; `ended` comes true when the duty is over.
Answers: TypeAlias = Callable[[socket.socket, Callable[[], bool]], None]


class TransportSuite:
    """Subclass it and define `make_transport`."""

    def make_transport(self) -> Transport | AsyncTransport:
        """A transport whose own limit for an exchange is a few seconds or more."""
        raise NotImplementedError

    def send(self, request: HttpRequest) -> HttpResponse:
        """One exchange through a new transport, which is closed afterwards."""
        return within_s(TOGETHER_S, lambda: self._send(request), what="the transport")[0]

    def _send(self, request: HttpRequest) -> HttpResponse:
        transport: Any = self.make_transport()
        if inspect.iscoroutinefunction(transport.send):
            return asyncio.run(_awaited(transport, request))
        try:
            response: HttpResponse = transport.send(request)
            return response
        finally:
            getattr(transport, "close", lambda: None)()

    # --- what is sent ---

    def test_a_request_arrives_as_it_is(self) -> None:
        """xPay gets the method, path, query, headers and the exact bytes of the body."""
        with xpay(plain()) as (url, arrived):
            headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": "pi_1:create"}
            path = "/payments/a%2Fb?limit=10&cursor=%3D%3D"
            self.send(HttpRequest("POST", url + path, headers, BODY))
        (request,) = arrived
        assert ("POST", path, BODY) == (request.method, request.target, request.body)
        for name, value in headers.items():
            assert value == request.headers.get(name.lower())

    def test_a_request_without_a_body_has_none(self) -> None:
        """A look sends no bytes, and is still the same method."""
        with xpay(plain()) as (url, arrived):
            self.send(HttpRequest("GET", f"{url}/payments/in_1", {}))
        assert [("GET", b"")] == [(request.method, request.body) for request in arrived]

    # --- what comes back ---

    def test_an_answer_comes_back_as_it_is(self) -> None:
        """Status, headers and the exact bytes, with a length or in chunks."""
        for answers in (plain(BODY), chunked(BODY)):
            with xpay(answers) as (url, _):
                response = self.send(HttpRequest("GET", url, {}))
            headers = {name.lower(): value for name, value in response.headers.items()}
            assert (200, BODY) == (response.status, response.body)
            assert ("application/json", "7") == (headers["content-type"], headers["retry-after"])

    @pytest.mark.parametrize("status", [201, 400, 404, 409, 429, 500, 503])
    def test_any_status_is_an_answer(self, status: int) -> None:
        """What a status means is decided by the library: a transport raises for none."""
        with xpay(plain(BODY, status)) as (url, _):
            response = self.send(HttpRequest("GET", url, {}))
        assert (status, BODY) == (response.status, response.body)

    def test_a_redirect_is_not_followed(self) -> None:
        """It could carry the keys elsewhere."""
        with xpay(plain()) as (elsewhere, arrived), xpay(redirect(elsewhere)) as (url, _):
            response = self.send(HttpRequest("POST", url, {"Authorization": KEY}, BODY))
        assert 302 == response.status
        assert [] == arrived

    # --- no answer ---

    def test_a_lost_answer_is_not_sent_for_again(self) -> None:
        """The request may have been seen: once more, and under which key, the library decides."""
        with xpay(nothing) as (url, arrived):
            self._is_no_answer(HttpRequest("POST", url, {}, BODY))
            assert 1 == len(arrived)

    @pytest.mark.parametrize("cut", ["within the headers", "within the body", "within a chunk"])
    def test_half_an_answer_is_none(self, cut: str) -> None:
        """A body that ends too early could be read as another one."""
        with xpay(HALVES[cut]) as (url, _):
            self._is_no_answer(HttpRequest("GET", url, {}))

    def test_what_is_no_http_is_no_answer(self) -> None:
        """Whatever listens there, it is not xPay."""
        with xpay(raw(b"\x16\x03\x01 220 smtp.example ESMTP\r\n\r\n")) as (url, _):
            self._is_no_answer(HttpRequest("GET", url, {}))

    def test_where_nothing_listens_there_is_no_answer(self) -> None:
        """A refused connection is NoAnswer, and no error of the transport's own kind."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        self._is_no_answer(HttpRequest("GET", f"http://127.0.0.1:{port}/", {}))

    @pytest.mark.parametrize("drip", ["nothing comes", "headers drip", "a body drips"])
    def test_a_slow_answer_is_given_up(self, drip: str) -> None:
        """`within_s` is for the whole exchange, however soon each byte comes."""
        with xpay(DRIPS[drip]) as (url, _):
            request = HttpRequest("GET", url, {}, within_s=0.2)
            within_s(GIVEN_UP_S, lambda: self._is_no_answer(request), what="the transport")

    def test_an_endless_answer_is_given_up(self) -> None:
        """It does not fill the memory."""
        sent: list[int] = []
        with xpay(endless(sent)) as (url, _):
            self._is_no_answer(HttpRequest("GET", url, {}, within_s=10))
        assert ENDLESS_BYTES > sum(sent)

    def test_no_error_shows_the_keys(self) -> None:
        """Errors are logged, and headers are secret."""
        with xpay(nothing) as (url, _):
            request = HttpRequest("POST", url, {"Authorization": f"Bearer {KEY}"}, BODY)
            with pytest.raises(NoAnswer) as caught:
                self.send(request)
        assert KEY not in f"{caught.value!r}"

    # --- together ---

    def test_answers_are_not_mixed_up(self) -> None:
        """Eight exchanges at the same time have each its own answer."""
        with xpay(echo) as (url, _):
            transport: Any = self.make_transport()
            requests = [HttpRequest("GET", f"{url}/{n}", {}) for n in range(8)]
            if inspect.iscoroutinefunction(transport.send):
                answers = within_s(TOGETHER_S, lambda: asyncio.run(_together(transport, requests)))[
                    0
                ]
            else:
                calls = [lambda each=each: transport.send(each) for each in requests]
                answers = within_s(TOGETHER_S, *calls, what="the transport")
                getattr(transport, "close", lambda: None)()
        assert [f"/{n}".encode() for n in range(8)] == [answer.body for answer in answers]

    def _is_no_answer(self, request: HttpRequest) -> None:
        with pytest.raises(NoAnswer):
            self.send(request)


async def _awaited(transport: Any, request: HttpRequest) -> HttpResponse:
    try:
        response: HttpResponse = await transport.send(request)
        return response
    finally:
        if hasattr(transport, "aclose"):
            await transport.aclose()


async def _together(transport: Any, requests: list[HttpRequest]) -> list[HttpResponse]:
    try:
        answers: list[HttpResponse] = await asyncio.gather(*map(transport.send, requests))
        return answers
    finally:
        if hasattr(transport, "aclose"):
            await transport.aclose()


# --- the server ----------------------------------------------------------------------------------


@contextmanager
def xpay(answers: Answers) -> Generator[tuple[str, list[Arrived]]]:
    """A server that answers so; its address, and what has arrived."""
    arrived: list[Arrived] = []
    over = threading.Event()
    serving: list[threading.Thread] = []
    listening = socket.create_server(("127.0.0.1", 0), backlog=16)
    listening.settimeout(TOGETHER_S)

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(TOGETHER_S)
            if (request := _received(connection)) is not None:
                arrived.append(request)
                connection.sendall(b"")
                _now.request = request
                answers(connection, lambda: over.wait(0.02))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                if over.is_set():
                    connection.close()
                    return
                serving.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                serving[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    address = listening.getsockname()
    try:
        yield f"http://127.0.0.1:{address[1]}", arrived
    finally:
        over.set()
        with suppress(OSError):  # Closing alone does not end a wait in `accept`.
            socket.create_connection(address, 1).close()
        for thread in (accepting, *serving):
            thread.join(GIVEN_UP_S)
        listening.close()


class _Now(threading.local):
    """What the thread of a connection has received."""

    request: Arrived


_now: Final = _Now()


def _received(connection: socket.socket) -> Arrived | None:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ")
    headers = {k.lower(): v for k, v in parse_headers(BytesIO(rest + b"\r\n\r\n")).items()}
    while len(body) < int(headers.get("content-length", "0")):
        if not (more := connection.recv(65536)):
            return None
        body += more
    return Arrived(method, target, headers, body)


def raw(data: bytes) -> Answers:
    """Exactly these bytes, and the end of the connection."""
    return lambda connection, _: connection.sendall(data)


def plain(body: bytes = b"{}", status: int = 200) -> Answers:
    """An answer with a length."""
    head = f"HTTP/1.1 {status} As it is\r\nContent-Type: application/json\r\nRetry-After: 7\r\n"
    length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return raw((head + length).encode() + body)


_CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRetry-After: 7\r\n"
    b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunked(body: bytes) -> Answers:
    """An answer in pieces of three bytes."""
    pieces = [body[n : n + 3] for n in range(0, len(body), 3)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return raw(_CHUNKED + framed + b"0\r\n\r\n")


def redirect(to: str) -> Answers:
    """What sends a client elsewhere."""
    head = f"HTTP/1.1 302 Found\r\nLocation: {to}/elsewhere\r\nContent-Length: 0\r\n"
    return raw(f"{head}Connection: close\r\n\r\n".encode())


def nothing(_: socket.socket, __: Callable[[], bool]) -> None:
    """The connection ends."""


def echo(connection: socket.socket, ended: Callable[[], bool]) -> None:
    """The address of the request, some moments later."""
    ended()
    plain(_now.request.target.encode())(connection, ended)


def endless(sent: list[int]) -> Answers:
    """An answer that goes on as fast as it is read."""

    def answers(connection: socket.socket, __: Callable[[], bool]) -> None:
        connection.sendall(_CHUNKED)
        for _ in range(ENDLESS_BYTES // 65536):
            connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
            sent.append(65536)

    return answers


def _headers_drip(connection: socket.socket, ended: Callable[[], bool]) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not ended():
        connection.sendall(b"x")


def _body_drips(connection: socket.socket, ended: Callable[[], bool]) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not ended():
        connection.sendall(b" ")


def _nothing_comes(_: socket.socket, ended: Callable[[], bool]) -> None:
    while not ended():
        pass


HALVES: Final[Mapping[str, Answers]] = {
    "within the headers": raw(b"HTTP/1.1 200 OK\r\nContent-Type: applic"),
    "within the body": raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status": "SUCCESS"}'),
    "within a chunk": raw(_CHUNKED + b'30\r\n{"status": "SUCCESS"}'),
}
DRIPS: Final[Mapping[str, Answers]] = {
    "nothing comes": _nothing_comes,
    "headers drip": _headers_drip,
    "a body drips": _body_drips,
}
