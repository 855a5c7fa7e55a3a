"""The search shows of programs written at random what it shows without its reductions."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from .programs import Program, disagreement, programs

IN_CI = 200
DEEP = int(os.environ.get("PROGRAMS", "10000"))


def written(most: int) -> settings:
    """So many programs, the same ones on every run."""
    return settings(
        max_examples=most,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )


@written(IN_CI)
@given(programs())
def test_programs_are_searched_alike(program: Program) -> None:
    """All reductions together show of a program what none of them shows."""
    different = disagreement(program, each=False, stateless=False)
    assert different is None, f"{different}\n{program}"


@pytest.mark.deep
@pytest.mark.timeout(0)
@written(DEEP)
@given(programs())
def test_many_programs_are_searched_alike(program: Program) -> None:
    """So does each reduction turned off, and what executions from an empty store show is seen."""
    different = disagreement(program)
    assert different is None, f"{different}\n{program}"
