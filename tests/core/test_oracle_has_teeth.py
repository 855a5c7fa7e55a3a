"""Deciders that are wrong on purpose: each must be caught, or the proof of order proves nothing."""

from __future__ import annotations

from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from xpay_flow.decide import Decision, HandlerDue, decide
from xpay_flow.events import Event
from xpay_flow.intent import Dispute, Intent, Refund, Timestamped
from xpay_flow.lifecycle import LIFECYCLE

from .folding import (
    Decider,
    an_intent,
    check_against_oracle,
    check_all_subsets,
    check_one_step,
    check_orders_agree,
    check_small_multisets,
    fold,
)
from .strategies import AFTERMATH, ALPHABET, an_event, histories, two_orders


def changed(decision: Decision, **fields: Any) -> Decision:
    """The decision with its snapshot changed."""
    return attrs.evolve(decision, intent=attrs.evolve(decision.intent, **fields))


# --- the state -----------------------------------------------------------------------------------


def late_failure_wins(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    wins = right.event is not None and event.kind == "intent.failed"
    return changed(right, state="failed") if wins else right


def last_to_come_wins(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    return changed(right, state=LIFECYCLE.step("initiated", event.kind).target)


def cancelled_is_final(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    return changed(right, state="cancelled") if intent.state == "cancelled" else right


def refund_does_not_imply_paid(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    return changed(right, state=intent.state) if event.kind == "intent.refunded" else right


def refusal_is_final(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    return changed(right, state="rejected") if intent.state == "rejected" else right


def unknown_type_is_dropped(intent: Intent, event: Event) -> Decision:
    if event.kind == "unknown":
        return Decision(intent=intent, event=None, disposition="unknown", why="dropped")
    return decide(intent, event)


# --- money ---------------------------------------------------------------------------------------


def money_is_not_compared(intent: Intent, event: Event) -> Decision:
    altered = attrs.evolve(
        event, amount_minor=intent.money.amount_minor, currency=intent.money.currency
    )
    return decide(intent, altered if event.kind == "intent.success" else event)


def currency_is_not_compared(intent: Intent, event: Event) -> Decision:
    return decide(intent, attrs.evolve(event, currency=intent.money.currency))


def right_money_forgives_wrong(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    kept = tuple(reason for reason in right.intent.attention if reason != "wrong_money")
    return changed(right, attention=kept) if right.intent.money_checked else right


def refund_proves_the_amount(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    return changed(right, money_checked=True) if event.kind == "intent.refunded" else right


# --- copies --------------------------------------------------------------------------------------


def copy_is_recorded(intent: Intent, event: Event) -> Decision:
    forgetful = attrs.evolve(intent, evidence=intent.evidence - {event.event_key})
    return decide(forgetful, event)


def first_content_wins(intent: Intent, event: Event) -> Decision:
    on_file = {known.rpartition("#")[0] for known in intent.evidence}
    if event.source == "webhook" and event.event_id in on_file:
        return Decision(intent=intent, event=None, disposition="duplicate", why="seen")
    return decide(intent, event)


def refund_is_summed_per_event(intent: Intent, event: Event) -> Decision:
    each = attrs.evolve(event, refund_id=None)
    return decide(intent, each if event.kind == "intent.refunded" else event)


def refund_is_summed_per_delivery(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    if event.kind != "intent.refunded" or right.event is not None:
        return right
    return changed(right, refunds=(*intent.refunds, Refund("again", event.amount_minor)))


# --- words ---------------------------------------------------------------------------------------


def last_error_wins(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    if right.event is None or event.error_code is None or "failed" not in event.kind:
        return right
    return changed(right, failure=Timestamped(event.at_ms, event.error_code))


def _with_refund_amount(right: Decision, event: Event, amount: int | None) -> Decision:
    name = event.refund_id or event.event_id
    return changed(
        right,
        refunds=tuple(
            Refund(name, amount) if refund.refund_id == name else refund
            for refund in right.intent.refunds
        ),
    )


def last_refund_amount_wins(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    counted = event.kind == "intent.refunded" and event.currency == intent.money.currency
    return _with_refund_amount(right, event, event.amount_minor) if counted else right


def last_dispute_stage_wins(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    found = decide(an_intent(), event).intent.disputes
    by_id = {d.dispute_id: d for d in (*right.intent.disputes, *found)}
    disputes: tuple[Dispute, ...] = tuple(by_id[name] for name in sorted(by_id))
    return changed(right, disputes=disputes)


def last_xpay_id_wins(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    return changed(right, x_intent_ids=(event.x_intent_id,)) if event.x_intent_id else right


# --- attention and calls -------------------------------------------------------------------------


def late_only_if_cancelled_first(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    if event.kind != "report.cancelled" or intent.paid_late:
        return right
    kept = tuple(reason for reason in right.intent.attention if reason != "paid_late")
    return changed(right, attention=kept)


def each_success_is_due(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    paid_again = event.kind == "intent.success" and right.event and intent.money_checked
    return (
        attrs.evolve(right, handlers_due=(*right.handlers_due, HandlerDue(name="on_success")))
        if paid_again
        else right
    )


def each_delivery_is_due(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    if right.event is None and event.kind == "intent.success":
        return attrs.evolve(right, handlers_due=(HandlerDue(name="on_success"),))
    return right


def failure_is_due_unless_paid_first(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    kept = tuple(due for due in right.handlers_due if due.name != "on_failed" or not intent.is_paid)
    return attrs.evolve(right, handlers_due=kept)


def refund_is_due_after_success_only(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    kept = tuple(
        due for due in right.handlers_due if due.name != "on_refunded" or intent.money_checked
    )
    return attrs.evolve(right, handlers_due=kept)


MUTANTS: tuple[Decider, ...] = (
    late_failure_wins,
    last_to_come_wins,
    cancelled_is_final,
    refund_does_not_imply_paid,
    refusal_is_final,
    unknown_type_is_dropped,
    money_is_not_compared,
    currency_is_not_compared,
    right_money_forgives_wrong,
    refund_proves_the_amount,
    copy_is_recorded,
    first_content_wins,
    refund_is_summed_per_event,
    refund_is_summed_per_delivery,
    last_error_wins,
    last_refund_amount_wins,
    last_dispute_stage_wins,
    last_xpay_id_wins,
    late_only_if_cancelled_first,
    each_success_is_due,
    each_delivery_is_due,
    failure_is_due_unless_paid_first,
    refund_is_due_after_success_only,
)
# Wrong in the same way in every order: comparing orders cannot see these, and the oracle must.
WRONG_IN_EVERY_ORDER: tuple[Decider, ...] = (
    refund_does_not_imply_paid,
    unknown_type_is_dropped,
    money_is_not_compared,
    currency_is_not_compared,
    refund_is_summed_per_event,
)

# The same choices at every run: a mutant that survives does so for everybody.
FIXED = settings(
    max_examples=300,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    report_multiple_bugs=False,
)


def exhaust(decider: Decider) -> None:
    """Every order of up to three events of each alphabet."""
    check_small_multisets(decider, an_intent(), ALPHABET)
    check_small_multisets(decider, an_intent(), AFTERMATH)


def walk(decider: Decider) -> None:
    """Every order of every subset of up to four events of each alphabet."""
    check_all_subsets(decider, an_intent(), ALPHABET, size_max=4)
    check_all_subsets(decider, an_intent(), AFTERMATH, size_max=4)


@FIXED
@given(st.data())
def _sample_orders(decider: Decider, data: st.DataObject) -> None:
    one, other = data.draw(two_orders())
    check_orders_agree(decider, an_intent(), one, other)


@FIXED
@given(st.data())
def _sample_against_oracle(decider: Decider, data: st.DataObject) -> None:
    one, _ = data.draw(two_orders())
    check_against_oracle(decider, an_intent(), one)


@pytest.mark.parametrize("decider", MUTANTS)
def test_small_multisets_catch_a_wrong_decider(decider: Decider) -> None:
    """Every order of at most three events is enough to find this mistake."""
    with pytest.raises(AssertionError):
        exhaust(decider)


@pytest.mark.parametrize("decider", MUTANTS)
def test_the_walk_over_subsets_catches_a_wrong_decider(decider: Decider) -> None:
    """The induction over subsets finds this mistake."""
    with pytest.raises(AssertionError):
        walk(decider)


@pytest.mark.parametrize("decider", MUTANTS)
def test_sampled_histories_catch_a_wrong_decider(decider: Decider) -> None:
    """Histories of Hypothesis's choice, held against the oracle, find this mistake."""
    with pytest.raises(AssertionError):
        _sample_against_oracle(decider)


@pytest.mark.parametrize("decider", [m for m in MUTANTS if m not in WRONG_IN_EVERY_ORDER])
def test_comparing_orders_catches_a_wrong_decider(decider: Decider) -> None:
    """A mistake that depends on the order is found without an oracle, too."""
    with pytest.raises(AssertionError):
        _sample_orders(decider)


@pytest.mark.parametrize("decider", WRONG_IN_EVERY_ORDER)
def test_some_mistakes_need_an_oracle(decider: Decider) -> None:
    """A mistake made alike in every order passes the comparison of orders: the oracle is needed."""
    _sample_orders(decider)


@pytest.mark.slow
def test_the_right_decider_passes_what_the_wrong_ones_fail() -> None:
    """The checks are not merely strict: the real `decide` passes each of them."""
    exhaust(decide)
    walk(decide)
    _sample_orders(decide)
    _sample_against_oracle(decide)


# --- purity --------------------------------------------------------------------------------------


def writes_into_its_argument(intent: Intent, event: Event) -> Decision:
    right = decide(intent, event)
    object.__setattr__(intent, "attention", (*intent.attention, "touched"))
    return right


def numbers_its_answers() -> Decider:
    """A decider that counts its calls."""
    numbers = count()

    def wrong(intent: Intent, event: Event) -> Decision:
        return attrs.evolve(decide(intent, event), why=f"answer {next(numbers)}")

    return wrong


@pytest.mark.parametrize(
    "decider", [writes_into_its_argument, numbers_its_answers(), copy_is_recorded]
)
def test_the_check_of_one_step_catches_an_impure_decider(decider: Decider) -> None:
    """Writing into an argument, memory, and learning from a copy are each found in one step."""
    with pytest.raises(AssertionError):
        check_one_step(decider, an_intent(), ALPHABET[0])


@given(histories(), an_event)
@settings(max_examples=20, deadline=None)
def test_the_check_of_one_step_lets_the_right_decider_pass(
    history: list[Event], event: Event
) -> None:
    """The same check passes the real `decide`."""
    check_one_step(decide, fold(decide, an_intent(), history).intent, event)
