"""That an amount is whole minor units of a real currency, or does not exist."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpay_flow import money
from xpay_flow.errors import InvalidValue
from xpay_flow.money import AMOUNT_MINOR_MAX, Money, exponent


@pytest.mark.parametrize(
    ("digits", "currency"), [(2, "USD"), (2, "EUR"), (2, "INR"), (0, "JPY"), (3, "KWD"), (4, "CLF")]
)
def test_exponents(digits: int, currency: str) -> None:
    """The number of decimal digits is that of ISO 4217."""
    assert digits == exponent(currency)


@pytest.mark.parametrize(
    ("text", "amount_minor", "currency"),
    [
        ("19.99 USD", 1999, "USD"),
        ("0.00 USD", 0, "USD"),
        ("0.05 EUR", 5, "EUR"),
        ("1999 JPY", 1999, "JPY"),
        ("1.999 KWD", 1999, "KWD"),
        ("0.007 KWD", 7, "KWD"),
        ("10000000000000.00 USD", AMOUNT_MINOR_MAX, "USD"),
    ],
)
def test_text(text: str, amount_minor: int, currency: str) -> None:
    """An amount is written with as many decimal digits as its currency has."""
    assert text == str(Money(amount_minor, currency))


@pytest.mark.parametrize(
    "amount",
    [
        19.99,
        1999.0,
        "1999",
        True,
        False,
        None,
        -1,
        AMOUNT_MINOR_MAX + 1,
        10**400,
        float("nan"),
        [1],
    ],
)
def test_bad_amounts(amount: object) -> None:
    """Nothing but an integer in range is an amount: no float, bool or string, even if equal."""
    with pytest.raises(InvalidValue, match="amount_minor"):
        Money(amount, "USD")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "currency",
    [
        "",
        "usd",
        "Usd",
        "US",
        "USDX",
        "XYZ",
        "U D",
        "\N{FULLWIDTH LATIN CAPITAL LETTER U}SD",
        "USD\n",
    ],
)
def test_bad_codes(currency: str) -> None:
    """Only an upper-case code that ISO 4217 lists is a currency."""
    with pytest.raises(InvalidValue):
        Money(1, currency)


@pytest.mark.parametrize("currency", [None, 840, b"USD", ["USD"], {"USD": 1}])
def test_codes_are_strings(currency: object) -> None:
    """What is no string is refused by name, not looked up."""
    with pytest.raises(InvalidValue, match="currency must be a string"):
        Money(1, currency)  # type: ignore[arg-type]


@pytest.mark.parametrize("currency", ["XAU", "XXX", "XTS"])
def test_currencies_without_minor_unit(currency: str) -> None:
    """Gold and the test code have no minor unit, so no charge in them is possible."""
    with pytest.raises(InvalidValue, match="no minor unit"):
        Money(1, currency)


def test_foreign_codes_are_quoted_safely() -> None:
    """An error about a code stays one short line, whatever the code was."""
    with pytest.raises(InvalidValue) as caught:
        Money(1, "EUR\n\x1b[31m" + "x" * 999)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_money_is_a_value() -> None:
    """Equal amounts are equal and hash alike; nothing can be changed, and nothing is ordered."""
    one, same, other = Money(5, "USD"), Money(5, "USD"), Money(5, "EUR")
    assert {one} == {one, same}
    assert one != other
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.amount_minor = 6  # type: ignore[misc]
    with pytest.raises(TypeError):
        assert one < other  # type: ignore[operator]


def test_changes_are_checked_again() -> None:
    """A changed copy is as strict as the original."""
    with pytest.raises(InvalidValue):
        attrs.evolve(Money(5, "USD"), amount_minor=-5)


@given(st.integers(0, AMOUNT_MINOR_MAX), st.sampled_from(["USD", "JPY", "KWD", "CLF"]))
def test_text_keeps_every_digit(amount_minor: int, currency: str) -> None:
    """The written amount holds the same digits, so that nothing is rounded."""
    number, code = str(Money(amount_minor, currency)).split(" ")
    whole, _, rest = number.partition(".")
    assert (amount_minor, currency) == (int(whole + rest), code)
    assert len(rest) == exponent(currency)


# --- from a price --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "currency", "amount_minor"),
    [
        ("19.99", "USD", 1999),
        (Decimal("19.99"), "USD", 1999),
        ("20", "USD", 2000),
        ("19.990", "USD", 1999),
        (Decimal("1E+2"), "USD", 10_000),
        ("1999", "JPY", 1999),
        ("1999.00", "JPY", 1999),
        ("1.234", "KWD", 1234),
        ("0.0001", "CLF", 1),
        ("0", "USD", 0),
        ("10000000000000.00", "USD", AMOUNT_MINOR_MAX),
    ],
)
def test_money_of_a_price(price: Decimal | str, currency: str, amount_minor: int) -> None:
    """A price in text or Decimal becomes exactly its minor units."""
    assert Money(amount_minor, currency) == Money.of(price, currency)


@pytest.mark.parametrize(
    ("price", "words"),
    [
        ("19.999", "fraction"),
        ("1000000000000.000000000000000001", "fraction"),
        (Decimal("0.001"), "fraction"),
        (19.99, "float is not exact"),
        (20.0, "float is not exact"),
        (1999, "minor units"),
        (True, "a price is"),
        ("1,999.00", "a price is"),
        ("19,99", "a price is"),
        ("-1", "a price is"),
        ("1e3", "a price is"),
        ("\u0661", "a price is"),
        (" 1", "a price is"),
        ("", "a price is"),
        (None, "a price is"),
        (b"1", "a price is"),
        (Decimal("-1"), "a price is"),
        (Decimal("NaN"), "a price is"),
        (Decimal("sNaN"), "a price is"),
        (Decimal("Infinity"), "a price is"),
        (Decimal("1E+999999"), "a price is"),
        (Decimal("1E-999999"), "fraction"),
        ("9" * 18, "amount_minor"),
    ],
)
def test_money_of_refuses_what_is_no_exact_price(price: object, words: str) -> None:
    """A fraction of the minor unit, a float, an int or odd text is refused in words."""
    with pytest.raises(InvalidValue, match=words):
        Money.of(price, "USD")  # type: ignore[arg-type]


@given(st.integers(0, AMOUNT_MINOR_MAX), st.sampled_from(["USD", "JPY", "KWD", "CLF"]))
def test_money_of_reads_what_money_shows(amount_minor: int, currency: str) -> None:
    """The text of an amount, read again, is the amount."""
    money = Money(amount_minor, currency)
    assert money == Money.of(str(money).split(" ")[0], currency)


def test_money_of_takes_the_decimals_of_the_provider() -> None:
    """Where xPay counts a currency otherwise than ISO 4217, amount and text follow xPay."""
    króna = Money.of("500", "ISK", decimals=2)
    assert (50_000, "500.00 ISK") == (króna.amount_minor, str(króna))
    assert Money(50_000, "ISK") == króna
    with pytest.raises(InvalidValue, match="decimals"):
        Money.of("500", "ISK", decimals=7)


def test_the_list_of_currencies_is_read_late() -> None:
    """Importing the module reads no list of currencies."""
    program = "import sys, xpay_flow.money; sys.exit('iso4217' in sys.modules)"
    root = Path(money.__file__).parents[1]
    assert (
        0
        == subprocess.run(
            [sys.executable, "-c", program], cwd=root, check=False, timeout=120
        ).returncode
    )
