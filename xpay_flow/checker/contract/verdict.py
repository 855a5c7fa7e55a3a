"""What is the verdict over a store? With figures, and the smallest counterexample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from xpay_flow.checker.verdict import Verdict

from .stories import ContractViolation

ASSUMPTIONS: Final = (
    "a statement of the driver is one step",
    "driver calls made on threads that the store starts itself are not steered",
    "opening the store is not interrupted",
    "the database keeps its own promises, such as that what it committed survives a power cut",
)


@attrs.frozen(kw_only=True)
class ContractBound:
    """How far each scene is searched.

    Args:
        switches: a lifeline is left before its next statement so often; switches at the beginning
            and at the end of a call are free. One among threads of one process, and in the
            larger scenes, which have no threads and no faults.
        faults: a process dies, or a statement fails, or is applied and reports a failure.
        switches_with_fault: as `switches`, in a run with a fault.
        runs_max: give up, UNFINISHED, after so many runs.
        seconds_max: give up, UNFINISHED, after so many seconds; None is no such limit.
    """

    switches: int = 2
    faults: int = 1
    switches_with_fault: int = 0
    runs_max: int = 20_000
    seconds_max: float | None = None

    @property
    def fewer(self) -> int:
        return min(self.switches, 1)

    def in_words(self) -> str:
        return (
            f"pairs of calls, a process for each: up to {self.switches} switch(es) in the middle "
            f"of a call, or {self.faults} fault(s) with up to {self.switches_with_fault}; among "
            f"threads of one process, and in the larger scenes: {self.fewer} switch(es)"
        )


@attrs.frozen(kw_only=True)
class SceneFigures:
    """How far one scene was searched, over both modes."""

    scene: str
    runs: int = 0
    statements: int = 0
    faults: int = 0
    diverged: int = 0


@attrs.frozen(kw_only=True)
class ContractResult:
    """The verdict over a store.

    Args:
        notes: what was assumed, and what could not be looked at.
        seen: the drivers whose statements were seen.
        blind: no statement of a store that keeps data was seen, so nothing is proven.
        complete: the bound was searched to its end.
    """

    bound: ContractBound
    scenes: tuple[SceneFigures, ...]
    seen: tuple[str, ...]
    lasting: bool
    complete: bool
    seconds: float
    notes: tuple[str, ...] = ASSUMPTIONS
    violation: ContractViolation | None = None

    @property
    def blind(self) -> bool:
        return self.lasting and not self.seen

    @property
    def verdict(self) -> Verdict:
        """EXHAUSTED only if every schedule within the bound was run, and was seen."""
        if self.violation is not None:
            return "VIOLATED"
        diverged = any(scene.diverged for scene in self.scenes)
        return "EXHAUSTED" if self.complete and not self.blind and not diverged else "UNFINISHED"

    def total(self, name: str) -> int:
        """A figure summed over all scenes."""
        return sum(getattr(scene, name) for scene in self.scenes)

    def as_text(self) -> str:
        """Everything, for a terminal."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.verdict} (store contract) within the bound: {self.bound.in_words()}"
        for scene in self.scenes:
            yield (
                f"{scene.scene:28} {scene.runs:6,} runs {scene.statements:8,} statements "
                f"{scene.faults:6,} faults"
            )
        yield (
            f"{self.total('runs'):,} runs, {self.total('statements'):,} statements of "
            f"{', '.join(self.seen) or 'no driver'}, {self.seconds:.1f} s"
        )
        if self.blind:
            yield BLIND
        if self.total("diverged"):
            yield f"{self.total('diverged')} run(s) did not go the same way when done again"
        yield "Assumed: " + "; ".join(self.notes)
        if self.violation is not None:
            yield ""
            yield self.violation.as_text()

    def as_json(self) -> dict[str, Any]:
        """Verdict, bound, figures and story, as values for JSON."""
        return {
            "verdict": self.verdict,
            "bound": attrs.asdict(self.bound) | {"in_words": self.bound.in_words()},
            "runs": self.total("runs"),
            "statements": self.total("statements"),
            "faults": self.total("faults"),
            "seconds": round(self.seconds, 3),
            "drivers": list(self.seen),
            "lasting": self.lasting,
            "scenes": [attrs.asdict(scene) for scene in self.scenes],
            "assumptions": list(self.notes),
            "violation": self.violation.as_json() if self.violation else None,
        }


BLIND: Final = (
    "No statement was seen, so every method was a single step and nothing is proven: the store's "
    "driver is not in the table. Name its callables in an attribute `statements` of the store."
)
