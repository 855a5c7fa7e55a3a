"""What of an app must be known to check it? Its webhook's path, and the order that is to be paid.

Both are found where they can be found without doubt, and can be given.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

from xpay_flow.errors import ConfigurationError

from .databases import Contents
from .scenes import Order

_WEBHOOK: Final = re.compile(r"web-?hook|xpay", re.IGNORECASE)
_RECEIPT: Final = re.compile(r"receipt|reference|order_(no|number|id)$|^number$", re.IGNORECASE)
_AMOUNT: Final = re.compile(r"amount|total|price|cents|minor", re.IGNORECASE)
_CURRENCY: Final = re.compile(r"currency", re.IGNORECASE)
_INTENT: Final = re.compile(r"intent", re.IGNORECASE)


def is_asgi(app: Any) -> bool:
    """Whether an app is called as ASGI; if not, it is WSGI."""
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(
        getattr(app, "__call__", None)  # noqa: B004 - whether it is a coroutine function
    )


def webhook_path(app: Any) -> str:
    """The one path that takes POST and is named like a webhook of xPay's.

    Raises:
        ConfigurationError: there is none, or more than one.
    """
    found = sorted({path for path in _post_paths(app) if _WEBHOOK.search(path)})
    if len(found) != 1:
        seen = f"found {', '.join(found)}" if found else "found none"
        raise ConfigurationError(f"name the path of the webhook, such as /webhooks/xpay ({seen})")
    return found[0]


def _post_paths(app: Any) -> Iterator[str]:
    if hasattr(app, "url_map"):  # Flask
        for rule in app.url_map.iter_rules():
            if "POST" in (rule.methods or ()):
                yield str(rule.rule)
    elif hasattr(app, "routes"):  # Starlette, FastAPI
        yield from _starlette(app.routes, "")
    elif type(app).__module__.startswith("django."):
        from django.urls import get_resolver

        yield from _django(get_resolver().url_patterns, "/")


def _starlette(routes: Any, prefix: str) -> Iterator[str]:
    for route in routes:
        path = prefix + str(getattr(route, "path", ""))
        if getattr(route, "routes", None):
            yield from _starlette(route.routes, path)
        elif "POST" in (getattr(route, "methods", None) or ()):
            yield path


def _django(patterns: Any, prefix: str) -> Iterator[str]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from _django(pattern.url_patterns, path)
        elif "<" not in path and "^" not in path:
            yield path


def order_in(contents: Contents) -> Order:
    """The order that is to be paid: the first row of the one table that has receipt and money.

    Raises:
        ConfigurationError: there is no such table, or more than one, or no row.
    """
    found = [(name, order) for name, order in _orders(contents)]
    if len(found) == 1:
        return found[0][1]
    tables = ", ".join(f"{name} ({len(table.rows)} rows)" for name, table in contents.items())
    seen = f"tables: {tables}" if tables else "there is no table"
    raise ConfigurationError(
        f"no one order that waits for its payment is to be seen in the database; {seen}. Put one "
        "there with reset, or name it: receipt id, amount in minor units, currency"
    )


def _orders(contents: Contents) -> Iterator[tuple[str, Order]]:
    for name, table in contents.items():
        places = [_place(table.columns, look) for look in (_RECEIPT, _AMOUNT, _CURRENCY, _INTENT)]
        receipt, amount, currency, intent = places
        if receipt is None or amount is None:
            continue
        for row in list(table.rows.values())[:1]:
            yield (
                name,
                Order(
                    receipt_id=str(row[receipt]),
                    amount_minor=_minor(row[amount]),
                    currency="USD" if currency is None else str(row[currency]),
                    x_intent_id=str((row[intent] if intent is not None else "") or "in_1"),
                ),
            )


def _place(columns: tuple[str, ...], look: re.Pattern[str]) -> int | None:
    return next((n for n, name in enumerate(columns) if look.search(name)), None)


def _minor(amount: Any) -> int:
    return amount if isinstance(amount, int) else round(float(amount) * 100)
