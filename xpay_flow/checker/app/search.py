"""Which executions of an app are enough, and which trace is the shortest that breaks a promise?

Executions without a fault come first, of all scenes, then those with one. Where a promise breaks,
its scene is searched to the end of its number of faults, and the simplest trace is shown: that with
the fewest steps, with as few changes from one request to another as its order allows.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import attrs

from ..stateless.dpor import Explorer, Taken
from .databases import NO_TABLE, Contents
from .dependence import NOTHING
from .execution import Broken, Run, Stage, Step
from .scenes import FAULT_WORDS, IN_PROCESS, Fault, Scene

EXECUTIONS_MAX: Final = 1_000_000
PROGRESS_S: Final = 0.2


class Diverged(Exception):
    """The app took another way, led along the same choices."""


@attrs.frozen(kw_only=True)
class AppBound:
    """How far to search.

    Args:
        faults: any so many, of these kinds, at any places.
        reduced: leave out executions that show nothing new; if not, every order is run.
    """

    faults: int = 1
    kinds: tuple[Fault, ...] = tuple(FAULT_WORDS)
    seconds_max: float | None = None
    executions_max: int = EXECUTIONS_MAX
    reduced: bool = True

    def in_words(self) -> str:
        """The bound in a line."""
        some = f"any {self.faults} fault(s)" if self.faults else "no fault"
        return f"at most two webhooks at once, every order of their statements, {some}"


@attrs.frozen(kw_only=True)
class AppProgress:
    """How far a search has come, while it runs."""

    scene: str
    faults: int
    executions: int
    steps: int
    seconds: float

    def in_words(self) -> str:
        """How far it has come, and how fast."""
        rate = self.executions / self.seconds if self.seconds else 0
        return (
            f"{self.scene}, {self.faults} fault{'s' * (self.faults != 1)}: "
            f"{self.executions:,} executions, {self.steps:,} steps, "
            f"{rate:,.0f} executions/s, {self.seconds:.0f} s"
        )


@attrs.frozen(kw_only=True)
class Counterexample:
    """A trace that breaks a promise.

    Args:
        confirmed: done once more, it ended the same.
        moves: the choices, for a seed.
    """

    scene: Scene
    broken: Broken
    faults: int
    steps: tuple[Step, ...]
    subjects: dict[str, str]
    moves: tuple[tuple[str, str], ...]
    confirmed: bool = False


@attrs.frozen(kw_only=True)
class Explored:
    """What one scene showed with one number of faults.

    Args:
        redundant: executions that showed nothing new.
        broken: executions that broke a promise; `breaches`: why, in all its ways.
    """

    scene: str
    faults: int
    is_exhausted: bool
    executions: int
    redundant: int
    steps: int
    seconds: float
    broken: int = 0
    breaches: frozenset[str] = frozenset()
    counterexample: Counterexample | None = None


class Search:
    """One search through the executions of some scenes."""

    def __init__(
        self,
        stage: Stage,
        scenes: Sequence[Scene],
        bound: AppBound,
        progress: Callable[[AppProgress], None] = lambda _: None,
    ) -> None:
        self.stage, self._scenes, self.bound, self.progress = stage, scenes, bound, progress
        self._began = time.perf_counter()
        self.explored: list[Explored] = []

    def run(self) -> Iterator[Explored]:
        """Each scene with each number of faults, until one breaks a promise or time is up."""
        gc.collect()
        # So that a collection in a forked process leaves the pages alone that are common to all.
        gc.freeze()
        for faults in range(self.bound.faults + 1):
            # What is wrong from the beginning takes an execution or two, and is seen first.
            for scene in sorted(self._scenes, key=lambda scene: scene.fault is None):
                if self._is_due(scene, faults):
                    found = _SceneSearch(self, scene, faults).explore()
                    yield found
                    if found.counterexample is not None or not found.is_exhausted:
                        return

    def _is_due(self, scene: Scene, faults: int) -> bool:
        if scene.fault is not None:
            # What is wrong from the beginning is enough for one scene.
            return faults == 1 and scene.fault in self.bound.kinds
        return True

    def left_s(self) -> float:
        limit = self.bound.seconds_max
        return float("inf") if limit is None else limit - (time.perf_counter() - self._began)


class _SceneSearch:
    """One scene, with up to so many faults."""

    def __init__(self, search: Search, scene: Scene, faults: int) -> None:
        self._search, self._scene, self._faults = search, scene, faults
        self._budget = 0 if scene.fault else faults
        self._run: Run | None = None
        self._labels: list[Any] = []
        self._broken = 0
        self._breaches: set[str] = set()
        self._best: Counterexample | None = None
        self._began = self._shown = time.perf_counter()
        self._explorer: Explorer | None = None

    def explore(self) -> Explored:
        bound = self._search.bound
        self._explorer = explorer = Explorer(
            self._begin,
            NOTHING,
            reduced=bound.reduced,
            executions_max=bound.executions_max,
            seconds_max=self._search.left_s(),
        )
        try:
            ending = explorer.run()
        finally:
            self._leave()
        best = self._best and self._simplest(self._best)
        return Explored(
            scene=self._scene.name,
            faults=self._faults,
            is_exhausted=ending == "seen all",
            executions=explorer.executions,
            redundant=explorer.redundant,
            steps=explorer.steps,
            seconds=time.perf_counter() - self._began,
            broken=self._broken,
            breaches=frozenset(self._breaches),
            counterexample=best,
        )

    # --- what the explorer calls -----------------------------------------------------------------

    def _begin(self) -> _SceneSearch:
        self._leave()
        self._run = self._new()
        self._depth = 0
        return self

    def choices(self) -> Any:
        assert self._run is not None
        return self._run.choices()

    def take(self, process: Any, choice: Any) -> Taken | None:
        """Take a step, which is the same as the last time on the same path."""
        run = self._run
        assert run is not None
        taken = run.take(process, choice)
        label = run.steps[-1].label if run.steps else None
        move = (process, choice, label)
        known = self._labels[self._depth : self._depth + 1]
        if known and known[0][:2] == move[:2]:
            if known[0] != move:
                raise Diverged(f"{_words(known[0][2])} the last time, and now {_words(label)}")
        else:
            self._labels[self._depth :] = [move]
        self._depth += 1
        return taken

    def seen(self) -> bool:
        """Show the progress; an execution is judged at its end only."""
        now = time.perf_counter()
        if now - self._shown > PROGRESS_S and self._explorer is not None:
            self._shown = now
            self._search.progress(
                AppProgress(
                    scene=self._scene.name,
                    faults=self._faults,
                    executions=self._explorer.executions,
                    steps=self._explorer.steps,
                    seconds=now - self._began,
                )
            )
        return True

    def over(self) -> bool:
        """Judge the end of an execution; the search goes on, for a simpler trace."""
        run = self._run
        assert run is not None
        assert self._explorer is not None
        moves = tuple((str(process), str(choice)) for process, choice in self._explorer.path)
        broken = run.finish()
        if broken is not None:
            self._broken += 1
            self._breaches.add(broken.why)
            found = self._example(run, broken, moves)
            if self._best is None or _cost(found) < _cost(self._best):
                self._best = found
        return True

    # --- the simplest trace ----------------------------------------------------------------------

    def _simplest(self, found: Counterexample) -> Counterexample:
        """The same, with fewer changes between requests where their order allows it; confirmed."""
        for moves in (_with_fewer_changes(found), found.moves):
            try:
                again = replayed(self._search.stage, found.scene, moves)
            except Diverged:
                continue
            if again is not None and again.broken.promise == found.broken.promise:
                return attrs.evolve(again, faults=self._faults, confirmed=True)
        return found

    def _example(
        self, run: Run, broken: Broken, moves: tuple[tuple[str, str], ...]
    ) -> Counterexample:
        return Counterexample(
            scene=self._scene,
            broken=broken,
            faults=self._faults,
            steps=tuple(run.steps),
            subjects=run.subjects,
            moves=moves,
        )

    def _new(self) -> Run:
        bound = self._search.bound
        stage = self._search.stage
        return Run(stage, self._scene, self._budget, frozenset(bound.kinds) & frozenset(IN_PROCESS))

    def _leave(self) -> None:
        if self._run is not None:
            self._run.leave()


def replayed(stage: Stage, scene: Scene, moves: Sequence[tuple[str, str]]) -> Counterexample | None:
    """Do a trace again, and see what lasts after each of its steps; None if it ends well.

    Raises:
        Diverged: the trace cannot happen any more.
    """
    faults = sum(act not in ("go", "waits over") for _, act in moves)
    run = Run(stage, scene, faults, frozenset(IN_PROCESS), watch=changes)
    try:
        for number, (process, act) in enumerate(moves):
            if run.take(process, act) is None:
                raise Diverged(f"{process} cannot {act} at step {number + 1}")
        while able := run.choices():
            name, acts = next(iter(able.items()))
            run.take(name, acts[0])
        broken = run.finish()
    finally:
        run.leave()
    if broken is None:
        return None
    return Counterexample(
        scene=scene,
        broken=broken,
        faults=faults + (scene.fault is not None),
        steps=tuple(run.steps),
        subjects=run.subjects,
        moves=tuple(moves),
        confirmed=True,
    )


def _words(label: Any) -> str:
    process, act, point = label
    return f"{process} {act} {' '.join(point or ())}"


def _cost(found: Counterexample) -> tuple[int, int]:
    changes = sum(
        a.process != b.process for a, b in zip(found.steps, found.steps[1:], strict=False)
    )
    return (len(found.steps), changes)


def _with_fewer_changes(found: Counterexample) -> tuple[tuple[str, str], ...]:
    """The moves in another order that is the same: a request goes on for as long as it may."""
    moves = found.moves
    steps = [step for step in found.steps if not step.is_retry][: len(moves)]
    if len(steps) < len(moves):
        return moves
    left, order, current = list(range(len(moves))), list[int](), ""
    while left:
        able = [k for k in left if not any(_depends(steps[j], steps[k]) for j in left if j < k)]
        chosen = next((k for k in able if moves[k][0] == current), able[0])
        current = moves[chosen][0]
        order.append(chosen)
        left.remove(chosen)
    return tuple(moves[k] for k in order)


def _depends(one: Step, other: Step) -> bool:
    return one.process == other.process or one.touch.disturbs(other.touch)


def changes(before: Contents, after: Contents) -> tuple[str, ...]:
    """What has changed in the tables, such as `orders 1: status 'pending' → 'paid'`."""
    found: list[str] = []
    for name, table in after.items():
        old = before.get(name, NO_TABLE).rows
        for number, row in table.rows.items():
            if number not in old:
                cells = ", ".join(f"{c} {v!r}" for c, v in zip(table.columns, row, strict=False))
                found.append(f"{name} gets a row: {cells}")
            elif old[number] != row:
                cells = ", ".join(
                    f"{column} {was!r} → {now!r}"
                    for column, was, now in zip(table.columns, old[number], row, strict=False)
                    if was != now
                )
                found.append(f"{name}: {cells}")
        found += [f"{name} loses a row" for number in old if number not in table.rows]
    return tuple(found)
