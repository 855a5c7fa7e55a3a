"""The checker must find every planted bug, under the right name, with the fewest faults."""

from __future__ import annotations

import attrs
import pytest

from xpay_flow.checker.bounds import DEFAULT
from xpay_flow.checker.verify import check

from .planted import PLANTED, Planted


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_planted_bug_is_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug is VIOLATED on its promise, with the smallest number of faults, and live."""
    if planted.patch is not None:
        monkeypatch.setattr(*planted.patch)
    result = check(planted.make(), attrs.evolve(DEFAULT, scenes=(planted.scene,)))
    assert result.violation is not None
    found = result.violation
    assert (planted.promise, planted.faults) == (found.promise, found.faults), found.as_text()
    assert found.confirmed


def test_there_are_enough() -> None:
    """At least fifteen bugs are planted, and most promises have one."""
    assert len(PLANTED) >= 15
    assert len({planted.promise for planted in PLANTED}) >= 7
