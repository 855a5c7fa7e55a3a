"""How this local xPay behaves wherever xPay's documentation leaves a choice.

Defaults are the documented behaviour, or the safest guess where nothing is documented; a comment
names it. Change one setting at a time to see whether your shop minds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import attrs

from xpay_flow.errors import ConfigurationError

# An id is `in_` and 16 characters in most examples, 21 in others; below 8 they would collide.
ID_CHARS_MIN, ID_CHARS_MAX = 8, 64
# More would not fit beside a button.
NAME_CHARS_MAX = 100


@attrs.frozen
class RateLimit:
    """At most `requests` within any `per_s` seconds, over all endpoints of the account."""

    requests: int = 10
    per_s: float = 1.0


# Two readings of xPay's pages, which differ: the newest status table knows no disputes, while the
# page on disputes marks the transaction `DISPUTED`.
PROFILES: Final[Mapping[str, Mapping[str, Any]]] = {
    "newest": {},
    "disputes": {"dispute_changes_status": True},
}


@attrs.frozen(kw_only=True)
class SandboxConfig:
    """Every setting of the local xPay. Secrets are never shown by `repr`."""

    # Who may call, and how webhooks are signed.
    public_key: str = "sandbox_public_key"
    private_key: str = attrs.field(default="sandbox_private_key", repr=False)
    signing_key: str = attrs.field(default="sandbox_signing_key_0123456789", repr=False)
    # What the fault `old_secret` signs with, until an endpoint's secret was really rotated.
    previous_signing_key: str = attrs.field(default="sandbox_previous_key_0123456789", repr=False)
    # Without one, a P-256 key is made at start; the seed does not determine it.
    ecdsa_private_key_pem: bytes | None = attrs.field(default=None, repr=False)
    ecdsa: bool = True

    # Who is paid, as the checkout page names it; xPay knows it from the dashboard.
    shop_name: str = "Your shop"
    # Where the pages live, and the first registered webhook endpoint.
    checkout_base_url: str = "http://127.0.0.1:4010"
    webhook_url: str | None = None
    # Webhooks and the listening socket stay on this machine.
    loopback_only: bool = True

    # Documented twice, differently: 10 a second, or 60 a minute. None switches the limit off,
    # which a test with a standing clock wants.
    rate_limit: RateLimit | None = RateLimit()

    # Create-intent. The text: "Greater than 1 USD", while every example uses exactly 100.
    minimum_minor: int = 100
    currencies: frozenset[str] | None = None  # None: all of ISO 4217
    # True refuses what the pages call required, though live shops leave it out.
    strict_docs: bool = False
    https_except_localhost: bool = True
    text_chars_max: int = 255  # receiptId and description: no limit is documented
    url_chars_max: int = 2048

    # Answers. Whether an absent value comes as null or not at all is not documented.
    absent_as_null: bool = True
    fwd_url_in_get: bool = False  # gone from the newest example
    expand_by_default: bool = False
    list_newest_first: bool = True
    id_chars: int = 16
    # The error table: "409 conflict"; the page on idempotency: "400".
    in_progress_status: Literal[400, 409] = 409
    refuse_key_where_unsupported: bool = True

    # The life of an intent.
    status_after_decline: Literal["FAILED", "CREATED"] = "FAILED"
    decline_redirects: bool = False
    checkout_opened_once: bool = True
    customer_cancel_changes_status: bool = False
    # It did in older generations, and the page on disputes states so still: see PROFILES.
    dispute_changes_status: bool = False
    # No event is known for a cancellation; some shops listen for `intent.cancelled`.
    cancel_event_type: str | None = None

    # Webhooks.
    retry_schedule_s: tuple[float, ...] = (10, 30, 120, 600, 3600)
    webhook_timeout_s: float = 2.0
    queued_events_keep_secret: bool = True  # after the secret of an endpoint was changed
    receipt_id_in_created: bool = False
    empty_metadata: Literal["empty", "null", "missing"] = "empty"
    refund_event_status: Literal["by_remainder", "always_refunded"] = "by_remainder"
    json_spaces: bool = False
    json_ascii: bool = False

    # Which is first, the webhook or the browser? Hold one of them back.
    webhook_delay_ms: int = 0
    redirect_delay_ms: int = 0

    # Limits, so that a sandbox left running over a weekend stays small; the oldest goes first.
    body_bytes_max: int = 1 << 20
    intents_max: int = 10_000
    events_max: int = 20_000
    deliveries_max: int = 20_000
    endpoints_max: int = 16
    idempotency_keys_max: int = 50_000

    def __attrs_post_init__(self) -> None:
        self._check_secrets()
        self._check_shop_name()
        self._check_urls()
        self._check_numbers()

    def _check_secrets(self) -> None:
        for name in ("public_key", "private_key", "signing_key", "previous_signing_key"):
            if not getattr(self, name):
                raise ConfigurationError(f"SandboxConfig.{name} must not be empty")
        # RFC 7617: the user name ends at the first colon.
        if ":" in self.public_key:
            raise ConfigurationError("SandboxConfig.public_key must not contain a colon")

    def _check_shop_name(self) -> None:
        if not self.shop_name.strip() or len(self.shop_name) > NAME_CHARS_MAX:
            raise ConfigurationError(
                f"SandboxConfig.shop_name must have 1 to {NAME_CHARS_MAX} characters"
            )

    def _check_urls(self) -> None:
        urls = {"checkout_base_url": self.checkout_base_url, "webhook_url": self.webhook_url}
        for name, url in urls.items():
            if url is not None and urlsplit(url).scheme not in ("http", "https"):
                raise ConfigurationError(f"SandboxConfig.{name} must be an http(s) URL")

    def _check_numbers(self) -> None:
        if not ID_CHARS_MIN <= self.id_chars <= ID_CHARS_MAX:
            raise ConfigurationError(
                f"SandboxConfig.id_chars must be {ID_CHARS_MIN} to {ID_CHARS_MAX}"
            )
        if any(not pause >= 0 for pause in self.retry_schedule_s):
            raise ConfigurationError("SandboxConfig.retry_schedule_s must not go back in time")
        for name in ("intents_max", "events_max", "deliveries_max", "body_bytes_max"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"SandboxConfig.{name} must be at least 1")
