"""What a second reading found: each test states what should be so.

Most are mended and stand here as regressions. What is still open is marked as a `finding`: it fails
as long as it is, strictly, so that whoever mends it must take the mark away.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from flows.kit import (
    UNHURRIED,
    Crash,
    Fuse,
    FusedFlow,
    StoreBehind,
    answer,
    error,
    scripted,
    signed,
    success_of,
    tell,
    the_record,
)

from xpay_flow import messages
from xpay_flow.background import BackgroundThread
from xpay_flow.endpoints import WebRequest
from xpay_flow.errors import (
    InvalidValue,
    MerchantError,
    OutcomeUnknown,
    SchemaMismatch,
    XPayFlowError,
    XPayRefused,
)
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.flows import FlowContext
from xpay_flow.httpx_transport import HttpxTransport
from xpay_flow.lifecycle import LIFECYCLE
from xpay_flow.money import Money
from xpay_flow.payment import Payment
from xpay_flow.ports import FOUND_MAX, Clock, HttpRequest, HttpResponse, NoAnswer, Transport
from xpay_flow.records import Record
from xpay_flow.sandbox import SandboxConfig
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import (
    AsyncManualClock,
    AsyncSandboxTransport,
    ManualClock,
    SandboxTransport,
    World,
)

HOUR_S = 3600
DAY_S = 24 * HOUR_S
# No webhook ever arrives.
DEAF = SandboxConfig(rate_limit=None)
# What xPay's page does not word: the answer to a key whose first request is still running.
STILL_RUNNING = "A request with this Idempotency-Key is already being processed"


def finding(reason: str, raises: type[BaseException] = AssertionError) -> pytest.MarkDecorator:
    return pytest.mark.xfail(strict=True, reason=reason, raises=raises)


def quiet_world(**options: Any) -> World:
    return World(**({"config": UNHURRIED} | options))


def paid_order(world: World, receipt_id: str) -> str:
    """An order whose payment is on file and whose handler is owed; xPay's id."""
    x_intent_id = world.start_checkout(receipt_id).x_intent_id
    assert x_intent_id is not None
    world.xpay.pay(x_intent_id)
    world.deliver_webhooks()
    return x_intent_id


# --- two payable pages for one order -------------------------------------------------------------


class SlowCreation:
    """xPay is slow with one creation; repeats of its key meanwhile are told that it is running."""

    def __init__(
        self, inner: Transport, busy: HttpResponse, meanwhile: Callable[[], object]
    ) -> None:
        self._inner, self._busy, self._meanwhile = inner, busy, meanwhile
        self._key: str | None = None
        self._began = False

    def send(self, request: HttpRequest) -> HttpResponse:
        key = request.headers.get(messages.IDEMPOTENCY_HEADER)
        if key is not None and key == self._key:
            return self._busy
        if key is None or self._began:
            return self._inner.send(request)
        self._began, self._key = True, key
        self._meanwhile()
        self._key = None
        return self._inner.send(request)


def test_a_second_click_during_the_first_cannot_open_a_second_page() -> None:
    """However xPay words "your first request is still running", one page can be paid on."""
    world, pages = quiet_world(), list[str]()

    def click() -> None:
        with suppress(XPayFlowError):
            pages.append(world.start_checkout().url)

    busy = error(400, messages.BAD_REQUEST, STILL_RUNNING)

    def twice() -> None:
        click()
        click()

    world.flow.ports.transport = SlowCreation(world.flow.ports.transport, busy, twice)
    click()
    assert 1 == len(set(pages))


def test_the_reconciler_does_not_close_an_attempt_whose_creation_is_running() -> None:
    """While the customer's own repeat is under way, the reconciler's 409 proves nothing."""
    world, pages = quiet_world(), list[str]()
    script = scripted(world, *3 * [NoAnswer("lost before xPay saw it")])
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    world.advance(130)

    def click() -> None:
        with suppress(XPayFlowError):
            pages.append(world.start_checkout().url)

    def meanwhile() -> None:
        world.flow.reconcile()
        click()

    busy = error(409, "conflict")
    world.flow.ports.transport = SlowCreation(script, busy, meanwhile)
    click()
    assert 1 == len(set(pages))


