"""Marked personal data goes through a whole shop. Where does it come out? Where it is needed."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from xpay_flow import sample_records as b
from xpay_flow.checkout_request import CheckoutRequest, Customer
from xpay_flow.drawing import sequence_mermaid, sequence_svg
from xpay_flow.endpoints import WebRequest
from xpay_flow.errors import XPayFlowError
from xpay_flow.payment import Payment
from xpay_flow.ports import HttpResponse, NoAnswer
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import World
from xpay_flow.wire import read_intent, read_webhook

from .kit import answer, scripted, send_webhook, signed

# No other text of the library has these in it.
CANARIES: Final = {
    "name": "Cnryname",
    "email": "cnrymail@mail.example",
    "phone": "+14155550187",
    "city": "Cnrycity",
    "description": "Cnrydescription",
    "metadata": "Cnrymetadata",
    "card number": "4242424242424242",
    "holder": "Cnryholder",
    "unknown field": "Cnryunknown",
    "expiry": "2087",
    "checkout address": "s3cr3tcnry",
    "unreadable": "Cnryunreadable",
}
CUSTOMER: Final = {
    "name": CANARIES["name"],
    "email": CANARIES["email"],
    "contact_number": CANARIES["phone"],
    "city": CANARIES["city"],
}
# What xPay may send one day beside what is documented.
ODD: Final[dict[str, Any]] = {
    "customerDetails": {"name": CANARIES["name"], "email": CANARIES["email"]},
    "billing": {"email": CANARIES["email"], "phone": CANARIES["phone"]},
    "payer_note": CANARIES["unknown field"],
    "description": CANARIES["description"],
    "fwdUrl": f"http://127.0.0.1:1/?s={CANARIES['checkout address']}",
    "card": {
        "brand": "visa",
        "lastFourDigit": CANARIES["card number"],
        "number": CANARIES["card number"],
        "holderName": CANARIES["holder"],
        "expiryYear": CANARIES["expiry"],
    },
    "metadata": {"note": CANARIES["metadata"]},
}
REFUSED: Final = answer(
    422,
    {
        "errorCode": f"bad_{CANARIES['email']}",
        "errorDescription": f"{CANARIES['email']} and {CANARIES['phone']} are not valid",
        "customerDetails": CUSTOMER,
    },
)


def canaries_in(text: object) -> set[str]:
    """Which of the marks are in a text, also in the way in which bytes and JSON write them."""
    plain = str(text)
    return {name for name, mark in CANARIES.items() if mark in plain}


@attrs.define
class Seen:
    """What came out of a shop."""

    world: World
    errors: list[BaseException] = attrs.Factory(list[BaseException])

    def tried(self, receipt_id: str, **change: Any) -> None:
        """Begin a checkout; what it raises is kept."""
        options: dict[str, Any] = {
            "money": b.PRICE,
            "callback_url": "https://shop.example",
            "customer": CUSTOMER,
            "description": CANARIES["description"],
            "metadata": {"note": CANARIES["metadata"]},
        }
        try:
            self.world.flow.start_checkout(receipt_id=receipt_id, **(options | change))
        except XPayFlowError as error:
            self.errors.append(error)

    def webhook(self, kind: str, event_id: str, **fields: Any) -> None:
        """One authentic event with everything odd in it."""
        send_webhook(self.world, kind, event_id, **{**ODD, **fields})


def refuse(payment: Payment) -> None:
    """A handler that quotes what it was given to work with."""
    raise LookupError(f"no mail to {CANARIES['email']} or {CANARIES['phone']}") from ValueError(
        f"card {CANARIES['card number']} of {payment.receipt_id}"
    )


@pytest.fixture
def seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Seen]:
    """A shop after a rough day, with every logger at its lowest level."""
    caplog.set_level(1)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(1, logger=name)
    world = World(SQLiteStore(tmp_path / "p.db"), retry_schedule_s=(60,))
    world.flow.on_success(refuse)
    seen = Seen(world)
    _live(seen)
    yield seen
    world.flow.close()


def _live(seen: Seen) -> None:
    world = seen.world
    seen.tried("paid")
    intent = world.flow.timeline("paid").intent
    assert intent is not None
    known = {"intentId": intent.x_intent_id, "receiptId": "paid", "amount": 1999, "currency": "USD"}
    seen.webhook("intent.failed", "e1", **known, status="FAILED", errorCode="card_declined")
    seen.webhook("intent.success", "e2", **known, status="SUCCESS", paymentMethod="CARD")
    seen.webhook("intent.success", "e3", intentId="in_elsewhere", amount=5, currency="USD")
    seen.webhook("subscription.cycle_charged", "e4", subscriptionId="sub_1")
    seen.webhook("intent.success", "e5", **{**known, "amount": CANARIES["unreadable"]})
    seen.webhook("intent.success", "e6", amount={"odd": CANARIES["unreadable"]})
    for body in (b"not json " + CANARIES["unreadable"].encode(), b'{"a":1,"a":"Cnryunreadable"}'):
        world.flow.receive_webhook(signed(body), body)
        try:
            world.flow.receive_webhook(signed(body, "x" * 20), body)
        except XPayFlowError as error:
            seen.errors.append(error)
    world.flow.deliver()
    report = {"xIntentId": intent.x_intent_id, "status": f"odd {CANARIES['email']}", **ODD}
    scripted(world, REFUSED, answer(500, CUSTOMER), answer(500, CUSTOMER), answer(500, CUSTOMER))
    seen.tried("refused")
    seen.tried("unclear")
    scripted(world, answer(502, f"<p>{CANARIES['email']}</p>".encode()))
    seen.tried("no json")
    scripted(world, NoAnswer(f"connection of {CANARIES['email']} lost"), answer(200, report))
    seen.tried("unanswered")
    for odd in (
        {"email": "Cnrymail"},
        {"country": "Cnryname"},
        {"nam": "x"},
        {"name": "Cnryname\0"},
    ):
        seen.tried("odd", customer=CUSTOMER | odd)
    seen.tried("odd", metadata={"note": CANARIES["metadata"] * 100})
    seen.tried("odd", callback_url=f"http://shop.example/?e={CANARIES['email']}")
    world.clock.advance(3600)
    world.flow.reconcile()
    world.flow.deliver()


def test_no_log_line_has_a_canary(seen: Seen, caplog: pytest.LogCaptureFixture) -> None:
    """At the lowest level, tracebacks and the errors of records included."""
    records = caplog.get_records("setup")
    formatted = [caplog.handler.formatter.format(record) for record in records]  # type: ignore[union-attr]
    lines = "\n".join(formatted).splitlines()
    assert any("Traceback" in line for line in lines)
    assert "LookupError: no mail to […] or […]" in lines
    assert set() == canaries_in(lines)
    for record in records:
        shown = [vars(record), record.exc_info and traceback.format_exception(*record.exc_info)]
        assert set() == canaries_in(shown)
    assert seen.errors


def test_no_error_has_a_canary(seen: Seen) -> None:
    """Neither in its text, nor in its details, nor in those of its causes."""
    assert 8 <= len(seen.errors)
    for error in seen.errors:
        chain: BaseException | None = error
        while chain is not None:
            assert set() == canaries_in([chain, str(chain), vars(chain)]), type(error)
            chain = chain.__cause__ or chain.__context__


def test_what_is_stored_is_what_is_needed(seen: Seen) -> None:
    """Of the customer the requests that may be repeated; of the shop's own texts the metadata."""
    for record in seen.world.flow.store.recent(100):  # type: ignore[attr-defined]
        parts = [record.events, record.outbox]
        allowed = {"metadata"} if record.intent is None else set()
        assert allowed >= canaries_in([attrs.asdict(part) for each in parts for part in each])
        if record.intent is None:
            continue
        head = attrs.asdict(record.intent)
        assert "request" in head
        if record.intent.request is not None:
            assert record.intent.receipt_id in ("unclear", "no json", "unanswered")
            head["request"] = None
        # The page of a payment that is open is what its customer pays on.
        needed = {"metadata"} if record.intent.is_paid else {"metadata", "checkout address"}
        assert needed >= canaries_in(head), record.intent.receipt_id


