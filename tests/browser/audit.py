"""What is wrong with a page for those who cannot see it well, or use no mouse?"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
OURS = Path(__file__).with_name("audit.js").read_text("utf-8")
# Every rule of axe's, those that go beyond WCAG among them. Nothing is loaded again.
OPTIONS = {"resultTypes": ["violations"], "preload": False}


def faults(page: Page) -> list[str]:
    """What axe complains of on the page as it is shown, and what it does not look for."""
    page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate("(options) => axe.run(options)", OPTIONS)
    complaints = [
        f"{violation['id']}: {violation['help']}: {node['html'][:120]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
    ours: list[str] = page.evaluate(OURS)
    return complaints + ours