def test_an_answer_about_another_order_is_not_handed_to_the_customer() -> None:
    """A create answer that names another receipt, amount and intent of ours is not believed."""
    world = quiet_world()
    theirs = {
        "xIntentId": "in_theirs",
        "status": "CREATED",
        "amount": 990_000,
        "currency": "EUR",
        "receiptId": "order-of-somebody-else",
        "fwdUrl": "https://pay.xpaycheckout.com/?xpay_intent_id=theirs",
        "metadata": {"xpay_flow_intent": "pi_somebody_else"},
    }
    scripted(world, answer(200, theirs))
    with pytest.raises(XPayFlowError):
        world.start_checkout()


def test_an_order_paid_twice_calls_a_person() -> None:
    """Somebody is told when one order was paid twice, whatever `on_success` makes of it."""
    world = quiet_world()
    first = world.start_checkout().x_intent_id
    second = world.start_checkout(new_attempt=True).x_intent_id
    for x_intent_id in (first, second):
        world.xpay.pay(x_intent_id or "")
        world.settle()
    assert world.called("on_attention")


# --- one record stops the others -----------------------------------------------------------------


class UnreadableRecord(StoreBehind):
    """One record was written by a newer version, as in any rolling release."""

    bad = ""

    def load(self, alias: str) -> Sequence[Record]:
        if self.bad and any(r.key == self.bad for r in super().load(alias)):
            raise SchemaMismatch("a stored Intent has a member that is not known to this version")
        return super().load(alias)


def test_a_record_that_cannot_be_read_does_not_stop_the_delivery_of_others() -> None:
    """The order behind an unreadable record is fulfilled."""
    store = UnreadableRecord(MemoryStore())
    world = quiet_world(store=store)
    for receipt_id in ("order-1", "order-2"):
        paid_order(world, receipt_id)
        world.advance(1)
    store.bad = "attempt:1:order-1"
    for _ in range(5):
        world.flow.deliver()
        world.advance(60)
    assert ["pi_2:on_success"] == world.called("on_success")


def test_a_record_that_cannot_be_read_does_not_stop_the_asking_about_others() -> None:
    """The lost webhook of the order behind an unreadable record is noticed."""
    store = UnreadableRecord(MemoryStore())
    world = quiet_world(store=store)
    world.start_checkout("order-1")
    world.advance(1)
    world.xpay.pay(world.start_checkout("order-2").x_intent_id or "")
    store.bad = "attempt:1:order-1"
    world.advance(HOUR_S)
    world.flow.reconcile()
    assert "success" == the_record(world, "receipt:order-2").intent.state  # type: ignore[union-attr]


def test_a_record_in_a_withdrawn_currency_can_still_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade of the table of currencies (BGN and ANG went in 2025-26) loses no record."""
    world = quiet_world(store=SQLiteStore(tmp_path / "payments.db"))
    checkout = world.start_checkout()
    told = success_of(world, checkout.x_intent_id)

    def dropped(currency: str) -> int:
        raise InvalidValue(f"{currency} is no currency code of ISO 4217")

    monkeypatch.setattr("xpay_flow.money.exponent", dropped)
    assert "applied" == tell(world, messages.INTENT_SUCCESS, **told).disposition


def test_half_a_character_in_a_name_is_refused_before_anything_is_stored() -> None:
    r"""A customer named "\\ud800" (any JSON can say so) costs an InvalidValue, and no attempt."""
    world = quiet_world()
    with pytest.raises(InvalidValue):
        world.flow.start_checkout(
            receipt_id="order-42",
            money=Money(1999, "USD"),
            callback_url="https://shop.example/thanks",
            customer={"name": "\ud800", "email": "ada@example.org"},
        )


def test_an_attempt_that_cannot_be_sent_does_not_stop_the_reconciler() -> None:
    """The lost webhook behind an unsendable attempt is noticed in the same pass."""
    world = quiet_world()
    with suppress(InvalidValue, UnicodeEncodeError):
        world.start_checkout("order-1", description="\ud800")
    world.advance(HOUR_S)
    world.xpay.pay(world.start_checkout("order-2").x_intent_id or "")
    world.advance(HOUR_S)
    world.flow.reconcile()
    assert "success" == the_record(world, "receipt:order-2").intent.state  # type: ignore[union-attr]


def test_a_state_of_another_lifecycle_is_one_of_the_documented_errors() -> None:
    """A process without the shop's own states refuses a webhook with a StoreError at worst."""
    world = quiet_world()
    checkout = world.start_checkout()
    lifecycle = LIFECYCLE.extended(states={"in_review": "failed"}, events={"held": "in_review"})
    world.flow.context = FlowContext(world.settings, lifecycle)
    world.flow.record(checkout.intent_id, "held")
    world.flow.context = FlowContext(world.settings)
    with suppress(XPayFlowError):
        tell(world, messages.INTENT_SUCCESS, **success_of(world, checkout.x_intent_id))


