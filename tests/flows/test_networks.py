"""That an exchange with xPay ends in time, whatever drips or hangs, and in no foreign error."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from xpay_flow import call_within as calls
from xpay_flow.call_within import HANGING_MAX, TooManyCalls, call_within
from xpay_flow.errors import InvalidValue, OutcomeUnknown, UntrustedMessage
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.httpx_transport import AsyncHttpxTransport, HttpxTransport
from xpay_flow.money import Money
from xpay_flow.ports import HttpRequest, HttpResponse, NoAnswer
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.limits import within_s
from xpay_flow.wire import read_intent

from .kit import answer, quiet_world, scripted, story

SETTINGS = Settings.sandbox(connect_timeout_s=0.2, read_timeout_s=0.2)
Pause = Callable[[], object]


def _headers_drip(connection: socket.socket, pause: Pause) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not pause():
        connection.sendall(b"x")


def _body_drips(connection: socket.socket, pause: Pause) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not pause():
        connection.sendall(b" ")


def _nothing_comes(connection: socket.socket, pause: Pause) -> None:
    while not pause():
        pass


DRIPS = {"headers": _headers_drip, "body": _body_drips, "nothing": _nothing_comes}


@contextmanager
def dripping(drip: Callable[[socket.socket, Pause], None]) -> Generator[str]:
    """A server whose every answer never ends; yields its address."""
    stop = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(30)

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    drip(connection, lambda: stop.wait(0.02))

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        stop.set()
        listening.close()
        serving.join(5)


def send(request: HttpRequest) -> HttpResponse:
    transport = HttpxTransport(SETTINGS)
    try:
        return transport.send(request)
    finally:
        transport.close()


def asend(request: HttpRequest) -> HttpResponse:
    async def sending() -> HttpResponse:
        transport = AsyncHttpxTransport(SETTINGS)
        try:
            return await transport.send(request)
        finally:
            await transport.aclose()

    return asyncio.run(sending())


SENDS = {"blocking": send, "awaiting": asend}


@pytest.mark.parametrize("kind", SENDS)
@pytest.mark.parametrize("drip", DRIPS)
def test_transport_has_one_deadline_for_a_whole_exchange(drip: str, kind: str) -> None:
    """Each byte comes in time, and the answer does not: there is no answer."""
    with dripping(DRIPS[drip]) as url, pytest.raises(NoAnswer):
        within_s(20, lambda: SENDS[kind](HttpRequest("GET", url, {})))


@pytest.mark.parametrize("kind", SENDS)
def test_transport_counts_the_name_look_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs does not hold the customer up."""
    resolved = threading.Event()
    look_up = socket.getaddrinfo

    def hang(host: Any, *args: Any, **options: Any) -> Any:
        if host in ("xpay.invalid", b"xpay.invalid"):
            resolved.wait(30)
            raise OSError("never")
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    ending = threading.Timer(2, resolved.set)  # asyncio.run waits for its look-ups.
    ending.start()
    try:
        with pytest.raises(NoAnswer):
            within_s(20, lambda: SENDS[kind](HttpRequest("GET", "http://xpay.invalid/", {})))
    finally:
        resolved.set()
        ending.cancel()


def test_transport_stops_when_its_caller_waits_no_longer() -> None:
    """What is left of the customer's budget limits the exchange, too."""
    settings = Settings.sandbox(read_timeout_s=60)
    with dripping(_body_drips) as url, pytest.raises(NoAnswer, match=r"within 0\.1 s"):
        HttpxTransport(settings).send(HttpRequest("GET", url, {}, within_s=0.1))


def test_start_checkout_gives_each_exchange_what_is_left_of_the_budget() -> None:
    """Twenty seconds for all tries: the second one has what the first one left."""
    world = quiet_world(create_budget_s=20)
    transport = scripted(world, NoAnswer("timed out"))
    transport.before = lambda request: world.advance(9)
    world.start_checkout()
    assert [20, 10] == [request.within_s for request in transport.requests]


def test_transport_uses_new_connections_after_a_late_answer() -> None:
    """The connection on which an answer still drips in is closed, and not used again."""
    transport = HttpxTransport(SETTINGS)
    clients = [transport._client]  # pyright: ignore[reportPrivateUsage]
    with dripping(_headers_drip) as url, pytest.raises(NoAnswer):
        transport.send(HttpRequest("GET", url, {}))
    clients.append(transport._client)  # pyright: ignore[reportPrivateUsage]
    assert clients[0] is not clients[1]
    transport.close()


