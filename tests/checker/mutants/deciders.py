"""What can a shop conclude wrongly from news that it has kept?"""

from __future__ import annotations

from typing import Any

import attrs

from xpay_flow.checker.bounds import NEWS, Scene
from xpay_flow.decide import decide
from xpay_flow.events import FAILED_KINDS, PAID_KINDS
from xpay_flow.flows import filing
from xpay_flow.intent import Intent
from xpay_flow.messages import INTENT_SUCCESS

from .mutant import Mutant


def failed_is_final(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    """A payment that failed once is over, and the success that comes after it does not count."""
    if intent.kinds & FAILED_KINDS and event.kind in PAID_KINDS:
        return attrs.evolve(decide(intent, event, lifecycle), intent=intent, owes=())
    return decide(intent, event, lifecycle)


def latest_news_wins(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    """A failed charge that is told late overwrites the success."""
    decision = decide(intent, event, lifecycle)
    if event.kind in FAILED_KINDS and decision.event is not None:
        after = attrs.evolve(decision.intent, state="failed")
        return attrs.evolve(decision, intent=after)
    return decision


def any_news_is_payment(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    """Any webhook about an intent sets it to paid."""
    taken = attrs.evolve(event, kind=INTENT_SUCCESS) if event.source == "webhook" else event
    return decide(intent, taken, lifecycle)


def _decider(
    name: str, bug: Any, promise: str, faults: int, says: str, ref: str = "", scene: Scene = NEWS
) -> Mutant:
    """The shipped shop, deciding like this."""
    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=faults,
        scene=scene,
        says=says,
        patch=(filing, "decide", bug),
        reference=ref,
    )


LEAD_TO = "the facts on file lead to"

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
    _decider("any news is payment", any_news_is_payment, "webhooks_decide", 0, "nobody has paid"),
)
