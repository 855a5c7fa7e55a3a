"""That an amount is whole minor units of a real currency, or does not exist."""

from __future__ import annotations

import subprocess
import sys
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
