"""Is there any way into trouble? Every state of a model, the fewest faults first.

A state is a situation and a crew: what is stored and what the world is like, by one number, and the
tasks at work, by their numbers. States are met in order of faults and then of steps, so the first
story that breaks a promise has the fewest faults and is the shortest with so many, and it is the
same one on every run.

The engine knows nothing of payments: see `Model`.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple, Protocol

import attrs

Ending = Literal["seen all", "wrong", "gave up"]
Crew = tuple[int, ...]

# How many bits of a state's number are its crew; the rest is the situation.
CREW_BITS = 24
CREW_MASK = (1 << CREW_BITS) - 1
# Between two looks at the clock.
LOOK_EVERY = 1_000


class Way(NamedTuple):
    """A way on: the situation it leads to, its price in faults, and who joins the crew.

    Args:
        joined: tasks that take the mover's place; None when all tasks are gone.
        label: what happened, for a story.
        mover: the task that has just begun, where it is one; it was at work meanwhile.
    """

    situation: int
    cost: int
    joined: Crew | None
    label: Any
    mover: int = -1


class Overtaking(NamedTuple):
    """The label of a step with others that had read before it: their labels, and its own."""

    readers: tuple[Any, ...]
    step: Any


class _StaleRead(NamedTuple):
    """A step with others that had read before it: who did not, who did and goes on, and how."""

    situation: int
    kept: Crew
    joined: Crew
    cost: int
    labels: tuple[Any, ...]

    def keeping(self, task: int) -> _StaleRead:
        kept = (*self.kept, task)
        return _StaleRead(self.situation, kept, self.joined, self.cost, self.labels)

    def with_way(self, on: Way) -> _StaleRead:
        """One more had read before, and goes on like this afterwards."""
        return _StaleRead(
            on.situation,
            self.kept,
            self.joined + (on.joined or ()),
            self.cost + on.cost,
            (*self.labels, on.label),
        )


class _Crews:
    """Every crew that was met, by number; the empty one is 0."""

    def __init__(self) -> None:
        self.members: list[Crew] = []
        self._numbers: dict[Crew, int] = {}
        self._without_one: dict[int, tuple[tuple[int, int], ...]] = {}
        self._with_more: dict[tuple[int, Crew], int] = {}
        self.number(())

    def number(self, crew: Crew) -> int:
        """The number of a crew, whose members are in order."""
        found = self._numbers.setdefault(crew, len(self.members))
        if found == len(self.members):
            self.members.append(crew)
        return found

    def without_one(self, crew: int) -> tuple[tuple[int, int], ...]:
        """Each member, and the crew without it. Tasks with the same past are interchangeable."""
        found = self._without_one.get(crew)
        if found is None:
            members = self.members[crew]
            each = {task: at for at, task in enumerate(members)}
            rests = ((task, members[:at] + members[at + 1 :]) for task, at in each.items())
            found = tuple((task, self.number(rest)) for task, rest in rests)
            self._without_one[crew] = found
        return found

    def with_more(self, crew: int, joined: Crew) -> int:
        """The crew together with those who join."""
        found = self._with_more.get((crew, joined))
        if found is None:
            found = self.number(tuple(sorted(self.members[crew] + joined)))
            self._with_more[crew, joined] = found
        return found


class Model(Protocol):
    """What can happen. Every answer depends on its arguments alone."""

    at_once: int
    opening: tuple[int, Crew]

    def task_transitions(self, situation: int, task: int, budget: int) -> Sequence[Way]:
        """What one task can do, with up to `budget` faults at least."""
        ...

    def rest_transitions(self, situation: int, crew: Crew, budget: int) -> Sequence[Way]:
        """What the world can do, and which tasks can begin, while these are at work."""
        ...

    def changes(self, before: int, after: int) -> bool:
        """A task that has read before this step could have read something else."""
        ...

    def stale_read(self, before: int, after: int, task: int) -> Sequence[Way]:
        """How a waiting task goes on that had read before this step, which another has taken."""
        ...

    def stale_read_starts(self, before: int, after: int, crew: Crew, budget: int) -> Sequence[Way]:
        """The same for tasks that had begun just before this step."""
        ...

    def settled(self, situation: int) -> int:
        """The first situation that is like this one while no task is at work."""
        ...

    def wrong(self, situation: int, faults: int) -> Any:
        """What is wrong with a situation; None if nothing is."""
        ...

    def judges_changes(self) -> bool:
        """Whether `wrong_change` is to be called at all."""
        ...

    def wrong_change(self, before: int, after: int) -> Any:
        """What is wrong with a step between two situations; None if nothing is."""
        ...


@attrs.frozen
class Count:
    """How far a search has come."""

    faults: int
    states: int
    transitions: int
    frontier: int
    seconds: float


class Engine:
    """One search through a model.

    Args:
        faults: search everything with up to so many.
        transitions_max, seconds_max: give up after so many.
        watch: receives the progress of the search now and then.
    """

    def __init__(
        self,
        model: Model,
        faults: int,
        *,
        transitions_max: int = 50_000_000,
        seconds_max: float = float("inf"),
        watch: Callable[[Count], None] | None = None,
    ) -> None:
        self._model, self.faults_max = model, faults
        self._transitions_max, self._seconds_max = transitions_max, seconds_max
        self._watch = watch
        # Per state: its number in full, where it was come from, how, and at what price.
        self._keys: list[int] = []
        self._numbers: dict[int, int] = {}
        self._parents = array("i")
        self._labels: list[Any] = []
        self._prices = array("b")
        # Every way from one state to another, for walking backwards.
        self._sources = array("i")
        self._targets = array("i")
        # From where each state is come to: a stretch of the second for each, which ends as noted.
        self._incoming: tuple[array[int], array[int]] | None = None
        self._crews = _Crews()
        # What is wrong, the state that shows it, and the label of a further step that does.
        self.wrong: tuple[Any, int, Any] | None = None
        # The first wrong step at each price, until all that costs less is seen.
        self._wrong_steps: dict[int, tuple[Any, int, Any]] = {}
        self.exhausted = -1
        self._began = 0.0
        self._judges_changes = model.judges_changes()

    @property
    def states(self) -> int:
        return len(self._keys)

    @property
    def transitions(self) -> int:
        return len(self._sources)

    def state(self, number: int) -> tuple[int, Crew]:
        """The situation and the crew of a state."""
        return self.unpacked(self._keys[number])

    def unpacked(self, key: int) -> tuple[int, Crew]:
        """The situation and the crew of a state's number in full."""
        return key >> CREW_BITS, self._crews.members[key & CREW_MASK]

    def path(self, number: int) -> list[int]:
        """The states on the way to one, from the first."""
        found = [number]
        while self._parents[found[-1]] >= 0:
            found.append(self._parents[found[-1]])
        return found[::-1]

    def histogram(self) -> dict[str, tuple[int, ...]]:
        """How many states there are with each number of faults, and of tasks at work."""
        faults = Counter(self._prices)
        running = Counter(len(self.unpacked(key)[1]) for key in self._keys)
        return {
            "faults": tuple(faults[n] for n in range(max(faults, default=0) + 1)),
            "running": tuple(running[n] for n in range(max(running, default=0) + 1)),
        }

    def price(self, number: int) -> int:
        """The fewest faults with which a state is reached."""
        return self._prices[number]

    def reaching(self, goal: Callable[[int], bool]) -> bytearray:
        """Which states can still reach a situation with this goal, walking every way backwards."""
        ends, sources = self._incoming = self._incoming or self._backwards()
        reaching = bytearray(goal(key >> CREW_BITS) for key in self._keys)
        todo = [number for number, good in enumerate(reaching) if good]
        while todo:
            number = todo.pop()
            for source in sources[ends[number - 1] if number else 0 : ends[number]]:
                if not reaching[source]:
                    reaching[source] = 1
                    todo.append(source)
        return reaching

    def _backwards(self) -> tuple[array[int], array[int]]:
        """From where each state is come to; worked out once, after the search."""
        counts = Counter(self._targets)
        ends = array("i", accumulate(counts[number] for number in range(len(self._keys))))
        # Filled from the end of each stretch to its beginning.
        free, sources = array("i", ends), array("i", bytes(self._sources.itemsize * ends[-1]))
        for source, target in zip(self._sources, self._targets, strict=True):
            free[target] -= 1
            sources[free[target]] = source
        return ends, sources

    def label(self, number: int) -> Any:
        """What happened last on the way to a state."""
        return self._labels[number]

    def labels(self, number: int) -> list[Any]:
        """What happened on the way to a state."""
        return [self._labels[each] for each in self.path(number)[1:]]

    def run(self) -> Ending:
        """Search until all is seen, something is wrong, or a limit is hit."""
        self._began = time.perf_counter()
        layers: list[list[int]] = [[] for _ in range(self.faults_max + 1)]
        situation, crew = self._model.opening
        first = self._key(situation, self._crews.number(crew))
        layers[0].append(self._met(first, -1, None, 0))
        for faults, layer in enumerate(layers):
            if self._is_late(faults, len(layer)):
                return "gave up"
            # Grows while it is walked: steps without a fault stay in the layer.
            for at, number in enumerate(layer):
                if self._prices[number] != faults:
                    continue
                wrong = self._model.wrong(self._keys[number] >> CREW_BITS, faults)
                if wrong is not None:
                    self.wrong = (wrong, number, None)
                    return "wrong"
                self._expand(number, faults, layers)
                if faults in self._wrong_steps:
                    self.wrong = self._wrong_steps[faults]
                    return "wrong"
                if len(self._sources) > self._transitions_max:
                    return "gave up"
                if at % LOOK_EVERY == LOOK_EVERY - 1 and self._is_late(faults, len(layer) - at):
                    return "gave up"
            self.exhausted = faults
        return "seen all"

    def _is_late(self, faults: int, frontier: int) -> bool:
        seconds = time.perf_counter() - self._began
        if self._watch is not None:
            count = Count(faults, len(self._keys), len(self._sources), frontier, seconds)
            self._watch(count)
        return seconds > self._seconds_max

    def _expand(self, number: int, faults: int, layers: list[list[int]]) -> None:
        """Take every way on from one state."""
        model, crews = self._model, self._crews
        key = self._keys[number]
        situation, crew, budget = key >> CREW_BITS, key & CREW_MASK, self.faults_max - faults
        for task, rest in crews.without_one(crew):
            for way in model.task_transitions(situation, task, budget):
                if way.cost <= budget and (rest or way.joined is not None):
                    self._take(number, faults, way, rest, layers)
                    if way.joined is not None and model.changes(situation, way.situation):
                        self._overtake(number, faults, way, rest, (task,), layers)
        for way in model.rest_transitions(situation, crews.members[crew], budget):
            if way.cost <= budget and (crew or way.joined is not None):
                self._take(number, faults, way, crew, layers)
                if way.joined is not None and model.changes(situation, way.situation):
                    mover = (way.mover,) if way.mover >= 0 else ()
                    self._overtake(number, faults, way, crew, mover, layers)

    def _take(self, number: int, faults: int, way: Way, rest: int, layers: list[list[int]]) -> None:
        situation, cost, _, label, _ = way
        price = faults + cost
        key = self._after(way, rest)
        found = self._numbers.get(key)
        if found is None:
            found = self._met(key, number, label, price)
            layers[price].append(found)
        elif self._prices[found] > price:
            # Met before at a higher price: this way is the better one.
            self._prices[found], self._parents[found], self._labels[found] = price, number, label
            layers[price].append(found)
        self._sources.append(number)
        self._targets.append(found)
        if self._judges_changes and price not in self._wrong_steps:
            before = self._keys[number] >> CREW_BITS
            wrong = self._model.wrong_change(before, situation)
            if wrong is not None:
                self._wrong_steps[price] = (wrong, number, label)

    def _overtake(
        self,
        number: int,
        faults: int,
        way: Way,
        rest: int,
        mover: Crew,
        layers: list[list[int]],
    ) -> None:
        """The same step, with others that had read before it."""
        waiting = self._crews.members[rest]
        before, budget = self._keys[number] >> CREW_BITS, self.faults_max - faults
        group = waiting + mover
        # Nearly always none had, and that is quick to see.
        if not self._some_wait(before, way, waiting, group, budget):
            return
        assert way.joined is not None
        start = _StaleRead(way.situation, (), way.joined, way.cost, ())
        for after in self._who_waits(before, start, waiting, group, budget):
            if after.labels and after.cost <= budget:
                label = Overtaking(after.labels, way.label)
                joined = Way(after.situation, after.cost, after.joined, label)
                self._take(number, faults, joined, self._crews.number(after.kept), layers)

    def _some_wait(self, before: int, way: Way, waiting: Crew, group: Crew, budget: int) -> bool:
        """Anybody may have read before this step what it changes."""
        model, after = self._model, way.situation
        if any(model.stale_read(before, after, task) for task in waiting):
            return True
        left = budget - way.cost
        return len(group) < model.at_once and bool(
            model.stale_read_starts(before, after, group, left)
        )

    def _who_waits(
        self, before: int, at: _StaleRead, waiting: Crew, group: Crew, budget: int
    ) -> Iterator[_StaleRead]:
        """Every choice of who of the waiting had read before, and of who had begun before."""
        if waiting:
            task, others = waiting[0], waiting[1:]
            yield from self._who_waits(before, at.keeping(task), others, group, budget)
            for on in self._model.stale_read(before, at.situation, task):
                yield from self._who_waits(before, at.with_way(on), others, group, budget)
            return
        yield at
        if len(group) < self._model.at_once:
            for on in self._model.stale_read_starts(before, at.situation, group, budget - at.cost):
                more = (*group, on.mover)
                yield from self._who_waits(before, at.with_way(on), (), more, budget)

    def _after(self, way: Way, rest: int) -> int:
        """The number in full of the state that a way leads to."""
        joined = way.joined
        crew = 0 if joined is None else self._crews.with_more(rest, joined) if joined else rest
        return self._key(way.situation, crew)

    def _key(self, situation: int, crew: int) -> int:
        return (situation if crew else self._model.settled(situation)) << CREW_BITS | crew

    def _met(self, key: int, parent: int, label: Any, price: int) -> int:
        number = len(self._keys)
        self._keys.append(key)
        self._numbers[key] = number
        self._parents.append(parent)
        self._labels.append(label)
        self._prices.append(price)
        return number
