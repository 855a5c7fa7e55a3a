"""Is this address on this machine?"""

from __future__ import annotations

import ipaddress


def is_loopback(address: str) -> bool:
    """Whether a numeric address is a loopback address; False for a name."""
    try:
        # A scope id ("fe80::1%eth0") is not part of the address.
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def is_local_name(host: str) -> bool:
    """Whether a host name or address means this machine without a look-up (RFC 6761)."""
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost") or is_loopback(host)
