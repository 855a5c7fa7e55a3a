"""The demo in a process of its own, and Chromium in front of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs
import httpx
from playwright.sync_api import Browser, Page, Playwright, ViewportSize, expect
from processes import line_of

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
# No sandbox: tests run as root in containers. The rest keeps Chromium from calling anybody.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / "artefacts"
DESK, PHONE = ViewportSize(width=1280, height=860), ViewportSize(width=375, height=780)
# The slowest answer is the failure that must stand for 8 seconds before it is shown.
PATIENCE_MS = 20_000


@attrs.frozen
class Urls:
    """Where the demo is."""

    shop: str
    xpay: str

    def set_faults(self, *webhooks: dict[str, object]) -> None:
        """What goes wrong from now on; nothing if nothing is given."""
        plan = {"webhooks": list(webhooks)}
        url = f"{self.xpay}/_sandbox/api/faults"
        httpx.put(url, json=plan, trust_env=False).raise_for_status()


@contextmanager
def demo() -> Generator[Urls, None, None]:
    """The demo on free ports, until the end of the context."""
    command = [sys.executable, "-u", "-m", "xpay_flow.cli", "demo", "--no-open"]
    with subprocess.Popen(
        [*command, "--port", "0", "--xpay-port", "0"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            printed = ""
            while "Ctrl+C" not in printed:
                line = line_of(process.stdout, "the demo")
                assert line, "the demo ended before it served"
                printed += line
            yield Urls(*re.findall(r"(http://[\d.:]+)/(?:\n|_sandbox)", printed))
        finally:
            process.terminate()
            process.wait(20)


def launch(playwright: Playwright) -> Browser:
    """A headless Chromium."""
    expect.set_options(timeout=PATIENCE_MS)
    return playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))


class Shopper:
    """A customer at a browser; `complaints` is what the browser's console complained of."""

    def __init__(self, page: Page, urls: Urls) -> None:
        self.page, self.urls = page, urls
        self.complaints: list[str] = []
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _listen(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def visit(self, path: str = "/") -> None:
        self.page.goto(self.urls.shop + path)

    def buy(self, name: str = "Harbour") -> str:
        """Press Buy, and wait for the checkout page; returns the order's id."""
        self.visit()
        card = self.page.locator(".product", has_text=name)
        order_id = card.locator("[name=order]").get_attribute("value")
        card.get_by_role("button", name=f"Buy {name}").click()
        self.page.wait_for_url(f"{self.urls.xpay}/checkout/**")
        assert order_id is not None
        return order_id

    def choose(self, outcome: str) -> None:
        self.page.get_by_role("radio", name=outcome).check()

    def press_pay(self) -> None:
        self.page.get_by_role("button", name=re.compile("^Pay")).click()

    def sees(self, heading: str) -> None:
        """Waits for a page, or a part of one, with this heading."""
        expect(self.page.get_by_role("heading", level=1, name=heading)).to_be_visible()

    def packed(self) -> str | None:
        """How often the mug on this page was packed."""
        return self.page.locator("[data-packed]").get_attribute("data-packed")

    def x_intent_id(self) -> str:
        """The id in the address that xPay sent us back to."""
        return parse_qs(urlsplit(self.page.url).query)["xpay_intent_id"][0]

    def shoot(self, name: str, *, whole: bool = True) -> None:
        """Keep a picture to look into a failure, or at the design."""
        self.page.wait_for_load_state("load")
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=whole)
