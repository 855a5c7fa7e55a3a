"""Which lines does a shop paste to take a first payment? For each framework, in its own words."""

from __future__ import annotations

from typing import Final

from .project import Framework

_HEAD: Final = """\
import xpay_flow_{framework}
from xpay_flow import {flow}, Money

flow = {flow}.open()  # reads XPAY_STORE and the other variables


@flow.on_success
{define} fulfil(payment):  # may be called again, with the same payment.idempotency_key
    print("paid:", payment.receipt_id, payment.money)  # your order is paid: fulfil it


"""
_MOUNTS: Final[dict[Framework, str]] = {
    "fastapi": '{app}.include_router(xpay_flow_fastapi.routes(flow), prefix="/xpay")\n',
    "starlette": "from starlette.routing import Mount\n\n"
    '{app}.router.routes.insert(0, Mount("/xpay", routes=xpay_flow_starlette.routes(flow)))\n',
    "flask": '{app}.register_blueprint(xpay_flow_flask.routes(flow), url_prefix="/xpay")\n',
    "quart": '{app}.register_blueprint(xpay_flow_quart.routes(flow), url_prefix="/xpay")\n',
    "litestar": "from litestar import Router\n\n"
    '{app}.register(Router("/xpay", route_handlers=xpay_flow_litestar.routes(flow)))\n',
    "aiohttp": '{app}.add_subapp("/xpay", xpay_flow_aiohttp.routes(flow))\n',
}
_AWAITED: Final = frozenset({"quart", "aiohttp"})
_CHECKOUT: Final = """\
checkout = {awaits}flow.start_checkout(
    receipt_id=order_id,
    money=Money.of("19.99", "USD"),  # the price is the server's, never the browser's
    callback_url="http://127.0.0.1:8000/xpay/return",
    customer={{"name": "Ada Example", "email": "ada@example.org"}},
)
# and redirect the customer to checkout.url
"""
_DJANGO_PAYMENTS: Final = """\
import xpay_flow_django

flow = xpay_flow_django.open_flow()


@flow.on_success
def fulfil(payment):  # may be called again, with the same payment.idempotency_key
    print("paid:", payment.receipt_id, payment.money)  # your order is paid: fulfil it
"""
_DJANGO_SETTINGS: Final = 'INSTALLED_APPS += ["xpay_flow_django"]\n'
_DJANGO_URLS: Final = """\
import xpay_flow_django
from django.urls import include, path
from {package}.payments import flow

urlpatterns += [path("xpay/", include(xpay_flow_django.routes(flow)))]
"""
# In the environment, so that each server and each command finds them.
STUB: Final = """\
# Settings of xpay-flow for the local xPay; all others: xpay-flow's page on settings.
# Read them in with: set -a; . ./{file}; set +a
XPAY_MODE=sandbox
XPAY_PUBLIC_KEY=sandbox_public_key
XPAY_PRIVATE_KEY=sandbox_private_key
XPAY_WEBHOOK_SECRETS=sandbox_signing_key_0123456789
XPAY_BASE_URL=http://127.0.0.1:4010
{store}# Live: XPAY_MODE=live, the keys of xPay's dashboard, no XPAY_BASE_URL, and another store;
# and out of version control with it.
"""


def blocks_for(framework: Framework, app: str) -> list[tuple[str, str]]:
    """Where each block of lines goes, and the lines.

    Args:
        app: the variable of the app; of a Django project, the module of its settings.
    """
    if framework == "django":
        package = app.rpartition(".")[0] or app
        folder = package.replace(".", "/")
        return [
            (f"at the end of {app.replace('.', '/')}.py", _DJANGO_SETTINGS),
            (f"in {folder}/payments.py", _DJANGO_PAYMENTS),
            (f"at the end of {folder}/urls.py", _DJANGO_URLS.format(package=package)),
            (_VIEW, "from xpay_flow import Money\n\n" + _CHECKOUT.format(awaits="")),
        ]
    awaited = framework in _AWAITED
    head = _HEAD.format(
        framework=framework,
        flow="AsyncFlow" if awaited else "Flow",
        define="async def" if awaited else "def",
    )
    return [
        ("below the line that makes the app", head + _MOUNTS[framework].format(app=app)),
        (_VIEW, _CHECKOUT.format(awaits="await " if awaited else "")),
    ]


_VIEW: Final = "in the view behind your Pay button"
