"""What is done to the shop, and what must be true of it afterwards?

The answer to the second question is computed from the first alone, in a few plain lines that share
nothing with the library: a payment is paid if xPay reported it for the right money, whatever else
it reported and in whatever order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from xpay_flow import messages as m
from xpay_flow.errors import InvalidValue
from xpay_flow.sample_records import PRICE
from xpay_flow.sandbox.ledger import Intent

# Of all deliveries, those that repeat an earlier one byte for byte.
DUPLICATES: Final = 0.3
# With fewer there is no room for the longest story and its copies.
DELIVERIES_PER_INTENT_MIN: Final = 4
# The events of one payment lie this close together, as a part of the whole run.
SPREAD: Final = 0.005
EVENT_TIME_MS: Final = 1_760_000_000_000
REFUND_MINOR: Final = 500

# That xPay has made the payment; its event may come before the shop has the answer.
MADE: Final = "made"
# The events of one payment, and for how many in a hundred. Without any events
# has left after the first click, whatever came of it.
STORIES: Final = (
    (20, ("opened", "success")),
    (15, (MADE, "success")),
    (20, ("opened", "failed", "success")),
    (10, (MADE, "failed", "success")),
    (10, ("opened", "success", "refunded")),
    (10, ("opened", "failed")),
    (5, (MADE,)),
    (5, ("opened", "other_money")),
    (5, ()),
)
# Events that may come once more under another id, without changing how the story ends.
AGAIN: Final = ("failed", "opened", MADE)
# Of all customers, those who click twice at once.
IMPATIENT: Final = 0.2


@attrs.frozen
class Event:
    """One event of xPay about the payment for one order. `word` is one of those in `STORIES`."""

    id: str
    number: int
    word: str

    @property
    def order(self) -> str:
        return order(self.number)

    def body(self, payment: Intent) -> bytes:
        """The webhook's bytes about this payment at xPay, the same each time."""
        fields: dict[str, Any] = {
            "eventId": self.id,
            "eventType": TYPES[self.word],
            "eventTime": EVENT_TIME_MS,
            "intentId": payment.x_intent_id,
            "receiptId": payment.order.receipt_id,
            "metadata": payment.order.metadata,
            **_FIELDS[self.word],
        }
        if self.word == "refunded":
            fields["refundId"] = refund_id(self.number)
        return json.dumps(fields).encode()


@attrs.frozen
class Customer:
    """Who wants to pay an order.

    Args:
        clicks: how often Pay is pressed at once.
        story: what happens at xPay's page, some of which will be sent as events. Without one the
        customer
            leaves after the first click; with one, goes on clicking until it has helped.
    """

    number: int
    clicks: int
    story: tuple[str, ...]

    @property
    def stays(self) -> bool:
        return bool(self.story)


TYPES: Final = {
    MADE: m.INTENT_CREATED,
    "opened": m.INTENT_CHECKOUT_OPENED,
    "failed": m.INTENT_FAILED,
    "success": m.INTENT_SUCCESS,
    "other_money": m.INTENT_SUCCESS,
    "refunded": m.INTENT_REFUNDED,
}


def _amount(status: str, amount_minor: int) -> dict[str, Any]:
    return {"status": status, "amount": amount_minor, "currency": PRICE.currency}


_FIELDS: Final[dict[str, dict[str, Any]]] = {
    MADE: _amount(m.STATUS_CREATED, PRICE.amount_minor),
    "opened": {},
    "failed": _amount(m.STATUS_FAILED, PRICE.amount_minor) | {"errorCode": "card_declined"},
    "success": _amount(m.STATUS_SUCCESS, PRICE.amount_minor) | {"paymentMethod": "CARD"},
    "other_money": _amount(m.STATUS_SUCCESS, PRICE.amount_minor + 1) | {"paymentMethod": "CARD"},
    "refunded": _amount(m.STATUS_PARTIALLY_REFUNDED, REFUND_MINOR),
}


@attrs.frozen
class Plan:
    """Everything that will happen: `customers` and `deliveries` in this order, copies included."""

    customers: tuple[Customer, ...] = attrs.field(repr=False)
    events: tuple[Event, ...] = attrs.field(repr=False)
    deliveries: tuple[Event, ...] = attrs.field(repr=False)

    @property
    def intents(self) -> int:
        return len(self.customers)

    @property
    def duplicates(self) -> int:
        return len(self.deliveries) - len(self.events)

    def by_order(self) -> dict[str, list[Event]]:
        """The events about each order's payment."""
        sent: dict[str, list[Event]] = {order(n): [] for n in range(self.intents)}
        for event in self.events:
            sent[event.order].append(event)
        return sent


