"""The words that xPay and a merchant share: names, statuses and limits. Data only, no behaviour.

Both the core and the sandbox may use these, since names are given by xPay's documentation.
How bytes are read, written or signed is written twice on purpose, so that the two can disagree.
Sources are xPay's pages on events, statuses, errors, idempotency and signatures.
"""

from __future__ import annotations

from typing import Final

# Paths and headers (the endpoints' pages, idempotency, verification).
CREATE_INTENT_PATH: Final = "/payments/create-intent"
GET_INTENT_PATH: Final = "/payments/v2/get-intent/"
CANCEL_INTENT_PATH: Final = "/payments/cancel/"
LIST_INTENTS_PATH: Final = "/payments/intents"
REFUND_PATH: Final = "/payments/merchant/refund"
GET_REFUND_PATH: Final = "/payments/refund/"
LIST_REFUNDS_PATH: Final = "/payments/refunds/"
WEBHOOK_ENDPOINTS_PATH: Final = "/webhook"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
HMAC_HEADER: Final = "xpay-signature"
ECDSA_HEADER: Final = "xpay-private-signature"
RETURN_PARAMETER: Final = "xpay_intent_id"

# "Ids: 24 hex digits of old, `in_` and 16 or 21 characters now": only what is safe is checked.
ID_CHARS_MAX: Final = 255

# Create-intent: metadata.
METADATA_PAIRS_MAX: Final = 50
METADATA_KEY_CHARS_MAX: Final = 40
METADATA_VALUE_CHARS_MAX: Final = 500

# Idempotency: `^[a-zA-Z0-9\-_:\.]+$`, at most 255 characters, kept for 24 hours.
IDEMPOTENCY_KEY_PATTERN: Final = r"[a-zA-Z0-9\-_:.]{1,255}"
IDEMPOTENCY_RETENTION_S: Final = 24 * 3600

# Statuses of an intent, newest and older copies of the status page.
STATUS_CREATED: Final = "CREATED"
STATUS_SUCCESS: Final = "SUCCESS"
STATUS_FAILED: Final = "FAILED"
STATUS_CANCELLED: Final = "CANCELLED"
STATUS_REFUNDED: Final = "REFUNDED"
STATUS_PARTIALLY_REFUNDED: Final = "PARTIALLY_REFUNDED"
# Marked so by the page on disputes; dropped from the newest status table.
STATUS_DISPUTED: Final = "DISPUTED"
STATUS_DISPUTE_UNDER_REVIEW: Final = "DISPUTE_UNDER_REVIEW"
STATUS_DISPUTE_WON: Final = "DISPUTE_WON"
STATUS_DISPUTE_LOST: Final = "DISPUTE_LOST"

# Types of webhook events about an intent; `intent.incomplete` is gone from the newest list.
INTENT_CREATED: Final = "intent.created"
INTENT_CHECKOUT_OPENED: Final = "intent.checkout_opened"
INTENT_INCOMPLETE: Final = "intent.incomplete"
INTENT_FAILED: Final = "intent.failed"
INTENT_SUCCESS: Final = "intent.success"
INTENT_REFUNDED: Final = "intent.refunded"
INTENT_DISPUTED: Final = "intent.disputed"
INTENT_DISPUTE_UNDER_REVIEW: Final = "intent.dispute_under_review"
INTENT_DISPUTE_WON: Final = "intent.dispute_won"
INTENT_DISPUTE_LOST: Final = "intent.dispute_lost"

# Error codes of the API.
BAD_REQUEST: Final = "bad_request"
UNAUTHORIZED: Final = "unauthorized"
RESOURCE_NOT_FOUND: Final = "resource_not_found"
RATE_LIMIT_EXCEEDED: Final = "rate_limit_exceeded"
INTERNAL_SERVER_ERROR: Final = "internal_server_error"

# Every type of webhook event about an intent that xPay's pages name.
INTENT_EVENT_TYPES: Final = frozenset(
    {
        INTENT_CREATED,
        INTENT_CHECKOUT_OPENED,
        INTENT_INCOMPLETE,
        INTENT_FAILED,
        INTENT_SUCCESS,
        INTENT_REFUNDED,
        INTENT_DISPUTED,
        INTENT_DISPUTE_UNDER_REVIEW,
        INTENT_DISPUTE_WON,
        INTENT_DISPUTE_LOST,
    }
)

# What an endpoint is subscribed to: the newest list of events. A name that only older pages know
# might be refused.
SUBSCRIBED_EVENT_TYPES: Final = (
    INTENT_CREATED,
    INTENT_CHECKOUT_OPENED,
    INTENT_FAILED,
    INTENT_SUCCESS,
    INTENT_REFUNDED,
    INTENT_DISPUTED,
    INTENT_DISPUTE_UNDER_REVIEW,
    INTENT_DISPUTE_WON,
    INTENT_DISPUTE_LOST,
)

# Not xPay's: what `xpay-flow doctor` sends through a mount, signed with the shop's own key.
PROBE_EVENT_TYPE: Final = "xpay_flow.doctor"
