"""The page of the lifecycle: every state, every event, and the result of each pair."""

from __future__ import annotations

from xpay_flow import LIFECYCLE
from xpay_flow.drawing import lifecycle_svg

from .markdown import code, table

STATES = {
    "initiated": "stored here; xPay's answer is not known yet, or ever",
    "rejected": "xPay answered a definite error to the creation; no money can move",
    "created": "xPay has the intent",
    "redirected": "the customer was sent to the checkout, or opened it",
    "failed": "the latest event is a failed charge; the customer may still pay on the same page",
    "cancelled": "cancelled at xPay, as get-intent reports",
    "success": "paid; `on_success` is due once the amount is proven",
}
EVENTS = {
    "stored": "we stored the attempt",
    "create_answered": "xPay answered the creation",
    "create_refused": "xPay answered a definite error to the creation",
    "sent_to_checkout": "we sent the customer to the checkout",
    "intent.created": "webhook",
    "intent.checkout_opened": "webhook: the customer opened the checkout",
    "intent.incomplete": "webhook that only xPay's oldest lists of types have",
    "intent.failed": "webhook: a charge failed",
    "intent.success": "webhook: paid, in the expected amount and currency",
    "intent.refunded": "webhook: a refund, in the expected currency",
    "intent.disputed": "webhook",
    "intent.dispute_under_review": "webhook",
    "intent.dispute_won": "webhook",
    "intent.dispute_lost": "webhook",
    "report.open": "API answer: open, or an unknown status",
    "report.failed": "API answer: `FAILED`",
    "report.cancelled": "API answer: `CANCELLED`",
    "report.success": "API answer: `SUCCESS`, in the expected amount and currency",
    "report.refunded": "API answer: `REFUNDED`",
    "report.partially_refunded": "API answer: `PARTIALLY_REFUNDED`",
    "report.disputed": "API answer: `DISPUTED`; paid, with a dispute",
    "report.dispute_under_review": "API answer: `DISPUTE_UNDER_REVIEW`",
    "report.dispute_won": "API answer: `DISPUTE_WON`",
    "report.dispute_lost": "API answer: `DISPUTE_LOST`",
    "unknown": "an authenticated event of a type without a rule",
    "unreadable": "an authenticated event that names the intent and cannot be read",
    "in_doubt": "a webhook whose type and status contradict each other; xPay is queried",
    "paid_other_money": "proof of a payment in another amount or currency",
    "refunded_other_money": "a refund in another currency",
    "handler_gave_up": "a handler failed at each of its attempts",
    "create_unresolved": "the reconcile schedule of an unanswered creation has ended",
    "amount_unresolved": "the reconcile schedule of a payment of unknown amount has ended",
    "still_open": "the reconcile schedule of an open payment has ended",
    "paid_elsewhere": "the receipt is paid through an intent that no attempt of ours has made",
    "paid_twice": "another attempt for the same receipt is paid as well",
}

INTRODUCTION = """\
States have ranks, and an event moves an intent up or leaves it where it is.
So the state is the highest that any event has led to, in any order of events.
The table below is `xpay_flow.LIFECYCLE`; it decides every pair of state and event, and \
`transitions` compiles it into the machine from which the picture is drawn.

![The states in the order of their rank, and the moves between them](lifecycle.svg)
"""
LEGEND = """\
A bold cell is the state to which the intent moves; in all others it stays.
`=`: the event agrees with the state (applied); `late`: the event is older than the state \
(stale); `odd`: the event contradicts the state (contradictory).
"""
AFTERWORD = """\
## Beside the state

Refunds and disputes are separate dimensions, in no column: refunds are a set, from \
which `refunded_minor` and `none`, `partial` or `full` are derived; disputes are `none`, `open`, \
`under_review`, `won` or `lost`.

## States of your own

`LIFECYCLE.extended(states, events)` adds states of your own above existing ones, and \
events of yours that lead to them; `Flow(…, lifecycle=…)` uses it, and \
`flow.record(intent_id, event)` records one.
An event of yours may lead to any state, `success` included; even then, only xPay's \
evidence makes `on_success` due.
"""

_STAYS = {"applied": "=", "stale": "late", "contradictory": "odd"}


def lifecycle_page() -> str:
    states = table(
        ("Rank", "State", "Means"),
        ((str(LIFECYCLE.rank(state)), code(state), STATES[state]) for state in LIFECYCLE.states),
    )
    events = table(
        ("Event", "Source", *(code(state) for state in LIFECYCLE.states)),
        (
            (code(event), EVENTS[event], *(_cell(state, event) for state in LIFECYCLE.states))
            for event in LIFECYCLE.events
        ),
    )
    return (
        f"# Lifecycle\n\n{INTRODUCTION}\n## States\n\n{states}\n\n"
        f"## Transitions\n\n{LEGEND}\n{events}\n\n{AFTERWORD}"
    )


def _cell(state: str, event: str) -> str:
    move = LIFECYCLE.step(state, event)
    return f"**{move.target}**" if move.target != state else _STAYS[move.disposition]


def lifecycle_picture() -> str:
    return lifecycle_svg(LIFECYCLE)
