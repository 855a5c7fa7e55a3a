"""Which promises must hold? The design's, as functions of what can be seen from outside.

A property looks at one moment: the records, xPay, the calls made. Goals are of another sort: from
everywhere, some continuation must still reach them.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from xpay_flow import messages as m
from xpay_flow.decide import decide
from xpay_flow.events import Event
from xpay_flow.intent import Intent
from xpay_flow.lifecycle import Lifecycle
from xpay_flow.records import Record

from .outside import Outside, XEvent, refund_minor


@attrs.frozen
class View:
    """One moment: what the shop has stored, and the world outside.

    Args:
        shown: what the status query would answer a browser now, for each intent at xPay.
        wrote: a status query yielded an effect that writes.
    """

    records: tuple[Record, ...]
    outside: Outside
    lifecycle: Lifecycle
    shown: tuple[str, ...] = ()
    wrote: bool = False

    @property
    def intents(self) -> tuple[Intent, ...]:
        return tuple(r.intent for r in self.records if r.intent is not None)

    @property
    def really_paid(self) -> bool:
        """The requested money has been paid at xPay."""
        return any(intent.paid for intent in self.outside.intents)

    @property
    def all_refunded(self) -> bool:
        """All of the money has gone back."""
        return any(intent.refunds == 2 for intent in self.outside.intents)

    @property
    def refunds(self) -> list[XEvent]:
        """The refunds that xPay has made."""
        return [event for event, _ in self.outside.events if event.event_type == m.INTENT_REFUNDED]

    def called(self, name: str) -> dict[str, int]:
        """How often a handler was called to its end, by idempotency key."""
        return {key: count for called, key, count in self.outside.calls if called == name}


Property = Callable[[View], str | None]


@attrs.frozen
class Goal:
    """What can always still be reached, and the sentence where it cannot."""

    reached: Callable[[View], bool]
    sentence: str


# Those that look at the records alone, and need to be worked out once for the same records.
RECORD_CHECKS: dict[str, Property] = {}
PROPERTIES: dict[str, Property] = {}


def promise(check: Property) -> Property:
    """Adds a property: it returns what is wrong, or None."""
    PROPERTIES[check.__name__] = check
    return check


def promise_of_records(check: Property) -> Property:
    """Adds a property that looks at nothing but the records."""
    RECORD_CHECKS[check.__name__] = check
    return check


@promise
def webhooks_decide(view: View) -> str | None:
    """Only authenticated evidence moves an intent to failed, cancelled or success."""
    if any(event.flaw == "forged" for event, _ in view.outside.events):
        return "a forged webhook was acknowledged"
    for intent in view.intents:
        if intent.is_paid and not view.really_paid:
            return f"{intent.id} is {intent.state}, without a payment at xPay"
        if intent.state == "cancelled" and not any(i.cancelled for i in view.outside.intents):
            return f"{intent.id} is cancelled, without a cancellation at xPay"
        if intent.state == "failed" and not any(i.failures for i in view.outside.intents):
            return f"{intent.id} is failed, and no charge has failed at xPay"
    return None


@promise_of_records
def order_does_not_matter(view: View) -> str | None:
    """The snapshot is what its events lead to, taken in another order."""
    for record in view.records:
        if record.intent is None:
            continue
        events = [recorded.event for recorded in record.events]
        for order in (events, events[::-1]):
            again = _folded(record.intent, order, view.lifecycle)
            if _knowledge(again) != _knowledge(record.intent):
                return f"{record.intent.id}: the events on file lead to {again.state}"
    return None


@promise
def paid_once(view: View) -> str | None:
    """One order is fulfilled under one idempotency key."""
    keys = view.called("on_success")
    return f"on_success was called for {', '.join(keys)}" if len(keys) > 1 else None


@promise
def recorded_once(view: View) -> str | None:
    """An acknowledged event is on file, once."""
    on_file = [recorded.event.event_id for record in view.records for recorded in record.events]
    for event, delivery in view.outside.events:
        if delivery == "acknowledged" and event.event_id not in on_file:
            return f"{event} was acknowledged and is not on file"
    for record in view.records:
        ids = [recorded.id for recorded in record.events]
        if len(ids) != len(set(ids)):
            return f"{record.key} holds one event twice"
    return None


@promise
def no_second_payment(view: View) -> str | None:
    """One order has one intent at xPay that a customer can pay."""
    reachable = [i.id for i in view.outside.intents if i.reachable and not i.cancelled]
    return f"the customer can pay {' and '.join(reachable)}" if len(reachable) > 1 else None


@promise
def wrong_money_is_never_paid(view: View) -> str | None:
    """on_success is called only after the requested amount was paid in the requested currency."""
    if view.called("on_success") and not view.really_paid:
        return "on_success was called, and the requested money was not paid"
    return None


@promise
def refunds_are_added_up(view: View) -> str | None:
    """No more money is recorded as refunded than was."""
    for intent in view.intents:
        given = sum(
            refund_minor(intent.money.amount_minor, event.nth)
            for event in view.refunds
            if f"in_{event.x_number}" in intent.x_intent_ids
        )
        if intent.refunded_minor > given:
            return f"{intent.id}: {intent.refunded_minor} are refunded here, and {given} at xPay"
    return None


@promise
def redirects_are_read_only(view: View) -> str | None:
    """The status query reads, and answers SUCCESS only for what is paid."""
    if view.wrote:
        return "the status query yielded an effect that writes"
    if "SUCCESS" in view.shown and not view.really_paid:
        return "the browser is shown SUCCESS before the payment"
    return None


@promise
def handlers_can_be_repeated(view: View) -> str | None:
    """A handler that is called again under its key, however far it had come, leaves the same."""
    return view.outside.unrepeatable or None


@promise
def hostile_bytes_cause_one_error(view: View) -> str | None:
    """No error that is none of ours escapes, and none at all from the webhook's endpoint."""
    return view.outside.crashed or None


