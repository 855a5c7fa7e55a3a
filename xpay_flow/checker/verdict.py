"""What is the verdict of a check, and what shows it? Figures, and the trace of a broken promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from .bounds import FAULT_WORDS, Bound, FaultKind
from .marks import last_change
from .story import Step
from .telling import MarkedTrace, as_mermaid, as_text, mark_trace

Verdict = Literal["EXHAUSTED", "VIOLATED", "UNFINISHED"]

METHOD_IS_A_STEP = (
    "a store's method is one step; that it is atomic is for `xpay-flow check --store` to show"
)
ASSUMPTIONS = (
    METHOD_IS_A_STEP,
    "code under check depends on nothing but the answers to its effects",
    "time goes on to when everything known is due, and only while no flow runs, except as a fault",
    "a webhook is lost for good only before the payment was first reconciled",
    "xPay gives an event up, and begins to send a flawed one, only while no flow runs",
    "a record's version is compared, and counted up by a flow's own commits only",
    "xPay does as documented; it answers a repeated key with the first answer",
)

# What no verdict covers.
OUTSIDE = (
    "parties, or kinds of faults, of two scenes at once; more faults, flows or orders than stated",
    "threads that share memory inside one process",
    "a store that keeps concurrent flows less apart than the one that was run",
    "real networks, TLS, and how fast anything is",
    "an xPay that does otherwise than documented",
    "rules of the business that are not stated as a promise",
)
# The one promise that no single moment breaks.
NEVER_STUCK = "never_stuck"


@attrs.frozen(kw_only=True)
class Progress:
    """How far a search has come, while it runs.

    Args:
        scene: the one that is being searched.
        faults: how many faults the states have that are being looked at.
        states, transitions: seen in this scene so far.
        seconds: since this scene was begun.
        frontier: states met and not yet looked at.
    """

    scene: str
    faults: int
    states: int
    transitions: int
    seconds: float
    frontier: int


@attrs.frozen(kw_only=True)
class Violation:
    """A promise that is broken, and the shortest story of how, with the fewest faults.

    Args:
        confirmed: the trace was replayed with live code, and ended the same.
        no_return: the number, from 0, of the step after which nothing helps any more. Where that
            is what is wrong and it is None, it is the last one that changed anything.
        seed: what `replay` needs to do it again.
    """

    scene: str
    promise: str
    sentence: str
    story: tuple[Step, ...]
    faults: int
    confirmed: bool = False
    no_return: int | None = None
    seed: str = ""

    @property
    def marked_trace(self) -> MarkedTrace:
        """The story laid out, with what deserves a mark."""
        return mark_trace(self.promise, self.sentence, self.story, self._no_return)

    @property
    def _no_return(self) -> int | None:
        if self.promise != NEVER_STUCK or not self.story:
            return None
        return last_change(self.story) if self.no_return is None else self.no_return

    def as_text(self) -> str:
        """The story for a terminal; each flow has a thread of its own."""
        lines = as_text(self.marked_trace)
        head = f"{next(lines)}\n  scene {self.scene}, {self.faults} fault(s)"
        return "\n".join([head, *(f"  {line}" for line in lines)])

    def as_mermaid(self) -> str:
        """The story as Mermaid's `sequenceDiagram`; faults are red, and have a note."""
        return as_mermaid(self.marked_trace)


@attrs.frozen(kw_only=True)
class Searched:
    """What one scene has shown.

    Args:
        resumptions: how often a real generator was resumed; `store_calls`: real store operations.
        unused: kinds of faults of the bound that never could happen.
        hoped: promises of the user's own that were to come true once, and did.
        exhausted_faults: everything with so many faults was seen, whatever came of more.
        histogram: numbers of states: under `faults` with no fault, with one, with two, …; under
            `running` likewise by how many flows run.
    """

    scene: str
    verdict: Verdict
    states: int
    transitions: int
    resumptions: int
    store_calls: int
    seconds: float
    unused: tuple[FaultKind, ...] = ()
    violation: Violation | None = None
    hoped: frozenset[str] = frozenset()
    exhausted_faults: int = -1
    histogram: Mapping[str, tuple[int, ...]] = attrs.field(
        factory=dict[str, tuple[int, ...]], hash=False
    )

    @property
    def states_per_s(self) -> float:
        """How fast states were seen; 0 where it went too fast to measure."""
        return self.states / self.seconds if self.seconds else 0.0


