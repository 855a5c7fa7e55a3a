"""How is a shop tried by long chains of events? By a state machine for Hypothesis.

    class Shop(ShopMachine):
        app = "shop:app"

        def press_pay(self, order: str) -> None:
            self.world.client.post(f"/orders/{order}/pay")

        def fulfilments(self, order: str) -> int:
            return fulfilled.count(order)

    TestShop = Shop.TestCase

Customers pay, are declined and return, webhooks come in any order, twice or not at all, handlers
stop half way, and time passes. A paid order is fulfilled once, and an unpaid one never. Add rules
and invariants of your own.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from itertools import count
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from xpay_flow.errors import InvalidValue, UnknownIntent
from xpay_flow.sandbox.ledger import Intent as Sold

from .shop_world import WEBHOOK, ShopWorld, shop_world
from .strategies import END_S
from .takeover import When

# Few, so that things happen to the same one again and again.
ORDERS: Final = st.integers(0, 2)
PICKS: Final = st.integers(0, 7)
TIMES_S: Final = st.sampled_from((1.0, 10.0, 61.0, 901.0, 4 * 3600.0))
# Receipts are never used again, so what a shop keeps between two runs does not matter.
_runs: Final = count(1)


class ShopMachine(RuleBasedStateMachine):
    """Subclass it, and define `app`, `press_pay` and `fulfilments`; its `TestCase` is a test.

    Attributes:
        app, webhook: as for `shop_world`.
        unhandled: handlers that the shop leaves out on purpose.
        world: the `ShopWorld` of the run.
    """

    app: ClassVar[Any] = None
    webhook: ClassVar[str] = WEBHOOK
    unhandled: ClassVar[tuple[str, ...]] = ()
    world: ShopWorld

    def open_app(self) -> Any:
        """The app of one run: `app`, or a new one where your shop has a factory."""
        return self.app

    def press_pay(self, order: str) -> None:
        """A customer presses Pay for this order, in your app."""
        raise NotImplementedError

    def fulfilments(self, order: str) -> int:
        """How often your shop has fulfilled this order."""
        raise NotImplementedError

    # --- what happens ---

    @initialize()
    def open_shop(self) -> None:
        """The shop opens, and a customer presses Pay."""
        self._stack = ExitStack()
        self._run = next(_runs)
        self._orders = set[str]()
        self.world = self._stack.enter_context(
            shop_world(self.open_app(), webhook=self.webhook, unhandled=self.unhandled)
        )
        self.pay_is_pressed(0)

    @rule(order=ORDERS)
    def pay_is_pressed(self, order: int) -> None:
        """A customer presses Pay, perhaps again."""
        name = f"order-{self._run}-{order}"
        self._orders.add(name)
        self.press_pay(name)

    @rule(pick=PICKS, act=st.sampled_from(("open_checkout", "decline", "pay", "pay", "cancel")))
    def the_customer_acts(self, pick: int, act: str) -> None:
        """On xPay's page, if it can happen there."""
        self._at_xpay(pick, act)

    @rule(pick=PICKS, amount_minor=st.sampled_from((None, 1)))
    def money_goes_back(self, pick: int, amount_minor: int | None) -> None:
        """A refund that was made in xPay's dashboard."""
        self._at_xpay(pick, "refund", amount_minor)

    @rule(pick=PICKS)
    def the_customer_comes_back(self, pick: int) -> None:
        """To the shop's page, which may fulfil nothing."""
        if (sold := self._sold(pick)) is not None:
            before = self._fulfilled()
            self.world.come_back(sold.x_intent_id)
            assert before == self._fulfilled(), "coming back has fulfilled an order"

    @rule(pick=PICKS, is_answered=st.booleans())
    def a_webhook_arrives(self, pick: int, is_answered: bool) -> None:
        """Any of those that are due; the shop's answer may be lost, and then it comes again."""
        if due := self.world.xpay.due():
            delivery = due[pick % len(due)]
            status = self.world.post(delivery)
            self.world.xpay.outcome(delivery, status if is_answered else None)

    @rule(pick=PICKS)
    def a_webhook_is_lost(self, pick: int) -> None:
        """It never arrives, and is not sent again."""
        if due := self.world.xpay.due():
            self.world.xpay.outcome(due[pick % len(due)], 200)

    @rule(pick=st.integers(0, 40))
    def an_old_webhook_comes_again(self, pick: int) -> None:
        """xPay may send an event again at any time."""
        if events := self.world.xpay.events():
            self.world.xpay.redeliver(events[pick % len(events)].event_id)

    @rule(order=ORDERS, when=st.sampled_from((None, "before", "after")))
    def a_quick_purchase(self, order: int, when: When | None) -> None:
        """What happens most: pressed, paid, webhooks and the handler, which may stop half way."""
        self.pay_is_pressed(order)
        self._at_xpay(len(self.world.xpay.intents()) - 1, "pay")
        self.world.deliver_webhooks()
        self.world.handler_fault = when
        self.world.deliver()

    @rule(when=st.sampled_from(("before", "after")))
    def a_handler_stops(self, when: When) -> None:
        """The next call of a handler fails, before or after it has done its work."""
        self.world.handler_fault = when

    @rule()
    def the_shop_works(self) -> None:
        """Handlers are called, and xPay is queried."""
        self.world.deliver()
        self.world.reconcile()

    @rule(seconds=TIMES_S)
    def time_passes(self, seconds: float) -> None:
        """For the shop and for xPay."""
        self.world.advance(seconds)

    # --- what must hold ---

    @invariant()
    def only_paid_orders_are_fulfilled_and_only_once(self) -> None:
        """At every moment."""
        if not hasattr(self, "world"):
            return
        for order, times in self._fulfilled().items():
            assert times <= 1, f"{order} was fulfilled {times} times"
            assert not times or self._was_paid(order), f"{order} was fulfilled and never paid"

    def teardown(self) -> None:
        """In the end, when everything has arrived, each paid order is fulfilled."""
        if not hasattr(self, "world"):
            return
        failed = sys.exc_info()
        if failed[0] is not None:
            # A rule has failed, and this runs on its way out: the end would hide it.
            self._stack.__exit__(*failed)
            return
        with self._stack:
            self.world.handler_fault = None
            for _ in range(2):
                self.world.settle()
                self.world.advance(END_S)
            self.world.settle()
            self.only_paid_orders_are_fulfilled_and_only_once()
            for order, times in self._fulfilled().items():
                if self._is_paid(order):
                    assert times == 1, f"{order} was paid and not fulfilled"

    def _fulfilled(self) -> dict[str, int]:
        return {order: self.fulfilments(order) for order in sorted(self._orders)}

    def _was_paid(self, order: str) -> bool:
        return any(sold.succeeded for sold in self._sold_for(order))

    def _is_paid(self, order: str) -> bool:
        """Whether there is money for it that was not all given back."""
        return any(
            sold.succeeded and sold.refunded_minor == 0 and not sold.cancelled
            for sold in self._sold_for(order)
        )

    def _sold_for(self, order: str) -> list[Sold]:
        return [sold for sold in self.world.xpay.intents() if sold.order.receipt_id == order]

    def _sold(self, pick: int) -> Sold | None:
        sold = self.world.xpay.intents()
        return sold[pick % len(sold)] if sold else None

    def _at_xpay(self, pick: int, act: str, *more: Any) -> None:
        if (sold := self._sold(pick)) is not None:
            # What cannot happen, such as paying twice, does not.
            with suppress(InvalidValue, UnknownIntent):
                getattr(self.world.xpay, act)(sold.x_intent_id, *more)