def test_no_page_has_a_canary(seen: Seen) -> None:
    """Timelines, their pictures, and whatever the routes answer to strangers."""
    for timeline in seen.world.flow.recent(100):
        shown = [timeline.to_json(), sequence_svg(timeline), sequence_mermaid(timeline)]
        assert set() == canaries_in([json.dumps(shown[0]), *shown[1:], repr(timeline)])
    intent = seen.world.flow.timeline("paid").intent
    assert intent is not None
    for path in ("/return", "/payment-status", "/nowhere"):
        query = {"xpay_intent_id": intent.x_intent_id or "", "e": CANARIES["email"]}
        response = seen.world.flow.handle(WebRequest(method="GET", path=path, query=query))
        assert set() == canaries_in([response.headers, response.body.decode("latin-1")])


def test_no_repr_has_a_canary(seen: Seen) -> None:
    """Whatever a debugger, an error tracker or a print shows of our objects."""
    customer = Customer(**CUSTOMER)
    event = json.dumps({"eventId": "e", "eventType": "intent.success", "eventTime": 1, **ODD})
    report = json.dumps({"xIntentId": "in_1", "status": "SUCCESS", **ODD})
    request = CheckoutRequest(
        receipt_id="r",
        money=b.PRICE,
        callback_url=f"https://shop.example/{CANARIES['unknown field']}",
        customer=customer,
        description=CANARIES["description"],
        metadata={"note": CANARIES["metadata"]},
    )
    shown = [
        customer,
        request,
        read_webhook(event.encode()),
        read_intent(report.encode()),
        WebRequest(method="POST", path="/webhook", query=CUSTOMER, body=event.encode()),
        HttpResponse(200, {}, report.encode()),
        seen.world.flow.recent(100),
        seen.world.flow.store.recent(100),  # type: ignore[attr-defined]
        seen.world.calls,
        seen.world.unmatched,
    ]
    assert set() == canaries_in(repr(shown))


def test_nothing_is_left_after_a_purge(seen: Seen) -> None:
    """When what is open has ended and all is purged, the files hold none of it."""
    world = seen.world
    for _ in range(60):
        world.clock.advance(10 * 86_400)
        world.flow.reconcile()
        world.flow.deliver()
    result = world.flow.purge(timedelta(days=1))
    assert () == result.due
    assert isinstance(world.flow.store, SQLiteStore)
    folder = Path(world.flow.store._path).parent
    assert set() == canaries_in([file.read_bytes().decode("latin-1") for file in folder.iterdir()])
