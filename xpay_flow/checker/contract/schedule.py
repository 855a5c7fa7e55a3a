"""How does one run go? From a reset store, by a plain rule, but for a few chosen deviations.

The plain rule: the running one goes on, until it is done, cannot go on, or its database reported
that a statement failed; then the next in turn. A deviation names who goes on instead at a step, or
what befalls the one who would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import attrs

from xpay_flow.ports import Store

from .house import House, Mode, steered
from .lifelines import Done, Lifeline, Unknown, answer_of
from .reduction import unnoticed
from .reference import CallId
from .scenes import Scene
from .steered import LOOKS, STUCK_LOOKS, Act, Begin, Point, Room, Steered, Waiting, settle
from .step import Fate, Step

# A store that tries again at every refusal has an end; one that takes more steps has none.
STEPS_MAX: Final = 400


@attrs.frozen
class Deviation:
    """At this step, this lifeline goes on, or meets its fate."""

    step: int
    line: int
    fate: Fate = "go"


@attrs.frozen(kw_only=True)
class RunResult:
    """How a run went, and what it left.

    Args:
        living: the records that each store that is still open shows.
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

    @cached_property
    def unnoticed(self) -> frozenset[int]:
        """Steps that no other lifeline can notice."""
        return unnoticed(self.steps)


def play(
    house: House, scene: Scene, mode: Mode, script: Sequence[Deviation] = (), looks: int = LOOKS
) -> RunResult:
    """One run of a scene."""
    house.begin(scene)
    if mode == "processes":
        return _Run(house, scene, mode, script, house.make, looks).play()
    with steered(house) as store:
        if not house.lasting:
            scene.prepare(store)
        return _Run(house, scene, mode, script, lambda: store, looks).play()


class _Run:
    def __init__(
        self,
        house: House,
        scene: Scene,
        mode: Mode,
        script: Sequence[Deviation],
        make: Callable[[], Store],
        looks: int,
    ) -> None:
        self._house, self._scene, self._mode, self._make = house, scene, mode, make
        self._script = {deviation.step: deviation for deviation in script}
        self._room = Room(house.table, self._goes_on, looks)
        self._lines = [
            Lifeline(self._room, make, [call.ask for call in calls], scene.glanced)
            for calls in scene.lifelines
        ]
        self._steps: list[Step] = []
        self._current: int | None = None
        self._living: tuple[Any, ...] = ()
        self._stuck = self._diverged = False

    def play(self) -> RunResult:
        """Do it all."""
        found: Any = Unknown()
        try:
            for line in self._lines:
                line.start()
                settle(self._room, [line], STUCK_LOOKS)
            while not self._stuck and self._step():
                pass
            if not self._stuck:
                # First as another process sees it: a look from inside may put things right.
                found = self._found()
                self._living = tuple(line.look() for line in self._survivors())
        finally:
            ended = [line.leave() for line in self._lines]
        self._stuck = self._stuck or not all(ended)
        for line in self._lines:
            if line.broken is not None:
                raise line.broken
        if isinstance(found, Unknown) and not self._stuck:
            found = self._found()
        return self._result(found)

    def _found(self) -> Any:
        if not self._house.lasting:
            return answer_of(self._scene.found, self._make())
        with steered(self._house) as store:
            return answer_of(self._scene.found, store)

    def _result(self, found: Any) -> RunResult:
        done = {
            (number, place): done
            for number, line in enumerate(self._lines)
            for place, done in enumerate(line.done)
        }
        return RunResult(
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

    def _goes_on(self, line: Steered, at: Point) -> bool:
        """Whether the plain rule lets it go on, with nothing to decide. On its thread."""
        place = len(self._steps)
        number = next(n for n, mine in enumerate(self._lines) if mine is line)
        others_rest = all(o is line or o.state != "running" for o in self._lines)
        if number != self._current or line.failed or not others_rest or isinstance(at, Waiting):
            return False
        if place in self._script or place >= STEPS_MAX:
            return False
        able = tuple(n for n in self._able() if n != number)
        free = isinstance(at, Begin)
        self._steps.append(Step(line=number, fate="go", at=at, others=able, free=free))
        return True

    def _able(self) -> list[int]:
        parked = [n for n, line in enumerate(self._lines) if line.state == "parked"]
        able = [n for n in parked if self._can_go(self._lines[n])]
        # None can: then those at a lock wait for it in earnest, and their patience ends.
        none_runs = all(line.state != "running" for line in self._lines)
        return able or (parked if none_runs else [])

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
