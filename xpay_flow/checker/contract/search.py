"""Does a store keep its contract? Every schedule within a bound is run, the simplest first.

All scenes are run without a switch or a fault, then with one, then with two; so the first story of
what goes wrong takes the fewest. Each run begins with `reset()`, and is then the plain rule of
`schedule` with a few deviations; a run that went shows where the next deviation can be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import attrs

from xpay_flow.errors import ConfigurationError
from xpay_flow.ports import Store

from .awaited import is_awaited, opener
from .drivers import DRIVERS
from .house import House, Mode, opened
from .judging import Judge
from .lookup import Table
from .reduction import matters
from .scenes import SCENES, Scene
from .schedule import Deviation, RunResult, play
from .statements import Driver, Statement
from .steered import LOOKS
from .step import Fate
from .stories import ContractViolation, violation_of
from .verdict import (
    ASSUMPTIONS,
    ContractBound,
    ContractResult,
    SceneFigures,
)

DEFAULT: Final = ContractBound()
# A run that could not be steered, or did not end, since a thread or a server was slow, is done
# again with more patience.
PATIENCE: Final = (5, 25)
# Failed or not, a statement that ends the work looks like the end of the process.
_NO_FAULT: Final = ("close", "rollback")


def check_store(
    make: Callable[[], Store],
    *,
    reset: Callable[[], None] | None = None,
    keep: Callable[[], Callable[[], None]] | None = None,
    bound: ContractBound = DEFAULT,
    scenes: Iterable[Scene] = SCENES,
    drivers: Iterable[Driver] = DRIVERS,
) -> ContractResult:
    """Run the store's methods against each other at every statement of its driver, with crashes.

    Args:
        make: opens the store, as another process would: new connections to the same data. Called
            many times; what it makes is not closed, but dropped, as by a process that dies. It
            may be a store that is awaited, which gets an event loop for each process.
        reset: empties the data. Without one, each `make()` must give a store of its own, and then
            nothing is shown about processes and about what outlives them.
        keep: copies the data as they are, and returns what brings the copy back; only for speed.
        drivers: the table of drivers; `(*DRIVERS, mine)` adds one.

    Raises:
        ConfigurationError: `make` needs a `reset`, or what it makes cannot be checked.
    """
    probe: Any = make()
    table = Table(drivers, getattr(probe, "statements", ()))
    awaited = is_awaited(probe)
    if awaited:
        _must_last(reset)
        make = opener(make, table)
        probe = make()
    house = House(
        make=make,
        reset=reset or (lambda: None),
        lasting=reset is not None,
        table=table,
        keep=keep,
        awaited=awaited,
    )
    if reset is None:
        _must_be_apart(house, next(iter(SCENES[1:])))
    search = _Search(house, bound, [scene.of(probe) for scene in scenes])
    getattr(probe, "close", lambda: None)()
    try:
        return search.run()
    finally:
        table.close()


def _must_last(reset: object) -> None:
    if reset is None:
        raise ConfigurationError(
            "an async store is checked with an event loop for each process, so the check must know "
            "how to empty what they share: pass reset=…"
        )


def _must_be_apart(house: House, scene: Scene) -> None:
    with opened(house) as store:
        scene.prepare(store)
    with opened(house) as store:
        if any(store.load(name) for name in scene.names):
            raise ConfigurationError(
                "two stores that were made share their data, so the check must know how to empty "
                "it: pass reset=…"
            )


@attrs.frozen(kw_only=True)
class _Job:
    """A run to do: a scene, a mode, and where to leave the plain rule."""

    scene: int
    mode: Mode
    script: tuple[Deviation, ...] = ()
    switches: int = 0
    faults: int = 0

    @property
    def cost(self) -> int:
        return self.switches + self.faults


class _Search:
    def __init__(self, house: House, bound: ContractBound, scenes: list[Scene]) -> None:
        self._house, self._bound, self._scenes = house, bound, scenes
        self._judges = [Judge(scene) for scene in scenes]
        self._figures = [SceneFigures(scene=scene.name) for scene in scenes]
        self._seen: set[str] = set()
        self._runs = 0
        self._began = time.perf_counter()

    def run(self) -> ContractResult:
        jobs = [
            _Job(scene=number, mode=mode)
            for number, scene in enumerate(self._scenes)
            for mode in self._house.modes[: None if scene.small else 1]
        ]
        violation: ContractViolation | None = None
        while jobs and violation is None and not self._gives_up():
            jobs, violation = self._level(jobs)
        return ContractResult(
            bound=self._bound,
            scenes=tuple(self._figures),
            seen=tuple(sorted(self._seen)),
            lasting=self._house.lasting,
            complete=not jobs,
            seconds=self._seconds(),
            notes=self._notes(),
            violation=violation and self._confirmed(violation),
        )

    def _seconds(self) -> float:
        return time.perf_counter() - self._began

    def _gives_up(self) -> bool:
        seconds_max = self._bound.seconds_max
        return self._runs >= self._bound.runs_max or (
            seconds_max is not None and self._seconds() >= seconds_max
        )

    def _level(self, jobs: list[_Job]) -> tuple[list[_Job], ContractViolation | None]:
        """All runs of one cost, and those of the next; stops after a scene that was violated."""
        cost, later, broken = jobs[0].cost, list[_Job](), list[tuple[int, ContractViolation]]()
        where = (jobs[0].scene, jobs[0].mode)
        waiting = jobs[::-1]
        while waiting and not self._gives_up():
            job = waiting.pop()
            if broken and where != (job.scene, job.mode):
                break
            where = (job.scene, job.mode)
            run, violation = self._one(job)
            if violation is not None:
                broken.append((job.faults, violation))
                continue
            more = list(self._from(job, run))
            waiting += [new for new in more if new.cost == cost][::-1]
            later += [new for new in more if new.cost > cost]
        later.sort(key=lambda job: (job.cost, job.scene, job.mode))
        # What takes no misfortune comes before what does, and then the shorter story.
        simplest = min(broken, key=lambda found: (found[0], len(found[1].events)), default=None)
        return [*waiting, *later], simplest and simplest[1]

    def _one(self, job: _Job) -> tuple[RunResult, ContractViolation | None]:
        scene = self._scenes[job.scene]
        run = self._steered(scene, job.mode, job.script)
        self._count(job, run)
        breach = self._judges[job.scene].judge(run)
        if breach is None:
            return run, None
        return run, violation_of(scene, job.mode, run, breach, job.script, job.cost)

    def _steered(self, scene: Scene, mode: Mode, script: tuple[Deviation, ...]) -> RunResult:
        run = play(self._house, scene, mode, script)
        for more in PATIENCE:
            if run.diverged or run.stuck:
                run = play(self._house, scene, mode, script, LOOKS * more)
        return run

    def _count(self, job: _Job, run: RunResult) -> None:
        statements = [step.at for step in run.steps if isinstance(step.at, Statement)]
        self._seen |= {statement.driver.name for statement in statements}
        self._runs += 1
        was = self._figures[job.scene]
        self._figures[job.scene] = attrs.evolve(
            was,
            runs=was.runs + 1,
            statements=was.statements + len(statements),
            faults=was.faults + job.faults,
            diverged=was.diverged + run.diverged,
        )

    # --- what to run next ------------------------------------------------------------------------

    def _from(self, job: _Job, run: RunResult) -> Iterator[_Job]:
        """The runs that leave this one at a later step than it left the plain rule."""
        first = max((deviation.step + 1 for deviation in job.script), default=0)
        for place in range(first, len(run.steps)):
            for deviation, switches, faults in self._choices(job, run, place):
                new = attrs.evolve(
                    job,
                    script=(*job.script, deviation),
                    switches=job.switches + switches,
                    faults=job.faults + faults,
                )
                if self._is_within(new):
                    yield new

    def _choices(
        self, job: _Job, run: RunResult, place: int
    ) -> Iterator[tuple[Deviation, int, int]]:
        step = run.steps[place]
        if step.free or place not in run.unnoticed:
            for other in step.others:
                yield Deviation(place, other), int(not step.free), 0
        for fate in self._fates(job, run, place):
            yield Deviation(place, step.line, fate), 0, 1

    def _fates(self, job: _Job, run: RunResult, place: int) -> Iterator[Fate]:
        scene, step = self._scenes[job.scene], run.steps[place]
        if not scene.small or not isinstance(step.at, Statement) or step.at.quiet:
            return
        writes = any(call.change for call in scene.lifelines[step.line])
        if writes and self._house.lasting and matters(run.steps, place):
            yield "die" if job.mode == "processes" else "crash"
        # What an error does to a method is the same in both modes.
        if job.mode == self._house.modes[0] and step.at.call not in _NO_FAULT:
            yield "refuse"
            if writes and step.at.settles and step.at.call != "open":
                yield "spoil"

    def _is_within(self, job: _Job) -> bool:
        bound = self._bound
        if job.faults:
            return job.faults <= bound.faults and job.switches <= bound.switches_with_fault
        full = self._scenes[job.scene].small and job.mode == "processes"
        return job.switches <= (bound.switches if full else bound.fewer)

    # --- at the end ------------------------------------------------------------------------------

    def _confirmed(self, violation: ContractViolation) -> ContractViolation:
        """The same, done again."""
        number = next(n for n, s in enumerate(self._scenes) if s.name == violation.scene)
        run = self._steered(self._scenes[number], violation.mode, violation.script)
        again = self._judges[number].judge(run)
        return attrs.evolve(violation, confirmed=again is not None and again.rule == violation.rule)

    def _notes(self) -> tuple[str, ...]:
        if self._house.awaited:
            return (*ASSUMPTIONS, "the tasks of one event loop are not run against each other")
        if self._house.lasting:
            return ASSUMPTIONS
        return (*ASSUMPTIONS, "the store keeps nothing beyond its object, so none was reopened")
