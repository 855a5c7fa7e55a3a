"""Is this an HTTP adapter? Every duty of one, by name.

    class TestMyAdapter(AdapterSuite):
        def make_client(self, flow: AnyFlow, prefix: str) -> Client:
            app = my_framework_app(xpay_flow_mine.routes(flow), mounted_at=prefix)
            return wsgi_client(app)   # or asgi_client(app)

        def make_priced_client(self, flow: AnyFlow, prefix: str, price: Price) -> Client:
            app = my_framework_app(xpay_flow_mine.routes(flow, price=price), mounted_at=prefix)
            return wsgi_client(app)

Set `is_async` for one that is given an `AsyncFlow`. Time is given by a clock that only moves during
waits, and nothing opens a socket; `server_client.server_client` tries the adapter behind a server.
A failed assertion shows the request: method, path, headers, and how often it was sent.
"""

from __future__ import annotations

import base64
import gzip
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest

from xpay_flow import messages as m
from xpay_flow import sample_records as b
from xpay_flow.adapter_kit import CHECKOUT, Price
from xpay_flow.checkout_request import CheckoutRequest
from xpay_flow.endpoints import Header
from xpay_flow.sandbox import Sandbox

from .adapter_clients import GIVEN_UP_S as GIVEN_UP_S
from .adapter_clients import Answer as Answer
from .adapter_clients import Client as Client
from .adapter_clients import asgi_client as asgi_client
from .adapter_clients import byte_by_byte, half_sent
from .adapter_clients import until as until
from .adapter_clients import wsgi_client as wsgi_client
from .adapter_world import BODY_BYTES_MAX as BODY_BYTES_MAX
from .adapter_world import CHUNK as CHUNK
from .adapter_world import CHUNKS_READ_MAX as CHUNKS_READ_MAX
from .adapter_world import CHUNKS_SENT as CHUNKS_SENT
from .adapter_world import JSON_TYPE, Gate
from .adapter_world import ODD_SPELLING as ODD_SPELLING
from .adapter_world import SETTINGS as SETTINGS
from .adapter_world import AnyFlow as AnyFlow
from .adapter_world import AsyncNoXPay as AsyncNoXPay
from .adapter_world import CountingStore as CountingStore
from .adapter_world import NoXPay as NoXPay
from .adapter_world import Stream as Stream
from .adapter_world import WaitingClock as WaitingClock
from .adapter_world import World as World
from .adapter_world import event as event
from .adapter_world import signature as signature
from .adapter_world import sync_only as sync_only
from .limits import TOGETHER_S, within_s

HOSTILE: Final = "\"><script>alert('1')</script>&<b"
# Nested, long and false: what a parser chokes on, each below the limit.
BOMBS: Final = (
    b"[" * 4000,
    b'{"a":' * 600,
    b"9" * 4000,
    b"1e999999999",
    b"[" + b"0," * 1900 + b"0]",
    b'{"eventId":"\\ud800"}',
    b"\xff\xfe{}",
    b"\x00",
    b"",
)


