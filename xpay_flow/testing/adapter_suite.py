"""Is this an HTTP adapter? Every duty of one, by name.

    class TestMyAdapter(AdapterSuite):
        def make_client(self, flow: AnyFlow, prefix: str) -> Client:
            app = my_framework_app(xpay_flow_mine.routes(flow), mounted_at=prefix)
            return wsgi_client(app)   # or asgi_client(app)

Set `is_async` for one that is given an `AsyncFlow`. Time is given by a clock that only moves during
waits, and nothing opens a socket; `server_client.server_client` tries the adapter behind a server.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from io import RawIOBase
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast
from urllib.parse import unquote_to_bytes, urlencode
from weakref import finalize
from wsgiref.types import WSGIApplication

import attrs
import httpx
import pytest

from xpay_flow import messages as m
from xpay_flow import sample_records as b
from xpay_flow.endpoints import Header, Pages, RequestHandler
from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.ports import HttpRequest, HttpResponse
from xpay_flow.records import Change, Record
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore

from .limits import TOGETHER_S, within_s

T = TypeVar("T")

AnyFlow: TypeAlias = Flow | AsyncFlow

BODY_BYTES_MAX: Final = 4096
SETTINGS: Final = Settings.sandbox(body_bytes_max=BODY_BYTES_MAX)
# Longer than any query of the suite waits.
ANSWERED_S: Final = 60.0
# What an adapter must have given up by then, which takes it much less.
GIVEN_UP_S: Final = 5.0
CHUNK: Final = b"x" * 1024
# Servers read ahead; an adapter that collects what it should refuse reads all of these.
CHUNKS_SENT: Final = 200
CHUNKS_READ_MAX: Final = BODY_BYTES_MAX // len(CHUNK) + 3
HOSTILE: Final = "\"><script>alert('1')</script>&<b"
# Spaces, an escape and an order that no serialiser would write again.
ODD_SPELLING: Final = (
    b'{ "eventType":"intent.success",\n "eventId" : "whe_1" ,"eventTime":1760000000000,'
    b'"intentId":"in_1","status":"SUCCESS","amount":1999,"currency":"USD",'
    b'"metadata":{"note":"Zo\\u00eb \xe2\x82\xb9 \\/"}  }'
)


@attrs.frozen
class Answer:
    """What a client got back; names of headers in lower case."""

    status: int
    headers: tuple[Header, ...]
    body: bytes = attrs.field(repr=lambda body: repr(body[:200]))

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Client(Protocol):
    """Sends one request through the adapter. May be called from several threads.

    `path` has the prefix and the query; `body` may be a stream, of which no more than needed
    should be read.
    """

    def __call__(
        self,
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: bytes | Iterable[bytes] = b"",
    ) -> Answer: ...


class AdapterSuite:
    """Subclass it and define `make_client`.

    Attributes:
        is_async: the adapter is given an `AsyncFlow`.
        is_served: the client speaks to a server on a socket, as `server_client` does. How much of a
            body the adapter has read is not to be seen there; only that it was not all.
    """

    is_async = False
    is_served = False

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        """A client of an app with the routes of `flow` mounted at `prefix`, or at the root."""
        raise NotImplementedError

    def open(self, prefix: str = "/xpay", **settings: Any) -> World:
        """A world with one attempt, `in_1`, that waits for its payment.

        Args:
            settings: changes to `SETTINGS`. With any, time is the machine's.
        """
        world = World(prefix, **settings)
        world.flow = world.async_flow() if self.is_async else world.sync_flow()
        world.client = self.make_client(world.flow, prefix)
        for step in b.history(b.created()):
            assert world.store.commit(step)
        return world

    # --- the webhook ---

    def test_the_exact_bytes_reach_the_verifier(self) -> None:
        """A body that no serialiser would write again still has the signature xPay gave it."""
        world = self.open()
        assert 200 == world.deliver(ODD_SPELLING).status
        assert "SUCCESS" == world.status("in_1").json()["status"]

    def test_every_signature_header_reaches_the_verifier(self) -> None:
        """Of two signatures neither is chosen: different ones are refused, and equal ones pass."""
        world = self.open()
        bad = (m.HMAC_HEADER, base64.b64encode(bytes(64)).decode())
        good = signature(ODD_SPELLING)
        assert 401 == world.deliver(ODD_SPELLING, bad, good).status
        assert 401 == world.deliver(ODD_SPELLING, good, bad).status
        assert 200 == world.deliver(ODD_SPELLING, good, good).status

    def test_a_forged_webhook_is_refused_and_leaves_no_trace(self) -> None:
        """Without a signature, or with one of other bytes, nothing is written."""
        world = self.open()
        before = world.store.commits
        assert 401 == world.send("POST", "/webhook", body=ODD_SPELLING).status
        assert 401 == world.deliver(ODD_SPELLING, signature(ODD_SPELLING + b" ")).status
        assert before == world.store.commits

    def test_an_unavailable_store_is_503_so_that_xpay_tries_again(self) -> None:
        """Nothing is acknowledged that is not stored, and the status query agrees."""
        world = self.open()
        world.store.down = True
        answer = world.deliver(ODD_SPELLING)
        assert (503, True) == (answer.status, (answer.header("retry-after") or "").isdigit())
        assert 503 == world.status("in_1").status

    def test_an_oversized_body_is_413(self) -> None:
        """One byte over the limit is too large; at the limit it is the signature that decides."""
        world = self.open()
        padded = ODD_SPELLING + b" " * (BODY_BYTES_MAX - len(ODD_SPELLING))
        assert 413 == world.deliver(padded + b" ").status
        assert 200 == world.deliver(padded).status

    def test_no_more_of_a_body_is_read_than_the_limit(self) -> None:
        """An endless body ends the request; it does not fill the memory."""
        world = self.open()
        sent = Stream(self.is_served)
        length = ("Content-Length", str(sent.length))
        assert 413 == world.send("POST", "/webhook", (length,), sent).status
        assert sent.taken_max >= sent.taken

    def test_a_lying_content_length_is_not_believed(self) -> None:
        """A length is a claim: neither a huge nor a small one makes the adapter read what it should
        not, or answer other than with a refusal."""
        world = self.open()
        before = world.store.commits
        for claimed in ("99999999999", "10"):
            sent = Stream(self.is_served)
            answer = world.send("POST", "/webhook", (("Content-Length", claimed),), sent)
            assert 400 <= answer.status < 500
            assert sent.taken_max >= sent.taken
        assert before == world.store.commits

    def test_webhooks_that_come_together_are_kept_apart(self) -> None:
        """Eight deliveries at the same time are verified and recorded each with its own bytes."""
        world = self.open()
        bodies = [event(f"in_other_{n}", f"whe_{n}", note="x" * n) for n in range(8)]
        answers = within_s(TOGETHER_S, *(partial(world.deliver, body) for body in bodies))
        assert [200] * len(bodies) == [answer.status for answer in answers]
        for n in range(len(bodies)):
            (record,) = world.store.history(f"x:in_other_{n}")
            assert [f"whe_{n}"] == [recorded.event.event_id for recorded in record.events]

    # --- the status query ---

    def test_the_status_is_answered_as_json(self) -> None:
        """The browser reads `status` and `final`, and nothing keeps a copy of the answer."""
        world = self.open()
        answer = world.status("in_1")
        assert (200, {"status": "PENDING", "final": False, "refunded": "none"}) == (
            answer.status,
            answer.json(),
        )
        assert "application/json" == answer.header("content-type")
        assert "no-store" == answer.header("cache-control")
        world.deliver(ODD_SPELLING)
        assert {"status": "SUCCESS", "final": True, "refunded": "none"} == world.status(
            "in_1"
        ).json()

    def test_an_unknown_payment_is_404_and_pending(self) -> None:
        """The customer can be back before anything else is, so no failure is shown."""
        answer = self.open().status("in_unknown")
        assert 404 == answer.status
        assert {
            "status": "PENDING",
            "final": False,
            "refunded": "none",
            "known": False,
        } == answer.json()

    def test_a_query_without_an_id_is_400(self) -> None:
        """A malformed query is refused in words, and nothing foreign is quoted."""
        world = self.open()
        for query in ("", "?xpay_intent_id=", "?xpay_intent_id=%0a%3Cb%3E", "?wait=5"):
            answer = world.send("GET", f"/payment-status{query}")
            assert (400, True) == (answer.status, "xpay_intent_id" in answer.json()["error"])
            assert b"<b>" not in answer.body

    def test_a_query_is_decoded_once_and_its_last_value_counts(self) -> None:
        """A name that was percent-encoded is found; of a repeated parameter the last is used."""
        world = self.open()
        for step in b.history(b.created("in_é%41/&+"), receipt_id="order-2"):
            assert world.store.commit(step)
        assert 200 == world.status("in_é%41/&+").status
        query = urlencode([("xpay_intent_id", "in_1"), ("wait", "0"), ("wait", "word")])
        assert 400 == world.send("GET", f"/payment-status?{query}").status
        query = urlencode([("xpay_intent_id", "in_wrong"), ("xpay_intent_id", "in_1")])
        assert 200 == world.send("GET", f"/payment-status?{query}").status

    def test_a_waiting_query_ends_when_an_event_comes(self) -> None:
        """An event that comes through the adapter meanwhile ends the wait, long before its time."""
        world = self.open()
        delivered: list[Answer] = []

        def pay_at_the_third_look() -> None:
            if 3 == world.clock.pauses:
                delivered.append(world.deliver(ODD_SPELLING))

        world.clock.meanwhile = pay_at_the_third_look
        answer = world.status("in_1", wait="20")
        assert [200] == [reply.status for reply in delivered]
        assert {"status": "SUCCESS", "final": True, "refunded": "none"} == answer.json()
        assert 5_000 > world.clock.now_ms() - b.NOW_MS

    def test_a_waiting_query_ends_when_its_time_is_up(self) -> None:
        """Without an event the answer is unchanged, after the requested wait."""
        world = self.open()
        assert "PENDING" == world.status("in_1", wait="4").json()["status"]
        assert 4_000 == world.clock.now_ms() - b.NOW_MS

    def test_a_client_that_hangs_up_waits_no_more(self) -> None:
        """Where the server reports a hang-up, it ends the wait; elsewhere the cap limits it."""
        world = self.open(status_waiting_max=1)
        client: Any = world.client
        if not hasattr(client, "hang_up"):
            pytest.skip("this client cannot hang up: see the cap")
        path = f"{world.prefix}/payment-status?xpay_intent_id=in_1&wait=20"
        client.hang_up(path, lambda: world.waiting == 1)
        until(lambda: world.waiting == 0, "the wait has ended with the connection")

    def test_a_query_that_may_not_wait_is_answered_at_once(self) -> None:
        """Over the cap the answer is the status as it stands, and when to ask again."""
        world = self.open(status_waiting_max=0)
        (answer,) = within_s(TOGETHER_S, lambda: world.status("in_1", wait="20"), what="the answer")
        assert (200, "PENDING", 5) == (
            answer.status,
            answer.json()["status"],
            answer.json().get("retry_after_s"),
        )
        assert "5" == answer.header("retry-after")
        assert "retry_after_s" not in world.status("in_1").json()

    def test_a_body_that_does_not_arrive_is_408(self) -> None:
        """Half a body, or a byte now and then, is refused when the body's time is up."""
        world = self.open(body_timeout_s=0.3)
        client: Any = world.client
        if not hasattr(client, "hang_up"):
            pytest.skip("this client sends whole bodies only")
        length = ("Content-Length", "1000")
        for slowly in (half_sent, byte_by_byte):
            send = partial(world.send, "POST", "/webhook", (length,), slowly())
            (answer,) = within_s(GIVEN_UP_S, send, what="the answer to a slow body")
            assert (408, "too-slow") == (answer.status, answer.json()["error"])
            assert "close" == answer.header("connection")
        assert 200 == world.deliver(ODD_SPELLING).status

    # --- pages and files ---

    def test_the_return_page_escapes_its_address(self) -> None:
        """Whatever stands in the address of the return page, it is text and never markup."""
        world = self.open()
        query = urlencode({"xpay_intent_id": HOSTILE, "order": HOSTILE, HOSTILE: "1"})
        answer = world.send("GET", f"/return?{query}")
        assert 200 == answer.status
        assert "text/html; charset=utf-8" == answer.header("content-type")
        assert b"<script>" not in answer.body
        assert b"<b" not in answer.body.replace(b"<body", b"")
        assert b"&quot;&gt;&lt;script&gt;" in answer.body
        assert "default-src 'none'" in (answer.header("content-security-policy") or "")

    def test_the_return_page_speaks_the_language_of_the_browser(self) -> None:
        """`Accept-Language` reaches the endpoint, and letters beyond ASCII reach the customer."""
        world = self.open()
        language = ("Accept-Language", "ar-EG, ar;q=0.9, en;q=0.5")
        answer = world.send("GET", "/return?xpay_intent_id=in_1", (language,))
        assert 'lang="ar" dir="rtl"' in answer.body.decode()
        assert str(len(answer.body)) == answer.header("content-length")

    def test_the_script_is_served_and_may_be_kept(self) -> None:
        """The module has the type that browsers insist on, and is not sent twice."""
        world = self.open()
        answer = world.send("GET", "/xpay-flow.js")
        assert (200, True) == (answer.status, b"export" in answer.body)
        assert "text/javascript; charset=utf-8" == answer.header("content-type")
        assert str(len(answer.body)) == answer.header("content-length")
        etag = answer.header("etag") or ""
        again = world.send("GET", "/xpay-flow.js", (("If-None-Match", etag),))
        assert (304, b"") == (again.status, again.body)

    # --- addresses and methods ---

    @pytest.mark.parametrize("prefix", ["", "/xpay", "/shop/pay"])
    def test_the_routes_are_where_they_were_mounted(self, prefix: str) -> None:
        """Every address works at the root and below any prefix, and nowhere else."""
        world = self.open(prefix)
        assert 200 == world.deliver(ODD_SPELLING).status
        assert 200 == world.status("in_1").status
        for path in ("/return?xpay_intent_id=in_1", "/xpay-flow.js", "/xpay-flow.css"):
            assert 200 == world.send("GET", path).status
        assert 404 == world.client("GET", f"/other{prefix}/xpay-flow.js").status

    def test_a_slash_at_the_end_changes_nothing(self) -> None:
        """An address that was typed with a slash at its end is answered, and not redirected."""
        world = self.open()
        json_type = ("Content-Type", "application/json")
        signed = (json_type, signature(ODD_SPELLING))
        assert 200 == world.send("POST", "/webhook/", signed, ODD_SPELLING).status
        assert 200 == world.send("GET", "/payment-status/?xpay_intent_id=in_1").status
        for path in ("/return/?xpay_intent_id=in_1", "/xpay-flow.js/"):
            assert 200 == world.send("GET", path).status

    def test_an_address_that_is_not_ours_is_404(self) -> None:
        """A path that only begins like one of ours is none."""
        world = self.open()
        for path in ("/", "/webhook/more", "/webhooks", "/returns", "/return.html"):
            assert 404 == world.send("GET", path).status

    def test_a_wrong_method_is_405_and_names_the_right_one(self) -> None:
        """The webhook takes POST alone, and what only reads takes no POST."""
        world = self.open()
        answer = world.send("GET", "/webhook")
        assert (405, "POST") == (answer.status, answer.header("allow"))
        for path in ("/payment-status?xpay_intent_id=in_1", "/return", "/xpay-flow.js"):
            answer = world.send("POST", path)
            assert (405, "GET, HEAD") == (answer.status, answer.header("allow"))

    def test_head_is_get_without_the_body(self) -> None:
        """HEAD shows the type and the length that GET would have."""
        world = self.open()
        for path in ("/payment-status?xpay_intent_id=in_1", "/xpay-flow.js"):
            got, head = world.send("GET", path), world.send("HEAD", path)
            assert (got.status, b"") == (head.status, head.body)
            for name in ("content-type", "content-length", "cache-control"):
                assert got.header(name) == head.header(name)


