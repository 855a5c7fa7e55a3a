"""axe finds nothing on any page, and each is as wide as its window, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import ViewportSize, expect

from .audit import faults
from .kit import DESK, PHONE, Shopper, Urls


def audited(shopper: Shopper, name: str) -> None:
    """The page has nothing to complain of; its picture is kept."""
    shopper.shoot(name)
    assert [] == faults(shopper.page), name


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["1280", "375"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_pass_an_audit(
    come: Callable[..., Shopper],
    urls: Urls,
    viewport: ViewportSize,
    scheme: Literal["light", "dark"],
) -> None:
    """From the shop to the operator: names, headings, contrast, width."""
    shopper = come(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    end = f"{viewport['width']}-{scheme}"
    shopper.visit()
    audited(shopper, f"audit-shop-{end}")
    order_id = shopper.buy("Night shift")
    audited(shopper, f"audit-checkout-{end}")
    shopper.choose("The payment is declined")
    shopper.press_pay()
    expect(shopper.page.get_by_role("alert")).to_contain_text("was not made")
    audited(shopper, f"audit-declined-{end}")
    shopper.page.get_by_role("link", name="return to the shop").click()
    shopper.sees("Waiting for the bank")
    audited(shopper, f"audit-return-{end}")
    shopper.visit(f"/order?order={order_id}")
    audited(shopper, f"audit-order-{end}")
    shopper.press_pay()
    shopper.page.wait_for_url(f"{urls.xpay}/checkout/**")
    shopper.press_pay()
    shopper.page.wait_for_url("**/order?**")
    shopper.sees("packed")
    audited(shopper, f"audit-packed-{end}")
    shopper.visit("/operator")
    audited(shopper, f"audit-operator-{end}")
    shopper.visit(f"/operator/payment?name={order_id}")
    audited(shopper, f"audit-payment-{end}")
    shopper.page.goto(f"{urls.xpay}/_sandbox/")
    audited(shopper, f"audit-overview-{end}")


def test_the_overview_passes_with_every_kind_of_row(shopper: Shopper, urls: Urls) -> None:
    """Deliveries that failed, a dispute, an open payload, and a plan that was refused."""
    urls.set_faults({"fault": "lose", "event_type": "intent.success"})
    shopper.buy("Meadow")
    shopper.press_pay()
    shopper.sees("Waiting for the bank")
    shopper.page.goto(f"{urls.xpay}/_sandbox/")
    shopper.page.get_by_role("button", name="Dispute in_").first.click()
    shopper.page.get_by_text("payload", exact=True).first.click()
    audited(shopper, "audit-overview-dispute")
    shopper.page.get_by_label("What goes wrong, as JSON").fill("{")
    shopper.page.get_by_role("button", name="Put in force").click()

    expect(shopper.page.get_by_role("alert")).to_be_focused()
    shopper.complaints.clear()  # the browser notes the 400 itself
    audited(shopper, "audit-overview-refused")


def test_after_a_decline_the_focus_is_on_the_message(shopper: Shopper) -> None:
    """The checkout is loaded anew, without a script; Tab goes on from the message."""
    shopper.buy("Meadow")
    shopper.choose("The payment is declined")
    shopper.press_pay()

    expect(shopper.page.get_by_role("alert")).to_be_focused()
    shopper.page.keyboard.press("Tab")
    expect(shopper.page.get_by_role("link", name="return to the shop")).to_be_focused()


def test_the_focus_is_on_what_is_wrong_with_a_form(shopper: Shopper) -> None:
    """And a link leads from there to the field."""
    shopper.buy("Meadow")
    shopper.page.get_by_label("Card number").fill("1")
    shopper.press_pay()

    expect(shopper.page.get_by_role("alert")).to_be_focused()
    shopper.complaints.clear()  # the browser notes the 422 itself
    audited(shopper, "audit-form")
    shopper.page.get_by_role("alert").get_by_role("link").click()
    expect(shopper.page.get_by_label("Card number")).to_be_focused()


def test_the_checkout_names_the_shop(shopper: Shopper, urls: Urls) -> None:
    """And not the address of its server."""
    shopper.buy("Meadow")

    expect(shopper.page.get_by_role("main")).to_contain_text("Kiln & Cup")
    assert "127.0.0.1" not in shopper.page.get_by_role("main").inner_text()


def test_a_page_that_is_not_there_passes_too(come: Callable[..., Shopper]) -> None:
    """Even a mistyped address is a page of the shop."""
    shopper = come()
    shopper.visit("/order?order=nonsense")
    shopper.complaints.clear()  # the browser notes the 404 itself

    shopper.sees("That did not work")
    audited(shopper, "audit-404")


GOOD = "<html lang=en><title>x</title><main><h1>x</h1>{}</main>"


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("<html><title>x</title><main><h1>x</h1></main>", "html-has-lang"),
        ("<html lang=en><title>x</title><p>Sandbox</p><main><h1>x</h1></main>", "region"),
        (GOOD.format("<h3>y</h3>"), "heading-order"),
        (GOOD.format("<input>"), "label"),
        (GOOD.format("<img src=data:,>"), "image-alt"),
        (GOOD.format("<p style='color:#999'>too pale</p>"), "color-contrast"),
        (GOOD.format("<svg><text style='fill:#999' y=20>y</text></svg>"), "contrast 2.85"),
        (GOOD.format("<p style='width:9999px'>y</p>"), "px wide"),
    ],
)
def test_the_audit_finds_what_it_looks_for(shopper: Shopper, page: str, complaint: str) -> None:
    """A page with one fault is complained of, and one without is not."""
    shopper.page.set_content(GOOD.format(""))
    assert [] == faults(shopper.page)

    shopper.page.set_content(page)

    assert [text for text in faults(shopper.page) if complaint in text]


def test_a_violated_policy_is_a_complaint(shopper: Shopper) -> None:
    """What every test asserts at its end would notice a style that the policy forbids."""
    shopper.visit()

    shopper.page.evaluate("document.body.append(document.createElement('style'))")
    shopper.page.evaluate("document.querySelector('body > style').textContent = 'p{color:red}'")

    assert [text for text in shopper.complaints if "Content Security Policy" in text]
    shopper.complaints.clear()
