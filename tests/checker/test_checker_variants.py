"""The checker raises no alarm on a shop that is right, however it does it."""

from __future__ import annotations

import pytest

from xpay_flow.checker.bounds import DEFAULT

from .variants import VARIANTS, Variant


def name_of(variant: Variant) -> str:
    return variant.name


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_a_correct_shop_is_exhausted_with_one_fault(variant: Variant) -> None:
    """A correct shop keeps every promise in each scene that fits, with any one fault."""
    result = variant.checked(faults=1)
    assert "EXHAUSTED" == result.verdict, result.as_text()
    assert [scene.name for scene in variant.scenes] == [scene.scene for scene in result.searched]
    assert all(scene.states > 10 for scene in result.searched)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_a_correct_shop_is_exhausted(variant: Variant) -> None:
    """A correct shop keeps every promise in each scene that fits, within the default bound."""
    result = variant.checked(faults=DEFAULT.faults)
    assert "EXHAUSTED" == result.verdict, result.as_text()


def test_there_are_enough_that_are_right() -> None:
    """At least twelve shops are right, each in its own way, by our flows and by hand."""
    assert len(VARIANTS) >= 12
    assert len(VARIANTS) == len({variant.name for variant in VARIANTS})
    assert len(VARIANTS) == len({variant.how for variant in VARIANTS})
