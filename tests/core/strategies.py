"""Which events can an intent have? Events built as they arrive, and Hypothesis's choice.

Webhooks and answers are made as bytes and read by `wire`, so that their identities are the real
ones and two events of the same content are the same event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias
from zlib import crc32

from hypothesis import strategies as st

from xpay_flow import events as ev
from xpay_flow.events import Event
from xpay_flow.money import Money
from xpay_flow.wire import read_intent, read_unreadable, read_webhook

METADATA_KEY: Final = "xpay_flow_intent"
T0_MS: Final = 1_767_605_400_000

Plain: TypeAlias = str | int | Mapping[str, str] | None


def webhook(event_type: str, event_id: str, at_s: int = 0, **members: Plain) -> Event:
    """The event in a webhook about `in_A`; a member given as None is left out."""
    message: dict[str, Plain] = {
        "eventId": event_id,
        "eventType": event_type,
        "eventTime": T0_MS + 1000 * at_s,
        "intentId": "in_A",
        "receiptId": "order-1001",
        "metadata": {METADATA_KEY: "int_1"},
        **members,
    }
    body = json.dumps({name: value for name, value in message.items() if value is not None})
    return ev.from_webhook(read_webhook(body.encode()), "hmac:0", METADATA_KEY)


def paid(
    event_id: str,
    amount: int | None = 2500,
    currency: str | None = "USD",
    *,
    payment_method: str | None = None,
) -> Event:
    return webhook(
        "intent.success",
        event_id,
        amount=amount,
        currency=currency,
        paymentMethod=payment_method,
    )


def failed(event_id: str, error_code: str | None = "card_decline", at_s: int = 0) -> Event:
    return webhook("intent.failed", event_id, at_s, errorCode=error_code)


def refunded(
    event_id: str, refund_id: str | None, amount: int | None, currency: str | None = "USD"
) -> Event:
    return webhook(
        "intent.refunded", event_id, refundId=refund_id, amount=amount, currency=currency
    )


def disputed(event_id: str, stage: str, dispute_id: str | None) -> Event:
    return webhook(f"intent.{stage}", event_id, disputeId=dispute_id)


def report(
    status: str,
    amount: int | None = 2500,
    currency: str | None = "USD",
    *,
    error_code: str | None = None,
    x_intent_id: str = "in_A",
) -> Event:
    """xPay's answer to a reconciliation. Its time follows from its content, as for a webhook."""
    charges = [{"status": "FAILED", "errorCode": error_code}] if error_code else []
    answer = {
        "xIntentId": x_intent_id,
        "status": status,
        "amount": amount,
        "currency": currency,
        "chargeAttempts": charges,
    }
    body = json.dumps({name: value for name, value in answer.items() if value is not None})
    return ev.from_report(read_intent(body.encode()), T0_MS + crc32(body.encode()) % 60_000)


def created(x_intent_id: str = "in_A") -> Event:
    body = json.dumps({"xIntentId": x_intent_id, "status": "CREATED"}).encode()
    return ev.from_create_answer(read_intent(body), f"https://pay.example/{x_intent_id}", T0_MS)


def refused() -> Event:
    return ev.refusal("bad_request", "amount is too small", T0_MS)


def unreadable(event_id: str, amount: str = "19.99") -> Event:
    """A success whose amount makes no sense."""
    message = {
        "eventId": event_id,
        "eventType": "intent.success",
        "eventTime": T0_MS,
        "intentId": "in_A",
        "amount": amount,
        "currency": "USD",
    }
    body = json.dumps(message).encode()
    return ev.from_unreadable(read_unreadable(body), "hmac:0", METADATA_KEY)


def own(kind: str, subject: str = "") -> Event:
    return ev.own(kind, T0_MS, subject=subject)


# Fourteen events that contradict each other in as many ways as so few can.
ALPHABET: Final[tuple[Event, ...]] = (
    created(),
    refused(),
    own(ev.SENT_TO_CHECKOUT),
    webhook("intent.checkout_opened", "whe_1", intentId="in_B"),
    failed("whe_2", "card_decline", at_s=1),
    failed("whe_3", "insufficient_funds", at_s=2),
    report("CANCELLED"),
    paid("whe_4", payment_method="CARD"),
    paid("whe_4", amount=2499),
    report("SUCCESS", currency="EUR"),
    refunded("whe_5", "rf_1", 1000),
    refunded("whe_6", "rf_1", 2500),
    refunded("whe_7", "rf_2", 1000, "EUR"),
    disputed("whe_8", "disputed", "dp_1"),
)
# Fourteen more, about what happens after a payment and what names too little.
AFTERMATH: Final[tuple[Event, ...]] = (
    own(ev.HANDLER_GAVE_UP, "eff_1"),
    own(ev.PAID_ELSEWHERE, "in_C"),
    own(ev.STILL_OPEN),
    own(ev.AMOUNT_UNRESOLVED),
    report("FAILED", error_code="risk_check_failed"),
    report("PARTIALLY_REFUNDED"),
    report("REFUNDED"),
    webhook("setup_method.success", "whe_1", pmId="pmt_1"),
    refunded("whe_2", None, 1500),
    refunded("whe_2", None, None),
    refunded("whe_3", "rf_3", 1001),
    disputed("whe_4", "dispute_won", None),
    disputed("whe_5", "dispute_lost", None),
    report("DISPUTE_UNDER_REVIEW"),
)

