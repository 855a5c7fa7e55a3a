"""Promise 3: order does not matter. And, with it, the half of promise 4 that `decide` keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from itertools import permutations
from math import comb, factorial
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpay_flow import events as ev
from xpay_flow.decide import decide, superseded_by
from xpay_flow.errors import UntrustedMessage
from xpay_flow.events import Event
from xpay_flow.lifecycle import LIFECYCLE
from xpay_flow.money import Money
from xpay_flow.records import HandlerName
from xpay_flow.wire import read_webhook

from .folding import (
    an_intent,
    check_against_oracle,
    check_all_subsets,
    check_one_step,
    check_orders_agree,
    check_small_multisets,
    fold,
    seen_in,
)
from .oracle import SPEAKS_FOR
from .strategies import (
    AFTERMATH,
    ALPHABET,
    METADATA_KEY,
    an_event,
    failed,
    histories,
    moneys,
    own,
    paid,
    report,
    two_orders,
    webhook,
)

Orders = tuple[Sequence[Event], Sequence[Event]]


@settings(max_examples=400, deadline=None)
@given(two_orders(), moneys)
@pytest.mark.slow
def test_two_orders_of_the_same_events_end_alike(orders: Orders, requested: Money) -> None:
    """Two orders of the same events, with any copies, end alike and make the same calls due."""
    check_orders_agree(decide, an_intent(requested), *orders)


@settings(max_examples=400, deadline=None)
@given(two_orders(), moneys)
@pytest.mark.slow
def test_a_history_ends_where_the_set_of_its_events_leads(orders: Orders, requested: Money) -> None:
    """The end of any history is a function of the set of its events, computed without an order."""
    check_against_oracle(decide, an_intent(requested), orders[0])
    check_against_oracle(decide, an_intent(requested), orders[1])


@settings(max_examples=200, deadline=None)
@given(histories(), an_event)
def test_deciding_is_pure_and_learns_nothing_twice(history: list[Event], event: Event) -> None:
    """After any history, deciding mutates nothing, answers the same again, and ignores a copy."""
    check_one_step(decide, fold(decide, an_intent(), history).intent, event)


@settings(max_examples=200, deadline=None)
@given(histories())
def test_knowledge_only_grows(history: list[Event]) -> None:
    """No event takes anything back: state, sets, totals and due calls never shrink."""
    intent = an_intent()
    for event in history:
        before, intent = seen_in(intent), decide(intent, event).intent
        after = seen_in(intent)
        assert LIFECYCLE.rank(before.state) <= LIFECYCLE.rank(after.state)
        assert before.money_checked <= after.money_checked
        assert before.refunded_minor <= after.refunded_minor
        for name in ("attention", "x_intent_ids", "kinds", "evidence", "due"):
            assert getattr(before, name) <= getattr(after, name), name


@settings(max_examples=200, deadline=None)
@given(histories(), st.sampled_from(get_args(HandlerName)))
def test_a_superseded_call_stays_superseded(history: list[Event], name: HandlerName) -> None:
    """A call that was dropped as superseded never becomes due again by a later event."""
    intent = an_intent()
    for event in history:
        before, intent = superseded_by(intent, name), decide(intent, event).intent
        assert before is None or before == superseded_by(intent, name)


@pytest.mark.parametrize("alphabet", [ALPHABET, AFTERMATH], ids=["alphabet", "aftermath"])
def test_every_order_of_every_small_multiset(alphabet: tuple[Event, ...]) -> None:
    """All orders of all multisets of up to three of these events agree with the oracle."""
    n = len(alphabet)
    # Orders of multisets of up to three are the words of up to three letters.
    assert 1 + n + n**2 + n**3 == check_small_multisets(decide, an_intent(), alphabet)


@pytest.mark.parametrize("alphabet", [ALPHABET, AFTERMATH], ids=["alphabet", "aftermath"])
@pytest.mark.slow
def test_every_order_of_every_subset(alphabet: tuple[Event, ...]) -> None:
    """All orders of all subsets of these events, up to all of them at once, agree."""
    assert 2 ** len(alphabet) == check_all_subsets(decide, an_intent(), alphabet)


def test_the_alphabets_hold_different_events() -> None:
    """The exhaustive tests are not made small by events that are copies of each other."""
    for alphabet in (ALPHABET, AFTERMATH):
        assert len(alphabet) == len({event.event_key for event in alphabet})
    covered = {event.kind for event in (*ALPHABET, *AFTERMATH)}
    # These are left to Hypothesis; each has a like among those above.
    assert {
        "stored",
        "create_unresolved",
        "paid_twice",
        "intent.created",
        "intent.incomplete",
        "intent.dispute_under_review",
        "report.open",
        "report.disputed",
        "report.dispute_won",
        "report.dispute_lost",
        "unreadable",
    } == set(SPEAKS_FOR) - covered


# --- a lifecycle with states of one's own --------------------------------------------------------

REVIEWED = LIFECYCLE.extended(
    states={"in_review": "redirected", "shipped": "success"},
    events={"review_started": "in_review", "parcel_sent": "shipped"},
)
REVIEW_NEWS = (
    own("review_started"),
    own("parcel_sent"),
    failed("whe_1"),
    paid("whe_2"),
    own(ev.SENT_TO_CHECKOUT),
    report("CANCELLED"),
)


def test_order_does_not_matter_in_an_extended_lifecycle_either() -> None:
    """With states and events of one's own, all 720 orders of six events end alike."""
    intent = an_intent()
    decide_reviewed = partial(decide, lifecycle=REVIEWED)
    for history in permutations(REVIEW_NEWS):
        check_against_oracle(
            decide_reviewed,
            intent,
            history,
            ranks=REVIEWED.states,
            speaks_for={**SPEAKS_FOR, "review_started": "in_review", "parcel_sent": "shipped"},
        )


