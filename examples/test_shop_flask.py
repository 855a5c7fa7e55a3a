"""The tests of the shop on Flask, with the fixtures of xpay-flow's pytest plugin."""

import httpx
import pytest
from shop_orders import is_fulfilled

from xpay_flow.testing.shop_world import ShopWorld


@pytest.fixture
def xpay_app() -> str:
    return "shop_flask:app"


@pytest.mark.xpay_order("shuffle", duplicates=3)
def test_a_paid_order_is_fulfilled(xpay_client: httpx.Client, xpay_world: ShopWorld) -> None:
    assert xpay_client.post("/orders/42/pay").status_code == 303
    xpay_world.decline()
    xpay_world.pay()  # on the same page, with another card
    xpay_world.settle()
    assert is_fulfilled("42")
    assert xpay_client.get("/orders/42").text == "paid"
    assert "Thank you" in xpay_world.come_back().text


@pytest.mark.xpay_order(lost=1)
def test_a_lost_webhook_is_noticed(xpay_client: httpx.Client, xpay_world: ShopWorld) -> None:
    xpay_client.post("/orders/42/pay")
    xpay_world.pay()
    xpay_world.settle(seconds=120)  # a minute after the checkout, xPay is queried
    assert is_fulfilled("42")


@pytest.mark.xpay_unhandled("on_attention")  # this shop has none
def test_another_amount_fulfils_nothing(xpay_client: httpx.Client, xpay_world: ShopWorld) -> None:
    xpay_client.post("/orders/42/pay")
    assert xpay_world.event("intent.success", amount=1).status_code == 200
    xpay_world.settle()
    assert not is_fulfilled("42")
