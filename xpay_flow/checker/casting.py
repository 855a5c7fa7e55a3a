"""Which kinds of tasks are there? The flows of one shop, made on demand, by their input."""

from __future__ import annotations

from typing import Any

import attrs

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
# The order before and after a change, of which another tab of the customer may not know. A click
# for one of these queries each page before it is handed out again.
ORDERS = {"": TERMS, "changed": attrs.evolve(TERMS, money=Money(1499, "USD"))}


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
            about, subject = subject, now.clicks
        key = (group, subject, about)
        if key not in self._kinds:
            self._kinds[key] = self._made(group, subject, now, about)
        return self._kinds[key]

    def _made(self, group: Group, subject: Any, now: Outside, about: Any) -> Kind:
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
            if about is None:
                return Kind(f"click {subject}", group, lambda: shop.click(TERMS, context), subject)
            settings = attrs.evolve(context.settings, page_check_after_s=0)
            asking = attrs.evolve(context, settings=settings)
            terms, name = ORDERS[about], " ".join(filter(None, (f"click {subject}", about)))
            return Kind(name, group, lambda: shop.click(terms, asking), subject)
        if group == "send_to_checkout":
            metadata = now.intent(subject).order["metadata"]
            name = str(metadata[context.settings.metadata_key])
            return Kind(
                "send_to_checkout", group, lambda: shop.send_to_checkout(name, context), subject
            )
        if group == "worker":
            return Kind("worker", group, lambda: shop.deliver(context))
        return Kind("reconciler", group, lambda: shop.reconcile(context))