# --- the documented payloads ---------------------------------------------------------------------

_COMMON = {"intentId": "in_A1", "receiptId": "order-1001", "metadata": {"orderId": "1001"}}
_ASKED = {"amount": 2599, "currency": "EUR"}
# The documented field sets, with values of our own.
DOCUMENTED: dict[str, dict[str, Any]] = {
    "intent.created": {
        "eventId": "whe_A1",
        "eventTime": 1767605400000,
        "intentId": "in_A1",
        "status": "CREATED",
        "metadata": {"orderId": "1001"},
        **_ASKED,
    },
    "intent.checkout_opened": {"eventId": "whe_A2", "eventTime": 1767605412000, **_COMMON},
    "intent.failed": {
        "eventId": "whe_A3",
        "eventTime": 1767605430000,
        "status": "FAILED",
        "errorCode": "insufficient_funds",
        **_COMMON,
        **_ASKED,
    },
    "intent.success": {
        "eventId": "whe_A4",
        "eventTime": 1767605460000,
        "status": "SUCCESS",
        "paymentMethod": "CARD",
        "customerDetails": {"name": "Ada Example", "customerAddress": {"country": "US"}},
        "card": {"brand": "visa", "lastFourDigit": "4242", "expiryMonth": 4, "expiryYear": 2031},
        **_COMMON,
        **_ASKED,
    },
    "intent.refunded": {
        "eventId": "whe_A5",
        "eventTime": 1767691800000,
        "refundId": "rf_A1",
        "refundReferenceId": "bank-ref",
        "status": "REFUNDED",
        **_COMMON,
        **_ASKED,
    },
    "intent.disputed": {
        "eventId": "whe_A6",
        "eventTime": 1768000000000,
        "disputeId": "dp_A1",
        **_COMMON,
    },
    "intent.dispute_under_review": {
        "eventId": "whe_A7",
        "eventTime": 1768000001000,
        "disputeId": "dp_A1",
        **_COMMON,
    },
    "intent.dispute_won": {
        "eventId": "whe_A8",
        "eventTime": 1768000002000,
        "disputeId": "dp_A1",
        **_COMMON,
    },
    # An older copy: neither `disputeId` nor `receiptId`.
    "intent.dispute_lost": {
        "eventId": "whe_A9",
        "eventTime": 1768000003000,
        "intentId": "in_A1",
        "metadata": None,
    },
    "setup_method.success": {
        "eventId": "whe_B1",
        "eventTime": 1767605400000,
        "setupMethodId": "sm_A1",
        "pmId": "pmt_A1",
        "intentId": "in_A1",
        "receiptId": "order-1002",
        "metadata": {},
    },
    "subscription.cycle_charged": {
        "eventId": "whe_C1",
        "eventTime": 1767605400000,
        "subscriptionId": "sub_A1",
        "intentId": "in_A1",
        "intentAmount": 1500,
        "intentCurrency": "USD",
        "nextPaymentDate": 1770283800000,
        "remainingCycleCount": 4,
        "metadata": {},
    },
}


