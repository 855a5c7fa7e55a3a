"""What follows from one event? A pure function: no clock, no randomness, no I/O.

The new snapshot is the old one with something added (see `intent`), the state is the highest that
any event leads to (see `lifecycle`), and handler calls are due by all events on file, not by
their order. So any order and any number of copies give the same state, totals and due calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from . import events as ev
from . import messages as m
from .events import FAILED_KINDS, PAID_KINDS, PAYMENT_KINDS, REFUND_REPORTS, Event
from .intent import (
    Dispute,
    DisputeStatus,
    Intent,
    Refund,
    RefundStatus,
    Timestamped,
)
from .lifecycle import (
    IN_DOUBT,
    LIFECYCLE,
    PAID_OTHER_MONEY,
    REFUNDED_OTHER_MONEY,
    Disposition,
    Lifecycle,
)
from .records import HandlerName

# After this there is nothing left to create.
ENDS_CREATION: Final = PAYMENT_KINDS | {ev.CREATE_REFUSED}
DISPUTE_KINDS: Final[dict[str, DisputeStatus]] = {
    m.INTENT_DISPUTED: "open",
    m.INTENT_DISPUTE_UNDER_REVIEW: "under_review",
    m.INTENT_DISPUTE_WON: "won",
    m.INTENT_DISPUTE_LOST: "lost",
    ev.REPORT_DISPUTED: "open",
    ev.REPORT_DISPUTE_UNDER_REVIEW: "under_review",
    ev.REPORT_DISPUTE_WON: "won",
    ev.REPORT_DISPUTE_LOST: "lost",
}
_UNPAID: Final = frozenset({m.STATUS_CREATED, m.STATUS_FAILED, m.STATUS_CANCELLED})
_PAID: Final = frozenset(
    {
        m.STATUS_SUCCESS,
        m.STATUS_PARTIALLY_REFUNDED,
        m.STATUS_REFUNDED,
        m.STATUS_DISPUTED,
        m.STATUS_DISPUTE_UNDER_REVIEW,
        m.STATUS_DISPUTE_WON,
        m.STATUS_DISPUTE_LOST,
    }
)
# Statuses that contradict what a webhook's type reports.
_CONTRADICTED_BY: Final[dict[str, frozenset[str]]] = {
    m.INTENT_SUCCESS: _UNPAID,
    m.INTENT_REFUNDED: _UNPAID,
    m.INTENT_FAILED: _PAID,
}


@attrs.frozen(kw_only=True)
class HandlerDue:
    """A handler call that a decision makes due. `subject` sets it apart from its likes."""

    name: HandlerName
    subject: str = ""


@attrs.frozen(kw_only=True)
class Decision:
    """What follows from one event.

    Args:
        intent: the snapshot afterwards; the one before, if the event adds nothing.
        event: the event to record; None for a copy, which adds nothing.
        handlers_due: handler calls that were not due before.
        reconcile_now: the event contradicts itself or the intent, or cannot be read: get-intent can
            tell what is true, so it is due at once.
        why: one sentence for the timeline.
    """

    intent: Intent
    event: Event | None
    handlers_due: tuple[HandlerDue, ...] = ()
    disposition: Disposition
    why: str
    reconcile_now: bool = False


def decide(intent: Intent, event: Event, lifecycle: Lifecycle = LIFECYCLE) -> Decision:
    """Decide what `event` means for `intent`. Pure and total over known event kinds."""
    if event.event_key in intent.evidence:
        return Decision(
            intent=intent, event=None, disposition="duplicate", why="this event is on file already"
        )
    kind = _effective_kind(intent, event)
    move = lifecycle.step(intent.state, kind)
    conflicting = event.source == "webhook" and conflicts_with_recorded(intent, event)
    after = _learn(intent, event, kind, move.target)
    contradicts = kind == IN_DOUBT or names_another(intent, event)
    attention = _attention(intent, after, event, kind, conflicting, contradicts)
    if attention != after.attention:  # Rare, and a snapshot takes a tenth of a decision to make.
        after = attrs.evolve(after, attention=attention)
    disposition, why = _verdict(intent, after, event, kind, conflicting, move.disposition)
    if contradicts and kind != IN_DOUBT:
        disposition, why = "contradictory", f"{why}; it names another order or attempt"
    if event.ignored:
        why = f"{why}; left out, since it makes no sense: {', '.join(event.ignored)}"
    return Decision(
        intent=after,
        event=event,
        handlers_due=tuple(
            sorted(
                handlers_due_by(after) - handlers_due_by(intent), key=lambda o: (o.name, o.subject)
            )
        ),
        disposition=disposition,
        why=why,
        reconcile_now=event.source == "webhook" and (contradicts or kind == ev.UNREADABLE),
    )


def handlers_due_by(intent: Intent) -> frozenset[HandlerDue]:
    """Every handler call that the evidence on file makes due, delivered or not."""
    due: set[HandlerDue] = set()
    if intent.money_checked:
        due.add(HandlerDue(name="on_success"))
    if intent.kinds & FAILED_KINDS:
        due.add(HandlerDue(name="on_failed"))
    due.update(HandlerDue(name="on_refunded", subject=r.refund_id) for r in intent.refunds)
    due.update(
        HandlerDue(name="on_dispute", subject=f"{dispute.dispute_id}:{outcome}")
        for dispute in intent.disputes
        for outcome in dispute.outcomes
    )
    due.update(HandlerDue(name="on_attention", subject=reason) for reason in intent.attention)
    return frozenset(due)


def superseded_by(intent: Intent, name: HandlerName) -> str | None:
    """Why a handler call that is still pending is superseded; None if it is not."""
    if name == "on_failed" and intent.is_paid:
        return "the payment succeeded meanwhile"
    if name == "on_success" and intent.refund_status == "full":
        return "the payment was refunded in full meanwhile"
    return None


def _effective_kind(intent: Intent, event: Event) -> str:
    """The row of the table that applies, once statuses, amounts and currencies are compared."""
    if event.source == "webhook" and event.status in _CONTRADICTED_BY.get(event.kind, ()):
        return IN_DOUBT
    if event.kind in PAID_KINDS and not _is_requested_money(intent, event):
        return PAID_OTHER_MONEY
    if event.kind == m.INTENT_REFUNDED and event.currency != intent.money.currency:
        return REFUNDED_OTHER_MONEY
    return event.kind


def names_another(intent: Intent, event: Event) -> bool:
    """The event carries the name of another order or attempt than the one it belongs to."""
    names = (event.receipt_id, intent.receipt_id), (event.intent_id, intent.id)
    return any(name is not None and name != ours for name, ours in names)


def _is_requested_money(intent: Intent, event: Event) -> bool:
    money = intent.money
    return (event.amount_minor, event.currency) == (money.amount_minor, money.currency)


def _learn(intent: Intent, event: Event, kind: str, state: str) -> Intent:
    """The snapshot with everything that this event adds to it."""
    kinds = intent.kinds | {kind}
    # What is paid is not paid again, and anybody with the address can open the customer's page.
    url = None if kinds & PAYMENT_KINDS else intent.checkout_url or event.url
    return attrs.evolve(
        intent,
        state=state,
        checkout_url=url,
        # The request is needed to repeat an unanswered creation, and holds personal data.
        request=None if url or kind in ENDS_CREATION else intent.request,
        x_intent_ids=_with(intent.x_intent_ids, event.x_intent_id),
        money_checked=intent.money_checked or kind in PAID_KINDS,
        refunds=_refunds(intent.refunds, event) if kind == m.INTENT_REFUNDED else intent.refunds,
        refund_reported=_reported(intent, kind),
        disputes=_disputes(intent.disputes, event, DISPUTE_KINDS.get(kind)),
        failure=_later(intent.failure, event, event.error_code if kind in FAILED_KINDS else None),
        payment_method=_later(intent.payment_method, event, event.payment_method),
        kinds=kinds,
        evidence=intent.evidence | {event.event_key},
    )


def _with(known: tuple[str, ...], new: str | None) -> tuple[str, ...]:
    return known if new is None or new in known else tuple(sorted((*known, new)))


def _later(known: Timestamped | None, event: Event, word: str | None) -> Timestamped | None:
    if word is None:
        return known
    # An answer does not say when; our own clock would make copies of one answer differ.
    new = Timestamped(event.at_ms if event.source == "webhook" else 0, word)
    return new if known is None else max(known, new)


def _refunds(known: tuple[Refund, ...], event: Event) -> tuple[Refund, ...]:
    """One record per refund. Of two amounts reported for one refund the greater counts.

    The oldest events carry no `refundId`; there each event is its own refund.
    """
    refund_id = event.refund_id or event.event_id
    by_id = {refund.refund_id: refund for refund in known}
    reported = [event.amount_minor, *(r.amount_minor for r in known if r.refund_id == refund_id)]
    amounts = [amount_minor for amount_minor in reported if amount_minor is not None]
    by_id[refund_id] = Refund(refund_id, max(amounts, default=None))
    return tuple(sorted(by_id.values(), key=lambda refund: refund.refund_id))


def _reported(intent: Intent, kind: str) -> RefundStatus:
    if kind == ev.REPORT_REFUNDED or intent.refund_reported == "full":
        return "full"
    return "partial" if kind == ev.REPORT_PARTIALLY_REFUNDED else intent.refund_reported


def _disputes(
    known: tuple[Dispute, ...], event: Event, status: DisputeStatus | None
) -> tuple[Dispute, ...]:
    """One record per dispute, with every status reported. Older events carry no `disputeId`."""
    if status is None:
        return known
    dispute_id = event.dispute_id or "unnamed"
    by_id = {dispute.dispute_id: dispute for dispute in known}
    seen: set[DisputeStatus] = {status}
    if dispute_id in by_id:
        seen |= by_id[dispute_id].seen
    by_id[dispute_id] = Dispute(dispute_id, frozenset(seen))
    return tuple(sorted(by_id.values(), key=lambda dispute: dispute.dispute_id))


def _attention(
    before: Intent, after: Intent, event: Event, kind: str, conflicting: bool, contradicts: bool
) -> tuple[str, ...]:
    """Why an operator should look: what was known, and what the enlarged evidence adds."""
    by_event = _by_event(before, event, kind, conflicting, contradicts)
    return tuple(sorted({*before.attention, *_by_evidence(after), *by_event}))


def _by_evidence(intent: Intent) -> Iterable[str]:
    """Reasons that follow from the snapshot alone."""
    kinds = intent.kinds
    paid = bool(kinds & PAYMENT_KINDS)
    reasons = {
        "paid_late": paid and ev.REPORT_CANCELLED in kinds,
        "wrong_money": PAID_OTHER_MONEY in kinds,
        "refund_in_other_currency": REFUNDED_OTHER_MONEY in kinds,
        "refused_yet_real": ev.CREATE_REFUSED in kinds and intent.state != "rejected",
        "second_xpay_intent": len(intent.x_intent_ids) > 1,
        "refund_exceeds_payment": intent.refunded_minor > intent.money.amount_minor,
        "refund_without_details": bool(kinds & REFUND_REPORTS),
        "create_unresolved": ev.CREATE_UNRESOLVED in kinds,
        "amount_unresolved": ev.AMOUNT_UNRESOLVED in kinds,
        "still_open": ev.STILL_OPEN in kinds,
    }
    yield from (reason for reason, holds in reasons.items() if holds)
    for dispute in intent.disputes:
        yield f"disputed:{dispute.dispute_id}"
        if {"won", "lost"} <= dispute.seen:
            yield f"dispute_contradiction:{dispute.dispute_id}"


def _by_event(
    before: Intent, event: Event, kind: str, conflicting: bool, contradicts: bool
) -> Iterable[str]:
    """Reasons that follow from comparing the event with those on file."""
    if kind == ev.HANDLER_GAVE_UP:
        yield f"handler_gave_up:{event.digest}"
    if kind == ev.PAID_TWICE:
        yield f"paid_twice:{event.digest}"
    if kind == ev.PAID_ELSEWHERE:
        yield f"paid_elsewhere:{event.digest}"
    if kind == ev.UNREADABLE:
        yield f"unreadable:{event.event_id.rpartition('/')[2]}"
    if contradicts:
        yield f"contradictory_fields:{event.event_id}"
    if conflicting:
        yield f"event_contradiction:{event.event_id}"
    if kind == m.INTENT_REFUNDED:
        refund_id = event.refund_id or event.event_id
        if event.amount_minor is None:
            yield f"refund_without_amount:{refund_id}"
        known = (r.amount_minor for r in before.refunds if r.refund_id == refund_id)
        if any(amount_minor != event.amount_minor for amount_minor in known):
            yield f"refund_contradiction:{refund_id}"


def conflicts_with_recorded(before: Intent, event: Event) -> bool:
    """Another content is on file under the same event id."""
    prefix = f"{event.event_id}#"
    return any(
        known.startswith(prefix) and known.rpartition("#")[0] == event.event_id
        for known in before.evidence
    )


def _verdict(
    before: Intent,
    after: Intent,
    event: Event,
    kind: str,
    conflicting: bool,
    disposition: Disposition,
) -> tuple[Disposition, str]:
    """The disposition of the event, and one sentence with the reason."""
    if kind in (PAID_OTHER_MONEY, REFUNDED_OTHER_MONEY):
        named = f"{event.amount_minor} {event.currency} (minor units)"
        return "mismatched", f"it names {named}, and {before.money} was requested"
    if kind == ev.UNREADABLE:
        return "quarantined", "a field that decides cannot be read; kept, and xPay is queried"
    if kind == IN_DOUBT:
        return "contradictory", f"its status is {event.status}, which contradicts its type"
    if kind == ev.UNKNOWN:
        return "unknown", f"no rule for {event.type[:80]!a}; kept"
    if conflicting:
        return "contradictory", "another content is on file under this event id; both count"
    if after.state != before.state:
        return disposition, f"{before.state} → {after.state}"
    sentence = {
        "stale": f"older than {before.state}, which stays",
        "contradictory": f"contradicts {before.state}, which stays",
    }
    return disposition, sentence.get(disposition, f"agrees with {before.state}")
