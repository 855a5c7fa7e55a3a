"""Which executions are enough? One for each different order of the steps that disturb each other.

Depth-first search without a memory of states: each execution is begun anew and led along the
choices that are on the path, then goes on as it likes. Where two steps turn out to have raced, the
other order is put on the list for the place before the first of them (source sets, as in source
DPOR). What has been shown by an execution is not shown again by changing places of steps that do
not disturb each other (sleep sets).

One process has choices that depend on what the others do: the director, who lets things happen
outside. It counts as present at every moment, whether or not it can do anything then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs


class Touch(Protocol):
    """What a step touches."""

    def disturbs(self, other: Any, /) -> bool:
        """The two may not change places."""
        ...

    def __or__(self, other: Any, /) -> Any:
        """What both touch."""
        ...


Process = Hashable
Choice = Hashable
Step = tuple[Process, Choice]
Ending = Literal["seen all", "stopped", "gave up"]
DIRECTOR: Process = "director"


@attrs.frozen
class Taken:
    """A step that was taken.

    Args:
        started: the process that it has begun.
        unlike: choices of the same process that turned out not to be there.
    """

    touch: Touch
    started: Process | None = None
    unlike: frozenset[Choice] = frozenset()


class Execution(Protocol):
    """One execution, from the beginning to wherever it is led."""

    def choices(self) -> Mapping[Process, Sequence[Choice]]:
        """Which processes can go on, and how. The first choice of each must be there."""
        ...

    def take(self, process: Process, choice: Choice) -> Taken | None:
        """Take a step; None if the choice turned out not to be there."""
        ...

    def seen(self) -> bool:
        """Look at the moment that is reached for the first time; False ends the search."""
        ...

    def over(self) -> bool:
        """Look at the end of an execution; False ends the search."""
        ...


@attrs.define(eq=False)
class _Place:
    """A place on the path: what could be done there, what was, and what still has to be.

    Args:
        asleep: steps whose executions are known, with what they touch.
        todo: processes to try here.
        before: which earlier steps of the path led to the one taken here, one bit each.
    """

    choices: Mapping[Process, Sequence[Choice]]
    asleep: dict[Step, Touch]
    todo: list[Process]
    unlike: set[Step] = attrs.Factory(set[Step])
    step: Step = ("", "")
    taken: Taken | None = None
    before: int = 0

    def next(self) -> Step | None:
        """A step that is to be tried here."""
        return next((step for process in self.todo for step in self.awake(process)), None)

    def awake(self, process: Process) -> Iterator[Step]:
        """What a process can do here that was not seen yet."""
        for choice in self.choices.get(process, ()):
            step = (process, choice)
            if step not in self.asleep and step not in self.unlike:
                yield step

    def done(self) -> None:
        """Every execution that goes on with the step taken has been seen."""
        if self.taken is not None:
            self.asleep[self.step] = self.taken.touch
        else:
            self.unlike.add(self.step)

    def inherited(self) -> dict[Step, Touch]:
        """What still sleeps after the step taken."""
        if self.taken is None:
            return {}
        process, touch = self.step[0], self.taken.touch
        return {
            step: other
            for step, other in self.asleep.items()
            if step[0] != process and not touch.disturbs(other)
        }


class Explorer:
    """One search through all executions.

    Args:
        begin: begins an execution.
        director: what the choices of the director depend on.
        reduced: leave out what shows nothing new; if not, every order of all steps is run.
    """

    def __init__(
        self,
        begin: Callable[[], Execution],
        director: Touch,
        *,
        reduced: bool = True,
        executions_max: int = 1_000_000,
        seconds_max: float = float("inf"),
    ) -> None:
        self._begin, self._director, self._reduced = begin, director, reduced
        self._executions_max, self._seconds_max = executions_max, seconds_max
        self._path: list[_Place] = []
        self.executions = 0
        self.redundant = 0
        self.steps = 0
        self.moments = 0

    @property
    def path(self) -> tuple[Step, ...]:
        """The steps of the last execution."""
        return tuple(place.step for place in self._path)

    def run(self) -> Ending:
        """Run executions until all orders are seen, one shows enough, or a limit is hit."""
        began = time.perf_counter()
        while True:
            late = time.perf_counter() - began > self._seconds_max
            if late or self.executions >= self._executions_max:
                return "gave up"
            self.executions += 1
            if not self._execute():
                return "stopped"
            if not self._turned():
                return "seen all"

    def _turned(self) -> bool:
        """The last place of the path where something is left to do has its next step."""
        while self._path:
            place = self._path[-1]
            place.done()
            step = place.next()
            if step is not None:
                place.step, place.taken = step, None
                return True
            self._path.pop()
        return False

    # --- one execution -----------------------------------------------------------------------

    def _execute(self) -> bool:
        """Along the path, its last step for the first time, and on to the end."""
        run, path = self._begin(), self._path
        for place in path[:-1]:
            self._take(run, place)
        if path and not self._first(run, path[-1]):
            self.redundant += 1
            return True
        while True:
            self.moments += 1
            if not run.seen():
                return False
            place = self._arrived(run)
            step = place.next()
            if step is None:
                if place.choices:
                    self.redundant += 1
                    return True
                return run.over()
            place.step = step
            path.append(place)
            if not self._first(run, place):
                # Its first choice was asleep, so that it was not known whether this one was there.
                self.redundant += 1
                return True

    def _take(self, run: Execution, place: _Place) -> Taken | None:
        self.steps += 1
        return run.take(*place.step)

    def _first(self, run: Execution, place: _Place) -> bool:
        """A step is taken for the first time here; False if it is not there."""
        place.taken = self._take(run, place)
        if place.taken is None:
            return False
        process = place.step[0]
        place.unlike.update((process, choice) for choice in place.taken.unlike)
        place.before = self._races(len(self._path) - 1, process, place.taken.touch)
        return True

    def _arrived(self, run: Execution) -> _Place:
        choices = {process: found for process, found in run.choices().items() if found}
        asleep = self._path[-1].inherited() if self._path and self._reduced else {}
        place = _Place(choices, asleep, list(choices))
        if self._reduced:
            if self._path:
                self._races(len(self._path), DIRECTOR, self._director)
            place.todo = [process for process in choices if any(place.awake(process))][:1]
        return place

    # --- races -------------------------------------------------------------------------------

    def _races(self, at: int, process: Process, touch: Touch) -> int:
        """Put the other order of each race with a step on the list; returns what led to it.

        Two steps have raced if they disturb each other and nothing between them orders them.
        """
        before, raced = 0, list[int]()
        for earlier in range(at - 1, -1, -1):
            place = self._path[earlier]
            if before >> earlier & 1 or place.taken is None:
                continue
            ordered = process in (place.step[0], place.taken.started)
            if ordered or place.taken.touch.disturbs(touch):
                before |= place.before | 1 << earlier
                if not ordered and self._reduced:
                    raced.append(earlier)
        for earlier in raced:
            self._reverse(earlier, at, process, before)
        return before

    def _reverse(self, earlier: int, at: int, process: Process, before: int) -> None:
        """See that the step at `at` can come before the one at `earlier`.

        Args:
            before: what led to the later one.
        """
        path, place = self._path, self._path[earlier]
        others = [k for k in range(earlier + 1, at) if not path[k].before >> earlier & 1]
        among = sum(1 << k for k in others)
        firsts = [process] if not before & among else []
        firsts += [path[k].step[0] for k in others if not path[k].before & among]
        possible = [first for first in firsts if first in place.choices]
        if possible and not any(first in place.todo for first in possible):
            place.todo.append(possible[0])
