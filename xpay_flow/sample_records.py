"""Where do sample records come from? From the rules that make real ones.

Everything here goes through `decide`, so a store is tested with real records.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, Final

import attrs

from . import events as ev
from . import messages as m
from .decide import decide
from .events import Event
from .flows.context import FlowContext
from .flows.recording import stored_attempt, with_decision
from .intent import Intent
from .money import Money
from .records import Change, Record, RecordedEvent, attempt_key, change, x_intent_alias
from .settings import Settings

# A Monday in 2025; no test reads the clock.
NOW_MS: Final = 1_760_000_000_000
RULES: Final = FlowContext(Settings.sandbox())

PRICE: Final = Money(1999, "USD")
REALM: Final = RULES.settings.realm


def attempt(
    receipt_id: str = "order-1",
    n: int = 1,
    *,
    money: Money = PRICE,
    at_ms: int = NOW_MS,
    realm: str = REALM,
) -> Change:
    """The first commit of the n-th attempt to collect `money` for a receipt."""
    intent_id = f"pi_{receipt_id}_{n}"
    intent = Intent(
        id=intent_id,
        receipt_id=receipt_id,
        attempt=n,
        money=money,
        realm=realm,
        idempotency_key=f"{intent_id}:create",
        created_at_ms=at_ms,
        metadata=(("cart", "7"), ("shop", "Zoë ₹")),
        request=json.dumps({"amount": money.amount_minor, "receiptId": receipt_id}),
    )
    return stored_attempt(Record(key=attempt_key(receipt_id, n, realm)), intent, at_ms, RULES)


def next_change(record: Record, *events: Event, at_ms: int = NOW_MS) -> Change:
    """The commit that follows from an event about a stored attempt."""
    after = record
    for event in events:
        assert after.intent is not None
        after = with_decision(after, decide(after.intent, event), at_ms, RULES)
    return change(record, after)


def history(*events: Event, receipt_id: str = "order-1") -> Sequence[Change]:
    """One commit for each event, after the one that stores the attempt."""
    first = attempt(receipt_id)
    return list(
        itertools.accumulate(
            events, lambda done, event: next_change(done.record, event), initial=first
        )
    )


def parked(event: Event, *, at_ms: int = NOW_MS, realm: str = REALM) -> Change:
    """The first commit of an unmatched event."""
    assert event.x_intent_id is not None
    name = x_intent_alias(event.x_intent_id)
    key = f"parked:{realm}:{name}"
    record = Record(key=key, aliases=frozenset({name, key}), unmatched_in=realm)
    recorded = RecordedEvent(
        event=event, disposition="unknown", why="unmatched", at_ms=at_ms, version=1
    )
    return change(record, attrs.evolve(record, events=(recorded,), reconcile_at_ms=at_ms + 60_000))


def created(x_intent_id: str = "in_1") -> Event:
    """xPay made the intent."""
    return Event(
        kind=ev.CREATE_ANSWERED,
        type=m.STATUS_CREATED,
        source="answer",
        event_id="answer/create",
        digest=x_intent_id,
        at_ms=NOW_MS,
        proof="api",
        x_intent_id=x_intent_id,
        url=f"https://pay.xpaycheckout.com/?secret={x_intent_id}",
    )


def webhook(kind: str, event_id: str, *, x_intent_id: str = "in_1", **members: Any) -> Event:
    """One webhook; `members` are fields of `Event`, which override the defaults."""
    usual: dict[str, Any] = {
        "kind": kind,
        "type": kind,
        "source": "webhook",
        "event_id": event_id,
        "digest": "0" * 32,
        "at_ms": NOW_MS,
        "proof": "hmac:0",
        "x_intent_id": x_intent_id,
        "payload": json.dumps({"eventId": event_id, "eventType": kind}),
    }
    return Event(**(usual | members))


def paid(event_id: str = "whe_paid", *, money: Money = PRICE, **members: Any) -> Event:
    """The customer paid."""
    members = {
        "status": m.STATUS_SUCCESS,
        "amount_minor": money.amount_minor,
        "currency": money.currency,
        "payment_method": "CARD",
        **members,
    }
    return webhook(m.INTENT_SUCCESS, event_id, **members)


def failed(event_id: str = "whe_failed", **members: Any) -> Event:
    """A charge was declined; the customer may try again."""
    members = {"status": m.STATUS_FAILED, "error_code": "card_declined", **members}
    return webhook(m.INTENT_FAILED, event_id, **members)


def refunded(
    refund_id: str = "rf_1", amount_minor: int | None = 500, *, currency: str = "USD"
) -> Event:
    """Some of the money went back."""
    return webhook(
        m.INTENT_REFUNDED,
        f"whe_{refund_id}",
        refund_id=refund_id,
        amount_minor=amount_minor,
        currency=currency,
    )


def disputed(kind: str = m.INTENT_DISPUTED, dispute_id: str = "dp_1") -> Event:
    """The customer's bank disputes the payment."""
    return webhook(kind, f"whe_{kind}_{dispute_id}", dispute_id=dispute_id)