def test_call_within_carries_the_callers_context_and_errors() -> None:
    """Tracing that rides on context variables goes on, and an error is the caller's own."""
    variable = contextvars.ContextVar("variable", default="")
    variable.set("caller")
    assert "caller" == call_within(5, variable.get)
    with pytest.raises(ZeroDivisionError):
        call_within(5, lambda: 1 // 0)


def test_call_within_begins_no_more_than_so_many_hanging_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network on which everything hangs does not fill the process with threads."""
    monkeypatch.setattr(calls, "_free", threading.BoundedSemaphore(1))
    assert HANGING_MAX > 1
    end = threading.Event()
    with pytest.raises(TimeoutError):
        call_within(0.01, lambda: end.wait(30))
    with pytest.raises(TooManyCalls):
        call_within(5, lambda: None)
    end.set()


# --- foreign errors ------------------------------------------------------------------------------

FOREIGN = [
    OSError("no route"),
    ssl.SSLError("wrong version"),
    UnicodeError("label too long"),
    RuntimeError("the client has been closed"),
    ValueError("invalid URL"),
    KeyError("status"),
    TimeoutError(),
]


class Failing:
    """A transport of the shop's own that raises what it likes."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def send(self, request: HttpRequest) -> HttpResponse:
        raise self.error


class AsyncFailing(Failing):
    async def send(self, request: HttpRequest) -> HttpResponse:  # type: ignore[override]
        raise self.error


REQUEST: dict[str, Any] = {
    "receipt_id": "order-42",
    "money": Money(1999, "USD"),
    "callback_url": "https://shop.example/thanks",
}
ONE_TRY = Settings.sandbox(create_tries=1)


@pytest.mark.parametrize("error", FOREIGN, ids=repr)
def test_every_failure_of_a_transport_is_no_answer(error: Exception) -> None:
    """The request may have been seen, so the outcome is unknown, in both worlds alike."""
    flow = Flow(MemoryStore(), ONE_TRY, transport=Failing(error), background=False)
    with pytest.raises(OutcomeUnknown) as caught:
        flow.start_checkout(**REQUEST)
    assert flow.timeline("order-42").intent is not None

    async def start() -> None:
        async with AsyncFlow(
            MemoryStore(), ONE_TRY, transport=AsyncFailing(error), background=False
        ) as flow:
            await flow.start_checkout(**REQUEST)

    with pytest.raises(OutcomeUnknown) as other:
        asyncio.run(start())
    assert str(caught.value) == str(other.value)


def test_cancellation_is_not_taken_for_silence() -> None:
    """A cancelled task ends as cancelled, and Ctrl+C as Ctrl+C."""

    async def start() -> None:
        transport = AsyncFailing(asyncio.CancelledError())
        flow = AsyncFlow(MemoryStore(), ONE_TRY, transport=transport, background=False)
        await flow.start_checkout(**REQUEST)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(start())
    flow = Flow(MemoryStore(), ONE_TRY, transport=Failing(KeyboardInterrupt()), background=False)
    with pytest.raises(KeyboardInterrupt):
        flow.start_checkout(**REQUEST)


def test_an_error_page_that_is_no_json_settles_nothing() -> None:
    """The page of a firewall is not xPay's refusal: the attempt stays, under the same key."""
    world = quiet_world()
    page = answer(403, b"<html>Just a moment...</html>")
    scripted(world, page, page, page)
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    assert [("stored", "applied")] == story(world)
    assert "created" == world.start_checkout().state


# --- ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [".", "..", "", "\ud800"])
def test_get_intent_refuses_what_would_change_the_path(odd: str) -> None:
    """A dot as an id would be read as another address; nothing is sent."""
    world = quiet_world()
    transport = scripted(world)
    with pytest.raises(InvalidValue):
        world.flow.xpay.get_intent(odd)
    assert [] == transport.requests


@pytest.mark.parametrize("odd", [".", "..", "a/b", "../create-intent"])
def test_read_intent_refuses_ids_that_are_steps_of_a_path(odd: str) -> None:
    """Such an id is never stored, so it is never requested."""
    with pytest.raises(UntrustedMessage, match="bad-field"):
        read_intent(b'{"xIntentId": "%s", "status": "CREATED"}' % odd.encode())
