"""Which kinds of tasks are there? The flows of one shop, made on demand, by their input."""

from __future__ import annotations

from typing import Any

from xpay_flow.checkout_request import CheckoutRequest
from xpay_flow.endpoints import WebRequest
from xpay_flow.money import Money

from . import outside as world
from .bounds import Group
from .histories import Kind
from .outside import Outside, XEvent
from .shop import Shop, answering

RECEIPT = "order-42"
MONEY = Money(1999, "USD")
TERMS = CheckoutRequest(receipt_id=RECEIPT, money=MONEY, callback_url="https://shop.example/thanks")


class Casting:
    """Every kind of task that one scene has met; the same input gives the same kind."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._kinds: dict[tuple[Any, ...], Kind] = {}

    def kind(self, group: Group, subject: Any, now: Outside) -> Kind:
        """The kind of a task that begins now."""
        about: Any = None
        if isinstance(subject, XEvent):
            # The bytes of a delivery depend on the shop's request to xPay.
            about = (now.intent(subject.x_number).request, now.key)
        elif group == "click":
            # The names that a flow is given hold its kind's, so no two clicks share one.
            subject = now.clicks
        key = (group, subject, about)
        if key not in self._kinds:
            self._kinds[key] = self._made(group, subject, now)
        return self._kinds[key]

    def _made(self, group: Group, subject: Any, now: Outside) -> Kind:
        shop, context = self._shop, self._shop.context
        if group == "webhook":
            headers, body = world.delivery(now, subject, context.settings)
            request = WebRequest(
                method="POST", path="/webhook", query={}, headers=headers, body=body
            )
            return Kind(
                f"webhook {subject}",
                group,
                lambda: shop.respond(request, context),
                subject,
                own=shop.respond is not answering,
            )
        if group == "click":
            return Kind(f"click {subject}", group, lambda: shop.click(TERMS, context), subject)
        if group == "send_to_checkout":
            metadata = now.intent(subject).order["metadata"]
            name = str(metadata[context.settings.metadata_key])
            return Kind(
                "send_to_checkout", group, lambda: shop.send_to_checkout(name, context), subject
            )
        if group == "worker":
            return Kind("worker", group, lambda: shop.deliver(context))
        return Kind("reconciler", group, lambda: shop.reconcile(context))
