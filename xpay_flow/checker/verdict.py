"""What is said at the end? A verdict, what was seen, and, if a promise is broken, the story."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import attrs

from .bounds import FAULT_WORDS, Bound, FaultKind
from .story import Step

Verdict = Literal["EXHAUSTED", "VIOLATED", "UNFINISHED"]

ASSUMPTIONS = (
    "a store's method is one step; that it is atomic is for the store suite to show",
    "code under check depends on nothing but the answers to its effects",
    "time goes on to when everything known is due, and only while no flow runs, except as a fault",
    "a webhook is lost for good only before xPay was first asked about the payment",
    "a record's version is compared and never counted",
    "xPay does what its documentation says; it answers a repeated key with the first answer",
)


@attrs.frozen(kw_only=True)
class Violation:
    """A promise that is broken, and the shortest story of how, with the fewest faults.

    Args:
        confirmed: the story was told again with live code, and ended the same.
    """

    scene: str
    promise: str
    sentence: str
    story: tuple[Step, ...]
    faults: int
    confirmed: bool = False

    def as_text(self) -> str:
        """The story for a terminal."""
        head = f"{self.promise}: {self.sentence}\n  scene {self.scene}, {self.faults} fault(s)"
        return "\n".join([head, *(f"  {n:3} {s.in_words()}" for n, s in enumerate(self.story, 1))])

    def as_mermaid(self) -> str:
        """The story as Mermaid's `sequenceDiagram`; faults have a red band."""
        names: dict[str, str] = {}
        lines: list[str] = []
        for step in self.story:
            source, target = (names.setdefault(n, f"p{len(names)}") for n in step.ends_of_arrow())
            text = step.in_words().replace(";", ",").replace("#", " no. ").replace(":", " ", 1)
            arrow = f"{source}->>{target}: {text}"
            band = (
                ["rect rgba(220, 38, 38, 0.16)", arrow, "end"]
                if step.fault is not None
                else [arrow]
            )
            lines += band
        last = next(reversed(names.values()), "p0")
        told = f"{self.promise}, {self.sentence}".replace(";", ",").replace("#", " no. ")
        parties = [f"participant {short} as {name}" for name, short in names.items()]
        return "\n  ".join(["sequenceDiagram", *parties, *lines, f"Note over {last}: {told}"])


@attrs.frozen(kw_only=True)
class Searched:
    """What one scene has shown.

    Args:
        resumptions: how often a real generator was resumed; `store_calls`: real store operations.
        unused: kinds of faults of the bound that never could happen.
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


@attrs.frozen(kw_only=True)
class Result:
    """The verdict of a whole check."""

    bound: Bound
    searched: tuple[Searched, ...]
    assumptions: tuple[str, ...] = ASSUMPTIONS

    @property
    def verdict(self) -> Verdict:
        """VIOLATED if any scene is; EXHAUSTED only if every scene was seen to its end."""
        verdicts = {scene.verdict for scene in self.searched}
        if "VIOLATED" in verdicts:
            return "VIOLATED"
        seen_all = verdicts == {"EXHAUSTED"} and len(self.searched) == len(self.bound.scenes)
        return "EXHAUSTED" if seen_all else "UNFINISHED"

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
        yield "Assumed: " + "; ".join(self.assumptions)
        if self.violation is not None:
            yield ""
            yield self.violation.as_text()

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
            "assumptions": list(self.assumptions),
            "violation": broken
            and {
                "scene": broken.scene,
                "promise": broken.promise,
                "sentence": broken.sentence,
                "faults": broken.faults,
                "confirmed": broken.confirmed,
                "story": [step.in_words() for step in broken.story],
                "mermaid": broken.as_mermaid(),
            },
        }