class AdapterSuite:
    """Subclass it and define `make_client`.

    Attributes:
        is_async: the adapter is given an `AsyncFlow`.
        is_served: the client speaks to a server on a socket, as `server_client` does. How much of a
            body the adapter has read is not to be seen there; only that it was not all.
        gets_whole_bodies: the server or the framework takes a whole body before it calls the
            adapter, as waitress does. So it is theirs to limit it, and to give it up.
        random_requests: how many requests are made up.
        waiting_customers: how many wait beside a webhook. Each has a thread, or a connection.
    """

    is_async = False
    is_served = False
    gets_whole_bodies = False
    random_requests = 60
    waiting_customers = 20

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        """A client of an app with the routes of `flow` mounted at `prefix`, or at the root."""
        raise NotImplementedError

    def make_priced_client(self, flow: AnyFlow, prefix: str, price: Price) -> Client:
        """The same with `routes(flow, price=price)`."""
        pytest.skip("this suite has no make_priced_client, so its checkout is not tried")

    @pytest.fixture(autouse=True)
    def _worlds_end(self) -> Iterator[None]:
        yield
        self.close()

    def close(self) -> None:
        """End what the worlds of a duty have started."""
        for world in self.__dict__.pop("worlds", ()):
            world.close()

    def open(self, prefix: str = "/xpay", *, price: Price | None = None, **settings: Any) -> World:
        """A world with one attempt, `in_1`, that waits for its payment.

        Args:
            price: adds `POST /checkout`, and a local xPay.
            settings: changes to `SETTINGS`. With any, time is the machine's.
        """
        world = World(prefix, xpay=Sandbox() if price else None, **settings)
        world.flow = world.async_flow() if self.is_async else world.sync_flow()
        self.__dict__.setdefault("worlds", []).append(world)
        if price:
            world.client = self.make_priced_client(world.flow, prefix, price)
        else:
            world.client = self.make_client(world.flow, prefix)
        for step in b.history(b.created()):
            assert world.store.commit(step)
        return world

    def _was_not_read_to_its_end(self, sent: Stream) -> None:
        if not self.gets_whole_bodies:
            assert sent.taken_max >= sent.taken, f"{sent.taken} pieces of the body were read"

    # --- the webhook ---

    def test_the_exact_bytes_reach_the_verifier(self) -> None:
        """A body that no serialiser would write again still has the signature xPay gave it."""
        world = self.open()
        assert 200 == world.deliver(ODD_SPELLING).status
        assert "SUCCESS" == world.status("in_1").json()["status"]

    def test_a_body_in_pieces_is_put_together(self) -> None:
        """Cut anywhere, within a character too, and with a length or chunked, it is one body."""
        world = self.open()
        signed = (JSON_TYPE, signature(ODD_SPELLING))
        pieces = [ODD_SPELLING[n : n + 7] for n in range(0, len(ODD_SPELLING), 7)]
        length = ("Content-Length", str(len(ODD_SPELLING)))
        assert 200 == world.deliver_with(*signed, length, body=iter(pieces)).status
        # Some servers of WSGI do not put chunks together. They must not take them for nothing.
        assert world.deliver_with(*signed, body=iter(pieces)).status in (200, 411)
        assert ["whe_1"] == world.recorded("in_1")[-1:]

    def test_the_type_of_a_body_changes_nothing(self) -> None:
        """No parser of the framework's takes the bytes: the signature alone decides."""
        world = self.open()
        types = (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=utf-16",
        )
        for n, content_type in enumerate(types):
            body = event("in_1", f"whe_type_{n}")
            headers = (("Content-Type", content_type), signature(body))
            assert 200 == world.deliver_with(*headers, body=body).status
        body = event("in_1", "whe_type_none")
        assert 200 == world.deliver_with(signature(body), body=body).status

    def test_a_compressed_body_is_not_unpacked(self) -> None:
        """xPay compresses nothing; whatever a signature covers, the answer is 415."""
        world = self.open()
        before = world.store.commits
        packed, coding = gzip.compress(ODD_SPELLING), ("Content-Encoding", "gzip")
        for signed in (packed, ODD_SPELLING):
            answer = world.deliver_with(JSON_TYPE, coding, signature(signed), body=packed)
            assert 415 == answer.status
        bomb = gzip.compress(bytes(1000 * BODY_BYTES_MAX))
        assert 400 <= world.deliver_with(JSON_TYPE, coding, body=bomb).status < 500
        assert before == world.store.commits

    def test_every_signature_header_reaches_the_verifier(self) -> None:
        """Of two signatures neither is chosen: different ones are refused, and equal ones pass."""
        world = self.open()
        bad = (m.HMAC_HEADER, base64.b64encode(bytes(64)).decode())
        good = signature(ODD_SPELLING)
        assert 401 == world.deliver(ODD_SPELLING, bad, good).status
        assert 401 == world.deliver(ODD_SPELLING, good, bad).status
        assert 200 == world.deliver(ODD_SPELLING, good, good).status

    def test_a_strange_signature_header_is_refused(self) -> None:
        """Joined by commas it is like several; what no signature can be is 401 and no crash."""
        world = self.open()
        before = world.store.commits
        name, good = signature(ODD_SPELLING)
        for value in (
            f"{good[:-4]}AAA=,{good}",
            f"{good},{good[:-4]}AAA=",
            "é\xff",
            ",",
            "=" * 300,
        ):
            answer = world.deliver(ODD_SPELLING, (name, value))
            # A server may have refused it before, as no header at all.
            assert answer.status in (401, 400)
        assert before == world.store.commits
        assert 200 == world.deliver(ODD_SPELLING, (name, f"{good}, {good}")).status

    def test_a_body_is_not_parsed_before_it_is_verified(self) -> None:
        """Without a signature it is 401, JSON or not; with one it is no crash, either."""
        world = self.open()
        for bomb in BOMBS:
            assert 401 == world.deliver(bomb, signature(b"another body")).status
            assert 500 > world.deliver(bomb).status

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
        world.store.down, world.store.loads = True, 0
        answer = world.deliver(ODD_SPELLING)
        assert (503, True) == (answer.status, (answer.header("retry-after") or "").isdigit())
        assert 1 == world.store.loads, "an adapter does not try again; xPay does"
        assert 503 == world.status("in_1").status

    def test_a_slow_store_is_503_before_xpay_gives_up(self) -> None:
        """At the deadline the answer is 503, whatever becomes of the work; xPay sends it again."""
        world = self.open(webhook_deadline_s=0.05)
        world.store.slow_s = 0.1
        (answer,) = within_s(
            GIVEN_UP_S, lambda: world.deliver(ODD_SPELLING), what="the answer of a slow store"
        )
        assert (503, True) == (answer.status, (answer.header("retry-after") or "").isdigit())

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
        self._was_not_read_to_its_end(sent)

    def test_a_lying_content_length_is_not_believed(self) -> None:
        """A length is a claim: neither a huge nor a small one makes the adapter read what it should
        not, or answer other than with a refusal."""
        world = self.open()
        before = world.store.commits
        # Who takes whole bodies may well wait for the rest of one that is longer than what is sent.
        waits = self.gets_whole_bodies and self.is_served
        for claimed in ("10",) if waits else ("99999999999", "10"):
            sent = Stream(self.is_served)
            answer = world.send("POST", "/webhook", (("Content-Length", claimed),), sent)
            assert 400 <= answer.status < 500
            self._was_not_read_to_its_end(sent)
        assert before == world.store.commits

    def test_webhooks_that_come_together_are_kept_apart(self) -> None:
        """Eight deliveries at the same time are verified and recorded each with its own bytes."""
        world = self.open()
        bodies = [event(f"in_other_{n}", f"whe_{n}", note="x" * n) for n in range(8)]
        answers = within_s(TOGETHER_S, *(partial(world.deliver, body) for body in bodies))
        assert [200] * len(bodies) == [answer.status for answer in answers]
        for n in range(len(bodies)):
            assert [f"whe_{n}"] == world.recorded(f"in_other_{n}")

    def test_the_same_webhook_many_times_at_once_is_recorded_once(self) -> None:
        """xPay sends again before we have answered: each is answered 200, and it counts once."""
        world = self.open()
        sent = [partial(world.deliver, ODD_SPELLING)] * 8
        assert [200] * 8 == [answer.status for answer in within_s(TOGETHER_S, *sent)]
        assert 1 == world.recorded("in_1").count("whe_1")

    def test_no_handler_is_called_inside_a_request(self) -> None:
        """The answer waits for the commit alone: what the shop does next takes its own time."""
        world = self.open()
        assert 200 == world.deliver(ODD_SPELLING).status
        assert "SUCCESS" == world.status("in_1").json()["status"]
        assert [] == world.handled

    @pytest.mark.parametrize("commit_fails", [False, True])
    def test_a_webhook_that_is_hung_up_on_is_recorded_whole_or_not_at_all(
        self, commit_fails: bool
    ) -> None:
        """Whatever became of the first, xPay's next is answered 200, and it counts once."""
        world = self.open()
        client = _that_hangs_up(world)
        gate = world.store.gate = Gate(fails=commit_fails)
        headers = (JSON_TYPE, signature(ODD_SPELLING))
        try:
            client.hang_up(
                f"{world.prefix}/webhook", gate.is_reached, "POST", headers, ODD_SPELLING
            )
        finally:
            gate.open()
        assert 200 == world.deliver(ODD_SPELLING).status
        assert "SUCCESS" == world.status("in_1").json()["status"]
        assert 1 == world.recorded("in_1").count("whe_1")

    # --- any request ---

    def test_no_request_is_answered_with_an_error_of_the_server(self) -> None:
        """Requests made up of odd paths, queries, headers and bodies: none is a crash."""
        world = self.open()
        made_up = random.Random(20)
        for _ in range(self.random_requests):
            method, path, headers, body = _random_request(made_up)
            assert 500 > world.send(method, path, headers, body).status

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
        client = _that_hangs_up(world)
        path = f"{world.prefix}/payment-status?xpay_intent_id=in_1&wait=20"
        client.hang_up(path, lambda: world.waiting == 1)
        until(lambda: world.waiting == 0, "the wait has ended with the connection")

    def test_webhooks_are_answered_beside_waiting_customers(self) -> None:
        """However many customers wait, xPay does not; and each event ends the wait for it."""
        count = self.waiting_customers
        world = self.open(status_waiting_max=count, status_waiting_threads_max=count)
        orders = [f"in_waiting_{n}" for n in range(count)]
        for x_intent_id in orders:
            for step in b.history(b.created(x_intent_id), receipt_id=f"order-{x_intent_id}"):
                assert world.store.commit(step)

        def pay_all() -> list[Answer]:
            try:
                until(lambda: world.waiting == count, f"{count} customers wait")
            finally:  # those who wait are let go, whatever it was
                answers = [world.deliver(event(each, f"whe_{each}")) for each in orders]
            return answers

        customers = [partial(_listed, world.status, each, wait="20") for each in orders]
        paid, *waited = within_s(TOGETHER_S, pay_all, *customers, what="a customer or xPay")
        assert {200} == {answer.status for answer in paid}
        assert {"SUCCESS"} == {answer.json()["status"] for (answer,) in waited}

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
        if self.gets_whole_bodies:
            pytest.skip("a body that does not arrive never gets as far as the adapter")
        world = self.open(body_timeout_s=0.2)
        _that_hangs_up(world)
        length = ("Content-Length", "1000")
        for slowly in (half_sent, byte_by_byte):
            send = partial(world.send, "POST", "/webhook", (length,), slowly())
            (answer,) = within_s(GIVEN_UP_S, send, what="the answer to a slow body")
            assert (408, "too-slow") == (answer.status, answer.json()["error"])
            assert "close" == answer.header("connection")
        assert 200 == world.deliver(ODD_SPELLING).status

    # --- a checkout ---

    def test_a_browser_names_an_order_and_not_its_price(self) -> None:
        """`price` gets what the browser sent, and what it returns is charged, whatever was sent."""
        world = self.open(price=_price)
        assert world.xpay is not None
        named = (
            b'{"order": "42", "money": "1.50 USD", "amount": 150, "price": 150, "currency": "EUR"}'
        )
        answer = world.send("POST", CHECKOUT, (JSON_TYPE,), named)
        assert 200 == answer.status
        (intent,) = world.xpay.intents()
        charged = intent.order
        assert (b.PRICE.amount_minor, b.PRICE.currency) == (charged.amount_minor, charged.currency)
        assert {
            "fwdUrl": world.xpay.fwd_url(intent.x_intent_id),
            "xIntentId": intent.x_intent_id,
        } == answer.json()

    def test_a_checkout_that_names_no_order_is_refused(self) -> None:
        """An unknown order, or no JSON, is refused, and nothing is sent to xPay."""
        world = self.open(price=_price)
        assert world.xpay is not None
        form = ("Content-Type", "application/x-www-form-urlencoded")
        too_large = b'{"order": "%s"}' % (b"4" * BODY_BYTES_MAX)
        assert 404 == world.send("POST", CHECKOUT, (JSON_TYPE,), b'{"order": "43"}').status
        assert 400 == world.send("POST", CHECKOUT, (JSON_TYPE,), b'["42"]').status
        assert 415 == world.send("POST", CHECKOUT, (form,), b"order=42").status
        assert 413 == world.send("POST", CHECKOUT, (JSON_TYPE,), too_large).status
        answer = world.send("GET", CHECKOUT)
        assert (405, "POST") == (answer.status, answer.header("allow"))
        assert () == tuple(world.xpay.intents())

    # --- pages and files ---

    def test_the_return_page_escapes_its_address(self) -> None:
        """Whatever stands in the address of the return page, it is text and never markup."""
        world = self.open()
        query = urlencode({"xpay_intent_id": HOSTILE, "order": HOSTILE, HOSTILE: "1"})
        answer = world.send("GET", f"/return?{query}")
        assert 200 == answer.status
        assert "text/html; charset=utf-8" == answer.header("content-type")
        assert b"<script>" not in answer.body
        assert b"<b" not in re.sub(rb"<(body|bdi)", b"", answer.body)
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
        assert 404 == world.send_to("GET", f"/other{prefix}/xpay-flow.js").status

    def test_a_slash_at_the_end_changes_nothing(self) -> None:
        """An address that was typed with a slash at its end is answered, and not redirected."""
        world = self.open()
        signed = (JSON_TYPE, signature(ODD_SPELLING))
        assert 200 == world.send("POST", "/webhook/", signed, ODD_SPELLING).status
        assert 200 == world.send("GET", "/payment-status/?xpay_intent_id=in_1").status
        for path in ("/return/?xpay_intent_id=in_1", "/xpay-flow.js/"):
            assert 200 == world.send("GET", path).status

    def test_an_address_that_is_not_ours_is_404(self) -> None:
        """A path that only begins like one of ours is none."""
        world = self.open()
        for path in ("/", "/webhook/more", "/webhooks", "/returns", "/return.html"):
            assert 404 == world.send("GET", path).status
        # Without a price, a browser can begin nothing.
        assert 404 == world.send("POST", CHECKOUT, (JSON_TYPE,), b"{}").status

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
        for path in (
            "/payment-status?xpay_intent_id=in_1",
            "/return?xpay_intent_id=in_1",
            "/xpay-flow.js",
        ):
            got, head = world.send("GET", path), world.send("HEAD", path)
            assert (got.status, b"") == (head.status, head.body)
            for name in ("content-type", "content-length", "cache-control"):
                assert got.header(name) == head.header(name)