@attrs.frozen(kw_only=True)
class Result:
    """The verdict of a whole check.

    Args:
        target: what was checked, as it was named.
        never_run: lines of the user's code that no search ran.
        without: promises that were left out.
        exhausted_before: a search before this one was seen to the end with so many faults.
        hoped_for: promises of the user's own that had to come true at some moment, by name.
    """

    bound: Bound
    searched: tuple[Searched, ...]
    assumptions: tuple[str, ...] = ASSUMPTIONS
    target: str = ""
    never_run: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    hoped_for: Mapping[str, str] = attrs.field(factory=dict[str, str], hash=False)
    exhausted_before: int = -1

    @property
    def in_vain(self) -> tuple[str, ...]:
        """Promises that had to come true at some moment, and did at none."""
        came = frozenset[str]().union(*(scene.hoped for scene in self.searched))
        return tuple(name for name in self.hoped_for if name not in came)

    @property
    def exhausted_faults(self) -> int:
        """Every scene was seen to its end with so many faults; -1 is not even with none."""
        if len(self.searched) < len(self.bound.scenes):
            return self.exhausted_before
        here = min((scene.exhausted_faults for scene in self.searched), default=-1)
        return max(here, self.exhausted_before)

    @property
    def verdict(self) -> Verdict:
        """VIOLATED if any scene is; EXHAUSTED only if every scene was seen to its end.

        A promise that came true at no moment is a violation once everything was seen.
        """
        verdicts = {scene.verdict for scene in self.searched}
        if "VIOLATED" in verdicts:
            return "VIOLATED"
        if verdicts != {"EXHAUSTED"} or len(self.searched) != len(self.bound.scenes):
            return "UNFINISHED"
        return "VIOLATED" if self.in_vain else "EXHAUSTED"

    @property
    def violation(self) -> Violation | None:
        """The broken promise with the fewest faults; of several the one of the first scene."""
        found = [scene.violation for scene in self.searched if scene.violation]
        return min(found, key=lambda violation: violation.faults, default=None)

    def total(self, name: str) -> Any:
        """A figure summed over all scenes."""
        return sum(getattr(scene, name) for scene in self.searched)

    def as_text(self) -> str:
        """Everything, for a terminal."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.verdict} within the bound {self.bound.name!r}: {self.bound.in_words()}"
        for scene in self.searched:
            yield (
                f"{scene.scene:12} {scene.verdict:10} {scene.states:9,} states "
                f"{scene.transitions:10,} transitions {scene.resumptions:8,} real resumptions "
                f"{scene.store_calls:6,} real store calls {scene.seconds:6.2f} s"
            )
            for kind in scene.unused:
                yield f"{'':12} never happened: {FAULT_WORDS[kind]}"
        for name in self.in_vain:
            yield f"Never came true: {name}: {self.hoped_for[name]}"
        for lines in self.never_run:
            yield f"Never run: {lines}"
        if self.without:
            yield f"Not looked at: {', '.join(self.without)}"
        if self.verdict == "UNFINISHED" and self.exhausted_faults >= 0:
            yield f"Seen to the end: everything with up to {self.exhausted_faults} fault(s)"
        yield "Assumed: " + "; ".join(self.assumptions)
        if self.violation is not None:
            yield ""
            yield self.violation.as_text()
            if self.violation.seed:
                yield f"Again: xpay-flow replay {self.violation.seed} {self.target}".rstrip()

    def as_json(self) -> dict[str, Any]:
        """Verdict, bound and figures, as values for JSON."""
        figures = ("states", "transitions", "resumptions", "store_calls", "seconds")
        broken = self.violation
        return {
            "verdict": self.verdict,
            "bound": {"name": self.bound.name, "in_words": self.bound.in_words()},
            **{name: self.total(name) for name in figures},
            "scenes": [
                {"name": s.scene, "verdict": s.verdict, "unused": list(s.unused)}
                | {name: getattr(s, name) for name in figures}
                for s in self.searched
            ],
            "exhausted_faults": self.exhausted_faults,
            "never_came_true": list(self.in_vain),
            "never_run": list(self.never_run),
            "without": list(self.without),
            "assumptions": list(self.assumptions),
            "violation": broken
            and {
                "scene": broken.scene,
                "promise": broken.promise,
                "sentence": broken.sentence,
                "faults": broken.faults,
                "confirmed": broken.confirmed,
                "seed": broken.seed,
                "story": [
                    broken.marked_trace.lanes.words(number) for number in range(len(broken.story))
                ],
                "where": [step.where for step in broken.story],
                "mermaid": broken.as_mermaid(),
            },
        }
