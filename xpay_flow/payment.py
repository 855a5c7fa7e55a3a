"""What does a handler receive?"""

from __future__ import annotations

import attrs

from .events import Event
from .intent import Intent
from .money import Money
from .records import HandlerName


@attrs.frozen(kw_only=True)
class Payment:
    """What a handler receives: the intent as it stands, and why the handler is called.

    Args:
        idempotency_key: the same at every try of this call; pass it on to whatever you call.
        money: the requested amount, and, in `on_success`, the paid one.
        paid_late: the payment came although a cancellation is on file.
        also_paid: other payments for the same receipt: attempts by intent id, and what no attempt
            of ours has made by xPay's id. If this is not empty, this order was paid twice.
        refund_id, refund_minor: in `on_refunded`, the refund it is about.
        dispute_id: in `on_dispute`, the dispute that was decided; `dispute_status` is its outcome.
        reason: in `on_attention`, why an operator should look.
    """

    idempotency_key: str
    intent_id: str
    x_intent_id: str | None
    receipt_id: str
    attempt: int
    money: Money
    state: str
    metadata: dict[str, str] = attrs.field(hash=False, repr=False)
    payment_method: str | None = None
    error_code: str | None = None
    paid_late: bool = False
    also_paid: tuple[str, ...] = ()
    refund_id: str | None = None
    refund_minor: int | None = None
    refunded_minor: int = 0
    refund_status: str = "none"
    dispute_id: str | None = None
    dispute_status: str = "none"
    reason: str | None = None


def payment_of(
    intent: Intent, name: HandlerName, subject: str, key: str, also_paid: tuple[str, ...]
) -> Payment:
    """The payment that handler `name` receives for `subject`."""
    refund = next((r for r in intent.refunds if r.refund_id == subject), None)
    dispute_id, _, outcome = subject.rpartition(":") if name == "on_dispute" else ("", "", "")
    return Payment(
        idempotency_key=key,
        intent_id=intent.id,
        x_intent_id=intent.x_intent_id,
        receipt_id=intent.receipt_id,
        attempt=intent.attempt,
        money=intent.money,
        state=intent.state,
        metadata=dict(intent.metadata),
        payment_method=intent.payment_method.word if intent.payment_method else None,
        error_code=intent.failure.word if intent.failure else None,
        paid_late=intent.paid_late,
        also_paid=also_paid,
        refund_id=subject if name == "on_refunded" else None,
        refund_minor=refund.amount_minor if refund and name == "on_refunded" else None,
        refunded_minor=intent.refunded_minor,
        refund_status=intent.refund_status,
        dispute_id=dispute_id or None,
        dispute_status=outcome or intent.dispute_status,
        reason=subject if name == "on_attention" else None,
    )


@attrs.frozen(kw_only=True)
class UnmatchedEvent:
    """What `on_unmatched` receives: an authentic event that fits no payment of this flow.

    Such as events of subscriptions and payment links, and payments that another system has begun.

    Args:
        idempotency_key: the same at every try of this call; pass it on to whatever you call.
        event_type: xPay's word, such as `subscription.cycle_charged`; `unreadable` for a body that
            carries a good signature and cannot be read.
        at_ms: when it happened, by xPay; 0 if it does not say.
        payload: the event as JSON, without secrets and personal data.
    """

    idempotency_key: str
    event_id: str
    event_type: str
    at_ms: int
    x_intent_id: str | None
    receipt_id: str | None
    amount_minor: int | None
    currency: str | None
    payload: str = attrs.field(repr=False)


def unmatched_event_of(event: Event, key: str) -> UnmatchedEvent:
    """What `on_unmatched` receives for this event."""
    return UnmatchedEvent(
        idempotency_key=key,
        event_id=event.event_id,
        event_type=event.type,
        at_ms=event.at_ms,
        x_intent_id=event.x_intent_id,
        receipt_id=event.receipt_id,
        amount_minor=event.amount_minor,
        currency=event.currency,
        payload=event.payload,
    )
