"""Shops are tried by stories and by a state machine, and wrong ones are found."""

from __future__ import annotations

from typing import Any, ClassVar

import flask
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.stateful import run_state_machine_as_test

import xpay_flow_flask
from xpay_flow import Flow, Money, Payment, Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.arrivals import Arrivals
from xpay_flow.testing.shop_machine import ShopMachine
from xpay_flow.testing.shop_world import shop_world
from xpay_flow.testing.strategies import Act, arrivals, is_paid, play, stories


class Shop:
    """A shop that is right; the wrong ones below differ in one thing."""

    def __init__(self) -> None:
        self.flow = Flow(MemoryStore(), Settings.sandbox(), background=False)
        self.fulfilled: list[str] = []
        self.flow.on_success(self.fulfil)
        self.app = flask.Flask("shop")
        self.app.register_blueprint(xpay_flow_flask.routes(self.flow), url_prefix="/xpay")
        self.app.add_url_rule("/pay/<order>", "pay", self.pay, methods=["POST"])
        self.app.add_url_rule("/thanks", "thanks", self.thanks)

    def pay(self, order: str) -> Any:
        try:
            self.flow.start_checkout(
                receipt_id=order,
                money=Money(1999, "USD"),
                callback_url=f"https://testserver/thanks?order={order}",
                customer={"name": "Ada Example", "email": "ada@example.org"},
            )
        except Exception as error:
            return {"error": type(error).__name__}
        return {}

    def fulfil(self, payment: Payment) -> None:
        if payment.receipt_id not in self.fulfilled:
            self.fulfilled.append(payment.receipt_id)

    def thanks(self) -> Any:
        return "thank you"


class FulfilsAgain(Shop):
    def fulfil(self, payment: Payment) -> None:
        self.fulfilled.append(payment.receipt_id)


class FulfilsOnReturn(Shop):
    def thanks(self) -> Any:
        self.fulfilled.append(flask.request.args["order"])
        return "thank you"


class SwallowsFailures(Shop):
    def __init__(self) -> None:
        super().__init__()
        self._is_first = True

    def fulfil(self, payment: Payment) -> None:
        if self._is_first:
            self._is_first = False
            return
        super().fulfil(payment)


NO_CLOCK = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def tried(shop_type: type[Shop], examples: int) -> None:
    shop: list[Shop] = []

    class Machine(ShopMachine):
        unhandled: ClassVar[tuple[str, ...]] = ("on_attention", "on_refunded", "on_unmatched")

        def open_app(self) -> Any:
            shop[:] = [shop_type()]
            return shop[0].app

        def press_pay(self, order: str) -> None:
            self.world.client.post(f"/pay/{order}")

        def fulfilments(self, order: str) -> int:
            return shop[0].fulfilled.count(order)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=NO_CLOCK,
            print_blob=False,
            # To find is enough here; to make short takes its time.
            phases=[Phase.generate],
        ),
    )


def test_a_right_shop_passes_the_machine() -> None:
    """`ShopMachine` finds nothing in a shop whose handler may be called again."""
    tried(Shop, examples=10)


@pytest.mark.parametrize(
    ("shop_type", "words"),
    [
        (FulfilsAgain, "was fulfilled 2 times"),
        (FulfilsOnReturn, "coming back has fulfilled an order"),
        (SwallowsFailures, "was paid and not fulfilled"),
    ],
)
def test_a_wrong_shop_is_found_by_the_machine(shop_type: type[Shop], words: str) -> None:
    """A handler that cannot be repeated, a page that fulfils, and one that loses an order."""
    with pytest.raises(AssertionError, match=words):
        tried(shop_type, examples=60)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=NO_CLOCK)
@given(story=stories(), arrives=arrivals())
def test_a_story_ends_alike_however_its_webhooks_arrive(
    story: list[Act], arrives: Arrivals
) -> None:
    """`stories` and `arrivals` are for properties of one's own: a paid order is fulfilled once."""
    shop = Shop()
    with shop_world(shop.app, arrivals=arrives, unhandled=["on_refunded"]) as world:
        world.client.post("/pay/42")
        play(world, story)
        assert shop.fulfilled.count("42") <= 1
        if is_paid(world):
            assert ["42"] == shop.fulfilled