# --- Hypothesis ----------------------------------------------------------------------------------

# Few ids, so that the same one often comes with another content.
event_ids = st.sampled_from([f"whe_{n}" for n in range(1, 9)])
times = st.integers(0, 3)
amounts = st.sampled_from([2500, 2500, 2500, 2499, 5000, 1000, 1, 0, None])
currencies = st.sampled_from(["USD", "USD", "USD", "EUR", None])
x_intent_ids = st.sampled_from(["in_A", "in_A", "in_A", "in_B", None])
error_codes = st.sampled_from(["card_decline", "insufficient_funds", None])
moneys = st.sampled_from([Money(2500, "USD"), Money(5000, "USD"), Money(2500, "EUR")])

_QUIET = ("intent.created", "intent.checkout_opened", "intent.incomplete")
_STAGES = ("disputed", "dispute_under_review", "dispute_won", "dispute_lost")
_STRANGE = ("setup_method.success", "subscription.cycle_charged", "intent.cancelled")
_STATUSES = (
    "CREATED",
    "PENDING",
    "FAILED",
    "CANCELLED",
    "SUCCESS",
    "REFUNDED",
    "PARTIALLY_REFUNDED",
    "DISPUTED",
    "DISPUTE_UNDER_REVIEW",
    "DISPUTE_WON",
    "DISPUTE_LOST",
)

quiet = st.builds(
    webhook, st.sampled_from(_QUIET + _STRANGE), event_ids, times, intentId=x_intent_ids
)
payments = st.builds(
    webhook,
    st.just("intent.success"),
    event_ids,
    times,
    intentId=x_intent_ids,
    amount=amounts,
    currency=currencies,
    paymentMethod=st.sampled_from(["CARD", "PAYPAL", None]),
    status=st.sampled_from(["SUCCESS", None, "FAILED"]),
    receiptId=st.sampled_from(["order-1001", None, "order-7"]),
)
failures = st.builds(failed, event_ids, error_codes, times)
refunds = st.builds(
    refunded, event_ids, st.sampled_from(["rf_1", "rf_2", None]), amounts, currencies
)
disputes = st.builds(disputed, event_ids, st.sampled_from(_STAGES), st.sampled_from(["dp_1", None]))
reports = st.builds(
    report,
    st.sampled_from(_STATUSES),
    amounts,
    currencies,
    error_code=error_codes,
    x_intent_id=st.sampled_from(["in_A", "in_A", "in_B"]),
)
creations = st.sampled_from(
    [
        created(),
        created("in_B"),
        refused(),
        own(ev.STORED),
        own(ev.CREATE_UNRESOLVED),
        own(ev.AMOUNT_UNRESOLVED),
    ]
)
acts = st.sampled_from(
    [
        own(ev.SENT_TO_CHECKOUT),
        own(ev.HANDLER_GAVE_UP, "eff_1"),
        own(ev.HANDLER_GAVE_UP, "eff_2"),
        own(ev.PAID_TWICE, "pi_2"),
        own(ev.PAID_ELSEWHERE, "in_C"),
        own(ev.PAID_ELSEWHERE, "in_D"),
        own(ev.STILL_OPEN),
    ]
)
# What contradicts itself, names another, or cannot be read.
oddities = st.sampled_from(
    [
        webhook("intent.success", "whe_1", status="CANCELLED", amount=2500, currency="USD"),
        webhook("intent.failed", "whe_2", status="SUCCESS", errorCode="card_decline"),
        webhook("intent.refunded", "whe_3", status="CREATED", refundId="rf_1", amount=1),
        webhook("intent.checkout_opened", "whe_4", metadata={METADATA_KEY: "int_2"}),
        webhook("intent.success", "whe_5", receiptId="order-7", amount=2500, currency="USD"),
        unreadable("whe_6"),
        unreadable("whe_6", "20.00"),
    ]
)
outcomes = st.sampled_from([report("CANCELLED"), paid("whe_1"), report("SUCCESS"), refused()])
_TOPICS: Final = (
    quiet,
    payments,
    failures,
    refunds,
    disputes,
    reports,
    creations,
    acts,
    oddities,
    outcomes,
    st.sampled_from(ALPHABET),
    st.sampled_from(AFTERMATH),
)
an_event = st.one_of(_TOPICS)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Up to twelve events on a few topics, so that what contradicts itself often meets."""
    topics = draw(st.lists(st.sampled_from(_TOPICS), min_size=1, max_size=4))
    # A length of its own: left alone, most lists would be short.
    length = draw(st.integers(0, 12))
    return draw(st.lists(st.one_of(topics), min_size=length, max_size=length))


@st.composite
def two_orders(draw: st.DrawFn) -> tuple[Sequence[Event], Sequence[Event]]:
    """The same events twice: each time in an order of its own, with copies of its own."""
    events = draw(histories())
    copies = st.lists(st.sampled_from(events), max_size=4) if events else st.just([])
    one = draw(st.permutations(events + draw(copies)))
    other = draw(st.permutations(events + draw(copies)))
    return one, other