# --- requests ------------------------------------------------------------------------------------


def _listed(call: Callable[..., Answer], *given: str, **options: str) -> list[Answer]:
    return [call(*given, **options)]


def _that_hangs_up(world: World) -> Any:
    """The client; or this duty is left out, in words."""
    if not hasattr(world.client, "hang_up"):
        pytest.skip("this client cannot hang up, nor send slowly: the server reports neither")
    return world.client


def _price(order: Mapping[str, Any]) -> CheckoutRequest | None:
    if order.get("order") != "42":
        return None
    return CheckoutRequest(
        receipt_id="42",
        money=b.PRICE,
        callback_url="https://shop.example/xpay/return",
        customer={"name": "Ada Example", "email": "ada@example.org"},
    )


_PATHS: Final = (
    "/webhook",
    "/payment-status",
    "/return",
    "/xpay-flow.js",
    "/xpay-flow.css",
    "/checkout",
    "/",
    "//webhook",
    "/%00",
    "/%ff%fe",
    "/webhook%2f..",
    "/../webhook",
    "/webhook;a=b",
    "/%E2%82%B9",
)
_METHODS: Final = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
_NAMES: Final = (
    "xpay_intent_id",
    "wait",
    "seen",
    "order",
    "%ff",
    "a" * 300,
)
_VALUES: Final = (
    "",
    "0",
    "in_1",
    "1e9",
    "-1",
    "%00",
    "%ff",
    "%",
    "%zz",
    "\t",
    "SUCCESS",
    "٣",
    "a" * 500,
)
_HEADERS: Final = (
    "Content-Type",
    "Accept",
    "If-None-Match",
    "Cookie",
    "X-Forwarded-For",
    m.HMAC_HEADER,
    m.ECDSA_HEADER,
    "Accept-Language",
    "Range",
)
_CHARACTERS: Final = "".join(map(chr, [9, *range(32, 127), *range(160, 256)]))


def _random_request(made_up: random.Random) -> tuple[str, str, Sequence[Header], bytes]:
    """A request that HTTP allows, whatever it means."""
    pick, often = made_up.choice, made_up.randrange
    query = "&".join(f"{pick(_NAMES)}={quote(pick(_VALUES), safe='%')}" for _ in range(often(4)))
    headers = [
        (pick(_HEADERS), "".join(made_up.choices(_CHARACTERS, k=often(60))).strip())
        for _ in range(often(4))
    ]
    body = pick((b"", made_up.randbytes(often(200)), pick(BOMBS), ODD_SPELLING))
    if often(2) and body:
        headers.append(signature(body))
    path = pick(_PATHS) + pick(("", "", "/")) + (f"?{query}" if query else "")
    return pick(_METHODS), path, headers, body
