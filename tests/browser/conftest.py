"""A demo and a browser for all tests of this folder, a fresh customer for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from .kit import Shopper, Urls


def _need(there: object, what: str) -> None:
    """Skips where a tool is absent, except in CI, where that would hide everything."""
    if there:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is absent, and CI must run the browser tests")
    pytest.skip(f"{what} is absent")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


# For the package, not the session: while Playwright is up, no other test can run an event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _need(None, "playwright")
        raise
    from .kit import CHROMIUM, launch

    _need(Path(CHROMIUM).exists(), CHROMIUM)
    with sync_playwright() as playwright:
        opened = launch(playwright)
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def urls(browser: Browser) -> Iterator[Urls]:
    from .kit import demo

    with demo() as found:
        yield found


@pytest.fixture
def come(browser: Browser, urls: Urls) -> Iterator[Callable[..., Shopper]]:
    """Brings a customer; options are those of a browser context.

    At the end no page's console may have complained, of an error or of a violated policy.
    """
    from .kit import DESK, Shopper

    urls.set_faults()
    came: list[Shopper] = []
    with ExitStack() as contexts:

        def bring(**options: Any) -> Shopper:
            context = browser.new_context(**({"viewport": DESK} | options))
            contexts.callback(context.close)
            came.append(Shopper(context.new_page(), urls))
            return came[-1]

        yield bring
    urls.set_faults()
    assert [] == [complaint for shopper in came for complaint in shopper.complaints]


@pytest.fixture
def shopper(come: Callable[..., Shopper]) -> Shopper:
    return come()
