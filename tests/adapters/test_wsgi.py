"""The plain WSGI adapter does every duty of one."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from wsgiref.types import StartResponse
from wsgiref.validate import validator

import pytest

import xpay_flow_wsgi as adapter
from xpay_flow import sample_records as b
from xpay_flow.adapter_kit import Price
from xpay_flow.errors import ConfigurationError
from xpay_flow.testing.adapter_suite import (
    CHUNKS_READ_MAX,
    ODD_SPELLING,
    AdapterSuite,
    AnyFlow,
    Client,
    Stream,
    World,
    signature,
    wsgi_client,
)


class TestMountedByTheServer(AdapterSuite):
    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return wsgi_client(adapter.routes(flow), script_name=prefix)


class TestAroundAnApp(AdapterSuite):
    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return wsgi_client(adapter.routes(flow, prefix=prefix, otherwise=nothing_here))

    def make_priced_client(self, flow: AnyFlow, prefix: str, price: Price) -> Client:
        app = adapter.routes(flow, prefix=prefix, otherwise=nothing_here, price=price)
        return wsgi_client(app)


def nothing_here(environ: Any, start: StartResponse) -> list[bytes]:
    start("404 Not Found", [("Content-Type", "text/plain")])
    return [b"otherwise"]


def call(app: Any, **environ: Any) -> tuple[int, bytes]:
    """The status and body of an answer to a request made by hand."""
    usual: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/webhook",
        "QUERY_STRING": "",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "shop.test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": __import__("sys").stderr,
        "wsgi.input": BytesIO(ODD_SPELLING),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        f"HTTP_{signature(b'')[0].upper().replace('-', '_')}": signature(ODD_SPELLING)[1],
    }
    statuses: list[str] = []

    def start(status: str, headers: Any, error: Any = None) -> Any:
        statuses.append(status)
        return lambda _: None

    answer = app({k: v for k, v in (usual | environ).items() if v is not None}, start)
    body = b"".join(answer)
    getattr(answer, "close", lambda: None)()
    return int(statuses[0].split()[0]), body


def world() -> World:
    made = World("")
    made.flow = made.sync_flow()
    return made


def test_it_speaks_wsgi_by_the_book() -> None:
    """The standard library's validator finds nothing to complain about."""
    app = validator(adapter.routes(world().flow))
    length = str(len(ODD_SPELLING))
    assert 200 == call(app, CONTENT_LENGTH=length, CONTENT_TYPE="application/json")[0]
    for method in ("GET", "HEAD"):
        assert 200 == call(app, REQUEST_METHOD=method, PATH_INFO="/xpay-flow.js")[0]


def test_a_body_that_the_server_ends_needs_no_length() -> None:
    """Servers that decode chunks say so, and the whole body is read, within the limit."""
    app = adapter.routes(world().flow)
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    assert 200 == call(app, **chunked)[0]
    sent = Stream()

    class Endless:
        def read(self, size: int) -> bytes:
            return next(iter(sent))[:size]

    assert 413 == call(app, **chunked | {"wsgi.input": Endless()})[0]
    assert CHUNKS_READ_MAX >= sent.taken


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "٣"},
        {"CONTENT_LENGTH": "1e3"},
    ],
    ids=str,
)
def test_a_body_without_an_end_is_411(environ: dict[str, str]) -> None:
    """Reading until nothing comes could block for ever, so the request is refused."""
    assert 411 == call(adapter.routes(world().flow), **environ)[0]


def test_an_async_flow_is_refused() -> None:
    """A coroutine would be handed to a server that cannot await it."""
    with pytest.raises(ConfigurationError, match="AsyncFlow"):
        adapter.routes(World("").async_flow())


def test_a_server_with_one_thread_never_waits() -> None:
    """Where one request at a time is served, waiting would keep out the awaited event."""
    made = world()
    for step in b.history(b.created()):
        assert made.store.commit(step)
    query = {"QUERY_STRING": "xpay_intent_id=in_1&wait=20", "PATH_INFO": "/payment-status"}
    app = adapter.routes(made.flow)
    assert 200 == call(app, REQUEST_METHOD="GET", **query | {"wsgi.multithread": False})[0]
    assert 0 == made.clock.pauses
    assert 200 == call(app, REQUEST_METHOD="GET", **query)[0]
    assert 0 < made.clock.pauses


def test_the_wrapped_app_gets_the_flow_and_everything_else() -> None:
    """What is outside the prefix goes to the app, with the flow in its environ."""
    made = world()
    seen: list[Any] = []

    def otherwise(environ: Any, start: StartResponse) -> list[bytes]:
        seen.append((environ["PATH_INFO"], adapter.flow_from(environ)))
        return nothing_here(environ, start)

    app = adapter.routes(made.flow, prefix="/xpay", otherwise=otherwise)
    assert (404, b"otherwise") == call(app, PATH_INFO="/xpayments")
    assert [("/xpayments", made.flow)] == seen
    with pytest.raises(ConfigurationError, match="wrap your app"):
        adapter.flow_from({})
