"""The return page in each language and outcome, in a browser, on a store with one payment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect
from serving.kit import Site

from xpay_flow import sample_records as b
from xpay_flow.browser import LOOKS_MAX, Outcome
from xpay_flow.browser.words import SHIPPED, shipped
from xpay_flow.endpoints import Pages, WebRequest

from .audit import faults
from .kit import DESK, PHONE, Shopper

X_INTENT_ID = "in_Ab3dE6gH9jK2mN5p"
EVENTS = {
    "success": [b.paid(x_intent_id=X_INTENT_ID)],
    "failed": [b.failed(x_intent_id=X_INTENT_ID)],
}
LOOKS = {"failed": 3, "waiting": LOOKS_MAX}


def open_page(page: Page, outcome: Outcome, status: object = None) -> None:
    """The return page as it shows this outcome.

    Args:
        status: what the script is answered, if not what is on file. It is never let wait.
    """
    site = Site(pages=Pages(title="The mug shop", retry_url="/cart"))
    for step in b.history(b.created(X_INTENT_ID), *EVENTS.get(outcome, []), receipt_id="order-7"):
        assert site.store.commit(step)

    def answer(route: Route) -> None:
        url = urlsplit(route.request.url)
        if status is not None and url.path == "/payment-status":
            return route.fulfill(json=status)
        request = WebRequest(
            method="GET",
            path=url.path,
            query=dict(parse_qsl(url.query)),
            headers=tuple(route.request.headers.items()),
            may_wait=False,
        )
        found = site.answer(request)
        return route.fulfill(status=found.status, headers=dict(found.headers), body=found.body)

    page.route("http://shop.test/**", answer)
    query = "" if outcome == "unnamed" else f"&xpay_intent_id={X_INTENT_ID}"
    page.goto(f"http://shop.test/return?n={LOOKS.get(outcome, 0)}{query}")


def message(page: Page, text: str) -> None:
    """The heading is shown and has the focus."""
    heading = page.get_by_role("heading", level=1, name=text)
    expect(heading).to_be_visible()
    expect(heading).to_be_focused()


@pytest.mark.parametrize("language", SHIPPED)
def test_axe_finds_nothing_in_any_language(come: Callable[..., Shopper], language: str) -> None:
    """On a phone, where the longest words are too wide first."""
    shopper = come(viewport=PHONE, locale=language)
    open_page(shopper.page, "failed")
    shopper.shoot(f"return-{language}")
    assert language == shopper.page.locator("html").get_attribute("lang")
    assert shipped(language)["failed_title"] == shopper.page.locator("h1:visible").inner_text()
    assert [] == faults(shopper.page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_outcome(
    come: Callable[..., Shopper], scheme: Literal["light", "dark"]
) -> None:
    """One page after the other, on a desk."""
    shopper = come(viewport=DESK, color_scheme=scheme, reduced_motion="reduce")
    for outcome in get_args(Outcome):
        open_page(shopper.page, outcome)
        shopper.shoot(f"return-{outcome}-{scheme}")
        assert [] == faults(shopper.page), outcome
        shopper.page.unroute_all()
    # The browser notes the 400 of an address without a payment itself.
    shopper.complaints.clear()


def test_arabic_is_written_from_the_right(come: Callable[..., Shopper]) -> None:
    """A label stands to the right of its value, and the amount itself is not turned round."""
    shopper = come(locale="ar-EG")
    open_page(shopper.page, "looking")
    label, value = (shopper.page.locator(f".facts {tag}").first for tag in ("dt", "dd"))
    label_box, value_box = label.bounding_box(), value.bounding_box()
    assert label_box is not None
    assert value_box is not None
    assert label_box["x"] > value_box["x"]
    assert "19.99\u00a0USD" == value.inner_text()


def test_the_focus_goes_to_the_message_when_the_script_learns_of_a_decline(
    shopper: Shopper,
) -> None:
    """So a screen reader reads it, and the next key reaches the way on."""
    open_page(shopper.page, "looking", status={"status": "FAILED", "final": True})
    message(shopper.page, "The payment did not go through")


def test_the_focus_goes_to_the_message_without_javascript(come: Callable[..., Shopper]) -> None:
    """The page that has reloaded itself begins with the message, and Tab goes to the way on."""
    shopper = come(java_script_enabled=False)
    open_page(shopper.page, "failed")
    message(shopper.page, "The payment did not go through")
    shopper.page.keyboard.press("Tab")
    expect(shopper.page.get_by_role("link", name="Try again")).to_be_focused()
