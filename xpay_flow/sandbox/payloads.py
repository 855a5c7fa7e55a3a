"""How does xPay report an intent? The objects of its API and the fields of its events.

The two differ on purpose, as they do at xPay: `xIntentId` against `intentId`, dates as text
against milliseconds, `Visa` against `visa`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import attrs

from xpay_flow import messages

from .cards import Card
from .config import SandboxConfig
from .ledger import Charge, Intent, Ledger, Refund

Json = dict[str, Any]

# Shown where neither the merchant nor the customer gave any details.
STAND_IN_CUSTOMER: Json = {
    "name": "Sandbox Customer",
    "email": "customer@example.org",
    "contactNumber": None,
    "customerAddress": {
        "addressLine1": "1 Long Road",
        "addressLine2": "Flat 2",
        "city": "Springfield",
        "state": "IL",
        "country": "US",
        "postalCode": "62701",
    },
}


def iso(at_ms: int) -> str:
    """The moment as create and get write it: `2026-01-05T09:30:00.000+00:00`."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}+00:00"


@attrs.frozen
class ApiObjects:
    """The objects that the API answers with."""

    config: SandboxConfig
    ledger: Ledger

    def fwd_url(self, intent: Intent) -> str:
        """The checkout page; the id in it is not the intent's, as in every generation of xPay."""
        base = self.config.checkout_base_url.rstrip("/")
        return f"{base}/checkout/?{messages.RETURN_PARAMETER}={quote(intent.checkout_id)}"

    def created(self, intent: Intent) -> Json:
        return self._tidy({**self._intent(intent), "fwdUrl": self.fwd_url(intent)})

    def read(self, intent: Intent, expand: frozenset[str]) -> Json:
        shown = self._intent(intent)
        if self.config.fwd_url_in_get:
            shown["fwdUrl"] = self.fwd_url(intent)
        shown["succeededAt"] = intent.succeeded.at_ms if intent.succeeded else None
        shown = self._tidy(shown)
        if "charge_attempts" in expand:
            shown["chargeAttempts"] = [_charge(charge) for charge in intent.charges]
        if "succeeded_charge" in expand and intent.succeeded:
            shown["succeededCharge"] = _charge(intent.succeeded)
        return shown

    def listed(self, intent: Intent) -> Json:
        return self._tidy(
            {
                "xIntentId": intent.x_intent_id,
                "amount": intent.order.amount_minor,
                "currency": intent.order.currency,
                "status": self.ledger.status(intent),
                "receiptId": intent.order.receipt_id,
                # Milliseconds here, text in create and get.
                "createdAt": intent.created_at_ms,
                "succeededAt": intent.succeeded.at_ms if intent.succeeded else None,
            }
        )

    def refund(self, refund: Refund) -> Json:
        return {
            "refundId": refund.refund_id,
            # `intentId` here, `xIntentId` in the request; a string went in, an integer comes out.
            "intentId": refund.x_intent_id,
            "amount": refund.amount_minor,
            "currency": refund.currency,
            "refundedAt": refund.at_ms,
        }

    def _intent(self, intent: Intent) -> Json:
        order = intent.order
        return {
            "xIntentId": intent.x_intent_id,
            "status": self.ledger.status(intent),
            "amount": order.amount_minor,
            "currency": order.currency,
            "presentmentCurrency": order.currency,
            "receiptId": order.receipt_id,
            "description": order.description,
            "customerDetails": order.customer,
            "callbackUrl": order.callback_url,
            "cancelUrl": order.cancel_url,
            "createdAt": iso(intent.created_at_ms),
            "metadata": order.metadata,
        }

    def _tidy(self, shown: Json) -> Json:
        if self.config.absent_as_null:
            return shown
        return {name: value for name, value in shown.items() if value is not None}


def _charge(charge: Charge) -> Json:
    how: Json = {"paymentMethod": charge.method}
    if charge.card:
        card = _card(charge.card)
        del card["cardType"]
        how["cardMetadata"] = {**card, "brand": charge.card.brand.capitalize()}
    return {
        "status": messages.STATUS_FAILED if charge.error_code else messages.STATUS_SUCCESS,
        "chargeTime": charge.at_ms,
        "errorCode": charge.error_code,
        "paymentMetadata": how,
    }


def _card(card: Card) -> Json:
    return {
        "brand": card.brand,
        "country": card.country,
        "lastFourDigit": card.last_four,
        "expiryMonth": card.expiry_month,
        "expiryYear": card.expiry_year,
        "cardType": card.card_type,
    }


@attrs.frozen
class EventFields:
    """The fields of each event, without `eventId`, `eventType` and `eventTime`."""

    config: SandboxConfig
    ledger: Ledger

    def created(self, intent: Intent) -> Json:
        fields = self._with_amount(intent, messages.STATUS_CREATED)
        if not self.config.receipt_id_in_created:
            del fields["receiptId"]
        return fields | self._metadata(intent)

    def about(self, intent: Intent) -> Json:
        """An event that names the intent and no more: checkout opened."""
        return self._names(intent) | self._metadata(intent)

    def failed(self, intent: Intent, error_code: str) -> Json:
        fields = self._with_amount(intent, messages.STATUS_FAILED)
        return fields | {"errorCode": error_code} | self._metadata(intent)

    def succeeded(self, intent: Intent, charge: Charge, customer: Json | None) -> Json:
        fields = self._with_amount(intent, messages.STATUS_SUCCESS)
        fields["paymentMethod"] = charge.method
        fields["customerDetails"] = intent.order.customer or customer or STAND_IN_CUSTOMER
        if charge.card:
            fields["card"] = _card(charge.card)
        return fields | self._metadata(intent)

    def cancelled(self, intent: Intent) -> Json:
        return self._with_amount(intent, messages.STATUS_CANCELLED) | self._metadata(intent)

    def refunded(self, intent: Intent, refund: Refund) -> Json:
        partial = self.config.refund_event_status == "by_remainder" and intent.refundable_minor
        return {
            **self._names(intent),
            "refundId": refund.refund_id,
            "refundReferenceId": refund.reference_id,
            "status": (messages.STATUS_PARTIALLY_REFUNDED if partial else messages.STATUS_REFUNDED),
            # "The refunded amount", not the intent's.
            "amount": refund.amount_minor,
            "currency": refund.currency,
            **self._metadata(intent),
        }

    def disputed(self, intent: Intent) -> Json:
        dispute_id = intent.dispute.dispute_id if intent.dispute else None
        return self._names(intent) | {"disputeId": dispute_id} | self._metadata(intent)

    def _names(self, intent: Intent) -> Json:
        return {"intentId": intent.x_intent_id, "receiptId": intent.order.receipt_id}

    def _with_amount(self, intent: Intent, status: str) -> Json:
        return {
            **self._names(intent),
            "status": status,
            "amount": intent.order.amount_minor,
            "currency": intent.order.currency,
        }

    def _metadata(self, intent: Intent) -> Json:
        """`metadata`, which xPay puts last."""
        if intent.order.metadata:
            return {"metadata": intent.order.metadata}
        absent: dict[str, Json] = {"empty": {"metadata": {}}, "null": {"metadata": None}}
        return dict(absent.get(self.config.empty_metadata, {}))
