"""Who competes for a webhook? Shops by name, each on a database of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

import xpay_flow_asgi
import xpay_flow_wsgi
from xpay_flow import AsyncFlow, Flow
from xpay_flow.stores.sqlite import SQLiteStore

from . import by_hand
from .orders import SETTINGS, Order, fill, unpaid
from .wear import wear_in, wear_in_ours

# Both worlds have their opponent: the same work with nothing in between.
STARLETTE: Final = "by hand: Starlette + sqlite3"
WSGI: Final = "by hand: WSGI + sqlite3"
PREFIX: Final = "/xpay"


@attrs.frozen(kw_only=True)
class Shop:
    """An app that takes webhooks.

    Args:
        unpaid: how many of the given orders are not recorded as they should be.
        close: whatever it returns is to be awaited, if it can be.
    """

    app: Any
    unpaid: Callable[[], int]
    close: Callable[[], Awaitable[None] | None]


Opened = Callable[[Path, Sequence[Order]], Shop]


def _starlette(*, keeps_history: bool = False, in_thread: bool = True) -> Opened:
    def opened(path: Path, given: Sequence[Order]) -> Shop:
        shop = _by_hand(path, given, keeps_history)
        app = by_hand.starlette_app(shop, in_thread=in_thread)
        return Shop(app=app, unpaid=shop.unpaid, close=shop.close)

    return opened


def _wsgi(*, keeps_history: bool = False) -> Opened:
    def opened(path: Path, given: Sequence[Order]) -> Shop:
        shop = _by_hand(path, given, keeps_history)
        return Shop(app=by_hand.wsgi_app(shop), unpaid=shop.unpaid, close=shop.close)

    return opened


def _by_hand(path: Path, given: Sequence[Order], keeps_history: bool) -> by_hand.Shop:
    shop = by_hand.Shop(path, SETTINGS.webhook_secrets[0], keeps_history=keeps_history)
    shop.add(given)
    wear_in(path)
    return shop


def _stored(path: Path, given: Sequence[Order]) -> SQLiteStore:
    fill(path, given)
    store = SQLiteStore(path)
    wear_in_ours(store, path)
    return store


def _async_flow(*, background: bool = False) -> Opened:
    def opened(path: Path, given: Sequence[Order]) -> Shop:
        store = _stored(path, given)
        flow = AsyncFlow(store, SETTINGS, background=background)
        if background:
            flow.on_success(_fulfil)
        app = xpay_flow_asgi.routes(flow, prefix=PREFIX)
        return Shop(app=app, unpaid=_counted(store, given), close=flow.close)

    return opened


async def _fulfil(_: object) -> None:
    """A handler that costs nothing: the time is ours."""


def _flow(routes: Callable[..., Any]) -> Opened:
    def opened(path: Path, given: Sequence[Order]) -> Shop:
        store = _stored(path, given)
        flow = Flow(store, SETTINGS, background=False)
        app = routes(flow, prefix=PREFIX)
        return Shop(app=app, unpaid=_counted(store, given), close=flow.close)

    return opened


def _counted(store: SQLiteStore, given: Sequence[Order]) -> Callable[[], int]:
    return lambda: len(unpaid(store, given))


ASGI_SHOPS: Final[dict[str, Opened]] = {
    STARLETTE: _starlette(),
    "by hand, holding up the event loop": _starlette(in_thread=False),
    "by hand, with history and outbox": _starlette(keeps_history=True),
    "xpay-flow: AsyncFlow": _async_flow(),
    "xpay-flow: Flow in a thread": _flow(xpay_flow_asgi.routes),
}
WSGI_SHOPS: Final[dict[str, Opened]] = {
    WSGI: _wsgi(),
    "by hand, with history and outbox": _wsgi(keeps_history=True),
    "xpay-flow: Flow": _flow(xpay_flow_wsgi.routes),
}
SERVED_SHOPS: Final[dict[str, Opened]] = {
    STARLETTE: ASGI_SHOPS[STARLETTE],
    "by hand, with history and outbox": ASGI_SHOPS["by hand, with history and outbox"],
    "xpay-flow: AsyncFlow": ASGI_SHOPS["xpay-flow: AsyncFlow"],
    "xpay-flow: AsyncFlow, and on_success": _async_flow(background=True),
}
