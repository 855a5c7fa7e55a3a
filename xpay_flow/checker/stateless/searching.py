"""What does one scene show, executed on the real store again and again?

Every moment that an execution reaches is judged. At the end of one whose goal is not reached, all
that is left to do is done without a fault, each in its turn; if that does not help, it is stuck.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import attrs

from xpay_flow.ports import Store

from ..bounds import Bound, Scene
from ..explore import VERDICTS, uncollected
from ..hidden import HiddenState
from ..judging import standing
from ..live import confirm
from ..promises import Promises, Wrong, promises_of
from ..properties import Goal
from ..shop import Shop, SnapshotStore
from ..slicing import sliced
from ..story import Step
from ..verdict import Searched, Violation
from .dpor import Choice, Explorer, Process, Taken
from .live_run import LiveRun
from .stage import Stage, Standing, Written
from .statement_run import StatementRun, StatementStage

# So many steps outside, each followed by the flows that it begins, show whether all that is left
# to do reaches the goal. Schedules have a few entries while under check.
HELPS_MAX = 24
Depth = Literal["method", "driver"]
Path = tuple[tuple[Process, Any], ...]
ENDINGS = {"stopped": "wrong"}
INFINITE = float("inf")


@attrs.frozen(kw_only=True)
class StatelessBound(Bound):
    """A bound for a search that remembers no states.

    Args:
        flows_max: so many flows begin in one execution. Without memory there is no other end to a
            flow that may begin again and again.
        more_flows: so many instead, in scenes named.
        executions_max: give up on a scene, UNFINISHED, after so many.
        depth: a step of a flow is a method of the store, or a statement of its driver.
    """

    flows_max: int = 2
    more_flows: Mapping[str, int] = attrs.field(factory=dict[str, int], hash=False)
    executions_max: int = 200_000
    depth: Depth = "method"

    def in_words(self) -> str:
        """The bound as a few lines."""
        more = "".join(f" ({number} in {scene})" for scene, number in self.more_flows.items())
        steps = ", which overlap between statements of the driver" if self.depth == "driver" else ""
        return f"up to {self.flows_max} flows in one execution{more}{steps}, {super().in_words()}"

    def flows_in(self, scene: Scene) -> int:
        """How many flows may begin in one execution of a scene."""
        return self.more_flows.get(scene.name, self.flows_max)


@attrs.frozen(kw_only=True)
class StatelessSearched(Searched):
    """What one scene has shown.

    `states` counts moments that were judged, equal ones again and again; `transitions` counts
    steps, those of the ways back to where an execution leaves an earlier one included.

    Args:
        executions: begun with `reset()`.
        redundant: of these, those that turned out to show nothing new.
    """

    executions: int
    redundant: int


class StatelessSearch:
    """One search through every order of the steps of one scene, on a store that can be emptied.

    Args:
        open_store: opens the store once more, as another process would.
        reset: empties the store.
        reduced: leave out orders that show nothing new.
    """

    def __init__(
        self,
        shop: Shop,
        scene: Scene,
        bound: StatelessBound,
        open_store: Callable[[], Store],
        reset: Callable[[], object],
        *,
        promises: Promises | None = None,
        reduced: bool = True,
        written: Written | None = None,
    ) -> None:
        self._shop, self._scene, self._bound, self._reduced = shop, scene, bound, reduced
        self._reset = reset
        self._promises = promises or promises_of(scene)
        at = (shop, scene, open_store, reset, self._promises)
        self._kind = StatementRun if bound.depth == "driver" else LiveRun
        stage = StatementStage if bound.depth == "driver" else Stage
        self._stage = stage(*at, flows_max=bound.flows_in(scene), written=written)
        self._run: _Judged | None = None
        self._account = _Account(self._promises)

    def run(self) -> StatelessSearched:
        """Run every execution, those without a fault first, until a promise is broken."""
        began = time.perf_counter()
        figures: Counter[str] = Counter()
        ending, exhausted, violation = "seen all", -1, None
        with uncollected():
            for faults in range(self._bound.faults + 1):
                left = (self._bound.seconds_max or INFINITE) - (time.perf_counter() - began)
                explorer = self._explorer(faults, figures["executions"], left)
                ending = explorer.run()
                for name in ("executions", "redundant", "steps", "moments"):
                    figures[name] += getattr(explorer, name)
                if ending == "stopped":
                    violation = self._violation(explorer.path)
                if ending != "seen all":
                    break
                exhausted = faults
        return StatelessSearched(
            scene=self._scene.name,
            verdict=VERDICTS[ENDINGS.get(ending, ending)],
            violation=violation,
            states=figures["moments"],
            transitions=figures["steps"],
            executions=figures["executions"],
            redundant=figures["redundant"],
            resumptions=self._stage.resumptions,
            store_calls=self._stage.store_calls,
            seconds=time.perf_counter() - began,
            unused=tuple(sorted(self._scene.faults - self._stage.fired)),
            hoped=frozenset(self._account.hoped),
            exhausted_faults=exhausted,
        )

    def outcomes(self) -> set[tuple[object, ...]]:
        """What can be on file, be paid and have been called when no flow runs: for comparing."""
        return set(self._account.outcomes)

    def close(self) -> None:
        """Let go of the stores that were opened."""
        if self._run is not None:
            self._run.live.abandon()
        self._stage.close()

    def _explorer(self, faults: int, executions: int, seconds: float) -> Explorer:
        def begin() -> _Judged:
            if self._run is not None:
                self._run.live.abandon()
            self._run = _Judged(self._kind(self._stage, faults), self._stage, self._account)
            return self._run

        return Explorer(
            begin,
            self._stage.choice,
            reduced=self._reduced,
            executions_max=self._bound.executions_max - executions,
            seconds_max=seconds,
        )

    def _violation(self, path: Path) -> Violation:
        """What the last execution has shown, replayed on the real store."""
        run = self._run
        assert run is not None
        assert run.wrong is not None
        run.live.abandon()
        violation = Violation(
            scene=self._scene.name,
            promise=run.wrong[0],
            sentence=run.wrong[1],
            story=run.trace,
            faults=run.live.faults,
        )
        if self._stage.written is not None or self._bound.depth == "driver":
            return self._executed_again(violation, run.live.budget + run.live.faults, path)
        store = cast(SnapshotStore, Standing(self._stage.store, self._reset))
        again = attrs.evolve(self._shop, store=store)
        at = (again, self._scene, (), self._promises)
        return sliced(confirm(violation, *at), *at)

    def _executed_again(self, violation: Violation, faults: int, path: Path) -> Violation:
        """The very same steps, from an empty store: what live flows alone do not show."""
        self._run = run = _Judged(self._kind(self._stage, faults), self._stage, self._account)
        there = all(
            process in run.choices() and run.take(process, choice) for process, choice in path
        )
        if not there or (run.seen() and run.over()):
            raise HiddenState(f"executed again, this breaks nothing:\n{violation.as_text()}")
        return attrs.evolve(violation, confirmed=True)


@attrs.define
class _Account:
    """What all executions have shown together."""

    promises: Promises
    outcomes: set[tuple[object, ...]] = attrs.Factory(set[tuple[object, ...]])
    hoped: set[str] = attrs.Factory(set[str])


class _Judged:
    """An execution that is looked at."""

    def __init__(self, live: LiveRun, stage: Stage, account: _Account) -> None:
        self.live, self._stage = live, stage
        self._moves, self._account = stage.moves, account
        self._before: int | None = None
        self.wrong: Wrong | None = None
        self.trace: tuple[Step, ...] = ()

    def choices(self) -> Mapping[Process, Sequence[Choice]]:
        return self.live.choices()

    def take(self, process: Process, choice: Any) -> Taken | None:
        if self._moves.judges_changes():
            self._before = self.live.situation
        return self.live.take(process, choice)

    def seen(self) -> bool:
        """Judge this moment; False if a promise is broken."""
        self._hope()
        if self.live.quiet:
            self._account.outcomes.add(self._outcome())
        wrong = self._moves.wrong(self.live.situation, self.live.faults)
        if wrong is None and self._before is not None:
            wrong = self._moves.wrong_change(self._before, self.live.situation)
        return self._holds(wrong)

    def over(self) -> bool:
        """Judge the end; False if nothing helps to reach a goal any more.

        What is wrong with a moment on the way there is reported first, as everywhere.
        """
        story = tuple(self.live.story)
        for name, goal in self._account.promises.goals.items():
            stuck = self._stuck(name, goal)
            if self.wrong is None and stuck is not None:
                self.wrong, self.trace = stuck, story
            if self.wrong is not None:
                return False
        return True

    def _hope(self) -> None:
        """Note which hopes have come true."""
        account = self._account
        for name, hope in account.promises.hopes.items():
            if name not in account.hoped and hope.reached(self._moves.view(self.live.situation)):
                account.hoped.add(name)

    def _holds(self, wrong: Wrong | None) -> bool:
        self.wrong, self.trace = wrong, tuple(self.live.story) if wrong else ()
        return wrong is None

    def _stuck(self, name: str, goal: Goal) -> Wrong | None:
        """Do all that is left to do, without a fault, until the goal is reached."""
        done: Counter[Any] = Counter()
        for _ in range(HELPS_MAX):
            if goal.reached(self._moves.view(self.live.situation)):
                return None
            free = [step for step in self.live.director_steps(limited=False) if step.fault is None]
            if not free:
                break
            step = min(free, key=lambda step: done[step.what, step.kind])
            done[step.what, step.kind] += 1
            self.live.direct(step)
            self.live.finish()
            if not self._holds(self._moves.wrong(self.live.situation, self.live.faults)):
                return None
        reached = goal.reached(self._moves.view(self.live.situation))
        return None if reached else (name, goal.sentence)

    def _outcome(self) -> tuple[object, ...]:
        content, outside = self._moves.situation(self.live.situation)
        return standing(self._stage.watching.records[content], outside)
