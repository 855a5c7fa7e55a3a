"""Write the pictures of the documentation: `python -m tests.browser.pictures`.

They are taken of the demo and of the checker's report as they are, so take them again when these
change.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from xpay_flow import LIFECYCLE
from xpay_flow.checker.report import report_html
from xpay_flow.drawing import lifecycle_svg

from ..checker.example_report import example
from .kit import PHONE, ROOT, Shopper, Urls, demo, launch

PICTURES = ROOT / "docs" / "pictures"
# A README with larger ones loads slowly on a train.
BYTES_MAX = 200_000
DESK = ViewportSize(width=1280, height=860)
TALL = ViewportSize(width=1280, height=1180)
SHORT = ViewportSize(width=1280, height=725)
# As far down as the whole story.
LONG = ViewportSize(width=1180, height=1480)


def main() -> None:
    """Take all of them."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "lifecycle.svg").write_text(lifecycle_svg(LIFECYCLE), "utf-8")
    with sync_playwright() as playwright, demo() as urls:
        browser = launch(playwright)
        at_the_desk(browser, urls)
        on_the_phone(browser, urls)
        of_the_checker(browser)
        browser.close()
    for path in sorted(PICTURES.glob("*.png")):
        size = path.stat().st_size
        sys.stdout.write(f"{path.relative_to(ROOT)}  {size / 1000:.0f} kB\n")
        if size > BYTES_MAX:
            raise SystemExit(f"{path.name} is larger than {BYTES_MAX / 1000:.0f} kB")


def at_the_desk(browser: Browser, urls: Urls) -> None:
    """A purchase with a decline in it, and what the operator sees."""
    with browser.new_context(viewport=DESK, reduced_motion="reduce") as context:
        shopper = Shopper(context.new_page(), urls)
        shopper.page.set_viewport_size(SHORT)
        shopper.visit()
        take(shopper, "shop")
        shopper.page.set_viewport_size(DESK)
        order_id = shopper.buy("Night shift")
        take(shopper, "checkout")
        shopper.choose("The payment is declined")
        shopper.press_pay()
        shopper.page.get_by_role("alert").get_by_text("was not made").wait_for()
        shopper.choose("The payment is approved")
        shopper.press_pay()
        shopper.page.wait_for_url("**/order?**")
        shopper.sees("packed")
        wait_for_the_bank(urls, shopper)
        take(shopper, "return")
        shopper.page.wait_for_url("**/order?**")
        shopper.visit(f"/operator/payment?name={order_id}")
        shopper.page.set_viewport_size(TALL)
        take(shopper, "operator")
        shopper.visit("/operator")
        shopper.page.set_viewport_size(DESK)
        take(shopper, "payments")


def on_the_phone(browser: Browser, urls: Urls) -> None:
    """The same shop in a pocket."""
    with browser.new_context(viewport=PHONE, reduced_motion="reduce") as context:
        shopper = Shopper(context.new_page(), urls)
        order_id = shopper.buy("Sunrise")
        shopper.press_pay()
        shopper.page.wait_for_url("**/order?**")
        shopper.visit(f"/order?order={order_id}")
        take(shopper, "phone", whole=True)


def of_the_checker(browser: Browser) -> None:
    """The report of a shop in which the record that is written last wins."""
    with browser.new_context(viewport=LONG) as context:
        page = context.new_page()
        page.set_content(report_html(example("newest wins")))
        page.screenshot(path=PICTURES / "report.png")


def wait_for_the_bank(urls: Urls, shopper: Shopper) -> None:
    """A paid order whose good event is held up, so that the browser stays on the return page."""
    urls.set_faults({"fault": "delay", "event_type": "intent.success", "seconds": 2})
    shopper.buy("Meadow")
    shopper.press_pay()
    shopper.sees("Waiting for the bank")


def take(shopper: Shopper, name: str, *, whole: bool = False) -> Path:
    """What is in the window, or the whole page."""
    shopper.page.wait_for_load_state("load")
    path = PICTURES / f"{name}.png"
    shopper.page.screenshot(path=path, full_page=whole)
    return path


if __name__ == "__main__":
    main()
