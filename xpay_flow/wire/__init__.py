"""How are xPay's messages parsed? Strict JSON, then webhooks, answers and addresses.

`strict_json` takes bytes apart, `fields` reads what messages share; `webhook`, `answers`,
`refunds`, `webhook_endpoints` and `address` know one kind each; `redaction` lists what may be kept.

Whatever the bytes are, only `UntrustedMessage` is raised. Fields that carry identity, type, amount
or currency are read strictly; every other field is None and named in `ignored` when it makes no
sense, since an odd field must not cost us the payment. The whole object stays in `raw`.
"""

from .address import checkout_url, is_loopback
from .answers import IntentAnswer, read_error, read_intent, read_intent_page
from .redaction import KEPT, storable, without_secrets
from .refunds import RefundAnswer, read_refund, read_refunds
from .refusal import REASONS, Reason
from .strict_json import (
    JSON,
    LIMITS,
    Limits,
    Members,
    canonical_json,
    digest,
    is_json_object,
    parse_object,
)
from .webhook import FIELDS_READ, WebhookMessage, read_unreadable, read_webhook
from .webhook_endpoints import (
    WebhookEndpoint,
    read_new_webhook_endpoint,
    read_webhook_endpoint,
    read_webhook_endpoints,
)

__all__ = [
    "FIELDS_READ",
    "JSON",
    "KEPT",
    "LIMITS",
    "REASONS",
    "IntentAnswer",
    "Limits",
    "Members",
    "Reason",
    "RefundAnswer",
    "WebhookEndpoint",
    "WebhookMessage",
    "canonical_json",
    "checkout_url",
    "digest",
    "is_json_object",
    "is_loopback",
    "parse_object",
    "read_error",
    "read_intent",
    "read_intent_page",
    "read_new_webhook_endpoint",
    "read_refund",
    "read_refunds",
    "read_unreadable",
    "read_webhook",
    "read_webhook_endpoint",
    "read_webhook_endpoints",
    "storable",
    "without_secrets",
]
