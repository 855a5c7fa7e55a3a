"""How far is a store on a server searched? To the end of its bound, or as long as a test may take.

A busy machine is slower. There such a search is UNFINISHED, which passes when it has run often
enough to mean something; the end of the test run names those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

# Under the limit of a test, with room for what comes before and after.
BUDGET_S: Final = 90.0

Held = Callable[[str, int, int, str], None]


@pytest.fixture
def holds(record_property: Callable[[str, object], None]) -> Held:
    """Fails unless a search was EXHAUSTED, or UNFINISHED after at least so many runs."""

    def judge(verdict: str, runs: int, runs_min: int, text: str) -> None:
        assert verdict in ("EXHAUSTED", "UNFINISHED"), text
        assert runs_min <= runs, text
        if verdict == "UNFINISHED":
            record_property("UNFINISHED", f"{runs:,} runs in {BUDGET_S:.0f} s")

    return judge


def unfinished(reports: list[pytest.TestReport]) -> list[str]:
    """A line for each test whose search was not ended."""
    return [
        f"UNFINISHED {report.nodeid}: {value}"
        for report in reports
        for name, value in report.user_properties
        if name == "UNFINISHED"
    ]
