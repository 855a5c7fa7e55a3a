"""The count of old words does not rise above its ceilings."""

from __future__ import annotations

import pytest

from .plain_words import CEILINGS, counted, files_now, old_words

COUNTS = counted(files_now())


@pytest.mark.parametrize("part", CEILINGS)
def test_old_words_stay_under_their_ceiling(part: str) -> None:
    """Each part has at most as many old words per 1,000 lines as `plain_words.CEILINGS` allows."""
    count = COUNTS[part]
    assert 0 < count.lines
    assert count.per_thousand <= CEILINGS[part], count.words.most_common(10)


def test_each_part_has_a_ceiling() -> None:
    """No part is counted without a ceiling."""
    assert set(CEILINGS) == set(COUNTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xPay told us", ["told"]),
        ("AskedMoney", ["asked"]),
        ("owed_by", ["owed"]),
        ("an event that is\n    nobody's yet", ["nobodys"]),
        ("put up\nfor attention", ["put up for"]),
        ("a personal basket, a salesperson, newspaper", []),
        ("the event was reported", []),
    ],
)
def test_old_words_finds_words_in_prose_and_identifiers(text: str, expected: list[str]) -> None:
    """old_words() takes identifiers apart, joins lines, and does not match inside of words."""
    assert expected == old_words(text)
