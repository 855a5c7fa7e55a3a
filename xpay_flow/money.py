"""How much: an integer in the currency's minor unit, and an ISO 4217 code."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import Final

import attrs

from .errors import InvalidValue, quoted

_CODE = re.compile("[A-Z]{3}")
# Fits a signed 64-bit database column with room to add up refunds.
AMOUNT_MINOR_MAX = 10**15
# A price as people type it into code or a database: no sign, no exponent, no thousands separator.
PRICE_DECIMALS_MAX: Final = 18
_PRICE: Final = re.compile(rf"[0-9]{{1,18}}(\.[0-9]{{1,{PRICE_DECIMALS_MAX}}})?", re.ASCII)
# More decimals than any currency has (CLF has four).
DECIMALS_MAX: Final = 6
# Payment providers count these otherwise than ISO 4217 does, or otherwise than one another: ISK,
# UGX and CLP with and without two decimals, HUF and TWD in whole units, MGA and MRU in fifths.
# How xPay counts them is not documented.
COUNTED_DIFFERENTLY: Final = frozenset(
    {"CLP", "CVE", "HUF", "IDR", "ISK", "MGA", "MRU", "TWD", "UGX"}
)


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
        decimals: how many decimal digits the minor unit stands for, where xPay counts this
            currency otherwise than ISO 4217; see `Settings.money`. It is shown, and not compared.

    Raises:
        InvalidValue: the amount is a float, a bool, negative or absurd, or the currency is unknown.
    """

    amount_minor: int
    currency: str
    decimals: int | None = attrs.field(default=None, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # Checked by hand: a float or a bool that equals an integer must not pass either.
        if type(self.amount_minor) is not int:
            raise InvalidValue(
                f"amount_minor must be an int in minor units, not {quoted(self.amount_minor)}; "
                "write 19.99 USD as Money(1999, 'USD') or Money.of('19.99', 'USD')"
            )
        if not 0 <= self.amount_minor <= AMOUNT_MINOR_MAX:
            raise InvalidValue(f"amount_minor must be 0 to {AMOUNT_MINOR_MAX}")
        if type(self.currency) is not str:
            raise InvalidValue(f"currency must be a string, not {quoted(self.currency)}")
        exponent(self.currency)
        _check_decimals(self.decimals)

    @classmethod
    def of(cls, price: Decimal | str, currency: str, *, decimals: int | None = None) -> Money:
        """The money for a price as people write it: `Money.of("19.99", "USD")`.

        Args:
            price: a `Decimal`, or text with a point and no thousands separators.
            decimals: how many the currency has at xPay, if not as ISO 4217 has it; see
                `Settings.money`.

        Raises:
            InvalidValue: the price has a fraction of the minor unit, is negative, is a float or
                an int, or is not plainly a number.
        """
        digits = exponent(currency) if decimals is None else decimals
        _check_decimals(digits)
        minor = _scaled(_price(price), digits)
        if minor is None:
            raise InvalidValue(
                f"{quoted(str(price))} has a fraction of the minor unit, and {currency} has "
                f"{digits} decimals: round the price first, by your own rule"
            )
        return cls(minor, currency, digits)

    @classmethod
    def restored(cls, amount_minor: int, currency: str, decimals: int | None = None) -> Money:
        """Money that was checked when it was stored: its currency may be withdrawn by now."""
        if type(amount_minor) is not int or not 0 <= amount_minor <= AMOUNT_MINOR_MAX:
            raise InvalidValue(f"amount_minor must be an int, 0 to {AMOUNT_MINOR_MAX}")
        if type(currency) is not str or not _CODE.fullmatch(currency):
            raise InvalidValue(f"{quoted(currency)} was never a currency code")
        money = object.__new__(cls)
        object.__setattr__(money, "amount_minor", amount_minor)
        object.__setattr__(money, "currency", currency)
        object.__setattr__(money, "decimals", decimals)
        return money

    def __str__(self) -> str:
        """The amount as people write it: `19.99 USD`."""
        try:
            digits = exponent(self.currency) if self.decimals is None else self.decimals
        except InvalidValue:
            return f"{self.amount_minor} {self.currency} (minor units)"
        if not digits:
            return f"{self.amount_minor} {self.currency}"
        whole, rest = divmod(self.amount_minor, 10**digits)
        return f"{whole}.{rest:0{digits}d} {self.currency}"


def _check_decimals(decimals: object) -> None:
    if decimals is not None and (type(decimals) is not int or not 0 <= decimals <= DECIMALS_MAX):
        raise InvalidValue(f"decimals must be an int, 0 to {DECIMALS_MAX}")


def _scaled(price: Decimal, digits: int) -> int | None:
    """The price in minor units; None if it has a fraction of one."""
    # In integers: decimal arithmetic rounds to the precision of the thread's context.
    exponent_of_price = price.as_tuple().exponent
    if not isinstance(exponent_of_price, int) or exponent_of_price < -PRICE_DECIMALS_MAX:
        return None
    numerator, denominator = price.as_integer_ratio()
    minor, fraction = divmod(numerator * 10**digits, denominator)
    return None if fraction else minor


def _price(price: object) -> Decimal:
    """The price as an exact number that is not negative."""
    if isinstance(price, float):
        raise InvalidValue(
            f"a float is not exact (0.1 + 0.2 is not 0.3): give the price {quoted(price)} as "
            "text or Decimal, from where it was still exact"
        )
    if isinstance(price, str) and _PRICE.fullmatch(price):
        return Decimal(price)
    if isinstance(price, Decimal) and price.is_finite() and 0 <= price <= AMOUNT_MINOR_MAX:
        return price
    if type(price) is int:
        raise InvalidValue(
            f"the int {price} could be a price or minor units: write Money.of('{price}', …) for "
            f"the price, Money({price}, …) for minor units"
        )
    raise InvalidValue(f"a price is a Decimal or text such as '19.99', not {quoted(price)}")
