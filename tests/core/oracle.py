"""What must be known of an intent, whatever the order of its events? A second opinion.

Everything is computed from the set of the events at once: no folding, no table, no snapshot. The
rules and the names of kinds are written out again on purpose, so that this and `decide` can
disagree. Only the types of the inputs are shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import attrs

from xpay_flow.events import Event
from xpay_flow.money import Money

# A handler call: its name and what it is about.
Call: TypeAlias = tuple[str, str]
Word: TypeAlias = tuple[int, str]

RANKS: Final = (
    "initiated",
    "rejected",
    "created",
    "redirected",
    "failed",
    "cancelled",
    "success",
)
SPEAKS_FOR: Final[Mapping[str, str]] = {
    "stored": "initiated",
    "create_answered": "created",
    "create_refused": "rejected",
    "create_unresolved": "initiated",
    "amount_unresolved": "initiated",
    "paid_twice": "initiated",
    "paid_elsewhere": "initiated",
    "still_open": "initiated",
    "sent_to_checkout": "redirected",
    "handler_gave_up": "initiated",
    "intent.created": "created",
    "intent.checkout_opened": "redirected",
    "intent.incomplete": "created",
    "intent.failed": "failed",
    "intent.success": "success",
    "intent.refunded": "success",
    "intent.disputed": "created",
    "intent.dispute_under_review": "created",
    "intent.dispute_won": "created",
    "intent.dispute_lost": "created",
    "report.open": "created",
    "report.failed": "failed",
    "report.cancelled": "cancelled",
    "report.success": "success",
    "report.refunded": "success",
    "report.partially_refunded": "success",
    "report.disputed": "success",
    "report.dispute_under_review": "success",
    "report.dispute_won": "success",
    "report.dispute_lost": "success",
    "unknown": "created",
    "unreadable": "created",
}
SHOWS_AMOUNT_PAID: Final = frozenset(
    {
        "intent.success",
        "report.success",
        "report.refunded",
        "report.partially_refunded",
        "report.disputed",
        "report.dispute_under_review",
        "report.dispute_won",
        "report.dispute_lost",
    }
)
# What a webhook's status may not be beside its type.
CONTRADICTED_BY: Final[Mapping[str, frozenset[str]]] = {
    "intent.success": frozenset({"CREATED", "FAILED", "CANCELLED"}),
    "intent.refunded": frozenset({"CREATED", "FAILED", "CANCELLED"}),
    "intent.failed": frozenset(
        {
            "SUCCESS",
            "REFUNDED",
            "PARTIALLY_REFUNDED",
            "DISPUTED",
            "DISPUTE_UNDER_REVIEW",
            "DISPUTE_WON",
            "DISPUTE_LOST",
        }
    ),
}
DISPUTE_NEWS: Final[Mapping[str, str]] = {
    "intent.disputed": "open",
    "intent.dispute_under_review": "under_review",
    "intent.dispute_won": "won",
    "intent.dispute_lost": "lost",
    "report.disputed": "open",
    "report.dispute_under_review": "under_review",
    "report.dispute_won": "won",
    "report.dispute_lost": "lost",
}


@attrs.frozen(kw_only=True)
class Truth:
    """All that the order of events must not change."""

    state: str
    money_checked: bool
    refunds: frozenset[tuple[str, int | None]]
    refunded_minor: int
    refund_status: str
    disputes: frozenset[tuple[str, frozenset[str]]]
    dispute_status: str
    attention: frozenset[str]
    failure: Word | None
    payment_method: Word | None
    x_intent_ids: frozenset[str]
    kinds: frozenset[str]
    evidence: frozenset[str]
    request_is_kept: bool
    due: frozenset[Call]


def truth_of(
    requested: Money,
    received: Iterable[Event],
    *,
    ranks: tuple[str, ...] = RANKS,
    speaks_for: Mapping[str, str] = SPEAKS_FOR,
    names: tuple[str, str] = ("order-1001", "int_1"),
) -> Truth:
    """What is true of an intent for `requested`, after `received` (in any order, with copies).

    Args:
        names: its receipt and its id.
    """
    events = tuple({(event.event_id, event.digest): event for event in received}.values())
    doubted = tuple(e for e in events if is_in_doubt(e))
    misread = {
        e.event_id + e.digest for e in events if is_in_doubt(e) or is_other_money(requested, e)
    }
    believed = tuple(e for e in events if e.event_id + e.digest not in misread)
    refunds = told_refunds(believed)
    disputes = told_disputes(believed)
    reasons = attention(requested, events, believed, refunds, disputes) | {
        f"contradictory_fields:{e.event_id}" for e in events if e in doubted or is_odd(e, names)
    }
    checked = any(event.kind in SHOWS_AMOUNT_PAID for event in believed)
    paid = [e for e in believed if e.kind in SHOWS_AMOUNT_PAID | {"intent.refunded"}]
    reached = {"initiated"} | {speaks_for[e.kind] for e in believed}
    return Truth(
        state=max(reached | ({"created"} if misread else set()), key=ranks.index),
        money_checked=checked,
        refunds=frozenset((r, greatest(amounts)) for r, amounts in refunds.items()),
        refunded_minor=sum(greatest(amounts) or 0 for amounts in refunds.values()),
        refund_status=refund_status(requested, believed, refunds),
        disputes=frozenset((d, frozenset(seen)) for d, seen in disputes.items()),
        dispute_status=dispute_status(disputes),
        attention=reasons,
        failure=latest((e, e.error_code) for e in believed if is_failure(e)),
        payment_method=latest((e, e.payment_method) for e in events),
        x_intent_ids=frozenset(e.x_intent_id for e in events if e.x_intent_id is not None),
        kinds=frozenset(
            {e.kind for e in believed}
            | {"in_doubt" for _ in doubted}
            | {"paid_other_money" for e in events if shows_other_amount(requested, e)}
            | {"refunded_other_money" for e in events if is_foreign_refund(requested, e)}
        ),
        evidence=frozenset(f"{e.event_id}#{e.digest}" for e in events),
        request_is_kept=not paid and not any(e.url or e.kind == "create_refused" for e in events),
        due=frozenset(
            {("on_success", "") for _ in range(checked)}
            | {("on_failed", "") for e in believed if is_failure(e)}
            | {("on_refunded", refund_id) for refund_id in refunds}
            | {
                ("on_dispute", f"{dispute_id}:{end}")
                for dispute_id, seen in disputes.items()
                for end in ("won", "lost")
                if end in seen
            }
            | {("on_attention", reason) for reason in reasons}
        ),
    )


def is_in_doubt(event: Event) -> bool:
    """Its type says one thing and its status another."""
    odd = CONTRADICTED_BY.get(event.kind, frozenset())
    return event.source == "webhook" and event.status in odd


def is_odd(event: Event, names: tuple[str, str]) -> bool:
    """It is this intent's by xPay's id, and carries another's name."""
    receipt_id, intent_id = names
    return event.receipt_id not in (None, receipt_id) or event.intent_id not in (None, intent_id)


