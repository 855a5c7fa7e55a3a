"""What can a shop conclude wrongly from events that it has kept?"""

from __future__ import annotations

import importlib
from typing import Any

import attrs

from xpay_flow.checker.bounds import CANCELLED, EVENTS, MONEY_BACK, Scene
from xpay_flow.decide import decide
from xpay_flow.events import FAILED_KINDS, PAID_KINDS
from xpay_flow.flows import recording
from xpay_flow.intent import Intent
from xpay_flow.messages import INTENT_REFUNDED, INTENT_SUCCESS

from .mutant import Mutant

# The package exports a function of the same name.
_decide = importlib.import_module("xpay_flow.decide")
_refunds = _decide._refunds


def failed_is_final(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    """A payment that failed once is over, and the success that comes after it does not count."""
    if intent.kinds & FAILED_KINDS and event.kind in PAID_KINDS:
        return attrs.evolve(decide(intent, event, lifecycle), intent=intent, handlers_due=())
    return decide(intent, event, lifecycle)


def cancelled_is_final(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    """A payment that was cancelled is over, and the charge that still went through is not seen."""
    if intent.state == "cancelled" and event.kind in PAID_KINDS:
        decision = decide(intent, event, lifecycle)
        kept = attrs.evolve(decision.intent, state="cancelled", money_checked=False)
        return attrs.evolve(decision, intent=kept, handlers_due=())
    return decide(intent, event, lifecycle)


def latest_news_wins(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    """A failed charge that is reported late overwrites the success."""
    decision = decide(intent, event, lifecycle)
    if event.kind in FAILED_KINDS and decision.event is not None:
        after = attrs.evolve(decision.intent, state="failed")
        return attrs.evolve(decision, intent=after)
    return decision


def any_event_is_payment(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    """Any webhook about an intent sets it to paid, whatever its status."""
    is_webhook = event.source == "webhook"
    taken = attrs.evolve(event, kind=INTENT_SUCCESS, status=None) if is_webhook else event
    return decide(intent, taken, lifecycle)


def keeps_the_last_refund(known: Any, event: Any) -> Any:
    """There is one column for what was refunded, and the second refund replaces the first."""
    return _refunds((), event)


def books_a_refund_twice(known: Any, event: Any) -> Any:
    """A refund comes with two ids, its own and the event's, and is booked under each."""
    return _refunds(_refunds(known, event), attrs.evolve(event, refund_id=event.event_id))


def counts_a_refund_as_failure(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    """A refund sets the payment to failed, so that the order seems never to have been paid."""
    decision = decide(intent, event, lifecycle)
    if event.kind != INTENT_REFUNDED or decision.event is None:
        return decision
    return attrs.evolve(decision, intent=attrs.evolve(decision.intent, state="failed"))


def _decider(
    name: str,
    bug: Any,
    promise: str,
    faults: int,
    expects: str,
    ref: str = "",
    scene: Scene = EVENTS,
) -> Mutant:
    """The shipped shop, deciding like this."""
    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=faults,
        scene=scene,
        expects=expects,
        patch=(recording, "decide", bug),
        reference=ref,
    )


LEAD_TO = "the events on file lead to"

DECIDERS = (
    _decider(
        "failed is final",
        failed_is_final,
        "order_does_not_matter",
        0,
        LEAD_TO,
        "https://github.com/open-formulieren/open-forms/issues/5942",
    ),
    _decider(
        "late failed wins",
        latest_news_wins,
        "order_does_not_matter",
        0,
        LEAD_TO,
        "https://github.com/woocommerce/woocommerce-gateway-stripe/issues/902",
    ),
    _decider(
        "any event is payment", any_event_is_payment, "webhooks_decide", 0, "without a payment"
    ),
    _decider(
        "cancelled is final",
        cancelled_is_final,
        "order_does_not_matter",
        0,
        LEAD_TO,
        scene=CANCELLED,
    ),
    Mutant(
        name="refund booked twice",
        bug=books_a_refund_twice,
        promise="refunds_are_added_up",
        faults=0,
        scene=MONEY_BACK,
        expects="are refunded here",
        patch=(_decide, "_refunds", books_a_refund_twice),
    ),
    Mutant(
        name="last refund only",
        bug=keeps_the_last_refund,
        promise="order_does_not_matter",
        faults=0,
        scene=MONEY_BACK,
        expects=LEAD_TO,
        patch=(_decide, "_refunds", keeps_the_last_refund),
    ),
    _decider(
        "refund is failure",
        counts_a_refund_as_failure,
        "order_does_not_matter",
        0,
        LEAD_TO,
        scene=MONEY_BACK,
    ),
)
