"""How does a payment stand? Flows that can only read, for return pages and operators.

Their type is `Query`: the type checker refuses a commit in here, the drivers hand them a reader,
and SQL stores run them on a connection that cannot write.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Literal

import attrs

from .. import effects
from ..effects import Query, history, load, now, recent, wait_for_change
from ..errors import UnknownIntent, quoted
from ..intent import Intent, RefundStatus
from ..records import Record, intent_alias, receipt_alias, x_intent_alias

log = logging.getLogger("xpay_flow.queries")

PublicStatus = Literal["SUCCESS", "FAILED", "PENDING"]

# How often those who wait are looked up, all at once. A payment is shown that much later at most
# where its commit cannot be reported.
LOOK_EVERY_S = 0.5
# Of one statement, which takes as many values everywhere.
VERSIONS_MAX: Final = 500
# When to query again instead of waiting. Hundreds of customers at this pace are no load.
RETRY_AFTER_S: Final = 5

_PUBLIC: dict[str, PublicStatus] = {
    "failed": "FAILED",
    "cancelled": "FAILED",
    "rejected": "FAILED",
}


@attrs.frozen(kw_only=True)
class PaymentStatus:
    """What the customer's browser may know.

    Args:
        status: `SUCCESS` is paid in full. `FAILED` is the latest event, and not the last
            while `final` is False: the customer may pay on the same page. Otherwise `PENDING`.
        known: an intent with this id is on file.
        refunded: how much of the payment went back; `status` stays `SUCCESS`.
        retry_after_s: the query was to wait and has not: when to ask again. The id is not known, or
            too many wait already.
    """

    status: PublicStatus
    final: bool
    known: bool = True
    refunded: RefundStatus = "none"
    retry_after_s: int | None = attrs.field(default=None, repr=False)


UNKNOWN_PAYMENT = PaymentStatus(status="PENDING", final=False, known=False)


def status(
    x_intent_id: str, *, wait_s: float = 0, seen: PublicStatus | None = None
) -> Query[PaymentStatus]:
    """How the payment with xPay's id stands, waiting up to `wait_s` seconds for a change.

    An id that is not known (yet) is pending: the customer can be back before anything else is. But
    no query waits for one, since anyone can make one up.

    Args:
        seen: the status that the caller knows. So a success that follows a failure can be awaited.
    """
    until_ms = (yield from now()) + int(wait_s * 1000)
    # Counted, too: a clock that is set back must not make a query wait for an hour.
    looks_left = int(wait_s / LOOK_EVERY_S) + 1
    while True:
        found = yield from load(x_intent_alias(x_intent_id))
        result, _ = _status_of(found)
        found = [record for record in found if record.intent is not None]
        left_s = (until_ms - (yield from now())) / 1000
        if result.final or result.status not in ("PENDING", seen):
            return result
        if left_s <= 0 or not looks_left:
            return result
        if not found:
            return attrs.evolve(result, retry_after_s=RETRY_AFTER_S)
        looks_left -= 1
        match (yield from wait_for_change(found[0], min(left_s, wait_s))):
            case "no_room":
                return attrs.evolve(result, retry_after_s=RETRY_AFTER_S)
            case "time_up":
                looks_left = 0
            case "changed":
                pass


def look(x_intent_id: str) -> Query[tuple[PaymentStatus, Intent | None]]:
    """How the payment with xPay's id stands now, and the one intent that it is about, if known."""
    return _status_of((yield from load(x_intent_alias(x_intent_id))))


def _status_of(records: Sequence[Record]) -> tuple[PaymentStatus, Intent | None]:
    intents = [record.intent for record in records if record.intent is not None]
    if len(intents) > 1:
        # Which of them this customer has paid is not known, and none is shown for another.
        log.error(
            "xPay's id %s belongs to %s; its status is shown as pending",
            quoted(intents[0].x_intent_id),
            " and ".join(intent.id for intent in intents),
        )
        return PaymentStatus(status="PENDING", final=False), None
    return (public_status(intents[0]), intents[0]) if intents else (UNKNOWN_PAYMENT, None)


def public_status(intent: Intent) -> PaymentStatus:
    """The status of an intent in public. A payment whose amount is unproven is pending."""
    if intent.is_settled:
        return PaymentStatus(status="SUCCESS", final=True, refunded=intent.refund_status)
    if intent.is_paid or "wrong_money" in intent.attention:
        return PaymentStatus(status="PENDING", final=False, refunded=intent.refund_status)
    return PaymentStatus(
        status=_PUBLIC.get(intent.state, "PENDING"), final=intent.state == "rejected"
    )


def versions(keys: Sequence[str], *, together: bool) -> Query[dict[str, int]]:
    """The version of each of these records.

    Args:
        together: the reader is a `VersionReading`; otherwise each record is loaded.
    """
    found: dict[str, int] = {}
    if together:
        for at in range(0, len(keys), VERSIONS_MAX):
            found |= yield from effects.versions(keys[at : at + VERSIONS_MAX])
    else:
        for key in keys:
            found |= {record.key: record.version for record in (yield from load(key))}
    return found


def find(name: str) -> Query[Sequence[Record]]:
    """The records with this intent id, xPay id, receipt id or key, each with its history.

    For an operator, so those of other modes and accounts are among them.

    Raises:
        UnknownIntent: there is none.
    """
    for alias in (name, intent_alias(name), x_intent_alias(name), receipt_alias(name)):
        found = yield from history(alias, everywhere=True)
        if found:
            return found
    raise UnknownIntent(name)


def recent_records(limit: int) -> Query[Sequence[Record]]:
    """The records stored last, newest first."""
    return (yield from recent(limit))
