"""Does the search show the same without its reductions? Tried on the user's own code, in small.

No argument about merging is trusted here: a small bound is searched once more with every step of
every flow on its own, and nothing merged but equal states.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from .bounds import Bound
from .reductions import ALL, NONE
from .verdict import Verdict

# Without reductions a scene is some twenty times as large.
FAULTS_MAX = 1
SECONDS_MAX = 60.0


@attrs.frozen(kw_only=True)
class Compared:
    """One scene with so many faults, searched twice.

    Args:
        verdict, plain: with all reductions, and with none.
        faults_found: of the broken promise, in the same order; None where none is broken.
    """

    scene: str
    faults: int
    verdict: Verdict
    plain: Verdict
    faults_found: tuple[int | None, int | None]

    @property
    def agrees(self) -> bool | None:
        """Both searches show the same; None where one was not ended."""
        if "UNFINISHED" in (self.verdict, self.plain):
            return None
        return (self.verdict, self.faults_found[0]) == (self.plain, self.faults_found[1])


@attrs.frozen(kw_only=True)
class CrossChecked:
    """What a search without reductions shows of a small bound."""

    compared: tuple[Compared, ...]

    @property
    def agrees(self) -> bool:
        """No scene that was searched to its end in both ways differs."""
        return all(found.agrees is not False for found in self.compared)

    def as_text(self) -> str:
        """For a terminal."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        differ = [found for found in self.compared if found.agrees is False]
        ended = [found for found in self.compared if found.agrees]
        for found in differ:
            yield (
                f"Cross-check: {found.scene} with {found.faults} fault(s) is {found.verdict}, and "
                f"{found.plain} without reductions: a defect of the checker, please report it"
            )
        scenes = ", ".join(f"{found.scene} ({found.faults})" for found in ended) or "none"
        yield f"Cross-check: the same without reductions, by scene (faults): {scenes}"
        left = [found for found in self.compared if found.agrees is None]
        if left:
            names = ", ".join(f"{found.scene} ({found.faults})" for found in left)
            yield f"Cross-check: not ended in time: {names}"


def small(bound: Bound, faults: int, seconds: float) -> Bound:
    """The same scenes with so many faults and in this time."""
    return attrs.evolve(
        bound, name="cross-check", faults=faults, seconds_max=seconds, deepens=False
    )


PAIR = (ALL, NONE)
