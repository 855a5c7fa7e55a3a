"""What do we know of one payment intent?

Everything here grows: states rise, sets get members, maxima rise. That is why the order in which
events arrive cannot matter; `decide` only ever adds.
"""

from __future__ import annotations

from typing import Literal

import attrs

from .events import PAYMENT_KINDS
from .money import Money
from .realm import UNNAMED

RefundStatus = Literal["none", "partial", "full"]
DisputeStatus = Literal["none", "open", "under_review", "won", "lost"]

# Later ones beat earlier ones in events about one dispute; `lost` beats `won` since it costs money.
DISPUTE_RANK: tuple[DisputeStatus, ...] = ("none", "open", "under_review", "won", "lost")
DISPUTE_OUTCOMES: frozenset[DisputeStatus] = frozenset({"won", "lost"})
# Over several disputes, the intent shows the one that needs most care.
DISPUTE_CARE: tuple[DisputeStatus, ...] = ("none", "won", "open", "under_review", "lost")


@attrs.frozen(order=True)
class Refund:
    """One refund that xPay reported. `amount_minor` is None where xPay named no amount."""

    refund_id: str
    amount_minor: int | None


@attrs.frozen
class Dispute:
    """One dispute, with every status ever reported for it."""

    dispute_id: str
    seen: frozenset[DisputeStatus]

    @property
    def status(self) -> DisputeStatus:
        return max(self.seen, key=DISPUTE_RANK.index)

    @property
    def outcomes(self) -> tuple[DisputeStatus, ...]:
        """How it was decided, if it was; more than one is a contradiction."""
        return tuple(status for status in DISPUTE_RANK if status in self.seen & DISPUTE_OUTCOMES)


@attrs.frozen(order=True)
class Timestamped:
    """A word and the time of its event; of several the latest counts, and then the greatest."""

    at_ms: int
    word: str


@attrs.frozen(kw_only=True)
class Intent:
    """One attempt to collect one amount for one order.

    The first block is decided when the attempt is stored and never changes. The second is what
    was learned since.

    Args:
        id: ours; travels in xPay's metadata.
        realm: the mode and account that it was made in; see `xpay_flow.realm`.
        receipt_id: the shop's order id.
        attempt: 1 for the first attempt for this receipt.
        money: the requested amount; what is paid must equal it.
        idempotency_key: sent with every try to create this intent at xPay.
        terms: a digest of each field of the request, by its name, to see what a later request
            for the same receipt changes. The fields themselves may be personal data.
        request: the exact body to send, kept until xPay's answer is known, then None.
        evidence: identities of the recorded events, so that a copy is recognised; of a loaded
            record, those of the events that it was loaded with.
        kinds: every kind of event ever applied.
        x_intent_ids: xPay's ids, sorted. More than one is flagged for attention.
        money_checked: some proof of payment showed exactly `money`. Only then is `on_success` due.
        attention: why an operator should look, sorted; `reason` or `reason:subject`.
    """

    id: str
    receipt_id: str
    attempt: int
    money: Money
    idempotency_key: str
    created_at_ms: int
    metadata: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    realm: str = UNNAMED
    terms: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)

    state: str = "initiated"
    request: str | None = attrs.field(default=None, repr=False)
    checkout_url: str | None = attrs.field(default=None, repr=False)
    x_intent_ids: tuple[str, ...] = ()
    money_checked: bool = False
    refunds: tuple[Refund, ...] = ()
    refund_reported: RefundStatus = "none"
    disputes: tuple[Dispute, ...] = ()
    failure: Timestamped | None = None
    payment_method: Timestamped | None = None
    attention: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    evidence: frozenset[str] = attrs.field(default=frozenset(), repr=False)

    @property
    def x_intent_id(self) -> str | None:
        """xPay's id, once known."""
        return self.x_intent_ids[0] if self.x_intent_ids else None

    @property
    def is_paid(self) -> bool:
        """An authentic event shows a payment. States of your own above `success` keep it."""
        return bool(self.kinds & PAYMENT_KINDS)

    @property
    def is_given_back(self) -> bool:
        """It was paid, and all of the money went back: the order may be paid anew."""
        return self.is_paid and self.refund_status == "full"

    @property
    def is_settled(self) -> bool:
        """Needs no more reconciliation: the payment and its amount are proven."""
        return self.money_checked

    @property
    def paid_late(self) -> bool:
        """The payment and a cancellation are both on file."""
        return "paid_late" in self.attention

    @property
    def paid_elsewhere(self) -> tuple[str, ...]:
        """xPay's ids of payments for the same receipt that no attempt of ours has made."""
        prefix = "paid_elsewhere:"
        return tuple(r.removeprefix(prefix) for r in self.attention if r.startswith(prefix))

    @property
    def refunded_minor(self) -> int:
        """The sum of all refunds whose amount is known, in minor units of `money`."""
        return sum(refund.amount_minor or 0 for refund in self.refunds)

    @property
    def refund_status(self) -> RefundStatus:
        """`full` if the known refunds cover the payment, or xPay's get-intent answered REFUNDED."""
        if self.refund_reported == "full" or not self.refunds:
            return self.refund_reported
        return "full" if self.refunded_minor >= self.money.amount_minor else "partial"

    @property
    def dispute_status(self) -> DisputeStatus:
        """The status of the dispute that needs most care."""
        seen: list[DisputeStatus] = ["none", *(dispute.status for dispute in self.disputes)]
        return max(seen, key=DISPUTE_CARE.index)
