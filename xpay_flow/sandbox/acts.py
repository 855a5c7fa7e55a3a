"""What can happen to an intent, and the event that informs the merchant.

Customers, merchants and banks act here; each act changes the ledger first and announces it then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpay_flow import messages

from .cards import Card
from .clock import Clock
from .config import SandboxConfig
from .ledger import DisputeStage, Intent, Ledger, Origin, Refund
from .order import Order
from .payloads import EventFields, Json

Announce = Callable[[str, Json], object]

_DISPUTE_EVENTS: dict[DisputeStage, str] = {
    "disputed": messages.INTENT_DISPUTED,
    "under_review": messages.INTENT_DISPUTE_UNDER_REVIEW,
    "won": messages.INTENT_DISPUTE_WON,
    "lost": messages.INTENT_DISPUTE_LOST,
}


class Acts:
    """Every way in which an intent can change."""

    def __init__(
        self, config: SandboxConfig, clock: Clock, ledger: Ledger, announce: Announce
    ) -> None:
        self._config = config
        self._clock = clock
        self._ledger = ledger
        self._announce = announce
        self._fields = EventFields(config, ledger)

    def create(self, order: Order) -> Intent:
        intent = self._ledger.create(order, self._clock.now_ms())
        self._announce(messages.INTENT_CREATED, self._fields.created(intent))
        return intent

    def open(self, x_intent_id: str) -> Intent:
        before = self._ledger.get(x_intent_id)
        if before.opened and self._config.checkout_opened_once:
            return before
        intent = self._ledger.open(x_intent_id)
        self._announce(messages.INTENT_CHECKOUT_OPENED, self._fields.about(intent))
        return intent

    def pay(
        self,
        x_intent_id: str,
        *,
        method: str,
        card: Card | None,
        customer: dict[str, Any] | None,
        despite_cancel: bool,
    ) -> Intent:
        now_ms = self._clock.now_ms()
        intent = self._ledger.charge(
            x_intent_id, method=method, now_ms=now_ms, card=card, despite_cancel=despite_cancel
        )
        fields = self._fields.succeeded(intent, intent.charges[-1], customer)
        self._announce(messages.INTENT_SUCCESS, fields)
        return intent

    def decline(
        self, x_intent_id: str, *, error_code: str, method: str, card: Card | None
    ) -> Intent:
        now_ms = self._clock.now_ms()
        intent = self._ledger.charge(
            x_intent_id, method=method, now_ms=now_ms, card=card, error_code=error_code
        )
        self._announce(messages.INTENT_FAILED, self._fields.failed(intent, error_code))
        return intent

    def cancel(self, x_intent_id: str) -> Intent:
        before = self._ledger.get(x_intent_id)
        intent = self._ledger.cancel(x_intent_id, self._clock.now_ms())
        if self._config.cancel_event_type and not before.cancelled:
            self._announce(self._config.cancel_event_type, self._fields.cancelled(intent))
        return intent

    def refund(self, x_intent_id: str, amount_minor: int | None, origin: Origin) -> Refund:
        refund = self._ledger.refund(x_intent_id, amount_minor, self._clock.now_ms(), origin)
        intent = self._ledger.get(x_intent_id)
        self._announce(messages.INTENT_REFUNDED, self._fields.refunded(intent, refund))
        return refund

    def dispute(self, x_intent_id: str, in_status: bool | None) -> Intent:
        intent = self._ledger.dispute(x_intent_id, self._clock.now_ms(), in_status)
        self._announce(messages.INTENT_DISPUTED, self._fields.disputed(intent))
        return intent

    def settle_dispute(self, x_intent_id: str, stage: DisputeStage) -> Intent:
        intent = self._ledger.settle_dispute(x_intent_id, stage, self._clock.now_ms())
        self._announce(_DISPUTE_EVENTS[stage], self._fields.disputed(intent))
        return intent
