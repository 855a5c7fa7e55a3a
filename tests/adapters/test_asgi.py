"""The plain ASGI adapter does every duty of one, in all the ways in which it can be mounted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import xpay_flow_asgi as adapter
from xpay_flow.adapter_kit import Price
from xpay_flow.endpoints import WebRequest, WebResponse
from xpay_flow.errors import ConfigurationError
from xpay_flow.testing.adapter_suite import AdapterSuite, AnyFlow, Client, World, asgi_client


class TestMountedByTheServer(AdapterSuite):
    """Newer servers: the path includes where the app is mounted."""

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return asgi_client(adapter.routes(flow), root_path=prefix)

    def make_priced_client(self, flow: AnyFlow, prefix: str, price: Price) -> Client:
        return asgi_client(adapter.routes(flow, price=price), root_path=prefix)


class TestAsyncFlow(TestMountedByTheServer):
    is_async = True


class TestMountedTheOldWay(AdapterSuite):
    """Older servers: the path begins after where the app is mounted."""

    is_async = True

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        app = adapter.routes(flow)

        async def cut(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"].startswith(prefix):
                scope = {**scope, "root_path": prefix, "path": scope["path"].removeprefix(prefix)}
            await app(scope, receive, send)

        return asgi_client(cut)


class TestBehindACuttingProxy(AdapterSuite):
    """The proxy cut off its part of the path, and the framework kept its own."""

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        app = adapter.routes(flow)

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "root_path": f"/proxy{prefix}"}, receive, send)

        return asgi_client(behind)


class TestAroundAnApp(AdapterSuite):
    """Mounted by its own prefix, around an app that knows nothing."""

    is_async = True

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return asgi_client(adapter.routes(flow, prefix=prefix, otherwise=nothing_here))


async def nothing_here(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"otherwise"})


def flow() -> AnyFlow:
    return World("").async_flow()


def test_the_wrapped_app_gets_the_flow_and_everything_else() -> None:
    """What is outside the prefix goes to the app, with the flow in its scope."""
    ours = flow()
    seen: list[Any] = []

    async def otherwise(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], scope.get("path"), adapter.flow_from(scope)))
        if scope["type"] == "http":
            await nothing_here(scope, receive, send)

    app = adapter.routes(ours, prefix="/xpay", otherwise=otherwise)
    client = asgi_client(app)
    assert b"otherwise" == client("GET", "/xpayments").body
    assert 200 == client("GET", "/xpay/xpay-flow.js").status
    asyncio.run(talk(app, {"type": "websocket", "path": "/xpay/return"}))
    assert [("http", "/xpayments", ours), ("websocket", "/xpay/return", ours)] == seen


def test_a_scope_that_did_not_come_through_us_has_no_flow() -> None:
    """`flow_from` in the wrong place is an error that names the remedy."""
    with pytest.raises(ConfigurationError, match="wrap your app"):
        adapter.flow_from({"type": "http"})


@pytest.mark.parametrize("prefix", ["xpay", "/xpay/", "/"])
def test_a_prefix_that_is_no_path_is_refused(prefix: str) -> None:
    """A prefix that could never match is an error at start-up, not a 404 later."""
    with pytest.raises(ConfigurationError):
        adapter.routes(flow(), prefix=prefix)


async def talk(app: adapter.ASGIApp, scope: Any, *messages: Any) -> list[Any]:
    """What an app sends to a server that sends `messages` and then nothing more."""
    incoming = iter(messages)
    sent: list[Any] = []

    async def receive() -> Any:
        try:
            return next(incoming)
        except StopIteration:
            await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


LIFESPAN = ({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})


def test_lifespan_is_answered() -> None:
    """A server that asks whether the app is ready gets the answer it waits for."""
    answers = asyncio.run(talk(adapter.routes(flow()), {"type": "lifespan"}, *LIFESPAN))
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == [
        s["type"] for s in answers
    ]


class Started:
    """A flow that counts its starts."""

    def __init__(self, flow: Any) -> None:
        self.settings, self.handle, self.starts = flow.settings, flow.handle, 0

    def start(self) -> None:
        self.starts += 1


@pytest.mark.parametrize("around", [False, True])
def test_routes_start_the_flow_with_the_server(around: bool) -> None:
    """A shop that was killed delivers when it is started, and not with its first request."""
    started, seen = Started(flow()), list[str]()

    async def shop(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([(await receive())["type"], (await receive())["type"]])

    app = adapter.routes(started, otherwise=shop if around else None)
    asyncio.run(talk(app, {"type": "lifespan"}, *LIFESPAN))
    assert 1 == started.starts
    assert (["lifespan.startup", "lifespan.shutdown"] if around else []) == seen


def test_a_websocket_is_closed() -> None:
    """There is nothing to talk about over a WebSocket."""
    answers = asyncio.run(talk(adapter.routes(flow()), {"type": "websocket", "path": "/return"}))
    assert ["websocket.close"] == [message["type"] for message in answers]


def http(method: str, path: str) -> dict[str, Any]:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [],
    }


def test_half_a_body_is_dropped() -> None:
    """A client that leaves in the middle of its body is neither served nor answered."""
    messages = (
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    )
    assert [] == asyncio.run(talk(adapter.routes(flow()), http("POST", "/webhook"), *messages))


class Patient:
    """A flow whose answers never come."""

    settings = World("").async_flow().settings

    def __init__(self) -> None:
        self.cancelled = False

    async def handle(self, request: WebRequest) -> WebResponse:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError


def test_a_customer_who_leaves_is_not_waited_for() -> None:
    """When a browser closes a waiting query, the query ends at once."""
    patient = Patient()
    messages = ({"type": "http.request"}, {"type": "http.disconnect"})
    scope = http("GET", "/payment-status?xpay_intent_id=in_1&wait=20")
    assert [] == asyncio.run(talk(adapter.routes(patient), scope, *messages))
    assert patient.cancelled


def test_an_error_of_the_flow_is_the_servers_to_report() -> None:
    """An unexpected error goes on to the server, which logs it; it is not hidden."""

    class Broken:
        settings = World("").async_flow().settings

        async def handle(self, request: WebRequest) -> WebResponse:
            raise OSError("disk")

    for method in ("GET", "POST"):
        with pytest.raises(OSError, match="disk"):
            asyncio.run(
                talk(adapter.routes(Broken()), http(method, "/webhook"), {"type": "http.request"})
            )


def test_a_client_that_has_left_is_no_error() -> None:
    """A server that cannot send the answer any more raises OSError, which is ignored."""

    async def send(message: Any) -> None:
        raise OSError

    async def receive() -> Any:
        return {"type": "http.request"}

    asyncio.run(adapter.routes(flow())(http("POST", "/webhook"), receive, send))
