"""What do these bytes say? Strict JSON, and xPay's webhooks, answers and addresses read out of it.

`strict_json` takes bytes apart, `fields` reads what messages share; `webhook`, `answers` and
`address` know one kind each; `redaction` says what may be kept.

Whatever the bytes are, only `UntrustedMessage` is raised. Fields that carry money, identity or
state are read strictly; fields that merely inform are None when they make no sense, since an odd
label must not cost us the news. Nothing is dropped: the whole object stays in `raw`.
"""

from .address import checkout_url
from .answers import IntentAnswer, read_error, read_intent, read_intent_page
from .redaction import without_secrets
from .refusal import REASONS, Reason
from .strict_json import JSON, LIMITS, Limits, Members, canonical_json, digest, parse_object
from .webhook import WebhookMessage, read_webhook

__all__ = [
    "JSON",
    "LIMITS",
    "REASONS",
    "IntentAnswer",
    "Limits",
    "Members",
    "Reason",
    "WebhookMessage",
    "canonical_json",
    "checkout_url",
    "digest",
    "parse_object",
    "read_error",
    "read_intent",
    "read_intent_page",
    "read_webhook",
    "without_secrets",
]
