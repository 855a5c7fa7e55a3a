"""Webhooks arrive in an order, with copies and losses, that a seed chooses."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpay_flow.errors import InvalidValue
from xpay_flow.sandbox import Delivery
from xpay_flow.testing.arrivals import Arranger, Arrivals

TYPES = ("intent.created", "intent.checkout_opened", "intent.failed", "intent.success")


def due(count: int) -> list[Delivery]:
    return [
        Delivery(
            number=n,
            event_id=f"whe_{n}",
            event_type=TYPES[n % len(TYPES)],
            attempt=1,
            url="http://127.0.0.1:8000/xpay/webhook",
            headers=(),
            body=b"{}",
            due_at_ms=n,
        )
        for n in range(count)
    ]


@given(
    count=st.integers(0, 12),
    order=st.sampled_from(("as_sent", "reversed", "shuffle")),
    duplicates=st.integers(0, 5),
    lost=st.integers(0, 5),
    seed=st.integers(0, 50),
)
def test_each_webhook_arrives_or_is_lost_once(
    count: int, order: str, duplicates: int, lost: int, seed: int
) -> None:
    """`Arranger` invents and forgets nothing: one arrival or loss of each, copies of arrivals only,
    and losses only of what decides."""
    arrivals = Arrivals(order=order, duplicates=duplicates, lost=lost, seed=seed)  # type: ignore[arg-type]
    arranged = Arranger(arrivals).arrange(due(count))
    once = Counter(delivery.number for delivery, fate in arranged if fate != "copy")
    assert Counter(range(count)) == once
    arrived = {delivery.number for delivery, fate in arranged if fate == "arrives"}
    copies = [delivery.number for delivery, fate in arranged if fate == "copy"]
    assert (duplicates if arrived else 0, True) == (len(copies), set(copies) <= arrived)
    gone = [delivery.event_type for delivery, fate in arranged if fate == "lost"]
    decisive = sum(each.event_type in TYPES[2:] for each in due(count))
    assert (min(lost, decisive), True) == (len(gone), set(gone) <= set(TYPES[2:]))
    assert arranged == Arranger(arrivals).arrange(due(count)), "the same seed chose otherwise"


def test_orders_are_what_they_are_called() -> None:
    """`as_sent` keeps the order, `reversed` turns it round, and `shuffle` depends on the seed."""

    def numbers(**options: object) -> list[int]:
        arranger = Arranger(Arrivals(**options))  # type: ignore[arg-type]
        return [delivery.number for delivery, _ in arranger.arrange(due(6))]

    assert [0, 1, 2, 3, 4, 5] == numbers()
    assert [5, 4, 3, 2, 1, 0] == numbers(order="reversed")
    assert numbers(order="shuffle", seed=1) != numbers(order="shuffle", seed=2)


@pytest.mark.parametrize(
    "options", [{"order": "shuffled"}, {"duplicates": -1}, {"lost": 101}], ids=str
)
def test_an_order_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    """A typing error in `xpay_order` does not leave the test without what it wants."""
    with pytest.raises(InvalidValue, match="must be"):
        Arrivals(**options)  # type: ignore[arg-type]
