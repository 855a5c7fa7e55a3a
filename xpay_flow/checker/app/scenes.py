"""What does xPay send to the app in each small world, and what must come of it?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal

import attrs

from xpay_flow import messages as m
from xpay_flow.settings import Settings

from .. import outside as world
from ..outside import Outside, XEvent, XIntent
from .delivery import Request

Fault = Literal["death", "lost answer", "call", "lost 2xx", "flaw", "too early"]
FAULT_WORDS: Final[dict[Fault, str]] = {
    "death": "the process dies, at any statement, call or answer",
    "lost answer": "a commit takes effect, and its answer is lost",
    "call": "an outgoing call fails, takes effect and loses its answer, or hangs",
    "lost 2xx": "a 2xx never reaches xPay, which delivers the event again",
    "flaw": "a webhook that is forged, wrong in amount or currency, or of an unknown order",
    "too early": "a webhook arrives before the shop has committed its own order",
}
IN_PROCESS: Final[tuple[Fault, ...]] = ("death", "lost answer", "call", "lost 2xx")

SUCCESS: Final = XEvent(m.INTENT_SUCCESS, 1)
FAILED: Final = XEvent(m.INTENT_FAILED, 1)
REFUNDED: Final = XEvent(m.INTENT_REFUNDED, 1, 3)


@attrs.frozen(kw_only=True)
class Order:
    """The order that waits for its payment when each execution begins.

    Args:
        receipt_id: as the shop gave it to xPay.
        x_intent_id: what xPay answered, if the shop stores it.
    """

    receipt_id: str
    amount_minor: int
    currency: str
    x_intent_id: str = "in_1"

    def in_words(self) -> str:
        return f"{self.receipt_id}, {self.amount_minor} {self.currency}, {self.x_intent_id}"


@attrs.frozen(kw_only=True)
class Scene:
    """One small world.

    Args:
        events: delivered at once, in any order.
        before: delivered first, one after the other.
        fault: what is wrong from the beginning; that counts as one fault.
        looks: the customer comes back to the return page at the same time.
    """

    name: str
    sentence: str
    events: tuple[XEvent, ...] = ()
    before: tuple[XEvent, ...] = ()
    fault: Fault | None = None
    looks: bool = False

    @property
    def is_paid(self) -> bool:
        """xPay has the customer's money for this order."""
        return any(
            not e.flaw and e.event_type == m.INTENT_SUCCESS for e in (*self.before, *self.events)
        )

    @property
    def is_refunded(self) -> bool:
        return REFUNDED in self.events


ONCE: Final = Scene(name="once", sentence="xPay delivers the success once", events=(SUCCESS,))
SCENES: Final = (
    ONCE,
    Scene(
        name="twice",
        sentence="xPay delivers the success again while the first delivery runs",
        events=(SUCCESS, SUCCESS),
    ),
    Scene(
        name="failed-then-paid",
        sentence="a charge fails and the next one works; their webhooks overlap or change places",
        events=(FAILED, SUCCESS),
    ),
    Scene(name="unpaid", sentence="a charge fails", events=(FAILED,)),
    Scene(
        name="too-early",
        sentence="the success arrives before the shop has committed its own order",
        events=(SUCCESS,),
        fault="too early",
    ),
    *(
        Scene(
            name=flaw.replace(" ", "-"),
            sentence=sentence,
            events=(XEvent(m.INTENT_SUCCESS, 1, 1, flaw),),
            fault="flaw",
        )
        for flaw, sentence in (
            ("wrong amount", "a success comes with another amount than the order's"),
            ("wrong currency", "a success comes in another currency than the order's"),
            ("forged", "a success comes that xPay has not signed"),
            ("foreign", "a success comes for an order that the shop does not know"),
        )
    ),
)
RETURN_PAGE: Final = Scene(
    name="return-page", sentence="the customer comes back, and xPay has sent nothing", looks=True
)
REFUND: Final = Scene(
    name="refunded",
    sentence="the order is paid, and then all of the money goes back",
    before=(SUCCESS,),
    events=(REFUNDED,),
)


def request_of(event: XEvent, order: Order, path: str, settings: Settings) -> Request:
    """A real, signed delivery of xPay's."""
    intent: dict[str, Any] = {
        "amount": order.amount_minor,
        "currency": order.currency,
        "receiptId": order.receipt_id,
    }
    xpay = Outside(intents=(XIntent(1, "", json.dumps(intent)),))
    instead = {} if event.flaw == "foreign" else {"intentId": order.x_intent_id}
    headers, body = world.delivery(xpay, event, settings, **instead)
    return Request(method="POST", path=path, headers=headers, body=body)


def scenes_of(*, refund: bool, return_path: str) -> Iterator[Scene]:
    """The scenes that a check can judge."""
    yield from SCENES
    if refund:
        yield REFUND
    if return_path:
        yield RETURN_PAGE
