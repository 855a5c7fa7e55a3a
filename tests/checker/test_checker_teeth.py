"""The checker must find every planted bug, for its own reason, with the fewest faults."""

from __future__ import annotations

import inspect
import re

import pytest

from xpay_flow.checker.bounds import DEFAULT
from xpay_flow.checker.hidden import HiddenState
from xpay_flow.checker.verdict import Violation

from .mutants import CATALOGUE, REFUSED, THEMES, Mutant

ARROWS_MAX = 20
REFUSALS = tuple(mutant for mutant in CATALOGUE if mutant.promise == REFUSED)
BROKEN = tuple(mutant for mutant in CATALOGUE if mutant.promise != REFUSED)
DEEP = tuple(mutant for mutant in BROKEN if mutant.faults > DEFAULT.faults)


def name_of(mutant: Mutant) -> str:
    return mutant.name


def found(mutant: Mutant) -> Violation:
    violation = mutant.checked().violation
    assert violation is not None
    return violation


@pytest.mark.parametrize("mutant", BROKEN, ids=name_of)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    """A planted bug breaks its promise, for its reason, with the fewest faults, and live."""
    violation = found(mutant)
    text = violation.as_text()
    assert (mutant.promise, mutant.faults) == (violation.promise, violation.faults), text
    assert mutant.expects in text
    assert violation.confirmed
    assert len(mutant.arrows(violation)) <= ARROWS_MAX


@pytest.mark.parametrize("mutant", REFUSALS, ids=name_of)
def test_a_hidden_input_is_refused(mutant: Mutant) -> None:
    """Code that takes in what the checker cannot repeat is refused; the error names it."""
    with pytest.raises(HiddenState, match=re.escape(mutant.expects)):
        mutant.checked()


@pytest.mark.parametrize("mutant", DEEP, ids=name_of)
def test_a_deep_bug_hides_from_the_default_bound(mutant: Mutant) -> None:
    """What needs more faults than the default bound has is EXHAUSTED within it."""
    assert "EXHAUSTED" == mutant.checked(faults=DEFAULT.faults).verdict


def test_there_are_enough() -> None:
    """At least forty bugs, two of them deep, in every place of a shop, on most promises."""
    assert len(CATALOGUE) >= 40
    assert len(DEEP) >= 2
    assert len({mutant.promise for mutant in BROKEN}) >= 9
    assert all(len(mutants) >= 3 for mutants in THEMES.values())


def test_each_has_a_name_and_a_sentence() -> None:
    """No two bugs share a name, and each states in one sentence what the shop got wrong."""
    assert len(CATALOGUE) == len({mutant.name for mutant in CATALOGUE})
    for mutant in CATALOGUE:
        sentence = inspect.getdoc(mutant.bug) or ""
        assert sentence.endswith("."), mutant.name
        assert not re.search(r"\.\s", sentence), mutant.name


def test_references_are_public() -> None:
    """A reference is a public page about other code, and there are many."""
    given = [mutant.reference for mutant in CATALOGUE if mutant.reference]
    assert len(given) >= 20
    assert all(re.fullmatch(r"https://github\.com/\S+/(issues|pull)/\d+", url) for url in given)