def called_once(view: View) -> str | None:
    """While nothing went wrong, each handler is called once. Holds before the first fault only."""
    twice = [key for _, key, count in view.outside.calls if count > 1]
    return f"called twice though nothing failed: {', '.join(twice)}" if twice else None


def fulfilled(view: View) -> bool:
    """What is paid at xPay has reached on_success, unless all of it went back meanwhile."""
    return not view.really_paid or view.all_refunded or bool(view.called("on_success"))


def refunds_are_reported(view: View) -> bool:
    """Each refund at xPay has reached on_refunded."""
    return len(view.called("on_refunded")) >= len(view.refunds)


def success_is_due(view: View) -> bool:
    """What is paid at xPay is on file with on_success pending or done."""
    return not view.really_paid or view.all_refunded or bool(_on_file(view, "on_success"))


def refunds_are_due(view: View) -> bool:
    """Each refund at xPay is on file with on_refunded pending or done."""
    return len(_on_file(view, "on_refunded")) >= len(view.refunds)


def _on_file(view: View, name: str) -> list[str]:
    return [
        entry.id
        for record in view.records
        for entry in record.outbox
        if entry.name == name and entry.status in ("pending", "done")
    ]


def events_are_acknowledged(view: View) -> bool:
    """Every event of xPay's is acknowledged, or given up."""
    return all(delivery != "pending" for _, delivery in view.outside.events)


def customer_sees_success(view: View) -> bool:
    """The browser is shown SUCCESS for what is paid."""
    return not view.really_paid or bool(view.refunds) or "SUCCESS" in view.shown


STUCK = "it is paid at xPay, and can never be fulfilled here"
UNTOLD = "money went back at xPay, and the shop can never learn of it"
# By the name of the promise; where there is no worker, it is enough that a call is pending.
GOALS_DELIVERED = {
    "never_stuck": Goal(fulfilled, STUCK),
    "refunds_are_reported": Goal(refunds_are_reported, UNTOLD),
}
GOALS_DUE = {
    "never_stuck": Goal(success_is_due, STUCK),
    "refunds_are_reported": Goal(refunds_are_due, UNTOLD),
}
CUSTOMER = {
    "customer_sees_success": Goal(
        customer_sees_success, "it is paid, and the browser can never be shown so"
    ),
}
# Where webhooks are received at all.
ACKNOWLEDGED = {
    "events_are_acknowledged": Goal(
        events_are_acknowledged, "xPay sends an event for ever, and never gets a 2xx"
    ),
}


def _folded(intent: Intent, events: list[Event], lifecycle: Lifecycle) -> Intent:
    again = Intent(
        id=intent.id,
        receipt_id=intent.receipt_id,
        attempt=intent.attempt,
        money=intent.money,
        idempotency_key=intent.idempotency_key,
        created_at_ms=intent.created_at_ms,
    )
    for event in events:
        again = decide(again, event, lifecycle).intent
    return again


def _knowledge(intent: Intent) -> tuple[object, ...]:
    return (
        intent.state,
        intent.x_intent_ids,
        intent.money_checked,
        intent.refunds,
        intent.disputes,
        intent.attention,
        intent.kinds,
        intent.evidence,
    )