def planned(intents: int, deliveries: int, seed: int) -> Plan:
    """The same plan for the same seed.

    Raises:
        InvalidValue: there are too few deliveries for so many payments.
    """
    if intents < 1 or deliveries < DELIVERIES_PER_INTENT_MIN * intents:
        raise InvalidValue(
            f"{intents} payments want at least {DELIVERIES_PER_INTENT_MIN * intents} deliveries"
        )
    chance = random.Random(seed)
    moments = [chance.random() for _ in range(intents)]
    stories = chance.choices([s for _, s in STORIES], [weight for weight, _ in STORIES], k=intents)
    events = _events(stories, round(deliveries * (1 - DUPLICATES)), chance)
    at = {event: moments[event.number] + chance.gauss(0, SPREAD) for event in events}
    timed = [(moment, event) for event, moment in at.items()]
    for event in chance.choices(events, k=deliveries - len(events)):
        # Half of the copies come at the same time as the event, the others at any time after.
        late = chance.uniform(moments[event.number], 1)
        timed.append((at[event] if chance.random() < 0.5 else late, event))
    timed.sort(key=lambda pair: (pair[0], pair[1].id))
    customers = [
        Customer(number, 2 if chance.random() < IMPATIENT else 1, story)
        for number, story in enumerate(stories)
    ]
    customers.sort(key=lambda customer: moments[customer.number])
    return Plan(tuple(customers), tuple(events), tuple(event for _, event in timed))


def _events(stories: Sequence[tuple[str, ...]], wanted: int, chance: random.Random) -> list[Event]:
    """So many events: each payment's own story, and then more of the same."""
    sent = [(number, word) for number, story in enumerate(stories) for word in story]
    while len(sent) < wanted:
        number = chance.randrange(len(stories))
        again = [word for word in AGAIN if word in stories[number]]
        sent += [(number, word) for word in again[:1]]
    return [Event(f"whe_{at:06}", number, word) for at, (number, word) in enumerate(sent)]


def order(number: int) -> str:
    """What the shop calls it; xPay's word for that is the receipt."""
    return f"order-{number:06}"


def refund_id(number: int) -> str:
    return f"rf_{number:06}"


# After a refund before its payment the shop reconciles, and that answer has no details.
WITHOUT_DETAILS: Final = ("on_attention", "refund_without_details")


@attrs.frozen
class Expected:
    """How the payment for one order must end.

    Args:
        states: those that it may end in; none of it need be anywhere, if `may_be_missing`.
        calls: handler and subject of each call that must have been made.
        may: of each that may have been made or left out: superseded calls, and what only
            a shop learns by reconciliation.
    """

    states: frozenset[str]
    is_paid: bool
    refunded_minor: int
    calls: frozenset[tuple[str, str]]
    may: frozenset[tuple[str, str]]
    may_be_missing: bool = False


# How far the only click came is unknown; a begun creation must exist at xPay.
LEFT: Final = Expected(
    frozenset({"created", "redirected"}), False, 0, frozenset(), frozenset(), may_be_missing=True
)


def expected(sent: Sequence[Event]) -> Expected:
    """How a payment with these events must end, in whatever order."""
    if not sent:
        return LEFT
    words = {event.word for event in sent}
    is_paid = "success" in words
    refunds = [event for event in sent if event.word == "refunded"]
    # Who stays is sent to the page, and the shop has noted that before.
    state = "success" if is_paid else "failed" if "failed" in words else "redirected"
    return Expected(
        states=frozenset({state}),
        is_paid=is_paid,
        refunded_minor=REFUND_MINOR * bool(refunds),
        calls=frozenset(_calls(words, refunds)),
        may=frozenset(_overtaken_or_asked(words)),
    )


def _calls(words: set[str], refunds: Sequence[Event]) -> Iterator[tuple[str, str]]:
    if "success" in words:
        yield "on_success", ""
    elif "failed" in words:
        yield "on_failed", ""
    if "other_money" in words:
        yield "on_attention", "wrong_money"
    for event in refunds:
        yield "on_refunded", refund_id(event.number)


def _overtaken_or_asked(words: set[str]) -> Iterator[tuple[str, str]]:
    if {"success", "failed"} <= words:
        yield "on_failed", ""
    if "refunded" in words:
        yield WITHOUT_DETAILS
