"""What `decide` makes of one event: the snapshot, the disposition, the calls due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import attrs
import pytest

from xpay_flow import events as ev
from xpay_flow.decide import Decision, HandlerDue, decide, superseded_by
from xpay_flow.errors import SchemaMismatch
from xpay_flow.events import Event
from xpay_flow.intent import Intent, Refund, Timestamped
from xpay_flow.lifecycle import Disposition
from xpay_flow.money import Money
from xpay_flow.records import HandlerName

from .folding import an_intent, calls, fold
from .strategies import (
    T0_MS,
    created,
    disputed,
    failed,
    own,
    paid,
    refunded,
    refused,
    report,
    webhook,
)


def after(*history: Event) -> Intent:
    return fold(decide, an_intent(), history).intent


def last(*history: Event) -> Decision:
    """The decision about the last of these."""
    return decide(after(*history[:-1]), history[-1])


def due_after(*history: Event) -> set[tuple[str, str]]:
    return set(calls(fold(decide, an_intent(), history).handlers_due))


OPENED = webhook("intent.checkout_opened", "whe_o")
STRANGE = webhook("intent.teleported", "whe_t")
NAMELESS = webhook("intent.created", "whe_n", intentId=None)


# --- words for events ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "state", "disposition", "why"),
    [
        ([paid("e1")], "success", "applied", "initiated → success"),
        ([failed("e1"), paid("e2")], "success", "applied", "failed → success"),
        ([report("CANCELLED"), paid("e1")], "success", "applied", "cancelled → success"),
        ([paid("e1"), paid("e2")], "success", "applied", "agrees with success"),
        ([paid("e1"), failed("e2")], "success", "stale", "older than success, which stays"),
        ([paid("e1"), OPENED], "success", "stale", "older than success, which stays"),
        (
            [paid("e1"), report("CANCELLED")],
            "success",
            "contradictory",
            "contradicts success, which stays",
        ),
        ([created(), refused()], "created", "contradictory", "contradicts created, which stays"),
        ([refused(), OPENED], "redirected", "applied", "rejected → redirected"),
        ([paid("e1"), paid("e1")], "success", "duplicate", "this event is on file already"),
        ([STRANGE], "created", "unknown", "no rule for 'intent.teleported'; kept"),
        ([paid("e1"), STRANGE], "success", "unknown", "no rule for 'intent.teleported'; kept"),
        (
            [OPENED, paid("e1", amount=2499)],
            "redirected",
            "mismatched",
            "it names 2499 USD (minor units), and 25.00 USD was requested",
        ),
        (
            [paid("e1"), refunded("e2", "rf_1", 2500, "EUR")],
            "success",
            "mismatched",
            "it names 2500 EUR (minor units), and 25.00 USD was requested",
        ),
        (
            [failed("e1", "card_decline"), failed("e1", "lost_card")],
            "failed",
            "contradictory",
            "another content is on file under this event id; both count",
        ),
    ],
)
def test_each_decision_has_a_word_and_a_sentence(
    history: list[Event], state: str, disposition: Disposition, why: str
) -> None:
    """The disposition names what became of the event, and one sentence gives the reason."""
    decision = last(*history)
    assert (state, disposition, why) == (decision.intent.state, decision.disposition, decision.why)


def test_the_sentence_about_an_unknown_type_stays_a_line() -> None:
    """A type of xPay's own choosing is shortened and escaped before it is quoted."""
    wild = attrs.evolve(STRANGE, type="é" * 200)
    assert len(last(wild).why) < 400
    assert last(wild).why.isascii()


def test_a_copy_changes_nothing_and_records_nothing() -> None:
    """A second delivery answers with the very snapshot, no fact and no calls."""
    once = after(paid("e1"))
    again = decide(once, paid("e1"))
    assert (True, None, ()) == (again.intent is once, again.event, again.handlers_due)


def test_the_same_event_at_another_address_is_a_copy_only_with_the_same_content() -> None:
    """One event id with other content is another event: kept, counted and flagged for attention."""
    decision = last(failed("e1", "card_decline"), failed("e1", "lost_card"))
    assert decision.event is not None
    assert ("event_contradiction:e1",) == decision.intent.attention
    assert 2 == len(decision.intent.evidence)