# --- the pace ------------------------------------------------------------------------------------


class OwnTime:
    """The clock of one of many threads: a pause is over when it is over, whatever others do."""

    def __init__(self) -> None:
        self.ms = 1_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def pause(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class Willing:
    """An xPay that makes whatever it is asked for, at once."""

    def send(self, request: HttpRequest) -> HttpResponse:
        page = "https://pay.xpaycheckout.com/?xpay_intent_id=1"
        return answer(200, {"xIntentId": "in_1", "status": "CREATED", "fwdUrl": page})


def test_more_clicks_than_the_rate_allows_are_served_at_the_rate() -> None:
    """Under two clicks a second and a rate of one, half of the customers get their page."""
    clock, settings = OwnTime(), Settings.sandbox(requests_per_minute=60)
    flow = Flow(MemoryStore(), settings, transport=Willing(), clock=clock, background=False)
    begin_ms, served = clock.ms, 0
    for half_second in range(400):
        clock.ms = begin_ms + half_second * 500
        with suppress(OutcomeUnknown):
            flow.xpay.create_intent("{}", "key")
            served += half_second >= 200
    # The second 100 seconds at one a second, less a margin.
    assert served >= 80


class SettableClock(ManualClock):
    """The clock of a machine that can be set back."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.back_ms = 0
        self.pauses = 0

    def now_ms(self) -> int:
        return super().now_ms() - self.back_ms

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        super().pause(seconds)


def test_a_clock_that_is_set_back_does_not_close_the_shop() -> None:
    """After the clock went back by an hour, the next customer gets a page."""
    world = quiet_world(requests_per_minute=60)
    clock = SettableClock(world.clock)
    world.flow.ports.clock = cast(Clock, clock)
    world.start_checkout("order-1")
    clock.back_ms = HOUR_S * 1000
    assert world.start_checkout("order-2").url


def test_a_clock_that_is_set_back_does_not_hold_a_status_query() -> None:
    """A status query that may wait two seconds looks a handful of times."""
    world = quiet_world()
    checkout = world.start_checkout()

    class SetBack(SettableClock):
        def pause(self, seconds: float) -> None:
            super().pause(seconds)
            self.back_ms = HOUR_S * 1000

    clock = SetBack(world.clock)
    world.flow.ports.clock = cast(Clock, clock)
    world.flow.status(checkout.x_intent_id or "", wait_s=2)
    assert clock.pauses <= 10


# --- handlers ------------------------------------------------------------------------------------


def test_a_handler_that_kills_its_process_each_time_is_given_up() -> None:
    """Retry with back-off, then attention: also for a handler that never comes back."""
    world = quiet_world(retry_schedule_s=(5, 30))
    paid_order(world, "order-42")

    def kills(payment: Payment) -> None:
        raise Crash

    world.flow.on_success(kills)
    for _ in range(50):
        with suppress(Crash):
            world.flow.deliver()
        world.advance(world.settings.lease_s + 1)
    intent = the_record(world).intent
    assert intent is not None
    assert "handler_gave_up:on_success" in intent.attention


@finding("a process drops what only another process has a handler for")
def test_what_another_process_has_a_handler_for_is_left_to_it() -> None:
    """A web process that only fulfils does not throw away the refund that a worker books."""
    world = quiet_world()
    x_intent_id = paid_order(world, "order-42")
    web = world.new_flow(world.flow.store)
    for name in ("on_failed", "on_refunded", "on_attention"):
        del web.ports.handlers[name]
    web.deliver()
    world.xpay.refund(x_intent_id, 500)
    world.deliver_webhooks()
    web.deliver()
    world.flow.deliver()
    assert 1 == len(world.called("on_refunded"))


def test_a_process_without_on_success_does_not_delay_it() -> None:
    """A process that only calls persons does not keep a paid order from the one that fulfils."""
    world = quiet_world()
    paid_order(world, "order-42")
    caller = world.new_flow(world.flow.store)
    del caller.ports.handlers["on_success"]
    for _ in range(4):
        caller.deliver()
        world.advance(700)
    caller.deliver()
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_what_is_done_cannot_be_redelivered_by_mistake() -> None:
    """`on_success` that is done is not owed a second time."""
    world = quiet_world()
    paid_order(world, "order-42")
    world.flow.deliver()
    with suppress(MerchantError):
        world.flow.redeliver("order-42", "pi_1:on_success")
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_what_was_withheld_for_a_refund_in_part_can_be_redelivered() -> None:
    """`refund_without_details`: "if the refund was partial, fulfil … with `redeliver`"."""
    world = quiet_world(config=DEAF)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    script = scripted(world)
    reported = success_of(world, checkout.x_intent_id, status=messages.STATUS_REFUNDED)
    script.then(answer(200, {**reported, "xIntentId": checkout.x_intent_id}))
    world.advance(61)
    world.flow.reconcile()
    world.flow.deliver()
    world.flow.redeliver("order-42", "pi_1:on_success")
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_an_async_handler_that_is_cancelled_inside_has_failed() -> None:
    """A handler that awaited something cancelled (not the pass itself) fails like any other."""
    world = quiet_world()
    for receipt_id in ("order-1", "order-2"):
        paid_order(world, receipt_id)
        world.advance(1)
    called: list[str] = []

    async def handler(payment: Payment) -> None:
        called.append(payment.receipt_id)
        if payment.receipt_id == "order-1":
            job = asyncio.ensure_future(asyncio.Event().wait())
            job.cancel()
            await job

    async def main() -> None:
        flow = AsyncFlow(
            world.flow.store,
            world.settings,
            transport=AsyncSandboxTransport(world.xpay),
            clock=AsyncManualClock(world.clock),
            background=False,
        )
        flow.on_success(handler)
        await flow.deliver()

    asyncio.run(main())
    assert ["order-1", "order-2"] == called


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_background_thread_survives_whatever_work_raises() -> None:
    """`background`: the loop "survives whatever `work` raises"; a handler may call sys.exit()."""
    again, calls = threading.Event(), list[int]()

    def work() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise SystemExit(1)
        again.set()

    loop = BackgroundThread("loop", work, every_s=0.01)
    loop.nudge()
    came_again = again.wait(0.5)
    loop.stop()
    assert came_again


# --- questions that are never asked --------------------------------------------------------------


def test_a_crash_during_the_last_question_heals() -> None:
    """Every step boundary is a recovery point, also the one after the last claim."""
    world = quiet_world(config=DEAF, flow_type=FusedFlow, reconcile_schedule_s=(60,))
    fuse = cast(FusedFlow, world.flow).fuse = Fuse()
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(61)
    # The first pass takes the only question; it is cut short just after its claim.
    fuse.set(4, "after")
    with pytest.raises(Crash):
        world.flow.reconcile()
    fuse.defuse()
    for _ in range(10):
        world.advance(DAY_S)
        world.flow.reconcile()
    intent = the_record(world).intent
    assert intent is not None
    assert "success" == intent.state


def test_a_payment_of_unknown_amount_is_put_up_for_attention_in_the_end() -> None:
    """A refund proved a payment, xPay never said over how much: somebody must be told."""
    world = quiet_world(config=DEAF)
    checkout = world.start_checkout()
    tell(
        world,
        messages.INTENT_REFUNDED,
        intentId=checkout.x_intent_id,
        refundId="rf_1",
        amount=500,
        currency="USD",
    )
    script = scripted(world)
    for _ in range(30):
        script.then(*20 * [error(500, messages.INTERNAL_SERVER_ERROR)])
        world.advance(DAY_S)
        world.flow.reconcile()
        world.flow.deliver()
    assert the_record(world).reconcile_at_ms is None
    assert world.called("on_attention")


def test_a_receipt_with_too_many_attempts_says_so() -> None:
    """A hundred attempts upon one receipt are a mistake, and the shop is told what to do."""
    world = quiet_world()
    script = scripted(world)
    script.then(*FOUND_MAX * [error(400, messages.BAD_REQUEST, "no such country")])
    for _ in range(FOUND_MAX):
        with pytest.raises(XPayRefused):
            world.start_checkout()
    with pytest.raises(InvalidValue, match="use another"):
        world.start_checkout()


# --- what is said and kept -----------------------------------------------------------------------


def test_an_act_of_our_own_is_never_shown_as_a_payment() -> None:
    """Only authenticated evidence of a payment makes the public status SUCCESS."""
    world = quiet_world()
    checkout = world.start_checkout()
    approved = LIFECYCLE.extended(states={}, events={"approved": "success"})
    world.flow.context = FlowContext(world.settings, approved)
    world.flow.record(checkout.intent_id, "approved")
    assert "PENDING" == world.status(checkout.x_intent_id).status


def test_the_customers_data_is_forgotten_when_the_request_can_no_longer_be_sent() -> None:
    """`Intent.request` is "kept until xPay's answer is known, then None"."""
    world = quiet_world()
    scripted(world, *3 * [NoAnswer("lost")])
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    metadata = {world.settings.metadata_key: "pi_1"}
    tell(world, messages.INTENT_CREATED, intentId="in_1", metadata=metadata)
    for _ in range(30):
        world.advance(DAY_S)
        world.flow.reconcile()
    intent = the_record(world).intent
    assert intent is not None
    assert intent.request is None


def test_quarantined_bytes_hold_no_personal_data() -> None:
    """`Event.payload` is "without secrets and personal data", and the facts cannot be deleted."""
    world = quiet_world()
    # As a future version of xPay might write it: a date where a number was.
    body = (
        b'{"eventId":"whe_1","eventType":"intent.success","eventTime":"2026-01-05T09:30:00Z",'
        b'"intentId":"in_1","customerDetails":{"email":"ada@example.org"}}'
    )
    received = world.flow.receive_webhook(signed(body), body)
    (record,) = world.flow.store.load(f"quarantine:{received.event_id.partition(':')[2]}")
    payload = record.events[0].event.payload
    assert {"eventId": "whe_1", "eventTime": "2026-01-05T09:30:00Z"}.items() <= json.loads(
        payload
    ).items()
    assert "ada@example.org" not in payload


@finding("contents are compared within one intent only")
def test_one_event_id_about_two_intents_is_shown() -> None:
    """Promise 9: "same event id with other content: kept, counted and shown"."""
    world = quiet_world()
    ids = [world.start_checkout(name).x_intent_id for name in ("order-1", "order-2")]
    for x_intent_id in ids:
        told = success_of(world, x_intent_id)
        tell(world, messages.INTENT_SUCCESS, event_id="whe_same", **told)
    assert 1 == world.flow.counters["webhook.contradictory"]


# --- background ----------------------------------------------------------------------------------


def test_a_thread_that_cannot_be_started_does_not_undo_a_receipt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`receive_webhook` raises UntrustedMessage and StoreError, and nothing else."""
    world = quiet_world()
    checkout = world.start_checkout()
    flow = Flow(
        world.flow.store,
        world.settings,
        transport=SandboxTransport(world.xpay),
        clock=ManualClock(world.clock),
    )

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    world.flow = flow
    told = tell(world, messages.INTENT_SUCCESS, **success_of(world, checkout.x_intent_id))
    assert "applied" == told.disposition


def test_hostile_bytes_wake_nobody() -> None:
    """Promise 10: hostile bytes cause no outbound call."""

    class Woken:
        times = 0

        def nudge(self) -> None:
            self.times += 1

    world, loop = quiet_world(), Woken()
    world.flow._loops = (loop,)  # type: ignore[list-item]
    response = world.flow.handle(WebRequest(method="POST", path="/webhook", body=b"{}"))
    assert 401 == response.status
    assert 0 == loop.times


class _Keeping(BaseHTTPRequestHandler):
    """Answers, keeps the connection, and notes from which port each request came."""

    protocol_version = "HTTP/1.1"
    ports: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self.ports.append(self.client_address[1])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words: Any) -> None:
        return


def test_a_forked_process_has_connections_of_its_own() -> None:
    """After a fork, no two processes write on one (TLS) connection or read each other's answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Keeping)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        transport = HttpxTransport(Settings.sandbox())
        request = HttpRequest("GET", f"http://127.0.0.1:{server.server_address[1]}/", {})
        transport.send(request)
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                transport.send(request)
            theirs.send(b"x")
            os._exit(0)
        ours.settimeout(10)
        ours.recv(1)
        os.waitpid(child, 0)
        ours.close()
        theirs.close()
        transport.close()
    finally:
        server.shutdown()
        server.server_close()
        serving.join(5)
    assert 2 == len(set(_Keeping.ports))