def is_other_money(requested: Money, event: Event) -> bool:
    """Authentic, but about other money than requested, so that it counts for little."""
    return shows_other_amount(requested, event) or is_foreign_refund(requested, event)


def shows_other_amount(requested: Money, event: Event) -> bool:
    same = (event.amount_minor, event.currency) == (requested.amount_minor, requested.currency)
    return event.kind in SHOWS_AMOUNT_PAID and not same and not is_in_doubt(event)


def is_foreign_refund(requested: Money, event: Event) -> bool:
    other = event.kind == "intent.refunded" and event.currency != requested.currency
    return other and not is_in_doubt(event)


def is_failure(event: Event) -> bool:
    return event.kind in ("intent.failed", "report.failed")


def told_refunds(believed: Iterable[Event]) -> dict[str, set[int | None]]:
    """Every amount reported for each refund; a refund without an id is named by its event."""
    refunds: dict[str, set[int | None]] = {}
    for event in believed:
        if event.kind == "intent.refunded":
            refunds.setdefault(event.refund_id or event.event_id, set()).add(event.amount_minor)
    return refunds


def told_disputes(believed: Iterable[Event]) -> dict[str, set[str]]:
    """Every status that was reported for each dispute."""
    disputes: dict[str, set[str]] = {}
    for event in believed:
        if event.kind in DISPUTE_NEWS:
            statuses = disputes.setdefault(event.dispute_id or "unnamed", set())
            statuses.add(DISPUTE_NEWS[event.kind])
    return disputes