def test_the_calls_of_one_decision_are_in_a_fixed_order() -> None:
    """Several calls made due at once are sorted, whatever the order of sets in this process."""
    decision = last(
        failed("e1"),
        report("CANCELLED"),
        refunded("e1", "rf_1", 2501),
        refunded("e1", "rf_2", None),
    )
    first = last(failed("e1"), report("CANCELLED"), refunded("e1", "rf_1", 2501))
    assert (
        HandlerDue(name="on_attention", subject="event_contradiction:e1"),
        HandlerDue(name="on_attention", subject="paid_late"),
        HandlerDue(name="on_attention", subject="refund_exceeds_payment"),
        HandlerDue(name="on_refunded", subject="rf_1"),
    ) == first.handlers_due
    assert (
        HandlerDue(name="on_attention", subject="refund_without_amount:rf_2"),
        HandlerDue(name="on_refunded", subject="rf_2"),
    ) == decision.handlers_due


def test_an_event_id_may_hold_the_sign_that_sets_off_the_content() -> None:
    """`#` in an event id does not make two events one, nor one event two."""
    assert () == after(failed("e#1"), failed("e#2"), failed("e", "lost_card")).attention
    twice = after(failed("e#1"), failed("e#1", "lost_card"))
    assert ("event_contradiction:e#1",) == twice.attention


# --- money ---------------------------------------------------------------------------------------

PROOFS: dict[str, Callable[[int | None, str | None], Event]] = {
    "intent.success": lambda amount, currency: paid("e1", amount, currency),
    "report.success": lambda amount, currency: report("SUCCESS", amount, currency),
    "report.refunded": lambda amount, currency: report("REFUNDED", amount, currency),
    "report.partially_refunded": lambda amount, currency: report(
        "PARTIALLY_REFUNDED", amount, currency
    ),
}


@pytest.mark.parametrize("kind", PROOFS)
def test_the_requested_money_makes_paid(kind: str) -> None:
    """A proof of payment for exactly the requested money makes `on_success` due."""
    event = PROOFS[kind](2500, "USD")
    assert kind == event.kind
    intent = after(event)
    assert ("success", True, True) == (intent.state, intent.is_paid, intent.money_checked)
    assert ("on_success", "") in due_after(event)


@pytest.mark.parametrize("kind", PROOFS)
@pytest.mark.parametrize(
    ("amount", "currency"),
    [(2499, "USD"), (2501, "USD"), (0, "USD"), (2500, "EUR"), (None, "USD"), (2500, None)],
)
def test_other_money_is_never_paid(kind: str, amount: int | None, currency: str | None) -> None:
    """Another amount or currency, or none at all, shows that the intent exists and no more."""
    event = PROOFS[kind](amount, currency)
    intent = after(event)
    assert ("created", False, False) == (intent.state, intent.is_paid, intent.money_checked)
    assert ("wrong_money",) == intent.attention
    assert {("on_attention", "wrong_money")} == due_after(event)
    assert "mismatched" == last(event).disposition


def test_the_right_money_counts_beside_the_wrong() -> None:
    """Wrong money is not forgotten when the right money comes, and does not forbid it."""
    for history in permutations([paid("e1", amount=1), paid("e2")]):
        intent = after(*history)
        assert ("success", True, ("wrong_money",)) == (
            intent.state,
            intent.money_checked,
            intent.attention,
        )


def test_the_money_of_an_answer_to_the_creation_is_no_proof() -> None:
    """Only proofs of payment are compared; a created intent makes no call due."""
    assert set() == due_after(created(), webhook("intent.created", "e1", amount=1, currency="EUR"))


def test_one_payment_is_due_once_however_often_it_is_reported() -> None:
    """Webhook, second webhook and report of one payment make `on_success` due once."""
    folded = fold(decide, an_intent(), [paid("e1"), paid("e2"), report("SUCCESS")])
    assert (HandlerDue(name="on_success"),) == folded.handlers_due


