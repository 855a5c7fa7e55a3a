"""Ids with xPay's prefixes, the same ones in the same order for the same seed."""

from __future__ import annotations

import random
import string

_ALPHABET = string.ascii_letters + string.digits


class Ids:
    """A source of ids such as `in_Q7mWb2RkT9xLzA04`; a seed determines all, so no secrets."""

    def __init__(self, seed: int, chars: int) -> None:
        self._random = random.Random(f"ids {seed}")
        self._chars = chars

    def make(self, prefix: str) -> str:
        return prefix + "".join(self._random.choices(_ALPHABET, k=self._chars))
