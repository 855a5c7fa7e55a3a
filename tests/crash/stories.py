"""Which purchases are interrupted? Whole stories, written so that any act may be cut short.

An act that is cut short is done again the way reality would: the customer clicks again, xPay
delivers again, the worker comes round again. What the story ends in must not depend on the cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from xpay_flow.money import Money
from xpay_flow.sandbox import FaultPlan, Sandbox

from .endings import Books

MUG = Money(1999, "USD")
# Longer than a worker's lease, and than the reconciler waits for who began a creation.
LEASE_S = 61


class Shop(ABC):
    """A shop whose process may stop at any effect; a new one then opens the same store.

    `printer_works` is False while the handler on_success fails.
    """

    xpay: Sandbox
    crashes: int = 0
    printer_works: bool = True

    @abstractmethod
    def start(self, money: Money = MUG) -> str:
        """The customer presses Pay, again if need be; xPay's id, or nothing where none is known."""

    @abstractmethod
    def send_to_checkout(self) -> None:
        """The customer is sent to the checkout."""

    @abstractmethod
    def status(self, x_intent_id: str) -> str:
        """What the customer's browser gets."""

    @abstractmethod
    def hear(self) -> None:
        """Every webhook that is due arrives."""

    @abstractmethod
    def deliver(self) -> None:
        """A worker's pass."""

    @abstractmethod
    def ask(self) -> None:
        """A reconciler's pass."""

    @abstractmethod
    def redeliver(self) -> None:
        """An operator redelivers on_success."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Time passes."""

    @abstractmethod
    def books(self) -> Books:
        """Everything that is on file."""

    @abstractmethod
    def close(self) -> None:
        """The end of the day."""

    def work(self) -> None:
        """A worker's pass; one that was cut short is made up for when its claim runs out."""
        before = self.crashes
        self.deliver()
        if self.crashes > before:
            self.wait(LEASE_S)
            self.deliver()

    def start_sooner_or_later(self) -> str:
        """The customer comes back until an attempt that was cut short no longer stands there."""
        for _ in range(9):
            if x_intent_id := self.start():
                return x_intent_id
            self.wait(301)
            self.ask()
        raise AssertionError("the order cannot be paid any more")

    def quiet(self) -> None:
        """Time passes, until nothing is left to arrive, to ask or to call."""
        for _ in range(4):
            self.hear()
            self.work()
            self.wait(LEASE_S)
            self.ask()
        self.hear()
        self.work()


# --- stories -------------------------------------------------------------------------------------


def purchase(shop: Shop) -> None:
    """Start, forward, a declined card, a good one, the return, a refund, a question to xPay."""
    x_intent_id = shop.start()
    shop.send_to_checkout()
    shop.xpay.open_checkout(x_intent_id)
    shop.hear()
    shop.xpay.decline(x_intent_id)
    shop.hear()
    shop.work()
    shop.xpay.pay(x_intent_id)
    shop.hear()
    assert "SUCCESS" == shop.status(x_intent_id)
    shop.work()
    shop.xpay.refund(x_intent_id, 500)
    shop.hear()
    shop.work()
    shop.wait(LEASE_S)
    shop.ask()
    shop.quiet()


def lost_answer(shop: Shop) -> None:
    """xPay's answer to the creation was lost; the customer pays; the event names no intent."""
    shop.xpay.set_faults(
        FaultPlan.from_dict(
            {
                "api": [{"fault": "lose_answer", "times": 3}],
                "webhooks": [{"fault": "no_metadata"}, {"fault": "null_receipt"}],
            }
        )
    )
    shop.start()
    shop.xpay.set_faults(shop.xpay.faults.from_dict({"webhooks": NAMELESS}))
    (intent,) = shop.xpay.intents()
    shop.xpay.pay(intent.x_intent_id)
    shop.hear()
    shop.wait(31)
    shop.ask()
    shop.work()
    shop.quiet()


NAMELESS = [{"fault": "no_metadata"}, {"fault": "null_receipt"}]


def lost_webhooks(shop: Shop) -> None:
    """Every webhook is lost; asking finds the payment, and a second attempt is paid, too."""
    shop.xpay.set_faults(FaultPlan.from_dict({"webhooks": [{"fault": "lose"}]}))
    first = shop.start()
    shop.xpay.pay(first)
    shop.wait(LEASE_S)
    shop.ask()
    shop.work()
    shop.quiet()


def refused_then_paid(shop: Shop) -> None:
    """xPay refuses the first amount; the order is corrected, cancelled, and paid late."""
    shop.start(Money(1, "USD"))
    x_intent_id = shop.start_sooner_or_later()
    shop.xpay.cancel(x_intent_id)
    for _ in range(2):
        # A cancellation sends no event, so a reconciliation that was cut short is repeated.
        shop.wait(301)
        shop.ask()
    shop.xpay.pay(x_intent_id, despite_cancel=True)
    shop.hear()
    shop.work()
    shop.xpay.dispute(x_intent_id)
    shop.hear()
    shop.work()
    shop.quiet()


def never_made(shop: Shop) -> None:
    """xPay answers errors under the key and has made nothing: closed as refused, then bought."""
    shop.xpay.set_faults(FaultPlan.from_dict({"api": [{"fault": "error_json", "times": 1}]}))
    shop.start()
    shop.wait(31)
    shop.ask()
    shop.wait(121)
    shop.ask()
    shop.xpay.pay(shop.start_sooner_or_later())
    shop.hear()
    shop.work()
    shop.quiet()


def handler_gives_up(shop: Shop) -> None:
    """The handler fails until its retries are used up; an operator redelivers it."""
    shop.printer_works = False
    x_intent_id = shop.start()
    shop.xpay.pay(x_intent_id)
    shop.hear()
    for _ in range(8):
        shop.work()
        shop.wait(LEASE_S)
    shop.printer_works = True
    shop.redeliver()
    shop.work()
    shop.quiet()


STORIES = (purchase, lost_answer, lost_webhooks, refused_then_paid, never_made, handler_gives_up)