# --- refunds -------------------------------------------------------------------------------------


def test_a_refund_shows_a_payment_but_not_its_amount() -> None:
    """A refund alone makes `success`, while `on_success` waits for proof of the amount."""
    intent = after(refunded("e1", "rf_1", 2500))
    assert ("success", True, False) == (intent.state, intent.is_paid, intent.is_settled)
    assert {("on_refunded", "rf_1")} == due_after(refunded("e1", "rf_1", 2500))
    assert ("on_success", "") in due_after(refunded("e1", "rf_1", 2500), report("REFUNDED"))


def test_refunds_are_a_set_by_their_id() -> None:
    """Two events about one refund are one refund; two refunds add up."""
    assert (Refund("rf_1", 1000),) == after(
        refunded("e1", "rf_1", 1000), refunded("e2", "rf_1", 1000)
    ).refunds
    assert 2000 == after(refunded("e1", "rf_1", 1000), refunded("e2", "rf_2", 1000)).refunded_minor


def test_a_refund_without_an_id_is_named_by_its_event() -> None:
    """The oldest events carry no refund id: each event is a refund of its own."""
    intent = after(refunded("e1", None, 1000), refunded("e2", None, 1000))
    assert (Refund("e1", 1000), Refund("e2", 1000)) == intent.refunds


@pytest.mark.parametrize("amounts", list(permutations([1000, 1500, None])))
def test_of_several_amounts_of_one_refund_the_greatest_counts(
    amounts: Sequence[int | None],
) -> None:
    """Amounts that differ are flagged for attention, and too little is never reported."""
    refunds = [refunded(f"e{amount}", "rf_1", amount) for amount in amounts]
    intent = after(*refunds)
    assert (Refund("rf_1", 1500),) == intent.refunds
    assert ("refund_contradiction:rf_1", "refund_without_amount:rf_1") == intent.attention
    assert 1 == sum(name == "on_refunded" for name, _ in due_after(*refunds))


def test_a_refund_in_another_currency_is_not_counted() -> None:
    """It cannot be added up, so a person looks at it; nothing is paid and nothing refunded."""
    intent = after(refunded("e1", "rf_1", 2500, "EUR"))
    assert ("created", (), ("refund_in_other_currency",)) == (
        intent.state,
        intent.refunds,
        intent.attention,
    )


def test_more_refunded_than_paid_is_noticed() -> None:
    """Refunds beyond the payment keep their sum and are flagged for attention."""
    intent = after(paid("e1"), refunded("e2", "rf_1", 2500), refunded("e3", "rf_2", 1))
    assert (2501, "full", ("refund_exceeds_payment",)) == (
        intent.refunded_minor,
        intent.refund_status,
        intent.attention,
    )


@pytest.mark.parametrize(
    ("statuses", "reported"),
    [
        (["PARTIALLY_REFUNDED"], "partial"),
        (["REFUNDED"], "full"),
        (["PARTIALLY_REFUNDED", "REFUNDED"], "full"),
        (["REFUNDED", "PARTIALLY_REFUNDED"], "full"),
    ],
)
def test_a_report_says_that_but_not_how_much_was_refunded(
    statuses: list[str], reported: str
) -> None:
    """Get-intent's word for refunds is kept beside the sum, and only rises."""
    intent = after(*map(report, statuses))
    assert (reported, 0, ("refund_without_details",)) == (
        intent.refund_status,
        intent.refunded_minor,
        intent.attention,
    )


# --- attention -----------------------------------------------------------------------------------

