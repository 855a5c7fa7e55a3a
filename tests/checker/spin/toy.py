"""What is the smallest world in which flows can run? A few numbers by name, and who changes them.

A task is an ordinary generator, as our flows are, and goes through the same `Histories` and the
same `Engine`. What the payments model adds is left out: each effect is one step, and everybody may
come between any two of them. So a twin of it can be written by hand in another checker's language.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs

from xpay_flow.checker.contents import Raised
from xpay_flow.checker.engine import Crew, Way
from xpay_flow.checker.histories import Histories, Kind, Node

Held: TypeAlias = dict[str, int]
Flow: TypeAlias = Generator[Any, Any, None]

# The fault counter is a number of the store like any other, so that it is part of a state.
FAULTS = "faults"


class Lost(Exception):
    """The requested step may or may not have been done."""


# --- effects -------------------------------------------------------------------------------------


@attrs.frozen
class Get:
    """The number of this name."""

    name: str

    def done(self, held: Held) -> int:
        return held[self.name]


@attrs.frozen
class Put:
    """These numbers at once, whatever they were."""

    names: tuple[tuple[str, int], ...]

    def done(self, held: Held) -> None:
        held.update(self.names)


@attrs.frozen
class Swap:
    """One number for another, if it is still this; and these with it. Returns whether it was."""

    name: str
    old: int
    new: int
    names: tuple[tuple[str, int], ...] = ()

    def done(self, held: Held) -> bool:
        if held[self.name] != self.old:
            return False
        held[self.name] = self.new
        held.update(self.names)
        return True


@attrs.frozen
class Add:
    """Some more; returns how many there are now."""

    name: str
    more: int = 1

    def done(self, held: Held) -> int:
        held[self.name] += self.more
        return held[self.name]


@attrs.frozen
class Write:
    """This number. A fence refuses it in place of a higher one; without one, that is undone."""

    name: str
    new: int
    fenced: bool

    def done(self, held: Held) -> bool:
        lower = self.new < held[self.name]
        if lower and self.fenced:
            return False
        held[self.name] = self.new
        held["undone"] = int(lower or held["undone"])
        return True


def put(**names: int) -> Put:
    """Put these numbers."""
    return Put(tuple(names.items()))


def swap(name: str, old: int, new: int, **names: int) -> Swap:
    """Swap this number, and put these."""
    return Swap(name, old, new, tuple(names.items()))


# --- a world -------------------------------------------------------------------------------------


@attrs.frozen
class Task:
    """One who is at work from the beginning.

    Args:
        again: begins anew when it has come to its end; otherwise it is gone then.
        dies: may die between any two steps, at the price of a fault, and begin anew.
        loses: the answer to a change may be lost, done or not, at the price of a fault.
    """

    name: str
    flow: Callable[[], Flow]
    again: bool = False
    dies: bool = False
    loses: bool = False


def _nothing(_: Mapping[str, int]) -> Iterator[Mapping[str, int]]:
    yield from ()


@attrs.frozen
class World:
    """One small world.

    Args:
        opening: every number by its name.
        kept: the promise.
        happens: the environment's steps, at the price of a fault each: the numbers that change.
    """

    name: str
    opening: Mapping[str, int]
    tasks: tuple[Task, ...]
    kept: Callable[[Mapping[str, int]], bool]
    happens: Callable[[Mapping[str, int]], Iterator[Mapping[str, int]]] = _nothing


class Toy:
    """The engine's model of a world.

    Args:
        merging: pasts that left a task in the same rest are one; otherwise a task remembers all.
        judged: look whether the promise is kept.
        counts_faults: the number of faults is part of a state.
    """

    at_once = 1

    def __init__(
        self, world: World, *, merging: bool = True, judged: bool = True, counts_faults: bool = True
    ) -> None:
        self._world, self._judged, self._counts = world, judged, counts_faults
        self.histories = Histories(merging=merging)
        self._names = (*world.opening, FAULTS)
        self._stores: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        # Equal tasks are of one kind; and of each kind, how it behaves.
        kinds = {task: Kind(task.name, "worker", task.flow) for task in world.tasks}
        self._tasks = {kind: task for task, kind in kinds.items()}
        self._task_ways: dict[tuple[int, int], tuple[Way, ...]] = {}
        self._rest_ways: dict[int, tuple[Way, ...]] = {}
        crew = tuple(sorted(self._begun(kinds[task]) for task in world.tasks))
        self.opening = (self._number({**world.opening, FAULTS: 0}), crew)

    def held(self, situation: int) -> Held:
        """The numbers by name."""
        return dict(zip(self._names, self._stores[situation], strict=True))

    def past(self, task: int) -> tuple[str, ...]:
        """Who a task is, and every answer that it was given."""
        node, answers = self.histories.nodes[task], list[str]()
        while node.parent is not None:
            answers.append(repr(node.answer))
            node = node.parent
        return (node.kind.name, *reversed(answers))

    # --- what the engine asks ----------------------------------------------------------------

    def task_transitions(self, situation: int, task: int, budget: int) -> tuple[Way, ...]:
        """The step that it waits for, and what may go wrong."""
        found = self._task_ways.get((situation, task))
        if found is None:
            ways = tuple(self._of_task(situation, self.histories.nodes[task]))
            found = self._task_ways[situation, task] = ways
        return found

    def rest_transitions(self, situation: int, crew: Crew, budget: int) -> tuple[Way, ...]:
        """The environment's steps."""
        found = self._rest_ways.get(situation)
        if found is None:
            ways = tuple(self._of_rest(situation))
            found = self._rest_ways[situation] = ways
        return found

    def wrong(self, situation: int, faults: int) -> str | None:
        """The promise, if it is broken."""
        if not self._judged or self._world.kept(MappingProxyType(self.held(situation))):
            return None
        return self._world.name

    def judges_changes(self) -> bool:
        """No promise here is about a step."""
        return False

    def wrong_change(self, before: int, after: int) -> None: ...

    def settled(self, situation: int) -> int:
        return situation

    def changes(self, before: int, after: int) -> bool:
        return False

    def stale_read(self, before: int, after: int, task: int) -> tuple[Way, ...]:
        return ()

    def stale_read_starts(
        self, before: int, after: int, crew: Crew, budget: int
    ) -> tuple[Way, ...]:
        return ()

    # --- one step ----------------------------------------------------------------------------

    def _of_task(self, situation: int, node: Node) -> Iterator[Way]:
        task = self._tasks[node.kind]
        held = self.held(situation)
        answer = node.op.done(held)
        yield self._way(node, answer, answer, held, 0)
        lost = Raised(Lost())
        if task.loses and not isinstance(node.op, Get):
            yield self._way(node, "lost", lost, held, 1)
            yield self._way(node, "lost", lost, self.held(situation), 1)
        if task.dies:
            died = self._number(self.held(situation), 1)
            yield Way(died, 1, (self._begun(node.kind),), f"{task.name} dies")

    def _way(self, node: Node, key: Any, answer: Any, held: Held, cost: int) -> Way:
        after = self.histories.step(node, key, answer, 0)
        joined: Crew = (after.id,)
        if after.op is None:
            joined = (self._begun(node.kind),) if self._tasks[node.kind].again else ()
        return Way(self._number(held, cost), cost, joined, f"{node.kind.name}: {node.op} → {key}")

    def _of_rest(self, situation: int) -> Iterator[Way]:
        held = self.held(situation)
        for changed in self._world.happens(MappingProxyType(held)):
            yield Way(self._number({**held, **changed}, 1), 1, (), f"{changed}")

    def _begun(self, kind: Kind) -> int:
        return self.histories.start(kind, 0).id

    def _number(self, held: Held, faults: int = 0) -> int:
        counted = held[FAULTS] + faults if self._counts else 0
        store = (*(held[name] for name in self._names[:-1]), counted)
        number = self._numbers.setdefault(store, len(self._stores))
        if number == len(self._stores):
            self._stores.append(store)
        return number
