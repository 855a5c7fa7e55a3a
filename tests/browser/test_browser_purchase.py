"""A customer buys a mug in a real browser, on good days and on bad ones."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from .kit import Shopper, Urls

SUCCESS = "intent.success"


def test_success(shopper: Shopper) -> None:
    """Buy, pay, come back: the mug is packed, once, and the operator sees why."""
    order_id = shopper.buy("Night shift")
    shopper.shoot("checkout-1280")

    shopper.press_pay()
    shopper.page.wait_for_url("**/order?**")

    shopper.visit(f"/order?order={order_id}")
    shopper.sees("Your mug is packed")
    assert "1" == shopper.packed()
    shopper.shoot("order-1280")
    shopper.page.get_by_role("link", name="See what happened").click()
    shopper.page.wait_for_url("**/operator/payment**")
    expect(shopper.page.get_by_text("This payment is in state success.")).to_be_attached()
    shopper.shoot("payment-1280")


def test_declined(shopper: Shopper, urls: Urls) -> None:
    """The checkout shows it; back at the shop a failure that stands is shown, with a way on."""
    order_id = shopper.buy()
    shopper.choose("The payment is declined")
    shopper.press_pay()
    alert = shopper.page.get_by_role("alert")
    expect(alert).to_contain_text("You have not been charged")
    shopper.shoot("declined-1280")

    alert.get_by_role("link", name="return to the shop").click()
    shopper.sees("Waiting for the bank")
    shopper.sees("The payment did not go through")
    shopper.shoot("return-failed-1280")

    shopper.page.get_by_role("link", name="Try again").click()
    shopper.page.wait_for_url("**/order?**")
    expect(shopper.page.get_by_text("insufficient_funds")).to_be_visible()
    assert "0" == shopper.packed()
    assert order_id in shopper.page.url
    shopper.shoot("order-failed-1280")


def test_declined_then_paid(shopper: Shopper) -> None:
    """The failure is not the last word: the same page takes another try."""
    order_id = shopper.buy("Meadow")
    shopper.choose("The payment is declined")
    shopper.press_pay()
    expect(shopper.page.get_by_role("alert")).to_contain_text("was not made")

    shopper.choose("The payment is approved")
    shopper.press_pay()

    shopper.page.wait_for_url("**/order?**")
    shopper.visit(f"/order?order={order_id}")
    shopper.sees("Your mug is packed")
    assert "1" == shopper.packed()


def test_back_before_the_webhook(shopper: Shopper, urls: Urls) -> None:
    """The page waits, warns of paying again, and goes on by itself when the event comes."""
    urls.set_faults({"fault": "delay", "event_type": SUCCESS, "seconds": 2})
    shopper.buy("Sunrise")

    shopper.press_pay()

    shopper.sees("Waiting for the bank")
    expect(shopper.page.get_by_text("Please do not pay again.").first).to_be_visible()
    shopper.shoot("return-1280")
    shopper.page.wait_for_url("**/order?**")
    shopper.sees("packed")


def test_a_lost_webhook_is_made_good_by_reconciliation(shopper: Shopper, urls: Urls) -> None:
    """No webhook ever reports it; the shop reconciles, and the timeline shows an answer instead."""
    urls.set_faults({"fault": "lose", "event_type": SUCCESS})
    order_id = shopper.buy("Confetti")

    shopper.press_pay()
    shopper.sees("Waiting for the bank")
    shopper.page.wait_for_url("**/order?**")

    shopper.visit(f"/operator/payment?name={order_id}")
    story = shopper.page.locator("table.timeline")
    expect(story.get_by_role("row", name="SUCCESS API answer applied")).to_be_visible()
    expect(story.get_by_text(SUCCESS, exact=True)).to_have_count(0)
    shopper.shoot("payment-lost-1280")


def test_a_webhook_three_times_packs_once(shopper: Shopper, urls: Urls) -> None:
    """Copies are recognised and counted, and the mug is packed once."""
    urls.set_faults({"fault": "duplicate", "event_type": SUCCESS, "copies": 2})
    order_id = shopper.buy("Terracotta")

    shopper.press_pay()
    shopper.page.wait_for_url("**/order?**")

    shopper.visit("/operator?live=1")
    copies = shopper.page.locator(".counters div", has_text="webhook.duplicate").locator("dd")
    expect(copies).to_have_text("2")
    shopper.shoot("operator-1280")
    shopper.visit(f"/order?order={order_id}")
    assert "1" == shopper.packed()


def test_cancelled_and_then_paid(shopper: Shopper) -> None:
    """Leaving the checkout keeps the order; it can be paid afterwards."""
    order_id = shopper.buy()
    shopper.page.get_by_role("button", name="Cancel and return").click()
    shopper.sees("You left the checkout")
    assert "0" == shopper.packed()
    shopper.shoot("order-left-1280")

    shopper.press_pay()
    shopper.page.wait_for_url(re.compile("/checkout/"))
    shopper.press_pay()

    shopper.page.wait_for_url("**/order?**")
    shopper.visit(f"/order?order={order_id}")
    shopper.sees("Your mug is packed")


def test_a_browser_that_never_returns(shopper: Shopper) -> None:
    """The order is packed although the customer did not come back."""
    order_id = shopper.buy()
    shopper.choose("the browser never returns")
    shopper.press_pay()
    shopper.sees("Payment approved")

    shopper.visit(f"/operator/payment?name={order_id}&live=1")

    expect(shopper.page.locator("table.timeline").get_by_text("on_success").last).to_be_visible()
    shopper.visit(f"/order?order={order_id}")
    shopper.sees("Your mug is packed")


def test_without_javascript(come: Callable[..., Shopper], urls: Urls) -> None:
    """The page reloads itself until it knows, and then leads on by a link."""
    urls.set_faults({"fault": "delay", "event_type": SUCCESS, "seconds": 1})
    shopper = come(java_script_enabled=False)
    shopper.buy("Harbour")

    shopper.press_pay()
    shopper.sees("Waiting for the bank")
    shopper.sees("Thank you, it is paid")
    shopper.shoot("return-success-1280")

    shopper.page.get_by_role("link", name="Continue").click()
    shopper.sees("Your mug is packed")


def test_a_double_click_is_one_purchase(shopper: Shopper, urls: Urls) -> None:
    """Two quick clicks on Buy make one payment."""
    shopper.visit()
    order_id = shopper.page.locator("[name=order]").first.get_attribute("value")

    shopper.page.get_by_role("button", name="Buy Harbour").dblclick()
    shopper.page.wait_for_url(f"{urls.xpay}/checkout/**")

    shopper.visit("/operator")
    expect(shopper.page.get_by_role("link", name=order_id or "?")).to_have_count(1)


def test_with_the_keyboard_alone(shopper: Shopper) -> None:
    """Skip link, Buy and Pay are reached and pressed without a mouse."""
    shopper.visit()
    shopper.page.keyboard.press("Tab")
    expect(shopper.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    shopper.page.get_by_role("button", name="Buy Meadow").focus()
    shopper.page.keyboard.press("Enter")
    shopper.page.wait_for_url(re.compile("/checkout/"))
    shopper.page.get_by_label("Security code").focus()

    shopper.page.keyboard.press("Enter")

    shopper.page.wait_for_url("**/order?**")
    shopper.sees("packed")


def test_failing_handlers_are_seen_and_delivered_again(shopper: Shopper) -> None:
    """On a bad day the order waits; the operator mends it and presses a button."""
    shopper.visit("/operator")
    shopper.page.get_by_role("button", name="Packing fails").click()
    try:
        order_id = shopper.buy("Sunrise")
        shopper.press_pay()
        shopper.page.wait_for_url("**/order?**")
        shopper.sees("We are packing it")
        shopper.visit(f"/operator/payment?name={order_id}&live=1")
        again = shopper.page.get_by_role("button", name="Deliver on_success again")
        expect(again).to_be_visible(timeout=30_000)
        shopper.shoot("payment-jammed-1280")
    finally:
        shopper.visit("/operator")
        shopper.page.get_by_role("button", name="All is well").click()

    shopper.visit(f"/operator/payment?name={order_id}")
    shopper.page.get_by_role("button", name="Deliver on_success again").click()

    shopper.visit(f"/order?order={order_id}")
    shopper.sees("Your mug is packed")
