"""How fast is each bug found, and how long is its story?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator

import attrs

from xpay_flow.checker.hidden import HiddenState
from xpay_flow.checker.verdict import Violation

from .mutant import REFUSED, Mutant


@attrs.frozen(kw_only=True)
class Found:
    """What the checker has made of one bug.

    Args:
        violation: None where the code was refused; `refusal` has the reason then.
    """

    mutant: Mutant
    seconds: float
    violation: Violation | None = None
    refusal: str = ""

    @property
    def promise(self) -> str:
        return self.violation.promise if self.violation else REFUSED

    @property
    def faults(self) -> int:
        return self.violation.faults if self.violation else 0

    @property
    def arrows(self) -> int:
        return len(self.mutant.arrows(self.violation)) if self.violation else 0


def found(mutant: Mutant) -> Found:
    """One bug, looked for.

    Raises:
        AssertionError: the checker has not found it.
    """
    began = time.perf_counter()
    try:
        violation = mutant.checked().violation
    except HiddenState as refused:
        seconds = time.perf_counter() - began
        return Found(mutant=mutant, seconds=seconds, refusal=str(refused))
    assert violation is not None, f"{mutant.name} was not found"
    return Found(mutant=mutant, seconds=time.perf_counter() - began, violation=violation)


HEAD = ("bug", "promise", "faults", "arrows", "seconds")
WIDTHS = (32, 31, 6, 6, 8)


def lines(mutants: Iterable[Mutant]) -> Iterator[str]:
    """A table, line by line as the bugs are found, and the figures over all."""
    yield _row(HEAD)
    seconds: list[float] = []
    for mutant in mutants:
        seen = found(mutant)
        seconds.append(seen.seconds)
        yield _row((mutant.name, seen.promise, seen.faults, seen.arrows, f"{seen.seconds:.3f}"))
    yield (
        f"{len(seconds)} bugs found in {sum(seconds):.1f} s; "
        f"median {statistics.median(seconds):.3f} s, slowest {max(seconds):.2f} s"
    )


def _row(cells: Iterable[object]) -> str:
    return "  ".join(
        f"{cell!s:{width}}" for cell, width in zip(cells, WIDTHS, strict=True)
    ).rstrip()