def greatest(amounts: Iterable[int | None]) -> int | None:
    return max((amount for amount in amounts if amount is not None), default=None)


def latest(values: Iterable[tuple[Event, str | None]]) -> Word | None:
    # An answer of the API does not say when.
    stamped = ((e.at_ms if e.source == "webhook" else 0, w) for e, w in values if w is not None)
    return max(stamped, default=None)


def refund_status(
    requested: Money, believed: Iterable[Event], refunds: Mapping[str, set[int | None]]
) -> str:
    total = sum(greatest(amounts) or 0 for amounts in refunds.values())
    reports = {e.kind for e in believed}
    if "report.refunded" in reports or (refunds and total >= requested.amount_minor):
        return "full"
    return "partial" if refunds or "report.partially_refunded" in reports else "none"


def dispute_status(disputes: Mapping[str, set[str]]) -> str:
    """The last stage of each dispute; over all of them the most worrying one."""
    last = {
        next(stage for stage in ("lost", "won", "under_review", "open") if stage in seen)
        for seen in disputes.values()
    }
    return next(
        (stage for stage in ("lost", "under_review", "open", "won") if stage in last), "none"
    )


# Events that is no sign of an intent at xPay.
SAYS_NOTHING_OF_XPAY = frozenset(
    {
        "stored",
        "create_refused",
        "handler_gave_up",
        "create_unresolved",
        "amount_unresolved",
        "paid_twice",
        "paid_elsewhere",
        "still_open",
    }
)


def attention(
    requested: Money,
    events: tuple[Event, ...],
    believed: tuple[Event, ...],
    refunds: Mapping[str, set[int | None]],
    disputes: Mapping[str, set[str]],
) -> frozenset[str]:
    """Every reason for a person to look."""
    kinds = {event.kind for event in events}
    paid = any(e.kind in SHOWS_AMOUNT_PAID or e.kind == "intent.refunded" for e in believed)
    x_ids = {event.x_intent_id for event in events} - {None}
    webhooks = [event for event in events if event.source == "webhook"]
    contents = {
        event_id: {e.digest for e in webhooks if e.event_id == event_id}
        for event_id in {e.event_id for e in webhooks}
    }
    total = sum(greatest(amounts) or 0 for amounts in refunds.values())
    reports = {e.kind for e in believed} & {"report.refunded", "report.partially_refunded"}
    plain = {
        "wrong_money": any(shows_other_amount(requested, e) for e in events),
        "refund_in_other_currency": any(is_foreign_refund(requested, e) for e in events),
        "paid_late": paid and "report.cancelled" in kinds,
        "refused_yet_real": "create_refused" in kinds and bool(kinds - SAYS_NOTHING_OF_XPAY),
        "second_xpay_intent": len(x_ids) > 1,
        "create_unresolved": "create_unresolved" in kinds,
        "amount_unresolved": "amount_unresolved" in kinds,
        "still_open": "still_open" in kinds,
        "refund_exceeds_payment": total > requested.amount_minor,
        "refund_without_details": bool(reports),
    }
    return frozenset(
        {reason for reason, holds in plain.items() if holds}
        | {f"handler_gave_up:{e.digest}" for e in events if e.kind == "handler_gave_up"}
        | {f"paid_twice:{e.digest}" for e in events if e.kind == "paid_twice"}
        | {f"paid_elsewhere:{e.digest}" for e in events if e.kind == "paid_elsewhere"}
        | {f"unreadable:{e.event_id[11:]}" for e in events if e.kind == "unreadable"}
        | {f"event_contradiction:{i}" for i, digests in contents.items() if len(digests) > 1}
        | {f"refund_without_amount:{r}" for r, amounts in refunds.items() if None in amounts}
        | {f"refund_contradiction:{r}" for r, amounts in refunds.items() if len(amounts) > 1}
        | {f"disputed:{d}" for d in disputes}
        | {f"dispute_contradiction:{d}" for d, seen in disputes.items() if {"won", "lost"} <= seen}
    )
