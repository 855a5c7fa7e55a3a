"""xpay-flow for Django: its ORM as the store, its URLs, its admin, its checks and its commands.

INSTALLED_APPS = [..., "xpay_flow_django"]

# shop/payments.py
flow = xpay_flow_django.open_flow()          # on the ORM, configured by XPAY_FLOW

# shop/urls.py
path("xpay/", include(xpay_flow_django.routes(flow)))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xpay_flow.errors import MissingExtra

try:
    # Imported here, so that the error names the extra.
    import django as django
except ImportError:
    raise MissingExtra("xpay_flow_django", "django") from None

if TYPE_CHECKING:
    from .opening import open_async_flow, open_flow
    from .stores import AsyncDjangoStore, DjangoStore
    from .web import flow_from, routes

__all__ = [
    "AsyncDjangoStore",
    "DjangoStore",
    "flow_from",
    "open_async_flow",
    "open_flow",
    "routes",
]

# Loaded at first use: Django imports this package before there may be any models.
_LATE = {
    "AsyncDjangoStore": "stores",
    "DjangoStore": "stores",
    "flow_from": "web",
    "open_async_flow": "opening",
    "open_flow": "opening",
    "routes": "web",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LATE[name]}", __name__), name)
    globals()[name] = value
    return value
