"""In which order do xPay's webhooks arrive, which of them twice, and which never?

xPay promises neither order nor number, so a shop must end alike in each. The seed makes every
choice, so a test that fails fails again.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final, Literal, TypeAlias, get_args

import attrs

from xpay_flow.errors import InvalidValue
from xpay_flow.messages import INTENT_CHECKOUT_OPENED, INTENT_CREATED
from xpay_flow.sandbox import Delivery

Order: TypeAlias = Literal["as_sent", "reversed", "shuffle"]
# What becomes of one webhook on its way.
Fate: TypeAlias = Literal["arrives", "copy", "lost"]

# Losing one of these is no loss: nothing is decided by it.
_UNDECISIVE: Final = frozenset({INTENT_CREATED, INTENT_CHECKOUT_OPENED})
# More would make a test slow, and find nothing else.
COPIES_MAX: Final = 100


@attrs.frozen(kw_only=True)
class Arrivals:
    """How the webhooks of a test arrive.

    Args:
        order: of those that are due together: `as_sent`, `reversed` or `shuffle`.
        duplicates: so many further copies arrive, of webhooks that the seed chooses, each time
            that webhooks are delivered.
        lost: so many webhooks of the test never arrive, and are not sent again. The seed chooses
            among those that decide something: a payment, a failure, a refund, a dispute.
        seed: makes the choices.
    """

    order: Order = "as_sent"
    duplicates: int = 0
    lost: int = 0
    seed: int | str = 0

    def __attrs_post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise InvalidValue(f"order must be one of {', '.join(get_args(Order))}")
        if not 0 <= self.duplicates <= COPIES_MAX or not 0 <= self.lost <= COPIES_MAX:
            raise InvalidValue(f"duplicates and lost must be 0 to {COPIES_MAX}")


class Arranger:
    """Arranges the webhooks of one test."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._random = Random(arrivals.seed)
        self.left_to_lose = arrivals.lost

    def arrange(self, due: Sequence[Delivery]) -> list[tuple[Delivery, Fate]]:
        """What happens to these webhooks, in this order."""
        lost = self._lost(due)
        arriving: list[tuple[Delivery, Fate]] = [
            (delivery, "lost" if delivery.number in lost else "arrives") for delivery in due
        ]
        coming = [delivery for delivery, fate in arriving if fate == "arrives"]
        for _ in range(self._arrivals.duplicates if coming else 0):
            arriving.append((self._random.choice(coming), "copy"))
        if self._arrivals.order == "reversed":
            arriving.reverse()
        if self._arrivals.order == "shuffle":
            self._random.shuffle(arriving)
        return arriving

    def _lost(self, due: Sequence[Delivery]) -> frozenset[int]:
        decisive = [each for each in due if each.event_type not in _UNDECISIVE]
        chosen = self._random.sample(decisive, min(self.left_to_lose, len(decisive)))
        self.left_to_lose -= len(chosen)
        return frozenset(delivery.number for delivery in chosen)
