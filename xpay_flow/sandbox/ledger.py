"""The ledger of xPay: intents, charge attempts, refunds and disputes, and what may happen to them.

The rules of money at xPay. Refusals are InvalidValue, unknown names UnknownIntent.
"""

from __future__ import annotations

import logging
from typing import Literal

import attrs

from xpay_flow import messages
from xpay_flow.errors import InvalidValue, UnknownIntent

from .cards import CARD_METHODS, DEFAULT_CARD, ERROR_CODE_CHARS_MAX, Card
from .config import SandboxConfig
from .ids import Ids
from .order import Order

log = logging.getLogger("xpay_flow.sandbox")

DisputeStage = Literal["disputed", "under_review", "won", "lost"]
# Who ordered it: the shop by its API, or a merchant in xPay's dashboard. Events do not show it.
Origin = Literal["api", "dashboard"]
_DISPUTE_STATUS = {
    "disputed": "DISPUTED",
    "under_review": "DISPUTE_UNDER_REVIEW",
    "won": "DISPUTE_WON",
    "lost": "DISPUTE_LOST",
}
PAID = frozenset(
    {messages.STATUS_SUCCESS, messages.STATUS_PARTIALLY_REFUNDED, messages.STATUS_REFUNDED}
)
# A page that is tried for ever must not grow an intent for ever.
CHARGES_MAX = 1000


@attrs.frozen(kw_only=True)
class Charge:
    """One attempt to take the money; it worked when `error_code` is None."""

    at_ms: int
    method: str
    card: Card | None
    error_code: str | None = None


@attrs.frozen(kw_only=True)
class Refund:
    """Money on its way back."""

    refund_id: str
    reference_id: str
    x_intent_id: str
    amount_minor: int
    currency: str
    at_ms: int
    origin: Origin


@attrs.frozen(kw_only=True)
class Dispute:
    """The bank's dispute of a charge; `at_ms` is when its stage last changed.

    Args:
        in_status: the intent's status shows it, in place of the payment's.
    """

    dispute_id: str
    stage: DisputeStage
    in_status: bool
    at_ms: int


@attrs.frozen(kw_only=True)
class Intent:
    """One payment intent as xPay knows it; `number` counts intents in the order of creation."""

    x_intent_id: str
    checkout_id: str = attrs.field(repr=False)
    number: int
    order: Order
    created_at_ms: int
    opened: bool = False
    cancelled_at_ms: int | None = None
    charges: tuple[Charge, ...] = ()
    refunds: tuple[Refund, ...] = ()
    dispute: Dispute | None = None

    @property
    def cancelled(self) -> bool:
        return self.cancelled_at_ms is not None

    @property
    def succeeded(self) -> Charge | None:
        """The charge that worked."""
        return next((charge for charge in self.charges if charge.error_code is None), None)

    @property
    def refunded_minor(self) -> int:
        return sum(refund.amount_minor for refund in self.refunds)

    @property
    def refundable_minor(self) -> int:
        return self.order.amount_minor - self.refunded_minor if self.succeeded else 0

    def as_of(self, at_ms: int) -> Intent | None:
        """The intent as it was at that moment, for answers that lag; None before its creation."""
        if self.created_at_ms > at_ms:
            return None
        cancelled_at_ms, dispute = self.cancelled_at_ms, self.dispute
        return attrs.evolve(
            self,
            cancelled_at_ms=cancelled_at_ms if (cancelled_at_ms or 0) <= at_ms else None,
            charges=tuple(charge for charge in self.charges if charge.at_ms <= at_ms),
            refunds=tuple(refund for refund in self.refunds if refund.at_ms <= at_ms),
            dispute=dispute if dispute and dispute.at_ms <= at_ms else None,
        )


