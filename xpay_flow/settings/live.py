"""Which values are fine in one mode only? Keys that are public or guessable, and where keys go."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..realm import SANDBOX_KEY_PREFIX
from .guessable import is_guessable

_LIVE_SECRET_CHARS_MIN: Final = 16
# xPay's API and its checkout pages are below it.
XPAY_DOMAIN: Final = "xpaycheckout.com"


def live_problems(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and problem of each value that is fine elsewhere; `good` has passed its own checks."""
    for name in ("public_key", "private_key"):
        if good.get(name, "").startswith(SANDBOX_KEY_PREFIX):
            yield name, "is a key of the local sandbox: live mode needs one of xPay's dashboard"
    private = good.get("private_key", SANDBOX_KEY_PREFIX)
    if not private.startswith(SANDBOX_KEY_PREFIX) and is_guessable(private):
        yield "private_key", _GUESSABLE
    secrets = good.get("webhook_secrets", ())
    if any(secret.startswith(SANDBOX_KEY_PREFIX) for secret in secrets):
        yield "webhook_secrets", "has a key of the local sandbox, which is public"
    elif any(len(secret) < _LIVE_SECRET_CHARS_MIN for secret in secrets):
        least = f"at least {_LIVE_SECRET_CHARS_MIN} characters"
        yield "webhook_secrets", f"has one that is too short: live mode needs {least}"
    elif any(map(is_guessable, secrets)):
        yield "webhook_secrets", f"has one that {_GUESSABLE}"
    yield from _repeated_keys(good)


_GUESSABLE: Final = "is easy to guess: use the one from xPay's dashboard"


def _repeated_keys(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each key opens something else, so two that are one were copied to the wrong place."""
    public, private = good.get("public_key"), good.get("private_key")
    if public is not None and public == private:
        yield "private_key", "is the public key: copy the private one from xPay's dashboard"
    if {public, private} & set(good.get("webhook_secrets", ())):
        yield (
            "webhook_secrets",
            "has an API key: give the signing key of the webhook endpoint",
        )


def address_problem(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where keys must not go: live ones to xPay only, test ones also to this machine and nearby.

    A host that `api_hosts` names is the operator's own choice, in either mode.
    """
    if not {"mode", "base_url", "api_hosts"} <= set(good):
        return
    base_url: str = good["base_url"]
    parts = urlsplit(base_url)
    host = (parts.hostname or "").rstrip(".")
    is_live, is_trusted = good["mode"] == "live", _is_xpays(host) or host in good["api_hosts"]
    if is_near(host) and not is_live:
        return
    if parts.scheme != "https":
        where = "in live mode" if is_live else "unless xPay is on this machine or nearby"
        yield "base_url", f"must begin with https:// {where}: it carries your keys"
    elif is_near(host) and not is_trusted:
        yield "base_url", "is a private or local address: live mode needs xPay's own"
    elif not is_trusted:
        yield (
            "base_url",
            "is not a host of xPay's, and would get your keys; if you mean it, name the host in "
            "api_hosts",
        )


def _is_xpays(host: str) -> bool:
    return host == XPAY_DOMAIN or host.endswith(f".{XPAY_DOMAIN}")


def is_near(host: str) -> bool:
    """Whether a host is this machine or lies in a private network, as far as its name shows."""
    host = host.rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        # A name without a dot, or a number in another form such as "127.1", is local, too.
        local = host.endswith((".localhost", ".local", ".internal")) or "." not in host
        return local or bool(re.fullmatch(r"[0-9a-fx.]*[0-9]", host))
