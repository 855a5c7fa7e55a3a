"""What does the search of one scene find?

First every situation is judged as it is met. When all are seen, those from which the goal can no
longer be reached are looked for: no single moment need be wrong there.
"""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from .bounds import ALL_SCENES, Bound, Scene
from .contents import Contents
from .engine import Count, Crew, Engine, Overtaking
from .judging import standing
from .moves import Moves
from .outside import Outside
from .promises import LooksFurther, Promises, Wrong, promises_of
from .properties import Goal
from .reductions import ALL, Reductions
from .seeds import Seed, Walk, mark_of
from .shop import Shop
from .story import Step
from .verdict import Searched, Verdict, Violation

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
        promises: Promises | None = None,
        watch: Callable[[Count], None] | None = None,
    ) -> None:
        self._shop, self._scene, self._bound = shop, scene, bound
        self._promises = promises or promises_of(scene)
        self._wanted, self._watch = reductions, watch
        self._empty = shop.store.snapshot()
        self._prepare()

    def _prepare(self) -> None:
        """Everything for a search, with the reductions that are argued for what is searched."""
        shop, scene, bound = self._shop, self._scene, self._bound
        self.reductions = reductions = self._permitted(self._wanted)
        self._contents = Contents(
            shop.store,
            alike=reductions.versions,
            whole=not reductions.essence,
            loops=reductions.loops,
            own=shop.own_store,
        )
        self.begun: tuple[Step, ...] = ()
        first = Outside(reports_creation=scene.reports_creation)
        self.moves = Moves(
            shop,
            scene,
            self._contents,
            first,
            reductions,
            promises=self._promises,
            faults=bound.faults,
        )
        if scene.begun:
            self.moves.opening = self._after_prologue(shop, first)
        self.engine = Engine(
            self.moves,
            bound.faults,
            transitions_max=bound.transitions_max,
            seconds_max=inf if bound.seconds_max is None else bound.seconds_max,
            watch=self._watch,
        )

    def _permitted(self, reductions: Reductions) -> Reductions:
        return reductions.permitted(
            own_flows=bool(self._shop.own_parties),
            own_store=self._shop.own_store,
            own_promises=self._promises.own,
            looks_further=bool(self._promises.looks),
        )

    def run(self) -> Searched:
        """Search until everything is seen, a promise is broken, or the limit is hit."""
        began = time.perf_counter()
        with uncollected():
            try:
                ending, violation, hoped = self._seen()
            except LooksFurther:
                self.forget()
                self._shop.store.restore(self._empty)
                self._prepare()
                ending, violation, hoped = self._seen()
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
            hoped=hoped,
            exhausted_faults=self.engine.exhausted,
            histogram=self.engine.histogram(),
        )

    def _seen(self) -> tuple[str, Violation | None, frozenset[str]]:
        """How the search ended, what is broken, and which hopes came true.

        Raises:
            LooksFurther: a promise looks at more than the reductions are argued for.
        """
        ending = self.engine.run()
        violation = self._violation(*self.engine.wrong) if self.engine.wrong else None
        if ending == "seen all":
            violation = self._stuck()
            if self._shop.own_parties:
                self.moves.histories.audit()
        hoped = self._hoped()
        if self._permitted(self.reductions) != self.reductions:
            raise LooksFurther
        return ending, violation, hoped

    def forget(self) -> None:
        """Let go of what was found, after the last look at it; see `uncollected`."""
        self.moves.histories.forget()

    def outcomes(self) -> set[tuple[object, ...]]:
        """What can be on file, be paid and have been called when no flow runs: for comparing."""
        return {
            standing(self._contents.records[content], outside)
            for number in range(self.engine.states)
            for situation, crew in (self.engine.state(number),)
            if not crew
            for content, outside in (self.moves.situation(situation),)
        }

    def _after_prologue(self, shop: Shop, first: Outside) -> tuple[int, Crew]:
        """Where a scene begins that follows a click which met no trouble."""
        prologue = Moves(shop, PROLOGUE, self._contents, first, self._permitted(ALL))
        engine = Engine(prologue, 0)
        engine.run()
        last = next(
            number
            for number in range(engine.states)
            for situation, crew in (engine.state(number),)
            if not crew and prologue.situation(situation)[1].clicks
        )
        self.begun = tuple(steps_of(engine.labels(last)))
        content, outside = prologue.situation(engine.state(last)[0])
        prologue.histories.forget()
        return self.moves.at(content, outside), ()

    def _stuck(self) -> Violation | None:
        """A state from which no continuation leads to a goal: the point of no return."""
        found = (self._doomed(name, goal) for name, goal in self._promises.goals.items())
        stuck = [violation for violation in found if violation]
        return min(stuck, key=lambda violation: violation.faults, default=None)

    def _doomed(self, name: str, goal: Goal) -> Violation | None:
        engine, known = self.engine, dict[int, bool]()

        def reached(situation: int) -> bool:
            if situation not in known:
                known[situation] = goal.reached(self.moves.view(situation))
            return known[situation]

        reaching = engine.reaching(reached)
        doomed = (n for n in range(engine.states) if not reaching[n])
        first = min(doomed, key=lambda n: (engine.price(n), n), default=None)
        return None if first is None else self._violation((name, goal.sentence), first)

    def _hoped(self) -> frozenset[str]:
        """The hopes that came true at some moment."""
        hopes = dict(self._promises.hopes)
        for number in range(self.engine.states if hopes else 0):
            view = self.moves.view(self.engine.state(number)[0])
            for name in [name for name, hope in hopes.items() if hope.reached(view)]:
                del hopes[name]
        return frozenset(self._promises.hopes) - hopes.keys()

    def _violation(self, wrong: Wrong, number: int, further: Any = None) -> Violation:
        labels = self.engine.labels(number) + ([] if further is None else [further])
        story = (*self.begun, *steps_of(labels))
        return Violation(
            scene=self._scene.name,
            promise=wrong[0],
            sentence=wrong[1],
            story=story,
            faults=sum(step.fault is not None for step in story),
            seed=self._seed(wrong[0], number, further),
        )

    def _seed(self, promise: str, number: int, further: Any) -> str:
        """The story in short; nothing for a scene that is not one of ours."""
        if self._scene.name not in {scene.name for scene in ALL_SCENES}:
            return ""
        walk, ways = Walk(self.moves, self.engine.faults_max), list[tuple[int, str]]()
        for state in self.engine.path(number)[1:]:
            label = self.engine.label(state)
            ways.append((walk.goes(self.engine.state(state), label), marked(label)))
        if further is not None:
            labels = [choice.label for choice in walk.choices()]
            ways.append((labels.index(further), marked(further)))
        return str(
            Seed(
                scene=self._scene.name,
                faults=self.engine.faults_max,
                promise=mark_of(promise, 2),
                ways=tuple(ways),
            )
        )


def marked(label: Any) -> str:
    """What recognises a step in a seed; versions depend on what was searched before."""
    words = " ".join(step.in_words() for step in steps_of([label]))
    return mark_of(re.sub(r" v\d+", "", words))


@contextmanager
def uncollected() -> Generator[None, None, None]:
    """Nothing here is garbage, and looking for some would cost a fifth of the time.

    A search within lets go of it by `Search.forget`, so there is little to find afterwards.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


PROLOGUE = Scene(name="prologue", parties={"click": 1}, faults=frozenset(), clicks=1)


def steps_of(labels: list[Any]) -> Iterator[Step]:
    """The steps of a trace, in order. A task with a stale read has read before, and ends after."""
    for label in labels:
        if isinstance(label, Overtaking):
            for early, _ in label.readers:
                yield from early
            yield from label.step
            for _, late in label.readers:
                yield from late
        else:
            yield from label