# --- the world in which an adapter is tried ------------------------------------------------------


class CountingStore(MemoryStore):
    """A store that counts what is written, and can be out of reach."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.down = False

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        if self.down:
            raise StoreUnavailable("down, as the test wants it")
        return super().load(alias, event)

    def commit(self, change: Change) -> bool:
        self.commits += 1
        return super().commit(change)


class WaitingClock:
    """Time passes only during waits, and meanwhile something may happen."""

    def __init__(self) -> None:
        self._now_ms = b.NOW_MS
        self.pauses = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def now_ms(self) -> int:
        return self._now_ms

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        self._now_ms += round(seconds * 1000)
        self.meanwhile()


class AsyncWaitingClock:
    """The same clock for an event loop, which goes on meanwhile."""

    def __init__(self, clock: WaitingClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def pause(self, seconds: float) -> None:
        await asyncio.to_thread(self._clock.pause, seconds)


class NoXPay:
    """No route of ours calls xPay."""

    def send(self, request: HttpRequest) -> HttpResponse:
        raise AssertionError(f"an HTTP route called xPay: {request}")


class AsyncNoXPay:
    async def send(self, request: HttpRequest) -> HttpResponse:
        raise AssertionError(f"an HTTP route called xPay: {request}")


class World:
    """A flow, its store and its clock, and a client in front of them."""

    flow: AnyFlow
    client: Client

    def __init__(self, prefix: str, **settings: Any) -> None:
        self.prefix = prefix
        self.store = CountingStore()
        self.clock = WaitingClock()
        self.settings = attrs.evolve(SETTINGS, **settings)
        self._has_real_time = bool(settings)

    @property
    def waiting(self) -> int:
        """How many queries wait, in real time."""
        return len(self.flow.ports.shared.waiting)

    def sync_flow(self) -> Flow:
        return Flow(
            self.store,
            self.settings,
            transport=NoXPay(),
            clock=None if self._has_real_time else self.clock,
            pages=Pages(retry_url="/cart"),
            background=False,
        )

    def async_flow(self) -> AsyncFlow:
        return AsyncFlow(
            self.store,
            self.settings,
            transport=AsyncNoXPay(),
            clock=None if self._has_real_time else AsyncWaitingClock(self.clock),
            pages=Pages(retry_url="/cart"),
            background=False,
        )

    def send(
        self,
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: Any = b"",
    ) -> Answer:
        """One request to a path below the prefix."""
        return self.client(method, self.prefix + path, headers, body)

    def deliver(self, body: bytes, *signatures: Header) -> Answer:
        """A webhook; signed as xPay does, unless other signatures are given."""
        json_type = ("Content-Type", "application/json")
        return self.send("POST", "/webhook", (json_type, *(signatures or [signature(body)])), body)

    def status(self, x_intent_id: str, **query: str) -> Answer:
        """The status query's answer about an intent."""
        return self.send(
            "GET", f"/payment-status?{urlencode({'xpay_intent_id': x_intent_id, **query})}"
        )


