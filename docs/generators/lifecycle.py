"""The page of the lifecycle: every state, every kind of news, and what follows from each pair."""

from __future__ import annotations

from xpay_flow import LIFECYCLE
from xpay_flow.drawing import lifecycle_svg

from .markdown import code, table

STATES = {
    "initiated": "stored here; xPay's answer is not known yet, or ever",
    "rejected": "xPay answered a definite error to the creation; no money can move",
    "created": "xPay knows it",
    "redirected": "the customer was sent to the checkout, or opened it",
    "failed": "the latest news is a failed charge; the customer may yet pay on the same page",
    "cancelled": "cancelled at xPay, as seen when asked",
    "success": "paid; `on_success` is owed once the amount is proven",
}
EVENTS = {
    "stored": "we stored the attempt",
    "create_answered": "xPay answered the creation",
    "create_refused": "xPay answered a definite error to the creation",
    "sent_to_checkout": "we sent the customer to the checkout",
    "intent.created": "webhook",
    "intent.checkout_opened": "webhook: the customer opened the page",
    "intent.incomplete": "webhook of xPay's oldest lists",
    "intent.failed": "webhook: a charge failed",
    "intent.success": "webhook: paid, over the asked money",
    "intent.refunded": "webhook: a refund, in the asked currency",
    "intent.disputed": "webhook",
    "intent.dispute_under_review": "webhook",
    "intent.dispute_won": "webhook",
    "intent.dispute_lost": "webhook",
    "report.open": "xPay said, when asked: open, or a status we do not know",
    "report.failed": "xPay said, when asked: `FAILED`",
    "report.cancelled": "xPay said, when asked: `CANCELLED`",
    "report.success": "xPay said, when asked: `SUCCESS`, over the asked money",
    "report.refunded": "xPay said, when asked: `REFUNDED`",
    "report.partially_refunded": "xPay said, when asked: `PARTIALLY_REFUNDED`",
    "unknown": "authenticated news of a type without a rule",
    "paid_other_money": "proof of a payment over other money than asked for",
    "refunded_other_money": "a refund in another currency",
    "handler_gave_up": "a handler failed at each of its tries",
    "create_unresolved": "the questions about an unanswered creation have ended",
    "amount_unresolved": "the questions about a payment of unknown amount have ended",
    "paid_twice": "another attempt upon the same receipt is paid as well",
}

INTRODUCTION = """\
States are ranked by how much they know, and news moves an intent up or leaves it where it is.
So the state is the highest that any news ever spoke for, in whatever order the news came.
The table below is `xpay_flow.LIFECYCLE`; it decides every pair of state and news, and \
`transitions` compiles it into the machine that the picture is drawn from.

![The states in the order of their rank, and the moves between them](lifecycle.svg)
"""
LEGEND = """\
A bold cell is the state to which the intent moves.
`=` stays, and the news agrees (applied); `late` stays, and the news is older than what is \
known (stale); `odd` stays, and the news contradicts what is known (contradictory).
"""
AFTERWORD = """\
## Beside the state

Refunds and disputes are dimensions of their own and are in no column: refunds are a set, from \
which `refunded_minor` and `none`, `partial` or `full` follow; disputes are `none`, `open`, \
`under_review`, `won` or `lost`.

## States of your own

`LIFECYCLE.extended(states, events)` places states of your own above known ones, and adds \
events of yours that speak for them; `Flow(…, lifecycle=…)` uses it, and \
`flow.record(intent_id, event)` records one.
An event of yours may speak for any state, `success` included; `on_success` is still owed by \
xPay's evidence only.
"""

_STAYS = {"applied": "=", "stale": "late", "contradictory": "odd"}


def lifecycle_page() -> str:
    states = table(
        ("Rank", "State", "Means"),
        ((str(LIFECYCLE.rank(state)), code(state), STATES[state]) for state in LIFECYCLE.states),
    )
    events = table(
        ("News", "What it is", *(code(state) for state in LIFECYCLE.states)),
        (
            (code(event), EVENTS[event], *(_cell(state, event) for state in LIFECYCLE.states))
            for event in LIFECYCLE.events
        ),
    )
    return (
        f"# Lifecycle\n\n{INTRODUCTION}\n## States\n\n{states}\n\n"
        f"## What follows from which news\n\n{LEGEND}\n{events}\n\n{AFTERWORD}"
    )


def _cell(state: str, event: str) -> str:
    move = LIFECYCLE.step(state, event)
    return f"**{move.target}**" if move.target != state else _STAYS[move.disposition]


def lifecycle_picture() -> str:
    return lifecycle_svg(LIFECYCLE)