class Ledger:
    """All intents, by xPay's id; the oldest goes when there are too many."""

    def __init__(self, config: SandboxConfig, ids: Ids) -> None:
        self._config = config
        self._ids = ids
        self._intents: dict[str, Intent] = {}
        self._by_checkout: dict[str, str] = {}
        self._refunds: dict[str, Refund] = {}
        self._count = 0

    # Reading

    def get(self, x_intent_id: str) -> Intent:
        if x_intent_id not in self._intents:
            raise UnknownIntent(x_intent_id)
        return self._intents[x_intent_id]

    def by_checkout_id(self, checkout_id: str) -> Intent:
        if checkout_id not in self._by_checkout:
            raise UnknownIntent(checkout_id)
        return self._intents[self._by_checkout[checkout_id]]

    def refund_by_id(self, refund_id: str) -> Refund:
        if refund_id not in self._refunds:
            raise UnknownIntent(refund_id)
        return self._refunds[refund_id]

    def all(self) -> list[Intent]:
        """Every intent, oldest first."""
        return list(self._intents.values())

    def status(self, intent: Intent) -> str:
        """The status that the API reports."""
        if intent.dispute and intent.dispute.in_status:
            return _DISPUTE_STATUS[intent.dispute.stage]
        if intent.refunds:
            if intent.refundable_minor:
                return messages.STATUS_PARTIALLY_REFUNDED
            return messages.STATUS_REFUNDED
        if intent.succeeded:
            return messages.STATUS_SUCCESS
        if intent.cancelled:
            return messages.STATUS_CANCELLED
        return self._config.status_after_decline if intent.charges else messages.STATUS_CREATED

    # Changing

    def create(self, order: Order, now_ms: int) -> Intent:
        self._count += 1
        intent = Intent(
            x_intent_id=self._ids.make("in_"),
            checkout_id=self._ids.make("ck_"),
            number=self._count,
            order=order,
            created_at_ms=now_ms,
        )
        self._by_checkout[intent.checkout_id] = intent.x_intent_id
        self._keep(intent)
        self._forget_oldest()
        return intent

    def open(self, x_intent_id: str) -> Intent:
        return self._keep(attrs.evolve(self.get(x_intent_id), opened=True))

    def charge(
        self,
        x_intent_id: str,
        *,
        method: str,
        now_ms: int,
        card: Card | None = None,
        error_code: str | None = None,
        despite_cancel: bool = False,
    ) -> Intent:
        """One attempt; `despite_cancel` lets it win the race against a cancellation."""
        intent = self.get(x_intent_id)
        self._check_chargeable(intent, despite_cancel)
        if error_code is not None and not 0 < len(error_code) <= ERROR_CODE_CHARS_MAX:
            raise InvalidValue(f"an error code has 1 to {ERROR_CODE_CHARS_MAX} characters")
        used = (card or DEFAULT_CARD) if method in CARD_METHODS else None
        charge = Charge(at_ms=now_ms, method=method, card=used, error_code=error_code)
        return self._keep(attrs.evolve(intent, charges=(*intent.charges, charge)))

    def _check_chargeable(self, intent: Intent, despite_cancel: bool) -> None:
        if intent.succeeded:
            raise InvalidValue("the intent is paid")
        if intent.cancelled and not despite_cancel:
            raise InvalidValue("the intent is cancelled")
        if len(intent.charges) >= CHARGES_MAX:
            raise InvalidValue(f"the intent has had {CHARGES_MAX} attempts")

    def cancel(self, x_intent_id: str, now_ms: int) -> Intent:
        """CREATED and FAILED can be cancelled, a cancelled one again, a paid one never."""
        intent = self.get(x_intent_id)
        if intent.succeeded:
            raise InvalidValue("a paid intent cannot be cancelled")
        cancelled_at_ms = now_ms if intent.cancelled_at_ms is None else intent.cancelled_at_ms
        return self._keep(attrs.evolve(intent, cancelled_at_ms=cancelled_at_ms))

    def refund(
        self, x_intent_id: str, amount_minor: int | None, now_ms: int, origin: Origin
    ) -> Refund:
        """Gives back a part, or everything that is left when no amount is given."""
        intent = self.get(x_intent_id)
        amount_minor = intent.refundable_minor if amount_minor is None else amount_minor
        if not intent.succeeded:
            raise InvalidValue("only a paid intent can be refunded")
        if not 0 < amount_minor <= intent.refundable_minor:
            raise InvalidValue(f"{intent.refundable_minor} is left to refund")
        refund = Refund(
            refund_id=self._ids.make("rf_"),
            reference_id=self._ids.make("ref"),
            x_intent_id=x_intent_id,
            amount_minor=amount_minor,
            currency=intent.order.currency,
            at_ms=now_ms,
            origin=origin,
        )
        self._refunds[refund.refund_id] = refund
        self._keep(attrs.evolve(intent, refunds=(*intent.refunds, refund)))
        return refund

    def dispute(self, x_intent_id: str, now_ms: int, in_status: bool | None) -> Intent:
        intent = self.get(x_intent_id)
        if not intent.succeeded:
            raise InvalidValue("only a paid intent can be disputed")
        if intent.dispute:
            raise InvalidValue("the intent is disputed already")
        opened = Dispute(
            dispute_id=self._ids.make("dp_"),
            stage="disputed",
            in_status=self._config.dispute_changes_status if in_status is None else in_status,
            at_ms=now_ms,
        )
        return self._keep(attrs.evolve(intent, dispute=opened))

    def settle_dispute(self, x_intent_id: str, stage: DisputeStage, now_ms: int) -> Intent:
        intent = self.get(x_intent_id)
        if not intent.dispute:
            raise InvalidValue("the intent is not disputed")
        moved = attrs.evolve(intent.dispute, stage=stage, at_ms=now_ms)
        return self._keep(attrs.evolve(intent, dispute=moved))

    def _keep(self, intent: Intent) -> Intent:
        self._intents[intent.x_intent_id] = intent
        return intent

    def _forget_oldest(self) -> None:
        while len(self._intents) > self._config.intents_max:
            intent = self._intents.pop(next(iter(self._intents)))
            del self._by_checkout[intent.checkout_id]
            for refund in intent.refunds:
                del self._refunds[refund.refund_id]
            log.warning("too many intents: forgot the oldest, %s", intent.x_intent_id)
