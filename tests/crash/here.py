"""The shop in this process, where stopping is an exception that nothing survives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

from flows.kit import UNHURRIED, Crash, Fuse, FusedFlow, When

from xpay_flow.errors import InvalidValue, MerchantError, OutcomeUnknown, XPayRefused
from xpay_flow.money import Money
from xpay_flow.payment import Payment
from xpay_flow.ports import Store
from xpay_flow.testing.world import World

from .endings import Books
from .stories import MUG, Shop

T = TypeVar("T")
Open = Callable[[], Store]
WHENS: tuple[When, ...] = ("before", "after")


class ShopHere(Shop):
    """A shop whose processes are objects of this one.

    Args:
        open_store: opens the store that all of them share.
        again: stop the second process, too, before so many of its effects.
    """

    def __init__(self, open_store: Open, *, again: int | None = None) -> None:
        self._open = open_store
        self._again = again
        self.fuse = Fuse()
        self.world = World(
            open_store(),
            config=UNHURRIED,
            flow_type=FusedFlow,
            retry_schedule_s=(5, 30),
            # These deaths are not the handler's doing: a call that two of them cut short heals.
            cut_short_max=10,
        )
        self.xpay = self.world.xpay
        self._begin()

    def _begin(self) -> None:
        """What every process of the shop does at its start."""
        cast(FusedFlow, self.world.flow).fuse = self.fuse
        self.world.flow.on_success(self._fulfil)

    def _fulfil(self, payment: Payment) -> None:
        if not self.printer_works:
            raise RuntimeError("no paper")
        self.world.calls.append(("on_success", payment))

    def _act(self, act: Callable[[], T]) -> T:
        """Do something; if the process stops in the middle, start the next and do it again."""
        while True:
            try:
                return act()
            except Crash:
                self.crashes += 1
                self._restart()

    def _restart(self) -> None:
        self.fuse.defuse()
        if self._again is not None and self.crashes == 1:
            self.fuse.set(self._again, "before")
        getattr(self.world.flow.store, "close", lambda: None)()
        self.world.flow = self.world.new_flow(self._open())
        self._begin()

    def start(self, money: Money = MUG) -> str:
        try:
            return self._act(lambda: self.world.start_checkout(money=money)).x_intent_id or ""
        except (OutcomeUnknown, XPayRefused, MerchantError):
            return ""

    def send_to_checkout(self) -> None:
        self._act(lambda: self.world.flow.send_to_checkout(self._intent_id()))

    def status(self, x_intent_id: str) -> str:
        return self.world.status(x_intent_id).status

    def hear(self) -> None:
        self._act(self.world.deliver_webhooks)

    def deliver(self) -> None:
        self._act(lambda: self.world.flow.deliver())

    def ask(self) -> None:
        self._act(lambda: self.world.flow.reconcile())

    def redeliver(self) -> None:
        entry_id = f"{self._intent_id()}:on_success"
        # A repeated redelivery after a lost answer: the call is due already.
        with suppress(InvalidValue):
            self._act(lambda: self.world.flow.redeliver("order-42", entry_id))

    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    def _intent_id(self) -> str:
        """Ours, of the last attempt; a process that stopped may have used up an id."""
        (*_, last) = self.world.flow.store.history("receipt:order-42")
        assert last.intent is not None
        return last.intent.id

    def books(self) -> Books:
        store = self.world.flow.store
        keys = sorted(timeline.key for timeline in self.world.flow.recent(100))
        return Books(
            records=tuple(store.history(key)[0] for key in keys),
            xpay=self.xpay,
            keys=tuple(payment.idempotency_key for _, payment in self.world.calls),
            crashes=self.crashes,
        )

    def close(self) -> None:
        self.world.flow.close()
