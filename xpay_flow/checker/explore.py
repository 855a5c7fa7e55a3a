"""Is there any way into trouble? Every state of one scene, the fewest faults first.

A state is a small tuple of numbers: the store's contents, the world outside, and the pasts of the
running tasks. States are met in order of faults and then of steps, so the first story that breaks a
promise is the shortest with the fewest faults, and the same one on every run.
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Iterator

import attrs

from .bounds import Bound, Scene
from .contents import Contents
from .judging import Judge, Wrong
from .moves import Moves
from .outside import Outside
from .shop import Shop
from .story import Step
from .task_moves import Move
from .verdict import Searched, Verdict, Violation

State = tuple[int, int, tuple[int, ...]]
NEVER_STUCK = ("never_stuck", "it is paid at xPay, and can never be fulfilled here")


class Search:
    """One search through everything that can happen in one scene.

    Args:
        reduced: see `Moves` on fused steps, and `Contents.quiet` on contents that nobody reads.
            Turned off in a test that compares.
    """

    def __init__(self, shop: Shop, scene: Scene, bound: Bound, *, reduced: bool = True) -> None:
        self._scene, self._bound, self._reduced = scene, bound, reduced
        self._contents = Contents(shop.store)
        self.moves = Moves(shop, scene, self._contents, fused=reduced)
        self.judge = Judge(shop, scene, self._contents, self.moves.outsides)
        # Per state, by its number: the state, where it was come from, how, and at what price.
        self.states: list[State] = []
        self._numbers: dict[State, int] = {}
        self._parents = array("l")
        self._ways: list[Move | None] = []
        self._faults = array("b")
        # Every way from one state to another, for walking backwards.
        self._sources = array("l")
        self._targets = array("l")
        self._begun: tuple[Step, ...] = ()
        self._task_moves: dict[tuple[int, int, int], tuple[Move, ...]] = {}
        self._rest_moves: dict[tuple[int, int, bool], tuple[Move, ...]] = {}

    def run(self) -> Searched:
        """Search until everything is seen, a promise is broken, or the limit is hit."""
        began = time.perf_counter()
        collecting = gc.isenabled()
        gc.disable()
        try:
            verdict, violation = self._search()
        finally:
            if collecting:
                gc.enable()
        return Searched(
            scene=self._scene.name,
            verdict=verdict,
            violation=violation,
            states=len(self.states),
            transitions=len(self._sources),
            resumptions=self.moves.histories.resumptions,
            store_calls=self._contents.calls,
            seconds=time.perf_counter() - began,
            unused=tuple(sorted(self._scene.faults - self.moves.fired)),
        )

    def outcomes(self) -> set[tuple[object, ...]]:
        """What can be on file, be paid and have been called when no flow runs: for comparing."""
        return {
            (
                view.outside.intents,
                view.outside.news,
                view.outside.calls,
                tuple(
                    (r.key, r.intent, frozenset(e.status for e in r.effects)) for r in view.records
                ),
            )
            for content, outside, tasks in self.states
            if not tasks
            for view in (self.judge.view(content, outside),)
        }

    def _search(self) -> tuple[Verdict, Violation | None]:
        layers: list[list[int]] = [[] for _ in range(self._bound.faults + 1)]
        layers[0].append(self._met(self._opening(), -1, None, 0))
        for faults, layer in enumerate(layers):
            # Grows while it is walked: steps without a fault stay in the layer.
            for number in layer:
                if self._faults[number] != faults:
                    continue
                broken = self._expand(number, faults, layers)
                if broken is not None:
                    return "VIOLATED", broken
                if len(self._sources) > self._bound.transitions_max:
                    return "UNFINISHED", None
        stuck = self._stuck()
        return ("VIOLATED", stuck) if stuck else ("EXHAUSTED", None)

    def _opening(self) -> State:
        """Where the scene begins: before the click, or after one that met no trouble."""
        first = Outside(tells_creation=self._scene.tells_creation)
        if not self._scene.begun:
            return self._contents.first, self.moves.number(first), ()
        prologue = Moves(self.moves.shop, PROLOGUE, self._contents, fused=False)
        at = prologue.begins("click", None, self._contents.first, attrs.evolve(first, clicks=1))
        steps: list[Step] = []
        while at is not None:
            steps += at.steps
            if at.node is None:
                self._begun = tuple(steps)
                outside = self.moves.number(prologue.outsides[at.outside])
                return at.content, outside, ()
            at = next(iter(prologue.of_task(at.content, at.outside, at.node)), None)
        raise AssertionError("a flow neither goes on nor ends")

    def _expand(self, number: int, faults: int, layers: list[list[int]]) -> Violation | None:
        numbers = self._numbers
        for move, after in self._after(self.states[number]):
            price = faults + move.cost
            if price > self._bound.faults:
                continue
            found = numbers.get(after)
            if found is None:
                found = self._met(after, number, move, price)
                layers[price].append(found)
                wrong = self.judge.wrong(after[0], after[1], price)
                if wrong is not None:
                    return self._violation(wrong, found)
            elif self._faults[found] > price:
                # Met before at a higher price: this way is the better one.
                self._faults[found] = price
                self._parents[found], self._ways[found] = number, move
                layers[price].append(found)
                if not price and (wrong := self.judge.wrong(after[0], after[1], 0)):
                    return self._violation(wrong, found)
            self._sources.append(number)
            self._targets.append(found)
        return None

    def _after(self, state: State) -> Iterator[tuple[Move, State]]:
        """Every way on from a state; contents that nobody reads are named by their first like."""
        for move, tasks in self._ways_on(state):
            content = move.content
            if not tasks and self._reduced:
                content = self._contents.quiet(content, self.moves.outsides[move.outside].now_ms)
            yield move, (content, move.outside, tasks)

    def _ways_on(self, state: State) -> Iterator[tuple[Move, tuple[int, ...]]]:
        content, outside, tasks = state
        previous = -1
        for index, node in enumerate(tasks):
            if node == previous:
                continue  # Tasks with the same past are interchangeable.
            previous = node
            rest = tasks[:index] + tasks[index + 1 :]
            for move in self._of_task(content, outside, node):
                yield move, _with(rest, move.node)
        running = [self.moves.group(node) for node in tasks]
        for move in self._of_rest(content, outside, bool(tasks)):
            kind = move.steps[0].kind
            if kind is None:
                yield move, tasks
            elif (
                len(tasks) < self._scene.at_once
                and running.count(kind.group)
                < (
                    self._scene.parties[kind.group]  # type: ignore[index]  # a kind's group is a Group
                )
            ):
                yield move, _with(tasks, move.node)
        mortal = "death" in self._scene.faults
        if mortal and len(tasks) > 1 and any(map(self.moves.is_fresh, tasks)):
            step = Step(what="dies", note="the whole process dies", fault="death")
            yield Move(content, outside, None, (step,)), ()

    def _met(self, state: State, parent: int, way: Move | None, faults: int) -> int:
        number = len(self.states)
        self.states.append(state)
        self._numbers[state] = number
        self._parents.append(parent)
        self._ways.append(way)
        self._faults.append(faults)
        return number

    # Looked up rather than worked out: the same situation comes up in very many states.

    def _of_task(self, content: int, outside: int, node: int) -> tuple[Move, ...]:
        key = (content, outside, node)
        found = self._task_moves.get(key)
        if found is None:
            found = self._task_moves[key] = self.moves.of_task(content, outside, node)
        return found

    def _of_rest(self, content: int, outside: int, running: bool) -> tuple[Move, ...]:
        key = (content, outside, running)
        found = self._rest_moves.get(key)
        if found is None:
            later = self.moves.time(content, outside, hangs=running)
            found = self._rest_moves[key] = (
                *self.moves.of_world(content, outside),
                *((later,) if later else ()),
                *self.moves.starts(content, outside),
            )
        return found

    # --- the end -----------------------------------------------------------------------------

    def _stuck(self) -> Violation | None:
        """A state from which no continuation leads to the goal: the point of no return."""
        reaching = self._reaching()
        doomed = (n for n in range(len(self.states)) if not reaching[n])
        first = min(doomed, key=lambda n: (self._faults[n], n), default=None)
        return None if first is None else self._violation(NEVER_STUCK, first)

    def _reaching(self) -> bytearray:
        """Which states can still reach the scene's goal, walking every way backwards."""
        incoming: list[list[int]] = [[] for _ in self.states]
        for source, target in zip(self._sources, self._targets, strict=True):
            incoming[target].append(source)
        reaching = bytearray(self.judge.hopeful(c, o) for c, o, _ in self.states)
        todo = [number for number, good in enumerate(reaching) if good]
        while todo:
            for source in incoming[todo.pop()]:
                if not reaching[source]:
                    reaching[source] = 1
                    todo.append(source)
        return reaching

    def _violation(self, wrong: Wrong, number: int) -> Violation:
        ways: list[tuple[Step, ...]] = []
        at = number
        while (way := self._ways[at]) is not None:
            ways.append(way.steps)
            at = self._parents[at]
        story = (*self._begun, *(step for steps in reversed(ways) for step in steps))
        return Violation(
            scene=self._scene.name,
            promise=wrong[0],
            sentence=wrong[1],
            story=story,
            faults=self._faults[number],
        )


PROLOGUE = Scene(name="prologue", parties={"click": 1}, faults=frozenset(), clicks=1)


def _with(tasks: tuple[int, ...], node: int | None) -> tuple[int, ...]:
    """The tasks with one more, in order: which is which must not tell states apart."""
    return tasks if node is None else tuple(sorted((*tasks, node)))