def signature(body: bytes) -> Header:
    """xPay's signature header for `body`: "base64(HMAC-SHA512(key, raw body))"."""
    key = SETTINGS.webhook_secrets[0].encode()
    return m.HMAC_HEADER, base64.b64encode(hmac.digest(key, body, "sha512")).decode()


def event(x_intent_id: str, event_id: str, note: str = "") -> bytes:
    """A payment, as xPay would report it."""
    return json.dumps(
        {
            "eventId": event_id,
            "eventType": m.INTENT_SUCCESS,
            "eventTime": b.NOW_MS,
            "intentId": x_intent_id,
            "status": m.STATUS_SUCCESS,
            "amount": b.PRICE.amount_minor,
            "currency": b.PRICE.currency,
            "metadata": {"note": note},
        }
    ).encode()


class Stream:
    """A body that goes on and on, and counts how much of it was taken.

    Args:
        is_served: a server, and the buffers of two sockets, read ahead of the adapter.
    """

    def __init__(self, is_served: bool = False) -> None:
        self._chunk = CHUNK * 64 if is_served else CHUNK
        self.length = CHUNKS_SENT * len(self._chunk)
        self.taken_max = CHUNKS_SENT - 1 if is_served else CHUNKS_READ_MAX
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        while self.taken < CHUNKS_SENT:
            self.taken += 1
            yield self._chunk


