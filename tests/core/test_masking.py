"""What is personal in the text of an error? What is masked, what is not, and within limits."""

from __future__ import annotations

import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpay_flow.errors import error_text
from xpay_flow.masking import MASK, likeness, masked


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("mail to […] bounced", "mail to ada@mail.example bounced"),
        ("<[…]>, '[…]'", "<ada+shop@mail.example>, 'jürgen@müller.example'"),
        ("e=[…]&x=1", "e=ada%40mail.example&x=1"),
        ("call […].", "call +1 (415) 555-0199."),
        ("[…], […]", "0049 30 1234567, +4930.1234567"),
        ("card […] declined", "card 4242 4242 4242 4242 declined"),
        ("card […]", "card 4242-4242-4242-4242"),
        ("x[…]y", "x4242424242424242y"),
        ("postgresql://[…]@db.example/x", "postgresql://user:secret@db.example/x"),
        ("violates\n[…]", "violates\nDETAIL:  Failing row contains (Ada Example).\nmore"),
    ],
)
def test_masked(expected: str, text: str) -> None:
    """E-mail addresses, phone and card numbers, logins and quoted rows are masked."""
    assert expected == masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "HTTP 500 after 12 tries in 1.5 s, 1999 USD",
        "pi_54aa02308f5b63053e6399f9b36ca5 and in_1234567890abcdef",
        "2026-11-29T19:45:27.123Z, 2026-11-29 19:45 and 2026-11-29",
        "127.0.0.1:5432 and 192.168.100.200",
        "123e4567-e89b-12d3-a456-426614174000",
        "Access denied for user 'shop'@'localhost'",
        "@flow.on_success",
        "x4242424242424243y",
    ],
)
def test_masked_leaves_what_names_no_person(text: str) -> None:
    """Amounts, ids, times, addresses of machines and names of code stay readable."""
    assert text == masked(text)


@given(st.text(alphabet="a1@ .-+()%40:/\nDETAIL", max_size=200))
def test_masked_twice_is_masked_once(text: str) -> None:
    """Masking what is masked changes nothing, so that it may happen wherever text comes in."""
    assert masked(masked(text)) == masked(text)


@given(
    st.text(alphabet="abcxyz .", max_size=30),
    st.from_regex(r"[a-z0-9.!#$*+_~-]{1,20}@[a-z0-9-]{1,20}\.example", fullmatch=True),
    st.text(alphabet="abcxyz .", max_size=30),
)
def test_no_address_is_left(before: str, email: str, after: str) -> None:
    """Whatever stands around an e-mail address, its domain is not in the masked text."""
    assert email.partition("@")[2] not in masked(f"{before} {email} {after}")


@pytest.mark.parametrize("unit", ["a", "1", "1 ", "a@", "(", "1-1.", "+", "://", "a@@"])
def test_masked_has_a_limit(unit: str) -> None:
    """However long and odd a foreign text is, what is made of it is bounded."""
    assert 60_100 > len(masked(unit * 1_000_000))


class Odd(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


def test_error_text_is_masked() -> None:
    """What a store keeps of a handler's error has no address in it."""
    assert "ValueError: no […]" == error_text(ValueError("no ada@mail.example"))
    assert "Odd: (its text cannot be had)" == error_text(Odd())


ADDRESS = "ada@mail.example"


def _raised() -> BaseException:
    try:
        try:
            raise KeyError(ADDRESS)
        except KeyError as cause:
            cause.add_note("for +14155550199")
            raise ConnectionError(f"no mail to {ADDRESS}") from cause
    except ConnectionError as error:
        return error


def test_likeness() -> None:
    """In a log the likeness of an error reads like it: types, lines and causes, texts masked."""
    shown = "".join(traceback.format_exception(likeness(_raised())))
    for part in ("KeyError: '[…]'", "for […]", "direct cause", "ConnectionError: no mail to […]"):
        assert part in shown
    assert "in _raised" in shown
    assert ADDRESS not in shown


def test_likeness_of_what_goes_in_circles() -> None:
    """Errors that are each other's context, and groups, have a likeness, too."""
    first, second = ValueError("1"), ExceptionGroup("a@b.example", [TypeError("2")])
    first.__context__, second.__context__ = second, first
    assert "ValueError: 1" in "".join(traceback.format_exception(likeness(first)))
    assert "a@b" not in "".join(traceback.format_exception(likeness(second)))


def test_likeness_is_what_other_code_of_a_log_sees(caplog: pytest.LogCaptureFixture) -> None:
    """Who formats the error of a log record by other means finds the masked one."""
    logging.getLogger("masked").error("failed", exc_info=likeness(_raised()))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert MASK in str(record.exc_info[1])
