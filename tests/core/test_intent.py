"""What a snapshot derives and shows: refunds, disputes, and what must stay hidden."""

from __future__ import annotations

from itertools import permutations

import attrs
import pytest

from xpay_flow.events import PAYMENT_KINDS
from xpay_flow.intent import (
    DISPUTE_CARE,
    DISPUTE_RANK,
    Dispute,
    DisputeStatus,
    Intent,
    Refund,
    RefundStatus,
    Timestamped,
)
from xpay_flow.money import Money

from .folding import an_intent


def refunded_by(*amounts: int | None, reported: RefundStatus = "none") -> Intent:
    refunds = tuple(Refund(f"rf_{n}", amount) for n, amount in enumerate(amounts))
    return attrs.evolve(an_intent(), refunds=refunds, refund_reported=reported)


def disputed_as(*disputes: tuple[DisputeStatus, ...]) -> Intent:
    named = tuple(Dispute(f"dp_{n}", frozenset(seen)) for n, seen in enumerate(disputes))
    return attrs.evolve(an_intent(), disputes=named)


@pytest.mark.parametrize(
    ("intent", "total", "status"),
    [
        (refunded_by(), 0, "none"),
        (refunded_by(1000), 1000, "partial"),
        (refunded_by(1000, 1499), 2499, "partial"),
        (refunded_by(1000, 1500), 2500, "full"),
        (refunded_by(2500), 2500, "full"),
        (refunded_by(2500, 2500), 5000, "full"),
        (refunded_by(None), 0, "partial"),
        (refunded_by(None, 2500), 2500, "full"),
        (refunded_by(0), 0, "partial"),
        (refunded_by(reported="partial"), 0, "partial"),
        (refunded_by(reported="full"), 0, "full"),
        (refunded_by(1000, reported="full"), 1000, "full"),
        (refunded_by(2500, reported="partial"), 2500, "full"),
    ],
)
def test_refunds_add_up(intent: Intent, total: int, status: RefundStatus) -> None:
    """The total is the sum of known amounts; the status follows from it or from xPay's word."""
    assert (total, status) == (intent.refunded_minor, intent.refund_status)


def test_nothing_is_refunded_without_a_refund() -> None:
    """That zero covers zero is no refund."""
    free = an_intent(Money(0, "USD"))
    assert "none" == free.refund_status


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (("open",), "open"),
        (("open", "under_review"), "under_review"),
        (("won", "open", "under_review"), "won"),
        (("lost", "open"), "lost"),
        (("lost", "won"), "lost"),
    ],
)
def test_the_last_stage_speaks_for_a_dispute(
    seen: tuple[DisputeStatus, ...], status: DisputeStatus
) -> None:
    """Of one dispute the last stage counts, and `lost` beats `won` since it costs money."""
    for order in permutations(seen):
        assert status == Dispute("dp_1", frozenset(order)).status


@pytest.mark.parametrize(
    ("disputes", "status"),
    [
        ((), "none"),
        ((("won",),), "won"),
        ((("won",), ("open",)), "open"),
        ((("open",), ("under_review",)), "under_review"),
        ((("under_review",), ("lost",)), "lost"),
        ((("open", "won"), ("open", "under_review", "won")), "won"),
    ],
)
def test_the_worst_dispute_speaks_for_the_intent(
    disputes: tuple[tuple[DisputeStatus, ...], ...], status: DisputeStatus
) -> None:
    """Over several disputes, the one that needs most care counts."""
    for order in permutations(disputes):
        assert status == disputed_as(*order).dispute_status


def test_both_orders_of_dispute_stages_are_total() -> None:
    """Every stage has a place in both orders, and `none` is the lowest."""
    assert set(DISPUTE_RANK) == set(DISPUTE_CARE)
    assert len(set(DISPUTE_RANK)) == len(DISPUTE_RANK) == len(DISPUTE_CARE)
    assert "none" == DISPUTE_RANK[0] == DISPUTE_CARE[0]


def test_the_latest_word_counts_and_then_the_greatest() -> None:
    """Two values of one time have one winner, whichever came first."""
    assert Timestamped(2, "a") == max(Timestamped(1, "b"), Timestamped(2, "a"))
    assert Timestamped(2, "b") == max(Timestamped(2, "b"), Timestamped(2, "a"))


def test_xpays_id_is_the_first_of_them() -> None:
    """No id is None; of several, kept sorted, the first."""
    assert an_intent().x_intent_id is None
    assert "in_A" == attrs.evolve(an_intent(), x_intent_ids=("in_A", "in_B")).x_intent_id


@pytest.mark.parametrize("kind", sorted(PAYMENT_KINDS))
def test_an_event_of_a_payment_makes_paid(kind: str) -> None:
    """Paid follows from the recorded events, so that a state above `success` keeps it."""
    assert attrs.evolve(an_intent(), kinds=frozenset({kind}), state="shipped").is_paid


@pytest.mark.parametrize(
    "kinds", [frozenset[str](), frozenset({"paid_other_money", "intent.failed"})]
)
def test_another_event_does_not_make_paid(kinds: frozenset[str]) -> None:
    """Neither the state's name nor a payment of other money makes an intent paid."""
    assert not attrs.evolve(an_intent(), kinds=kinds, state="success").is_paid


def test_settled_is_more_than_paid() -> None:
    """A refund shows a payment, but only its amount settles it."""
    refund_only = attrs.evolve(an_intent(), kinds=frozenset({"intent.refunded"}))
    assert (True, False) == (refund_only.is_paid, refund_only.is_settled)
    assert attrs.evolve(refund_only, money_checked=True).is_settled


def test_paid_late_is_a_reason_for_attention() -> None:
    """`paid_late` is read off the reasons."""
    assert not an_intent().paid_late
    assert attrs.evolve(an_intent(), attention=("paid_late", "wrong_money")).paid_late


def test_a_snapshot_shows_neither_the_request_nor_the_address() -> None:
    """What holds personal data or opens the checkout stays out of `repr`."""
    intent = attrs.evolve(
        an_intent(),
        request='{"email":"ada@example.org"}',
        checkout_url="https://pay.example/s3cr3t",
    )
    assert "ada@" not in repr(intent)
    assert "s3cr3t" not in repr(intent)


def test_a_snapshot_cannot_be_changed() -> None:
    """Snapshots are values."""
    for value, name in ((an_intent(), "state"), (Refund("rf_1", 1), "amount_minor")):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, name, "success")


def test_a_new_intent_knows_nothing() -> None:
    """Before any event: initiated, unpaid, nothing refunded, nothing disputed, nothing to see."""
    intent = an_intent(Money(1999, "JPY"))
    assert ("initiated", False, "none", "none", 0, ()) == (
        intent.state,
        intent.is_paid,
        intent.refund_status,
        intent.dispute_status,
        intent.refunded_minor,
        intent.attention,
    )
