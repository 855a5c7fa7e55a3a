"""xpay-flow for pytest: fixtures that put your own app beside a local xPay.

    # pyproject.toml
    [tool.pytest.ini_options]
    xpay_app = "shop.main:app"     # ASGI, WSGI or aiohttp; a Django project needs no such line

    def test_an_order_is_paid(xpay_client, xpay_world):
        xpay_client.post("/orders/42/pay")
        xpay_world.pay()
        xpay_world.settle()
        assert "paid" in xpay_client.get("/orders/42").text

Until a fixture is used this imports nothing of xpay-flow: pytest loads it in every project.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    import httpx

    from xpay_flow.sandbox import VirtualClock
    from xpay_flow.testing.shop_world import ShopWorld

_MARKERS: Final = (
    "xpay_order(order='as_sent', duplicates=0, lost=0, seed=None): how xPay's webhooks arrive in "
    "this test: 'as_sent', 'reversed' or 'shuffle', with so many copies, and so many that never "
    "arrive",
    "xpay_unhandled(*names): handlers that may be due in this test although the shop has none, "
    "such as 'on_attention'",
)
# What `Flow.open()` needs, with the keys of the local xPay.
_ENVIRONMENT: Final = {
    "XPAY_MODE": "sandbox",
    "XPAY_PUBLIC_KEY": "sandbox_public_key",
    "XPAY_PRIVATE_KEY": "sandbox_private_key",
    "XPAY_WEBHOOK_SECRETS": "sandbox_signing_key_0123456789",
    "XPAY_BASE_URL": "http://127.0.0.1:4010",
    "XPAY_STORE": "memory://",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings of the plugin."""
    parser.addini(
        "xpay_app", "your app for xpay-flow's fixtures, such as shop.main:app", default=""
    )
    parser.addini("xpay_webhook", "the path of xPay's webhook in it", default="/xpay/webhook")


def pytest_configure(config: pytest.Config) -> None:
    """Where an app is named, it can be imported: its settings are those of the local xPay."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if config.getini("xpay_app"):
        _complete_environment(config)


def _complete_environment(config: pytest.Config) -> None:
    for name, value in _ENVIRONMENT.items():
        if not os.environ.get(name):
            os.environ[name] = value
            config.add_cleanup(partial(_unset, name))


def _unset(name: str) -> None:
    os.environ.pop(name, None)


@pytest.fixture
def xpay_app(request: pytest.FixtureRequest) -> Any:
    """Your app; define a fixture of this name where `xpay_app = module:app` is not enough."""
    return request.config.getini("xpay_app") or None


@pytest.fixture
def xpay_world(request: pytest.FixtureRequest, xpay_app: Any) -> Iterator[ShopWorld]:
    """Your app and its flow, with a local xPay and one clock; see `ShopWorld`."""
    from xpay_flow.testing.arrivals import Arrivals
    from xpay_flow.testing.shop_world import ShopTestFailed, shop_world

    # For an app that is named by a fixture, and imported only now.
    _complete_environment(request.config)
    node: Any = request.node
    mark = node.get_closest_marker("xpay_order")
    wanted: dict[str, Any] = {"order": "as_sent", "seed": node.nodeid}
    if mark is not None:
        wanted |= dict(zip(("order", "duplicates", "lost", "seed"), mark.args, strict=False))
        wanted |= mark.kwargs
    unhandled = [name for each in node.iter_markers("xpay_unhandled") for name in each.args]
    try:
        with shop_world(
            xpay_app,
            webhook=request.config.getini("xpay_webhook"),
            arrivals=Arrivals(**wanted),
            unhandled=unhandled,
            note=lambda line: node.add_report_section("call", "xPay's webhooks", line),
        ) as world:
            yield world
    except ShopTestFailed as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def xpay_client(xpay_world: ShopWorld) -> httpx.Client:
    """A customer's browser on your app: an `httpx.Client` that keeps cookies."""
    return xpay_world.client


@pytest.fixture
def xpay_clock(xpay_world: ShopWorld) -> VirtualClock:
    """The clock of your flow and of xPay: `advance(seconds)` lets time pass."""
    return xpay_world.clock


@pytest.fixture
def xpay_event(xpay_world: ShopWorld) -> Callable[..., httpx.Response]:
    """Delivers an event of any content to your route at once; see `ShopWorld.event`."""
    return xpay_world.event
