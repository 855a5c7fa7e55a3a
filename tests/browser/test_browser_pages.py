"""Every page is labelled, in order, legible and as wide as its window, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import ViewportSize, expect

from .kit import DESK, PHONE, Shopper, Urls

AUDIT = Path(__file__).with_name("audit.js").read_text()


def audited(shopper: Shopper, name: str) -> None:
    """The page has nothing to complain of; its picture is kept."""
    shopper.shoot(name)
    assert [] == shopper.page.evaluate(AUDIT), name


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


def test_a_page_that_is_not_there_passes_too(come: Callable[..., Shopper]) -> None:
    """Even a mistyped address is a page of the shop."""
    shopper = come()
    shopper.visit("/order?order=nonsense")
    shopper.complaints.clear()  # the browser notes the 404 itself

    shopper.sees("That did not work")
    audited(shopper, "audit-404")


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("<html><title>x</title><main><h1>x</h1></main>", "no language"),
        ("<html lang=en><title>x</title><main><h1>x</h1><h3>y</h3></main>", "heading"),
        ("<html lang=en><title>x</title><main><h1>x</h1><input></main>", "no name"),
        ("<html lang=en><title>x</title><main><h1>x</h1><svg></svg></main>", "picture"),
        (
            "<html lang=en><title>x</title><main><h1>x</h1><p style='color:#999'>y</p></main>",
            "contrast 2.85",
        ),
        (
            "<html lang=en><title>x</title><main><h1>x</h1><p style='width:9999px'>y</p></main>",
            "px wide",
        ),
    ],
)
def test_the_audit_finds_what_it_looks_for(shopper: Shopper, page: str, complaint: str) -> None:
    """A page with one fault is complained of."""
    shopper.page.set_content(page)

    found = shopper.page.evaluate(AUDIT)

    assert [complaint_text for complaint_text in found if complaint in complaint_text]


def test_a_violated_policy_is_a_complaint(shopper: Shopper) -> None:
    """What every test asserts at its end would notice a style that the policy forbids."""
    shopper.visit()

    shopper.page.evaluate("document.body.append(document.createElement('style'))")
    shopper.page.evaluate("document.querySelector('body > style').textContent = 'p{color:red}'")

    assert [text for text in shopper.complaints if "Content Security Policy" in text]
    shopper.complaints.clear()
