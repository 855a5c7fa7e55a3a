"""Who is a task? The kinds of flows of one shop, made on demand and told apart by their input."""

from __future__ import annotations

from typing import Any

from xpay_flow.endpoints import WebRequest
from xpay_flow.money import Money
from xpay_flow.terms import Terms

from . import outside as world
from .bounds import Group
from .histories import Kind
from .outside import News, Outside
from .shop import Shop

RECEIPT = "order-42"
MONEY = Money(1999, "USD")
TERMS = Terms(receipt_id=RECEIPT, money=MONEY, callback_url="https://shop.example/thanks")


class Casting:
    """Every kind of task that one scene has met; the same input gives the same kind."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._kinds: dict[tuple[Any, ...], Kind] = {}

    def kind(self, group: Group, subject: Any, now: Outside) -> Kind:
        """The kind of a task that begins now."""
        about: Any = None
        if isinstance(subject, News):
            # The bytes of a delivery depend on what the shop asked xPay for.
            about = (now.intent(subject.x_number).request, now.key)
        elif group == "click":
            # The names that a flow is given hold its kind's, so no two clicks share one.
            subject = now.clicks
        key = (group, subject, about)
        if key not in self._kinds:
            self._kinds[key] = self._made(group, subject, now)
        return self._kinds[key]

    def _made(self, group: Group, subject: Any, now: Outside) -> Kind:
        shop, rules = self._shop, self._shop.rules
        if group == "webhook":
            headers, body = world.delivery(now, subject, rules.settings)
            request = WebRequest(
                method="POST", path="/webhook", query={}, headers=headers, body=body
            )
            return Kind(f"webhook {subject}", group, lambda: shop.respond(request, rules), subject)
        if group == "click":
            return Kind(f"click {subject}", group, lambda: shop.click(TERMS, rules), subject)
        if group == "forward":
            metadata = now.intent(subject).asked["metadata"]
            name = str(metadata[rules.settings.metadata_key])
            return Kind("forward", group, lambda: shop.forward(name, rules), subject)
        if group == "worker":
            return Kind("worker", group, lambda: shop.deliver(rules))
        return Kind("reconciler", group, lambda: shop.reconcile(rules))