# --- clients -------------------------------------------------------------------------------------


def asgi_client(app: Any, *, root_path: str = "") -> ASGIClient:
    """A client of an ASGI app; all calls share one event loop, as a server's requests do.

    Args:
        root_path: where a server would report that the app is mounted. Paths include it.
    """
    return ASGIClient(app, root_path)


class _LoopInThread:
    """An event loop that runs until this object is gone."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run_for_ever, args=(self._loop,), daemon=True)
        thread.start()
        finalize(self, _end, self._loop, thread)

    def run(self, awaited: Coroutine[Any, Any, T]) -> T:
        """The result, once there is one; it has a limit of its own."""
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(ANSWERED_S)


def _run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        # The runner cancels what is left when it ends.
        runner.get_loop().run_forever()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join(GIVEN_UP_S)


class ASGIClient:
    """See `asgi_client`. It can hang up, and take its time to send a body."""

    def __init__(self, app: Any, root_path: str) -> None:
        self._app, self._root_path = app, root_path
        self._loop = _LoopInThread()

    def __call__(
        self,
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: bytes | Iterable[bytes] | AsyncIterator[bytes] = b"",
    ) -> Answer:
        return self._loop.run(self._ask(method, path, headers, body))

    def hang_up(self, path: str, when: Callable[[], bool]) -> None:
        """Send a GET, and hang up when it is time.

        Raises:
            AssertionError: the app goes on with the request all the same.
        """
        self._loop.run(self._hang_up(path, when))

    async def _ask(self, method: str, path: str, headers: Sequence[Header], body: Any) -> Answer:
        transport = httpx.ASGITransport(self._app, root_path=self._root_path)
        is_sent_as_it_is = isinstance(body, bytes | AsyncIterator)
        content = cast(Any, body if is_sent_as_it_is else _one_by_one(body))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
            # Built by hand: a client would tidy up the path and merge headers.
            url = httpx.URL("http://shop.test").copy_with(raw_path=path.encode())
            reply = await client.send(httpx.Request(method, url, headers=headers, content=content))
        return Answer(
            reply.status_code,
            tuple((name.lower(), value) for name, value in reply.headers.multi_items()),
            reply.content,
        )

    async def _hang_up(self, path: str, when: Callable[[], bool]) -> None:
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            if (message := next(messages, None)) is not None:
                return message
            async with asyncio.timeout(GIVEN_UP_S):
                while not when():
                    await asyncio.sleep(0.001)
            return {"type": "http.disconnect"}

        async def send(_: object) -> None:
            """There is no client any more."""

        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": self._root_path,
            "headers": [(b"host", b"shop.test")],
            "server": ("shop.test", 80),
            "client": ("127.0.0.1", 1),
        }
        try:
            async with asyncio.timeout(GIVEN_UP_S):
                await self._app(scope, receive, send)
        except TimeoutError:
            raise AssertionError("the app waits on, though the client has hung up") from None


async def half_sent() -> AsyncIterator[bytes]:
    """A body that stops in the middle."""
    yield b"{"
    async with asyncio.timeout(2 * GIVEN_UP_S):
        await asyncio.Event().wait()


async def byte_by_byte() -> AsyncIterator[bytes]:
    """A body that never stops, and is never silent for long."""
    for _ in range(int(2 * GIVEN_UP_S / 0.05)):
        yield b" "
        await asyncio.sleep(0.05)


def until(is_so: Callable[[], bool], what: str) -> None:
    """Come back when it is so. Raises AssertionError after some seconds."""
    turn = threading.Event()
    for _ in range(int(GIVEN_UP_S / 0.01)):
        if is_so():
            return
        turn.wait(0.01)
    raise AssertionError(f"it was never so that {what}")


async def _one_by_one(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def wsgi_client(app: WSGIApplication, *, script_name: str = "") -> Client:
    """A client of a WSGI app, called as a server with several threads would.

    Args:
        script_name: where a server would report that the app is mounted. It is cut off the path.
    """

    def send(
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: bytes | Iterable[bytes] = b"",
    ) -> Answer:
        if script_name and not path.startswith(script_name + "/"):
            return Answer(404, (), b"")  # as a server would
        environ = _environ(method, path.removeprefix(script_name), headers, body)
        environ["SCRIPT_NAME"] = script_name
        started: list[tuple[str, list[Header]]] = []

        def start(status: str, reply: list[Header], _: Any = None) -> Callable[[bytes], object]:
            started.append((status, reply))
            return lambda _: None

        content = b"".join(app(environ, start))
        ((status, reply),) = started
        headers = tuple((name.lower(), value) for name, value in reply)
        return Answer(int(status.split()[0]), headers, content)

    return send


def _environ(
    method: str, path: str, headers: Sequence[Header], body: bytes | Iterable[bytes]
) -> dict[str, Any]:
    path, _, query = path.partition("?")
    stream = [body] if isinstance(body, bytes) else body
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": _Input(iter(stream)),
        "wsgi.multithread": True,
        "wsgi.url_scheme": "http",
    }
    if isinstance(body, bytes) and body:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in headers:
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        # As servers do with a header that comes twice.
        environ[key] = (
            f"{environ[key]},{value}" if key.startswith("HTTP_") and key in environ else value
        )
    return environ


class _Input(RawIOBase):
    """A body that is read as it comes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while size < 0 or len(self._left) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._left += chunk
        size = len(self._left) if size < 0 else size
        taken, self._left = self._left[:size], self._left[size:]
        return taken


def sync_only(flow: AnyFlow) -> RequestHandler:
    """The flow of a suite that is not async, with its type."""
    assert isinstance(flow, Flow)
    return flow
