"""What must live mode not use? Keys that are public, and addresses that are not xPay's."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..realm import SANDBOX_KEY_PREFIX

_LIVE_SECRET_CHARS_MIN: Final = 16


def live_problems(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and problem of each value that is fine elsewhere; `good` has passed its own checks."""
    for name in ("public_key", "private_key"):
        if good.get(name, "").startswith(SANDBOX_KEY_PREFIX):
            yield name, "is a key of the local sandbox: live mode needs one of xPay's dashboard"
    secrets = good.get("webhook_secrets", ())
    if any(secret.startswith(SANDBOX_KEY_PREFIX) for secret in secrets):
        yield "webhook_secrets", "has a key of the local sandbox, which is public"
    elif any(len(secret) < _LIVE_SECRET_CHARS_MIN for secret in secrets):
        least = f"at least {_LIVE_SECRET_CHARS_MIN} characters"
        yield "webhook_secrets", f"has one that is too short: live mode needs {least}"
    if "base_url" in good and (text := _not_live(good["base_url"])):
        yield "base_url", text


def _not_live(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    if parts.scheme != "https":
        return "must begin with https:// in live mode: it carries your keys"
    if is_near(parts.hostname or ""):
        return "is a private or local address: live mode needs xPay's own"
    return None


def is_near(host: str) -> bool:
    """Whether a host is this machine or lies in a private network, as far as its name shows."""
    host = host.rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        # A name without a dot, or a number in another form such as "127.1", is local, too.
        local = host.endswith((".localhost", ".local", ".internal")) or "." not in host
        return local or bool(re.fullmatch(r"[0-9a-fx.]*[0-9]", host))
