"""What adapters share: bodies, queries, paths, and threads that wait."""

from __future__ import annotations

import asyncio
import threading

import pytest

from xpay_flow.adapter_kit import (
    QUERY_FIELDS_MAX,
    WAITING_THREADS_MAX,
    Blocking,
    Body,
    answering,
    below,
    blocking,
    is_async,
    parse_query,
)
from xpay_flow.endpoints import WebRequest, WebResponse, json_response
from xpay_flow.errors import ConfigurationError
from xpay_flow.settings import Settings

SETTINGS = Settings.sandbox(body_bytes_max=4096)


class Echo:
    """A flow that answers with the query of the request."""

    settings = SETTINGS

    def handle(self, request: WebRequest) -> WebResponse:
        return json_response(200, dict(request.query))


class AsyncEcho:
    settings = SETTINGS

    async def handle(self, request: WebRequest) -> WebResponse:
        return json_response(201, dict(request.query))


@pytest.mark.parametrize(
    ("raw", "query"),
    [
        (b"", {}),
        (b"a=1&b=2&a=3", {"a": "3", "b": "2"}),
        (b"a=&b", {"a": "", "b": ""}),
        (b"a=%3Cb%3E+%26", {"a": "<b> &"}),
        (b"a=%E2%82%AC&b=%FF", {"a": "€", "b": "\ufffd"}),
        (b"a=\xff", {"a": "\ufffd"}),
        (b"=1&&", {"": "1"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"&".join([b"a=1"] * (QUERY_FIELDS_MAX + 1)), {}),
    ],
)
def test_a_query_string_is_read(raw: bytes, query: dict[str, str]) -> None:
    """Whatever the bytes, they give strings; the last of a repeated parameter counts."""
    assert query == parse_query(raw)


@pytest.mark.parametrize(
    ("mount", "path", "rest"),
    [
        ("", "/webhook", "/webhook"),
        ("/xpay", "/xpay/webhook", "/webhook"),
        ("/xpay", "/webhook", "/webhook"),
        ("/api/xpay", "/api/xpay/webhook", "/webhook"),
        ("/api/xpay", "/xpay/webhook", "/webhook"),
        ("/api/xpay", "/webhook", "/webhook"),
        ("/xpay/", "/xpay/webhook", "/webhook"),
        ("/xpay", "/xpayments/webhook", "/xpayments/webhook"),
        ("/webhook", "/webhook", "/webhook"),
        ("/webhook", "/webhook/webhook", "/webhook"),
        ("/a", "//webhook", "//webhook"),
        ("", "//webhook", "//webhook"),
        ("/xpay", "/xpay", "/xpay"),
    ],
)
def test_a_path_is_taken_relative_to_the_mount(mount: str, path: str, rest: str) -> None:
    """However much of the mount a server leaves in the path, the rest is the same."""
    assert rest == below(mount, path)


def test_a_body_is_collected_up_to_one_byte_over_the_limit() -> None:
    """That byte shows that a body is too large; the rest is never kept."""
    body = Body(Echo())
    body.add(b"x" * 4000)
    assert 97 == body.wanted
    body.add(b"y" * 5000)
    assert (0, 4097) == (body.wanted, len(bytes(body)))
    body.add(b"z")
    assert b"x" * 4000 + b"y" * 97 == bytes(body)


def test_a_flow_is_distinguished_from_an_async_one() -> None:
    """Both kinds are answered with in an event loop, and only the plain one without."""
    assert [False, True] == [is_async(Echo()), is_async(AsyncEcho())]
    request = WebRequest(method="GET", path="/")
    for flow, status in ((Echo(), 200), (AsyncEcho(), 201)):
        answer = answering(flow)

        async def ask() -> WebResponse:
            return await answer(request)  # noqa: B023 - called at once

        assert status == asyncio.run(ask()).status
    with pytest.raises(ConfigurationError):
        blocking(AsyncEcho())


def test_waiting_customers_leave_threads_free_for_xpay() -> None:
    """As many as are allowed wait; the next is answered at once, and may wait when one is done."""
    queries: list[dict[str, str]] = []
    inside = threading.Semaphore(0)
    leave = threading.Event()

    class Slow(Echo):
        def handle(self, request: WebRequest) -> WebResponse:
            queries.append(dict(request.query))
            if "wait" in request.query and not leave.is_set():
                inside.release()
                assert leave.wait(10)
            return super().handle(request)

    site = Blocking(Slow())
    request = WebRequest(method="GET", path="/payment-status", query={"wait": "20", "id": "1"})
    threads = [
        threading.Thread(target=site.handle, args=(request,)) for _ in range(WAITING_THREADS_MAX)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert inside.acquire(timeout=10)
    site.handle(request)
    assert {"id": "1"} == queries[-1]
    leave.set()
    for thread in threads:
        thread.join(10)
    site.handle(request)
    assert {"id": "1", "wait": "20"} == queries[-1]


def test_a_wait_that_fails_gives_its_place_back() -> None:
    """An error while waiting does not use up a place for ever."""

    class Failing(Echo):
        def handle(self, request: WebRequest) -> WebResponse:
            raise ZeroDivisionError

    site = Blocking(Failing())
    request = WebRequest(method="GET", path="/payment-status", query={"wait": "20"})
    for _ in range(WAITING_THREADS_MAX + 1):
        with pytest.raises(ZeroDivisionError):
            site.handle(request)
    site.flow = Echo()
    assert b'{"wait": "20"}' == site.handle(request).body


def test_a_server_without_spare_threads_does_not_wait() -> None:
    """A server with one thread is answered at once."""
    request = WebRequest(method="GET", path="/payment-status", query={"wait": "20"})
    assert b"{}" == Blocking(Echo()).handle(request, patient=False).body
