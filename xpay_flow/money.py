"""How much: an integer in the currency's minor unit, and an ISO 4217 code."""

from __future__ import annotations

import re
from functools import cache

import attrs

from .errors import InvalidValue, quoted

_CODE = re.compile("[A-Z]{3}")
# Fits a signed 64-bit database column with room to add up refunds.
AMOUNT_MINOR_MAX = 10**15


@cache
def exponent(currency: str) -> int:
    """The number of decimal digits of a currency: 2 for USD, 0 for JPY, 3 for KWD.

    Raises InvalidValue for a code that ISO 4217 does not list, or that has no minor unit.
    """
    # Imported late: its table is an XML file, and many programs never need it.
    from iso4217 import Currency

    try:
        found = Currency(currency)
    except ValueError:
        hint = "; write it in upper case" if currency != currency.upper() else ""
        raise InvalidValue(f"{quoted(currency)} is no currency code of ISO 4217{hint}") from None
    if found.exponent is None:
        raise InvalidValue(f"{currency} has no minor unit, so it cannot be charged")
    return found.exponent


@attrs.frozen(order=False)
class Money:
    """An amount that can be charged or refunded.

    Args:
        amount_minor: whole minor units (1999 is 19.99 USD, and 1999 JPY); zero or more.
        currency: a code of ISO 4217 in upper case.

    Raises:
        InvalidValue: the amount is a float, a bool, negative or absurd, or the currency is unknown.
    """

    amount_minor: int
    currency: str

    def __attrs_post_init__(self) -> None:
        # Checked by hand: a float or a bool that equals an integer must not pass either.
        if type(self.amount_minor) is not int:
            raise InvalidValue(
                f"amount_minor must be an int in minor units, not {quoted(self.amount_minor)}; "
                "write 19.99 USD as Money(1999, 'USD')"
            )
        if not 0 <= self.amount_minor <= AMOUNT_MINOR_MAX:
            raise InvalidValue(f"amount_minor must be 0 to {AMOUNT_MINOR_MAX}")
        if type(self.currency) is not str:
            raise InvalidValue(f"currency must be a string, not {quoted(self.currency)}")
        exponent(self.currency)

    @classmethod
    def restored(cls, amount_minor: int, currency: str) -> Money:
        """Money that was checked when it was stored: its currency may be withdrawn by now."""
        if type(amount_minor) is not int or not 0 <= amount_minor <= AMOUNT_MINOR_MAX:
            raise InvalidValue(f"amount_minor must be an int, 0 to {AMOUNT_MINOR_MAX}")
        if type(currency) is not str or not _CODE.fullmatch(currency):
            raise InvalidValue(f"{quoted(currency)} was never a currency code")
        money = object.__new__(cls)
        object.__setattr__(money, "amount_minor", amount_minor)
        object.__setattr__(money, "currency", currency)
        return money

    def __str__(self) -> str:
        """The amount as people write it: `19.99 USD`."""
        try:
            digits = exponent(self.currency)
        except InvalidValue:
            return f"{self.amount_minor} {self.currency} (minor units)"
        if not digits:
            return f"{self.amount_minor} {self.currency}"
        whole, rest = divmod(self.amount_minor, 10**digits)
        return f"{whole}.{rest:0{digits}d} {self.currency}"
