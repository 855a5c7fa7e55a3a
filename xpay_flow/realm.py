"""To which mode and account does a payment belong? To its realm, such as `live/key-3f2a9c41d0b7`.

One store may hold several realms: yesterday's sandbox beside today's live mode, or two accounts of
one shop. What was made in one is not delivered, resumed, reconciled or shown to customers in
another.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import attrs

# What was stored before there were realms (schema version 1) belongs to none.
UNNAMED: Final = ""
# How settings name it.
UNNAMED_WORD: Final = "unnamed"
# What the keys of the local sandbox begin with; they are public.
SANDBOX_KEY_PREFIX: Final = "sandbox_"
# Keys of records hold the realm beside a receipt of 255 characters, in a column of 300.
ACCOUNT_CHARS_MAX: Final = 20


def realm_name(mode: str, account: str) -> str:
    """How a realm is written: in records, in a column of the store, and in words."""
    return f"{mode}/{account}"


def fingerprint(public_key: str) -> str:
    """The name of the account that has this public key, where the shop names none."""
    if public_key.startswith(SANDBOX_KEY_PREFIX):
        return "local"
    return f"key-{sha256(public_key.encode()).hexdigest()[:12]}"


def in_words(realm: str) -> str:
    """The realm for people."""
    return realm or f"{UNNAMED_WORD} (stored before accounts had names)"


@attrs.frozen
class Realms:
    """Which realms a question to a store is about; `realm in realms` answers it.

    Args:
        names: these realms.
        others: all but these instead.
    """

    names: tuple[str, ...] = ()
    others: bool = False

    def __contains__(self, realm: str) -> bool:
        return (realm in self.names) != self.others

    @property
    def rest(self) -> Realms:
        """All realms that are not among these."""
        return Realms(self.names, not self.others)


EVERY_REALM: Final = Realms(others=True)
