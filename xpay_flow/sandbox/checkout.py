"""The page on which a customer pays, and where the browser goes from there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import attrs
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from xpay_flow import messages
from xpay_flow.errors import InvalidValue, UnknownIntent

from .cards import CARD_METHODS, DECLINES, TEST_CARDS, Card
from .ledger import Intent
from .local import Sandbox
from .payloads import STAND_IN_CUSTOMER, Json
from .rendering import page, read_form

PATH = "/checkout/"
FIELD_CHARS_MAX = 200

METHOD_NAMES = {
    "CARD": "Card",
    "CARD_INSTALLMENT": "Card, in instalments",
    "APPLE_PAY": "Apple Pay",
    "GOOGLE_PAY": "Google Pay",
    "PAYPAL": "PayPal",
    "AMAZON_PAY": "Amazon Pay",
    "CASH_APP": "Cash App",
    "AFTERPAY": "Afterpay",
    "KLARNA": "Klarna",
}
APPROVE, DECLINE, APPROVE_AND_STAY = "approve", "decline", "approve_and_stay"


@attrs.frozen(kw_only=True)
class Filled:
    """The form as the customer sent it; `errors` names what has to be put right."""

    method: str = "CARD"
    card: Card | None = None
    name: str = ""
    email: str = ""
    outcome: str = APPROVE
    decline_code: str = "insufficient_funds"
    errors: Mapping[str, str] = attrs.field(factory=dict[str, str])


class CheckoutPage:
    """The hosted page of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        return [
            Route(PATH, self.show, methods=["GET"]),
            Route(PATH, self.submit, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The form, or a page with the reason why there is nothing to pay."""
        intent = self._find(request)
        if intent is None:
            return _unknown()
        status = self._sandbox.status(intent.x_intent_id)
        if request.method == "GET" and status in (messages.STATUS_CREATED, messages.STATUS_FAILED):
            intent = self._sandbox.open_checkout(intent.x_intent_id)
        return self._page(intent, Filled())

    async def submit(self, request: Request) -> Response:
        """Pays, is declined, or gives up."""
        intent = self._find(request)
        if intent is None:
            return _unknown()
        form = await read_form(request)
        if form.get("act") == "cancel":
            return self._cancel(intent)
        if intent.succeeded:  # a second click on Pay
            return await self._to_shop(intent)
        if intent.cancelled:
            return self._page(intent, Filled())
        filled = _filled(form, intent)
        if filled.errors:
            return self._page(intent, filled, 422)
        return await self._attempt(intent, filled)

    def _find(self, request: Request) -> Intent | None:
        checkout_id = request.query_params.get(messages.RETURN_PARAMETER, "")
        try:
            return self._sandbox.intent_by_checkout_id(checkout_id)
        except UnknownIntent:
            return None

    async def _attempt(self, intent: Intent, filled: Filled) -> Response:
        x_intent_id = intent.x_intent_id
        try:
            if filled.outcome == DECLINE:
                return await self._decline(intent, filled)
            self._sandbox.pay(
                x_intent_id, filled.method, card=filled.card, customer=_customer(filled)
            )
        except InvalidValue:
            # Paid, cancelled or forgotten by someone else since the form was read.
            return self._page(self._sandbox.intent(x_intent_id), filled)
        if filled.outcome == APPROVE_AND_STAY:
            return _message(
                "Payment approved",
                "The browser was closed before it could go back to the shop.",
                note="Only the webhook, or a status request to xPay, can inform the shop now.",
                tone="good",
            )
        return await self._to_shop(intent)

    async def _decline(self, intent: Intent, filled: Filled) -> Response:
        self._sandbox.decline(
            intent.x_intent_id, filled.decline_code, method=filled.method, card=filled.card
        )
        if self._sandbox.config.decline_redirects:
            return await self._to_shop(intent)
        # Back to the form by GET, so that reloading the page does not try again.
        return RedirectResponse(f"{PATH}?{messages.RETURN_PARAMETER}={intent.checkout_id}", 303)

    def _cancel(self, intent: Intent) -> Response:
        try:
            url = self._sandbox.cancel_by_customer(intent.x_intent_id)
        except InvalidValue:  # paid in another tab
            return self._page(self._sandbox.intent(intent.x_intent_id), Filled())
        return RedirectResponse(url, 303)

    async def _to_shop(self, intent: Intent) -> Response:
        # "At about the same time as the webhook": held back, the webhook is sure to be first.
        await asyncio.sleep(self._sandbox.config.redirect_delay_ms / 1000)
        return RedirectResponse(self._sandbox.return_url(intent.x_intent_id), 303)

    def _page(self, intent: Intent, filled: Filled, status: int = 200) -> Response:
        back = self._sandbox.return_url(intent.x_intent_id)
        if intent.succeeded:
            title = "This order is paid"
            return _message(title, "There is nothing left to pay.", back=back, tone="good")
        if intent.cancelled:
            title = "This payment was cancelled"
            return _message(title, "The shop has withdrawn it, so it cannot be paid.", back=back)
        return page("checkout.html", status, **self._values(intent, filled), back=back)

    def _values(self, intent: Intent, filled: Filled) -> dict[str, object]:
        last = intent.charges[-1].error_code if intent.charges else None
        declined = None
        if last and not filled.errors:
            declined = DECLINES.get(last, "The payment was declined.")
        return {
            "order": intent.order,
            "shop": self._sandbox.config.shop_name,
            "filled": filled,
            "declined": declined,
            "declined_code": last,
            "declines": DECLINES,
            "methods": {name: METHOD_NAMES[name] for name in _methods(intent)},
            "cards": TEST_CARDS,
            "needs_customer": _needs_customer(intent),
        }


def _methods(intent: Intent) -> tuple[str, ...]:
    """The methods on offer; "an unavailable method falls back to card", so there is always one."""
    return intent.order.payment_methods or ("CARD",)


def _needs_customer(intent: Intent) -> bool:
    return not (intent.order.customer or {}).get("email")


def _customer(filled: Filled) -> Json | None:
    if not filled.email:
        return None
    return {**STAND_IN_CUSTOMER, "name": filled.name, "email": filled.email}


def _filled(form: Mapping[str, str], intent: Intent) -> Filled:
    """The submitted form; everything foreign is either one of the known choices or an error."""
    errors: dict[str, str] = {}
    method = form.get("method", _methods(intent)[0])
    if method not in _methods(intent):
        method = _methods(intent)[0]
    card = _card(form, errors) if method in CARD_METHODS else None
    name, email = form.get("name", "").strip(), form.get("email", "").strip()
    if _needs_customer(intent):
        _check_customer(name, email, errors)
    outcome = form.get("outcome", APPROVE)
    code = form.get("decline_code", "")
    return Filled(
        method=method,
        card=card,
        name=name[:FIELD_CHARS_MAX],
        email=email[:FIELD_CHARS_MAX],
        outcome=outcome if outcome in (APPROVE, DECLINE, APPROVE_AND_STAY) else APPROVE,
        decline_code=code if code in DECLINES else "generic_decline",
        errors=errors,
    )


def _card(form: Mapping[str, str], errors: dict[str, str]) -> Card | None:
    """A test card. What was typed is never shown again: it might be a real number."""
    card = TEST_CARDS.get(re.sub(r"[\s-]", "", form.get("card_number", "")))
    if card is None:
        errors["card_number"] = "Use one of the test card numbers; real cards are not taken here."
    expiry = re.fullmatch(r"(0[1-9]|1[0-2])\s*/\s*(\d\d)", form.get("expiry", "").strip(), re.A)
    if expiry is None:
        errors["expiry"] = "Write the expiry date as MM/YY."
    if not re.fullmatch(r"\d{3,4}", form.get("cvc", "").strip(), re.A):
        errors["cvc"] = "The security code has 3 or 4 digits."
    if card is None or expiry is None:
        return None
    return attrs.evolve(card, expiry_month=int(expiry[1]), expiry_year=2000 + int(expiry[2]))


def _check_customer(name: str, email: str, errors: dict[str, str]) -> None:
    if not 0 < len(name) <= FIELD_CHARS_MAX:
        errors["name"] = "Enter your name."
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", email) or len(email) > FIELD_CHARS_MAX:
        errors["email"] = "Enter an e-mail address such as ada@example.org."


def _unknown() -> Response:
    return _message(
        "No such payment",
        "This address does not belong to a payment of this sandbox.",
        note="A sandbox forgets everything when it stops; start again from the shop.",
        status=404,
    )


def _message(
    title: str,
    text: str,
    *,
    note: str = "",
    back: str | None = None,
    tone: str = "plain",
    status: int = 200,
) -> Response:
    return page("message.html", status, title=title, text=text, note=note, back=back, tone=tone)
