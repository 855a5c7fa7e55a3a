"""What may a customer, xPay and the network do to a shop? Strategies for Hypothesis.

@given(story=stories(), arrivals=arrivals())
def test_a_paid_order_is_fulfilled_once(story, arrivals):
    with shop_world("shop:app", arrivals=arrivals) as world:
        world.client.post("/orders/42/pay")
        play(world, story)
        assert fulfilments("42") == is_paid(world)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias, get_args

from hypothesis import strategies as st

from xpay_flow.errors import InvalidValue

from .arrivals import Arrivals, Order
from .shop_world import ShopWorld

Act: TypeAlias = Literal["open", "decline", "pay", "refund_part", "refund", "wait", "settle"]

# Twice the first query of xPay about a silent payment.
WAIT_S: Final = 120.0
# After so long every retry of a handler and of a webhook is over, and every payment was queried.
END_S: Final = 2 * 86_400.0


def arrivals(*, duplicates_max: int = 3, lost_max: int = 0) -> st.SearchStrategy[Arrivals]:
    """How webhooks arrive: each order, copies and losses."""
    orders: tuple[Order, ...] = get_args(Order)
    return st.builds(
        Arrivals,
        order=st.sampled_from(orders),
        duplicates=st.integers(0, duplicates_max),
        lost=st.integers(0, lost_max),
        seed=st.integers(0, 1000),
    )


def stories(acts_max: int = 8) -> st.SearchStrategy[list[Act]]:
    """What happens to one payment, in turn. What cannot happen is passed over by `play`."""
    acts: tuple[Act, ...] = get_args(Act)
    return st.lists(st.sampled_from(acts), max_size=acts_max)


def play(world: ShopWorld, story: Sequence[Act], name: str | None = None) -> None:
    """Have the acts of a story happen to a payment, and then let everything come to its end."""
    for act in story:
        # Such as paying twice, or a refund before the payment.
        with suppress(InvalidValue):
            _happen(world, act, world.intent(name).x_intent_id)
    world.settle()
    world.advance(END_S)
    world.settle()


def is_paid(world: ShopWorld, name: str | None = None) -> bool:
    """Whether xPay has been paid, and has not given all of it back."""
    sold = world.intent(name)
    return bool(sold.succeeded) and sold.refunded_minor < sold.order.amount_minor


def _happen(world: ShopWorld, act: Act, x_intent_id: str) -> None:
    match act:
        case "open":
            world.xpay.open_checkout(x_intent_id)
        case "decline":
            world.xpay.decline(x_intent_id)
        case "pay":
            world.xpay.pay(x_intent_id)
        case "refund_part":
            world.xpay.refund(x_intent_id, 1)
        case "refund":
            world.xpay.refund(x_intent_id)
        case "wait":
            world.settle(WAIT_S)
        case "settle":
            world.settle()
