"""The page about the return page lists the languages as their files have them."""

from __future__ import annotations

import re

from xpay_flow.browser.words import SHIPPED, shipped

from .pages import DOCS


def test_the_table_of_languages_is_that_of_the_files() -> None:
    """A translation that nobody has read is marked so, and the one who has read it is named."""
    page = (DOCS / "how-to" / "show-the-outcome.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|,]+)(?:, right to left)? \| ([^|]+) \|$", page, re.M)
    words = {language: shipped(language) for language in SHIPPED}
    assert rows == [(tag, w["name"], w["reviewed_by"] or "not yet") for tag, w in words.items()]
