"""How does one run go? From a reset store, by a plain rule, but for a few chosen deviations.

The plain rule: whoever runs goes on, until it is done, cannot go on, or was told by its database
that a statement failed; then the next in turn. A deviation says who goes on instead at one step, or
what befalls the one who would.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import attrs

from xpay_flow.ports import Store

from .drivers import Statement, Table
from .gate import Watch
from .lifelines import STUCK_LOOKS, Act, Begin, Done, Lifeline, Raised, Room, Waiting, settle
from .reference import CallId
from .scenes import Scene

# One store per lifeline, as in processes of their own; or one for all, as in threads of one.
Mode = Literal["processes", "threads"]
Fate = Literal["go", "die", "refuse", "spoil", "crash"]

# A store that tries again at every refusal has an end; one that takes more steps has none.
STEPS_MAX: Final = 400


@attrs.frozen(kw_only=True)
class House:
    """What is under check, and how to begin anew.

    Args:
        make: opens the store, as another process would.
        reset: empties what `make` opens.
        lasting: what was committed is there for the next `make`, too.
    """

    make: Callable[[], Store]
    reset: Callable[[], None]
    lasting: bool
    table: Table

    @property
    def modes(self) -> tuple[Mode, ...]:
        return ("processes", "threads") if self.lasting else ("threads",)


@attrs.frozen
class Deviation:
    """At this step, this lifeline goes on, or meets its fate."""

    step: int
    line: int
    fate: Fate = "go"


@attrs.frozen(kw_only=True)
class Step:
    """One step as it went.

    Args:
        others: who could have gone on instead.
        free: to switch here is no preemption.
    """

    line: int
    fate: Fate
    at: Begin | Waiting | Statement
    others: tuple[int, ...]
    free: bool

    @property
    def quiet(self) -> bool:
        """Nobody else can tell whether it was before or after."""
        return isinstance(self.at, Waiting) or (isinstance(self.at, Statement) and self.at.quiet)


@attrs.frozen(kw_only=True)
class Told:
    """How a run went, and what it left.

    Args:
        living: what each store that is still open holds, by lifeline.
        found: what a store holds that is opened after all.
        stuck: threads waited for each other until the run was given up.
        diverged: a deviation could not be made.
    """

    steps: tuple[Step, ...]
    done: Mapping[CallId, Done] = attrs.field(hash=False)
    living: tuple[Any, ...]
    found: Any
    stuck: bool
    diverged: bool


class _Passive:
    """Listens, and lets everything go on."""

    dead = False

    def arrived(self, statement: Statement) -> None: ...

    def passed(self, statement: Statement, failed: bool) -> None: ...

    def wants(self, is_free: Callable[[], bool]) -> None: ...


@contextmanager
def opened(house: House) -> Generator[Store, None, None]:
    """A store on this thread, dropped at the end as by a process that dies."""
    watch = Watch(house.table, _Passive())
    try:
        with watch.on_this_thread():
            yield house.make()
    finally:
        watch.drop()


def play(house: House, scene: Scene, mode: Mode, script: Sequence[Deviation] = ()) -> Told:
    """One run of a scene."""
    house.reset()
    if mode == "threads":
        with opened(house) as store:
            scene.prepare(store)
            run = _Run(house, scene, mode, script, lambda: store)
            run.go()
            found = None if house.lasting else scene.found(store)
    else:
        with opened(house) as store:
            scene.prepare(store)
        run = _Run(house, scene, mode, script, house.make)
        run.go()
        found = None
    return run.told(_reopened(house, scene) if house.lasting else found)


def _reopened(house: House, scene: Scene) -> Any:
    with opened(house) as store:
        try:
            return scene.found(store)
        except Exception as error:
            return Raised(error)


class _Run:
    def __init__(
        self,
        house: House,
        scene: Scene,
        mode: Mode,
        script: Sequence[Deviation],
        make: Callable[[], Store],
    ) -> None:
        self._mode: Mode = mode
        self._script = {deviation.step: deviation for deviation in script}
        self._room = Room(house.table)
        self._lines = [
            Lifeline(self._room, make, [call.ask for call in calls], scene.found)
            for calls in scene.lifelines
        ]
        self._steps: list[Step] = []
        self._current: int | None = None
        self._living: tuple[Any, ...] = ()
        self._stuck = self._diverged = False

    def go(self) -> None:
        try:
            for line in self._lines:
                line.start()
                settle(self._room, [line], STUCK_LOOKS)
            while not self._stuck and self._step():
                pass
            if not self._stuck:
                self._living = tuple(line.look() for line in self._survivors())
        finally:
            ended = [line.leave() for line in self._lines]
        self._stuck = self._stuck or not all(ended)
        for line in self._lines:
            if line.broken is not None:
                raise line.broken

    def told(self, found: Any) -> Told:
        done = {
            (number, place): done
            for number, line in enumerate(self._lines)
            for place, done in enumerate(line.done)
        }
        return Told(
            steps=tuple(self._steps),
            done=done,
            living=self._living,
            found=found,
            stuck=self._stuck,
            diverged=self._diverged or not self._script.keys() <= set(range(len(self._steps))),
        )

    def _survivors(self) -> list[Lifeline]:
        alive = [line for line in self._lines if not line.dead]
        return alive if self._mode == "processes" else alive[:1]

    def _step(self) -> bool:
        """One step; False when there is none left."""
        settle(self._room, self._lines)
        able = self._able()
        if not able:
            if all(line.state == "done" for line in self._lines):
                return False
            # Those who stand still may yet run out of patience by themselves.
            self._stuck = not settle(self._room, self._lines, STUCK_LOOKS)
            return True
        self._take(able)
        self._stuck = len(self._steps) > STEPS_MAX
        return True

    def _able(self) -> list[int]:
        parked = [n for n, line in enumerate(self._lines) if line.state == "parked"]
        able = [n for n in parked if self._can_go(self._lines[n])]
        # Nobody can: then those at a lock wait for it in earnest, and their patience ends.
        nobody_runs = all(line.state != "running" for line in self._lines)
        return able or (parked if nobody_runs else [])

    def _can_go(self, line: Lifeline) -> bool:
        return not isinstance(line.at, Waiting) or line.at.is_free()

    def _take(self, able: list[int]) -> None:
        number, free = self._by_rule(able)
        fate: Fate = "go"
        deviation = self._script.get(len(self._steps))
        if deviation is not None:
            if deviation.line in able:
                number, fate = deviation.line, deviation.fate
            else:
                self._diverged = True
        at = self._lines[number].at
        assert at is not None
        others = tuple(n for n in able if n != number)
        self._steps.append(Step(line=number, fate=fate, at=at, others=others, free=free))
        self._current = number
        if fate == "crash":
            self._crash()
        else:
            act: Act = fate
            self._lines[number].release(act)

    def _by_rule(self, able: list[int]) -> tuple[int, bool]:
        """Who goes on, and whether another could without being a preemption."""
        current = self._current
        in_turn = [n for n in able if current is None or n > current] or able
        if current is None or current not in able:
            return in_turn[0], True
        line = self._lines[current]
        if line.failed and able != [current]:
            return next(n for n in [*in_turn, *able] if n != current), True
        return current, isinstance(line.at, Begin)

    def _crash(self) -> None:
        """The whole process dies: first all are marked, so that none acts while others end."""
        for line in self._lines:
            line.dead = True
        for line in self._lines:
            if line.state == "parked":
                line.release("die")