REASONS: dict[str, list[Event]] = {
    "wrong_money": [paid("e1", amount=1)],
    "refund_in_other_currency": [refunded("e1", "rf_1", 1, "EUR")],
    "paid_late": [report("CANCELLED"), paid("e1")],
    "refused_yet_real": [refused(), OPENED],
    "second_xpay_intent": [created("in_A"), created("in_B")],
    "refund_exceeds_payment": [refunded("e1", "rf_1", 2501)],
    "refund_without_details": [report("REFUNDED")],
    "create_unresolved": [own(ev.CREATE_UNRESOLVED)],
    "amount_unresolved": [own(ev.AMOUNT_UNRESOLVED)],
    "paid_twice:pi_2": [own(ev.PAID_TWICE, "pi_2")],
    "handler_gave_up:eff_1": [own(ev.HANDLER_GAVE_UP, "eff_1")],
    "event_contradiction:e1": [failed("e1", "card_decline"), failed("e1", "lost_card")],
    "refund_contradiction:rf_1": [refunded("e1", "rf_1", 1), refunded("e2", "rf_1", 2)],
    "refund_without_amount:rf_1": [refunded("e1", "rf_1", None)],
    "disputed:dp_1": [disputed("e1", "disputed", "dp_1")],
    "disputed:unnamed": [disputed("e1", "dispute_won", None)],
}


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_for_attention(reason: str) -> None:
    """Each reason comes from its evidence in any order, alone, and makes one call due."""
    for history in permutations(REASONS[reason]):
        assert (reason,) == after(*history).attention
        assert ("on_attention", reason) in due_after(*history)


@pytest.mark.parametrize("reason", REASONS)
def test_no_reason_without_all_of_its_evidence(reason: str) -> None:
    """Leave out any one piece of the evidence, and the reason is not given."""
    events = REASONS[reason]
    for left_out in range(len(events)):
        rest = events[:left_out] + events[left_out + 1 :]
        assert () == after(*rest).attention


def test_a_dispute_both_won_and_lost() -> None:
    """Two ends of one dispute contradict each other; it counts as lost until a person looks."""
    for history in permutations(
        [disputed("e1", "dispute_won", "dp_1"), disputed("e2", "dispute_lost", "dp_1")]
    ):
        intent = after(*history)
        assert ("dispute_contradiction:dp_1", "disputed:dp_1") == intent.attention
        assert "lost" == intent.dispute_status


def test_a_refund_of_what_was_cancelled_is_a_late_payment_too() -> None:
    """A refund shows a payment, so it is named beside a cancellation."""
    assert after(report("CANCELLED"), refunded("e1", "rf_1", 100)).paid_late


def test_a_refusal_alone_is_no_reason() -> None:
    """A refused creation needs no attention, and the shop's request is forgotten."""
    intent = after(refused())
    assert ("rejected", (), None) == (intent.state, intent.attention, intent.request)


def test_an_ordinary_payment_needs_no_attention() -> None:
    """A plain paid order makes one call due."""
    story = [
        own(ev.STORED),
        created(),
        own(ev.SENT_TO_CHECKOUT),
        OPENED,
        paid("e1"),
        report("SUCCESS"),
    ]
    assert () == after(*story).attention
    assert {("on_success", "")} == due_after(*story)


# --- failures, methods, ids, addresses -----------------------------------------------------------


def test_several_failed_attempts_owe_one_call_and_keep_the_last_word() -> None:
    """`on_failed` is due once per intent; the code shown is that of the latest attempt."""
    attempts = [failed("e1", "card_decline", at_s=1), failed("e2", "lost_card", at_s=2)]
    for history in permutations(attempts):
        assert Timestamped(T0_MS + 2000, "lost_card") == after(*history).failure
        assert {("on_failed", "")} == due_after(*history)


def test_a_failure_after_the_payment_is_due_and_superseded() -> None:
    """What is due follows from what is on file; whether it is still worth telling comes last."""
    history = [paid("e1"), failed("e2")]
    assert {("on_success", ""), ("on_failed", "")} == due_after(*history)
    assert superseded_by(after(*history), "on_failed")


def test_the_payment_method_is_the_latest_reported() -> None:
    """Any event may name the method."""
    intent = after(paid("e1", payment_method="CARD"))
    assert "CARD" == (intent.payment_method and intent.payment_method.word)


def test_ids_are_collected_and_sorted() -> None:
    """A second id of xPay's is kept beside the first."""
    intent = after(webhook("intent.created", "e1", intentId="in_B"), created("in_A"), NAMELESS)
    assert (("in_A", "in_B"), ("second_xpay_intent",)) == (intent.x_intent_ids, intent.attention)


