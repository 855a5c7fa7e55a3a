"""What does one scene show? Its search, and what is said of it.

First every situation is judged as it is met. When all are seen, those from which the goal can no
longer be reached are looked for: no single moment need be wrong there.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from .bounds import Bound, Scene
from .contents import Contents
from .engine import Count, Crew, Engine, Overtaking
from .moves import Moves
from .outside import Outside
from .reductions import ALL, Reductions
from .shop import Shop
from .story import Step
from .verdict import Searched, Verdict, Violation

NEVER_STUCK = ("never_stuck", "it is paid at xPay, and can never be fulfilled here")
VERDICTS: dict[str, Verdict] = {
    "seen all": "EXHAUSTED",
    "wrong": "VIOLATED",
    "gave up": "UNFINISHED",
}


class Search:
    """One search through everything that can happen in one scene."""

    def __init__(
        self,
        shop: Shop,
        scene: Scene,
        bound: Bound,
        *,
        reductions: Reductions = ALL,
        watch: Callable[[Count], None] | None = None,
    ) -> None:
        self._scene = scene
        self._contents = Contents(shop.store, alike=reductions.versions)
        self._begun: tuple[Step, ...] = ()
        first = Outside(tells_creation=scene.tells_creation)
        self.moves = Moves(shop, scene, self._contents, first, reductions)
        if scene.begun:
            self.moves.opening = self._after_prologue(shop, first)
        self.engine = Engine(
            self.moves, bound.faults, transitions_max=bound.transitions_max, watch=watch
        )

    def run(self) -> Searched:
        """Search until everything is seen, a promise is broken, or the limit is hit."""
        began = time.perf_counter()
        with uncollected():
            ending = self.engine.run()
            violation = self._violation(*self.engine.wrong) if self.engine.wrong else None
            if ending == "seen all":
                violation = self._stuck()
        return Searched(
            scene=self._scene.name,
            verdict="VIOLATED" if violation else VERDICTS[ending],
            violation=violation,
            states=self.engine.states,
            transitions=self.engine.transitions,
            resumptions=self.moves.histories.resumptions,
            store_calls=self._contents.calls,
            seconds=time.perf_counter() - began,
            unused=tuple(sorted(self._scene.faults - self.moves.fired)),
        )

    def outcomes(self) -> set[tuple[object, ...]]:
        """What can be on file, be paid and have been called when no flow runs: for comparing."""
        return {
            (
                outside.intents,
                outside.news,
                outside.calls,
                tuple(
                    (r.key, r.intent, frozenset(e.status for e in r.effects))
                    for r in self._contents.records[content]
                ),
            )
            for number in range(self.engine.states)
            for situation, crew in (self.engine.state(number),)
            if not crew
            for content, outside in (self.moves.situation(situation),)
        }

    def _after_prologue(self, shop: Shop, first: Outside) -> tuple[int, Crew]:
        """Where a scene begins that follows a click which met no trouble."""
        prologue = Moves(shop, PROLOGUE, self._contents, first, judged=False)
        engine = Engine(prologue, 0)
        engine.run()
        last = next(
            number
            for number in range(engine.states)
            for situation, crew in (engine.state(number),)
            if not crew and prologue.situation(situation)[1].clicks
        )
        self._begun = tuple(told(engine.labels(last)))
        content, outside = prologue.situation(engine.state(last)[0])
        return self.moves.at(content, outside), ()

    def _stuck(self) -> Violation | None:
        """A state from which no continuation leads to the goal: the point of no return."""
        engine = self.engine
        reaching = engine.reaching(self.moves.hopeful)
        doomed = (n for n in range(engine.states) if not reaching[n])
        first = min(doomed, key=lambda n: (engine.price(n), n), default=None)
        return None if first is None else self._violation(NEVER_STUCK, first)

    def _violation(self, wrong: tuple[str, str], number: int) -> Violation:
        return Violation(
            scene=self._scene.name,
            promise=wrong[0],
            sentence=wrong[1],
            story=(*self._begun, *told(self.engine.labels(number))),
            faults=self.engine.price(number),
        )


@contextmanager
def uncollected() -> Generator[None, None, None]:
    """Nothing here is garbage, and looking for some would cost a fifth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


PROLOGUE = Scene(name="prologue", parties={"click": 1}, faults=frozenset(), clicks=1)


def told(labels: list[Any]) -> Iterator[Step]:
    """The steps of a story, in order: who is overtaken has read before, and goes on after."""
    for label in labels:
        if isinstance(label, Overtaking):
            for early, _ in label.readers:
                yield from early
            yield from label.step
            for _, late in label.readers:
                yield from late
        else:
            yield from label
