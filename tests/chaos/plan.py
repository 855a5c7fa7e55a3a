"""What is sent to the shop, and what must be true of it afterwards?

The answer to the second question is computed from the first alone, in a few plain lines that share
nothing with the library: a payment is paid if xPay said so about the right money, whatever else it
said and in whatever order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from xpay_flow import messages as m
from xpay_flow.errors import InvalidValue
from xpay_flow.testing.builders import PRICE

# Of all deliveries, those that repeat an earlier one byte for byte.
DUPLICATES: Final = 0.3
# With fewer there is no room for the longest story and its copies.
DELIVERIES_PER_INTENT_MIN: Final = 4
# What is told of one payment lies this close together, as a part of the whole run.
SPREAD: Final = 0.005
EVENT_TIME_MS: Final = 1_760_000_000_000
REFUND_MINOR: Final = 500

# What xPay tells of one payment, and how many in a hundred are told so.
STORIES: Final = (
    (35, ("opened", "success")),
    (30, ("opened", "failed", "success")),
    (10, ("opened", "success", "refunded")),
    (15, ("opened", "failed")),
    (5, ("opened",)),
    (5, ("opened", "other_money")),
)
# What may be told once more under another event id, without changing how the story ends.
AGAIN: Final = ("failed", "opened")


@attrs.frozen
class Event:
    """One event of xPay about one payment. `word` is one of those in `STORIES`."""

    id: str
    number: int
    word: str

    @property
    def x_intent_id(self) -> str:
        return x_intent_id(self.number)

    def body(self) -> bytes:
        """The webhook's bytes, the same each time."""
        fields: dict[str, Any] = {
            "eventId": self.id,
            "eventType": TYPES[self.word],
            "eventTime": EVENT_TIME_MS,
            "intentId": self.x_intent_id,
            "receiptId": receipt_id(self.number),
            **_FIELDS[self.word],
        }
        if self.word == "refunded":
            fields["refundId"] = refund_id(self.number)
        return json.dumps(fields).encode()


TYPES: Final = {
    "opened": m.INTENT_CHECKOUT_OPENED,
    "failed": m.INTENT_FAILED,
    "success": m.INTENT_SUCCESS,
    "other_money": m.INTENT_SUCCESS,
    "refunded": m.INTENT_REFUNDED,
}


def _amount(status: str, amount_minor: int) -> dict[str, Any]:
    return {"status": status, "amount": amount_minor, "currency": PRICE.currency}


_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "opened": {},
    "failed": _amount(m.STATUS_FAILED, PRICE.amount_minor) | {"errorCode": "card_declined"},
    "success": _amount(m.STATUS_SUCCESS, PRICE.amount_minor) | {"paymentMethod": "CARD"},
    "other_money": _amount(m.STATUS_SUCCESS, PRICE.amount_minor + 1) | {"paymentMethod": "CARD"},
    "refunded": _amount(m.STATUS_PARTIALLY_REFUNDED, REFUND_MINOR),
}


@attrs.frozen
class Plan:
    """Everything that will be sent: `deliveries` in this order, copies among them."""

    intents: int
    events: tuple[Event, ...] = attrs.field(repr=False)
    deliveries: tuple[Event, ...] = attrs.field(repr=False)

    @property
    def duplicates(self) -> int:
        return len(self.deliveries) - len(self.events)

    def by_intent(self) -> dict[str, list[Event]]:
        """The events of each payment, by xPay's id for it."""
        told: dict[str, list[Event]] = {x_intent_id(n): [] for n in range(self.intents)}
        for event in self.events:
            told[event.x_intent_id].append(event)
        return told


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
    events = _events(intents, round(deliveries * (1 - DUPLICATES)), chance)
    at = {event: moments[event.number] + chance.gauss(0, SPREAD) for event in events}
    timed = [(moment, event) for event, moment in at.items()]
    for event in chance.choices(events, k=deliveries - len(events)):
        # Half of the copies come at the same time as the event, the others at any time.
        timed.append((at[event] if chance.random() < 0.5 else chance.random(), event))
    timed.sort(key=lambda pair: (pair[0], pair[1].id))
    return Plan(intents, tuple(events), tuple(event for _, event in timed))


def _events(intents: int, wanted: int, chance: random.Random) -> list[Event]:
    """So many events: each payment's own story, and then more of the same."""
    weights = [weight for weight, _ in STORIES]
    stories = [story for _, story in chance.choices(STORIES, weights, k=intents)]
    told = [(number, word) for number, story in enumerate(stories) for word in story]
    while len(told) < wanted:
        number = chance.randrange(intents)
        told.append((number, next(word for word in AGAIN if word in stories[number])))
    return [Event(f"whe_{at:06}", number, word) for at, (number, word) in enumerate(told)]


def receipt_id(number: int) -> str:
    return f"order-{number:06}"


def x_intent_id(number: int) -> str:
    return f"in_{number:06}"


def refund_id(number: int) -> str:
    return f"rf_{number:06}"


@attrs.frozen
class Expected:
    """How one payment must end.

    Args:
        calls: handler and subject of each call that must have been made.
        may: of each that may have been made or left out: news that was overtaken.
    """

    state: str
    is_paid: bool
    refunded_minor: int
    calls: frozenset[tuple[str, str]]
    may: frozenset[tuple[str, str]]


def expected(told: Sequence[Event]) -> Expected:
    """How the payment must end of which this was told, in whatever order."""
    words = {event.word for event in told}
    is_paid = "success" in words
    heard = "failed" if "failed" in words else "redirected" if "opened" in words else "created"
    refunds = [event for event in told if event.word == "refunded"]
    return Expected(
        state="success" if is_paid else heard,
        is_paid=is_paid,
        refunded_minor=REFUND_MINOR * bool(refunds),
        calls=frozenset(_calls(words, refunds)),
        may=frozenset({("on_failed", "")} if is_paid and "failed" in words else ()),
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