def read(event_type: str, *, spaced: bool = False) -> Event:
    """The documented payload of this type, read from its bytes."""
    separators = (", ", ": ") if spaced else (",", ":")
    message = {"eventType": event_type} | DOCUMENTED[event_type]
    body = json.dumps(message, separators=separators, sort_keys=spaced).encode()
    return ev.from_webhook(read_webhook(body), "hmac:0", METADATA_KEY)


STATE_AFTER = {
    "intent.created": "created",
    "intent.checkout_opened": "redirected",
    "intent.failed": "failed",
    "intent.success": "success",
    "intent.refunded": "success",
    "intent.disputed": "created",
    "intent.dispute_under_review": "created",
    "intent.dispute_won": "created",
    "intent.dispute_lost": "created",
    "setup_method.success": "created",
    "subscription.cycle_charged": "created",
}
BOUGHT = Money(2599, "EUR")


@pytest.mark.parametrize("event_type", DOCUMENTED)
def test_each_documented_payload_alone(event_type: str) -> None:
    """Every documented payload, read from its bytes, leads a fresh intent where it should."""
    intent = decide(an_intent(BOUGHT), read(event_type)).intent
    assert (STATE_AFTER[event_type], ("in_A1",)) == (intent.state, intent.x_intent_ids)
    check_against_oracle(decide, an_intent(BOUGHT), [read(event_type)])


@pytest.mark.parametrize("event_type", DOCUMENTED)
def test_spacing_and_order_of_keys_do_not_make_another_event(event_type: str) -> None:
    """The same payload with other white space and another order of keys is a copy."""
    decision = decide(an_intent(BOUGHT), read(event_type))
    again = decide(decision.intent, read(event_type, spaced=True))
    assert ("duplicate", decision.intent) == (again.disposition, again.intent)


def test_all_documented_payloads_in_every_order() -> None:
    """The eleven documented payloads lead to one end in each of their 39,916,800 orders."""
    alphabet = [read(event_type) for event_type in DOCUMENTED]
    subsets = check_all_subsets(decide, an_intent(BOUGHT), alphabet)
    assert sum(comb(11, k) for k in range(12)) == subsets
    assert 39_916_800 == factorial(len(alphabet))


# --- what is not order-free today ----------------------------------------------------------------


def test_copies_of_an_answer_read_at_other_times_are_still_copies() -> None:
    """The same answer, got at two times, ends alike around a webhook between them."""
    early = report("FAILED", error_code="card_decline")
    late = attrs.evolve(early, at_ms=early.at_ms + 120_000)
    between = webhook(
        "intent.failed",
        "whe_1",
        eventTime=early.at_ms + 60_000,
        errorCode="insufficient_funds",
    )
    check_orders_agree(decide, an_intent(), [early, between, late], [late, between, early])


@pytest.mark.parametrize("kind", [ev.CREATE_ANSWERED, ev.CREATE_REFUSED, ev.SENT_TO_CHECKOUT])
def test_a_webhook_cannot_be_called_like_an_act_of_ours(kind: str) -> None:
    """An event id of xPay's never meets a name that we give to answers and acts."""
    ours = next(event for event in ALPHABET if event.kind == kind)
    try:
        theirs = webhook("intent.created", ours.event_id)
    except UntrustedMessage:
        return
    check_orders_agree(decide, an_intent(), [ours, theirs], [theirs, ours])


def test_the_first_address_of_the_checkout_is_kept() -> None:
    """Of two addresses the first stays: with one idempotency key xPay hands out one only."""
    one = next(event for event in ALPHABET if event.kind == ev.CREATE_ANSWERED)
    other = attrs.evolve(one, digest="in_B", x_intent_id="in_B", url="https://pay.example/in_B")
    assert one.url == fold(decide, an_intent(), [one, other]).intent.checkout_url
    assert other.url == fold(decide, an_intent(), [other, one]).intent.checkout_url
    check_orders_agree(decide, an_intent(), [one, other], [other, one])


@given(st.sampled_from(ALPHABET), st.sampled_from(["hmac:0", "hmac:1", "ecdsa"]))
def test_the_proof_is_no_part_of_the_event(event: Event, proof: str) -> None:
    """A copy signed with another key is a copy: a rotation of keys counts nothing twice."""
    intent = decide(an_intent(), event).intent
    assert "duplicate" == decide(intent, attrs.evolve(event, proof=proof)).disposition