def test_the_request_is_kept_until_the_address_is_known() -> None:
    """A webhook that overtakes xPay's answer does not yet spare us the repeat of the creation."""
    opened_first = after(OPENED)
    assert (an_intent().request, None) == (opened_first.request, opened_first.checkout_url)
    answered = decide(opened_first, created()).intent
    assert (None, "https://pay.example/in_A") == (answered.request, answered.checkout_url)


def test_the_address_of_the_checkout_is_forgotten_once_paid() -> None:
    """Whatever shows the payment, and whether it comes before the answer or after it."""
    for payment in (paid("whe_1"), report("SUCCESS"), refunded("whe_1", "rf_1", 5)):
        for history in (
            (created(), payment),
            (payment, created()),
            (created(), payment, failed("f")),
        ):
            intent = fold(decide, an_intent(), history).intent
            assert (True, None, None) == (intent.is_paid, intent.checkout_url, intent.request)


def test_the_address_of_the_checkout_stays_while_it_can_be_paid() -> None:
    """A failed charge closes no page."""
    intent = fold(decide, an_intent(), (created(), failed("f"))).intent
    assert "https://pay.example/in_A" == intent.checkout_url


def test_the_terms_never_change() -> None:
    """What was decided when the attempt was stored is the same after any event."""
    request = (
        "id",
        "receipt_id",
        "attempt",
        "money",
        "idempotency_key",
        "created_at_ms",
        "metadata",
    )
    before, intent = an_intent(), after(*(event for story in REASONS.values() for event in story))
    assert [getattr(before, name) for name in request] == [
        getattr(intent, name) for name in request
    ]


def test_yen_are_compared_like_any_money() -> None:
    """Amounts are whole minor units, whatever the currency's exponent."""
    yen = an_intent(Money(2500, "JPY"))
    assert "success" == decide(yen, paid("e1", 2500, "JPY")).intent.state
    assert "created" == decide(yen, paid("e1", 250_000, "JPY")).intent.state


def test_a_kind_without_a_row_is_our_own_mistake() -> None:
    """Foreign types arrive as `unknown`; a kind that the table lacks names another lifecycle."""
    with pytest.raises(SchemaMismatch, match="no_such_kind"):
        decide(an_intent(), own("no_such_kind"))


# --- superseded calls -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "name", "reason"),
    [
        ([failed("e1")], "on_failed", None),
        ([failed("e1"), report("CANCELLED")], "on_failed", None),
        ([failed("e1"), paid("e2", amount=1)], "on_failed", None),
        ([failed("e1"), paid("e2")], "on_failed", "the payment succeeded meanwhile"),
        ([paid("e2"), failed("e1")], "on_failed", "the payment succeeded meanwhile"),
        (
            [failed("e1"), refunded("e2", "rf_1", 1)],
            "on_failed",
            "the payment succeeded meanwhile",
        ),
        ([paid("e1")], "on_success", None),
        ([paid("e1"), failed("e2")], "on_success", None),
        ([paid("e1"), refunded("e2", "rf_1", 2499)], "on_success", None),
        ([paid("e1"), report("PARTIALLY_REFUNDED")], "on_success", None),
        ([paid("e1"), refunded("e2", "rf_1", 2500, "EUR")], "on_success", None),
        (
            [paid("e1"), refunded("e2", "rf_1", 2500)],
            "on_success",
            "the payment was refunded in full meanwhile",
        ),
        (
            [refunded("e2", "rf_1", 2000), paid("e1"), refunded("e3", "rf_2", 500)],
            "on_success",
            "the payment was refunded in full meanwhile",
        ),
        ([report("REFUNDED")], "on_success", "the payment was refunded in full meanwhile"),
        ([paid("e1"), refunded("e2", "rf_1", 2500)], "on_refunded", None),
        ([paid("e1"), refunded("e2", "rf_1", 2501)], "on_attention", None),
    ],
)
def test_a_call_can_be_superseded_by_a_newer_event(
    history: list[Event], name: HandlerName, reason: str | None
) -> None:
    """`on_failed` after the success, and `on_success` after a full refund, are not called."""
    assert reason == superseded_by(after(*history), name)
