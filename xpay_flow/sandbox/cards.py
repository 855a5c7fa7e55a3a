"""The cards that the checkout page takes, and the reasons for which a charge can be declined.

Only made-up numbers are taken, so that no real card ever reaches a sandbox.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Card:
    """The card in xPay's messages; `brand` as in events, in lower case."""

    brand: str
    country: str
    last_four: str
    expiry_month: int = 4
    expiry_year: int = 2031
    card_type: str = "CREDIT"


TEST_CARDS: dict[str, Card] = {
    "4242424242424242": Card("visa", "US", "4242"),
    "5555555555554444": Card("mastercard", "US", "4444"),
    # The number that xPay's own raw-card page uses as an example.
    "4000002500000003": Card("visa", "FR", "0003"),
}
DEFAULT_CARD = TEST_CARDS["4242424242424242"]
CARD_METHODS = frozenset({"CARD", "CARD_INSTALLMENT"})

# xPay's payment error codes (the visible part of the list) in the customer's words.
DECLINES: dict[str, str] = {
    "insufficient_funds": "The card does not have enough funds.",
    "card_decline": "The bank declined this card.",
    "card_declined": "The bank declined this card.",
    "generic_decline": "The payment was declined.",
    "issuer_decline": "The bank that issued the card declined the payment.",
    "payment_method_decline": "This payment method was declined.",
    "expired_card": "The card has expired.",
    "invalid_cvc": "The security code is not right.",
    "incorrect_card_number": "The card number is not right.",
    "invalid_address": "The billing address does not match the card.",
    "threeDS_authentication_failure": "The bank could not confirm that it is you.",
    "timed_out": "The payment took too long.",
    "risk_check_failed": "The payment did not pass a risk check.",
    "fraudulent": "The payment was refused as suspicious.",
    "lost_card": "The card was reported lost.",
    "card_rate_limit_exceeded": "This card was tried too often.",
    "processing_error": "The payment could not be processed.",
    "technical_issue": "A technical problem stopped the payment.",
}
ERROR_CODE_CHARS_MAX = 100
