"""What adapters share: bodies, queries, paths, and threads that wait."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from xpay_flow import sample_records as b
from xpay_flow.adapter_kit import (
    QUERY_FIELDS_MAX,
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
from xpay_flow.testing.adapter_suite import World

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


def test_a_server_without_spare_threads_does_not_wait() -> None:
    """A server with one thread answers at once, and says when to ask again."""
    world = World("")
    for step in b.history(b.created()):
        assert world.store.commit(step)
    flow = world.sync_flow()
    query = {"xpay_intent_id": "in_1", "wait": "20"}
    answer = blocking(flow).handle(
        WebRequest(method="GET", path="/payment-status", query=query), patient=False
    )
    assert 0 == world.clock.pauses
    assert 5 == json.loads(answer.body)["retry_after_s"]
    assert ("Retry-After", "5") in answer.headers


def test_events_do_not_queue_behind_queries_in_threads() -> None:
    """While every thread for queries is taken, an event of xPay's is answered."""
    leave = threading.Event()
    inside = threading.Semaphore(0)

    class Slow(Echo):
        def handle(self, request: WebRequest) -> WebResponse:
            if request.method == "GET":
                inside.release()
                assert leave.wait(10)
            return super().handle(request)

    async def together() -> None:
        answer = answering(Slow())
        queries = [asyncio.ensure_future(answer(WebRequest(method="GET", path="/")))]
        while inside.acquire(timeout=0.2):
            queries.append(asyncio.ensure_future(answer(WebRequest(method="GET", path="/"))))
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(5):
                assert 200 == (await answer(WebRequest(method="POST", path="/webhook"))).status
        finally:
            leave.set()
        await asyncio.gather(*queries)

    asyncio.run(together())
