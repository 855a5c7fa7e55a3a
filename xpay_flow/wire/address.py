"""May a customer be sent to this address?"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from .refusal import refuse

_URL_CHARS_MAX: Final = 2048
# Printable ASCII without the space and without what browsers repair instead of refusing. Other
# alphabets are out: a host that looks like xPay's is not xPay's.
_URL: Final = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII)


def checkout_url(fwd_url: str, allowed_hosts: Collection[str], *, allow_loopback: bool) -> str:
    """`fwd_url`, unchanged, if a customer may be sent there.

    Args:
        fwd_url: the address that xPay handed out; a secret, so no error quotes it.
        allowed_hosts: exact names, or suffixes with a leading dot such as ".xpaycheckout.com".
        allow_loopback: also accept http and https on this machine, as the sandbox uses.

    Raises:
        UntrustedMessage: anything else.
    """
    parts, port = _split_url(fwd_url)
    host = parts.hostname or ""
    if allow_loopback and parts.scheme in ("http", "https") and is_loopback(host):
        return fwd_url
    if parts.scheme != "https":
        refuse("bad-checkout-url", "it is not https")
    if not _HOST.fullmatch(host) or not _is_allowed(host, allowed_hosts):
        refuse("bad-checkout-url", "its host is not one of checkout_hosts")
    if port not in (None, 443):
        refuse("bad-checkout-url", "it names a port")
    return fwd_url


def _split_url(url: str) -> tuple[SplitResult, int | None]:
    # Looked at before it is split: the splitter silently removes tabs and line ends.
    if len(url) > _URL_CHARS_MAX or not _URL.fullmatch(url):
        refuse("bad-checkout-url", "it is too long, or holds characters that no address has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        refuse("bad-checkout-url", "it cannot be read")
    if not parts.hostname or "@" in parts.netloc or parts.netloc.endswith(":"):
        refuse("bad-checkout-url", "its host is missing or disguised")
    return parts, port


def _is_allowed(host: str, allowed_hosts: Collection[str]) -> bool:
    # `host` begins with no dot, so it is longer than a suffix that it ends with.
    return any(
        host.endswith(allowed) if allowed.startswith(".") else host == allowed
        for allowed in map(str.lower, allowed_hosts)
    )


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by its usual names."""
    if host in ("localhost", "::1"):
        return True
    try:
        # Only the plain dotted form is read: "127.1" and "0177.0.0.1" are refused.
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
