"""What happens on the real store when flows go on in this order, with these faults?

One execution. Each flow is a live generator with a store of its own, opened for it alone, as by a
process or a connection of its own. It begins after `reset()`, and nothing in it is looked up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, cast

import attrs

from xpay_flow.effects import Commit, RunInTransaction

from .. import outside as world
from ..bounds import FaultKind
from ..histories import Kind, Node, advance
from ..outside import CALLS_COUNTED_MAX, Happening
from ..performing import performed, taken_apart
from ..story import How, Step
from ..turns import AWAITED, ending, outcome
from . import touches, ways
from .dpor import DIRECTOR, Choice, Process, Taken
from .stage import Stage, Task
from .touches import Touch
from .ways import ALL_DIE, DONE, UNHEARD, Then, Way


class LiveRun:
    """One execution of one scene, from `reset()` on."""

    def __init__(self, stage: Stage, faults: int) -> None:
        self._stage, self._shop, self._scene = stage, stage.shop, stage.scene
        stage.reset()
        self.budget, self.faults = faults, 0
        self.outside = stage.first
        self.story: list[Step] = []
        self._tasks: dict[Process, Task] = {}
        self._tokens = count()
        self._turn = 0
        self._flows = 0
        self._aliases: dict[str, frozenset[str]] = {}
        self._situation: int | None = None
        if stage.scene.begun:
            self._prologue()

    # --- what the search calls ---------------------------------------------------------------

    @property
    def situation(self) -> int:
        """The number of this moment: what is stored, and the world outside."""
        if self._situation is None:
            stage = self._stage
            self._situation = stage.moves.at(stage.watching.look(), self.outside)
        return self._situation

    @property
    def quiet(self) -> bool:
        """No flow runs."""
        return not self._tasks

    def choices(self) -> Mapping[Process, Sequence[Choice]]:
        found: dict[Process, Sequence[Choice]] = {
            process: tuple(self._ways(task)) for process, task in self._tasks.items()
        }
        found[DIRECTOR] = tuple(self.director_steps())
        return found

    def take(self, process: Process, choice: Any) -> Taken | None:
        if process == DIRECTOR:
            return self.direct(choice)
        self._situation = None
        return self._goes_on(process, self._tasks[process], choice)

    # --- the director ------------------------------------------------------------------------

    def director_steps(self, *, limited: bool = True) -> Iterator[Step]:
        """What can happen outside, and who can begin.

        Args:
            limited: no more flows than the bound allows, and no time without a flow.
        """
        crew = tuple(sorted(task.root for task in self._tasks.values()))
        full = limited and self._flows >= self._stage.flows_max
        for way in self._stage.moves.rest_transitions(self.situation, crew, self.budget):
            (step,) = way.label
            idle = step.what == "starts" or (step.what == "time" and self.quiet)
            if way.cost <= self.budget and not (full and idle):
                yield step

    def direct(self, step: Step) -> Taken:
        """The director's step is taken."""
        self._situation = None
        for happening in step.happens:
            self._happens(happening)
        self._pays(step.fault)
        self._turn += 1
        touch = self._stage.choice | touches.happening_touch(step)
        if step.what != "starts":
            self.story.append(step)
            return Taken(touch)
        assert step.kind is not None
        assert step.after is not None
        self._starts(self._turn, step.kind, step.after, step.fault, step.happens)
        return Taken(touch, started=self._turn)

    def _starts(
        self,
        process: Process,
        kind: Kind,
        root: int,
        fault: FaultKind | None = None,
        happens: tuple[Happening, ...] = (),
    ) -> None:
        node, flow = Node(kind, None, None, self.outside.now_ms), taken_apart(kind.make())
        task = Task(kind, root, flow, node, self._stage.opened(), next(self._tokens))
        self._resumed(task, node)
        self._flows += 1
        self._tasks[process] = task
        self.story.append(
            Step(what="starts", kind=kind, after=task.token, fault=fault, happens=happens)
        )

    def _prologue(self) -> None:
        """A click that meets no trouble."""
        self._happens(("pressed",))
        self._starts("prologue", self._stage.click, 0, happens=(("pressed",),))
        self.finish()
        self._flows = 0

    def finish(self) -> None:
        """Let every flow run to its end, one after the other."""
        while self._tasks:
            self.take(next(iter(self._tasks)), DONE)

    # --- a flow ------------------------------------------------------------------------------

    def _ways(self, task: Task) -> Iterator[Way]:
        op = task.node.op
        if op is not None:
            yield from ways.effect_ways(op, self.budget, self._allows)
            return
        yield DONE
        yield UNHEARD
        if self.budget and self._allows("death"):
            yield ALL_DIE

    def _goes_on(self, process: Process, task: Task, way: Way) -> Taken | None:
        if task.node.op is None:
            return self._ends(process, task, way)
        others = frozenset(other for other in self._ways(task) if other.needs_change)
        touch, lasts = self._performs(task, way)
        if not lasts and way.needs_change:
            return None
        touch = self._went_on(process, task, way, touch)
        nothing_lasts = way.how == "done" and not lasts
        return Taken(touch, unlike=others if nothing_lasts else frozenset())

    def _went_on(self, process: Process, task: Task, way: Way, touch: Touch) -> Touch:
        """What follows once an effect was performed: it dies, ends, or waits for its next."""
        if task.node.clock:
            touch |= touches.SEES_CLOCK
        if way.then != "goes on":
            return touch | self._dies(process, task, way.then)
        if task.node.op is None and task.kind.group not in AWAITED:
            end = self._ends(process, task, DONE)
            assert end is not None
            touch |= cast(Touch, end.touch)
        return touch

    def _performs(self, task: Task, way: Way) -> tuple[Touch, bool]:
        """The effect is performed: what that touches, and whether it changes anything for good."""
        op, before = task.node.op, self.outside
        self._stage.store_calls += ways.faults_of(op)[:1] == ("store",)
        done = performed(op, way.how, way.fault, task.seat, self._shop, before)
        self.outside = done.outside
        self._sees_written(op)
        touch = touches.effect_touch(op, way.how, self._known(op))
        self._answers(task, way, done.answer)
        return touch, done.stored or self.outside != before

    def _known(self, op: Any) -> frozenset[str]:
        """The aliases that a record to be committed had before."""
        if not isinstance(op, Commit | RunInTransaction):
            return frozenset()
        record = op.change.record
        known = self._aliases.get(record.key, frozenset[str]())
        self._aliases[record.key] = known | record.aliases
        return known

    def _sees_written(self, op: Any) -> None:
        """What a handler within the transaction has written counts, and not the store's answer."""
        written = self._stage.written
        if written is None or not isinstance(op, RunInTransaction):
            return
        at = (op.name, op.payment.idempotency_key)
        times = min(Counter(written())[at[1]], CALLS_COUNTED_MAX)
        others = tuple(call for call in self.outside.calls if call[:2] != at)
        mine = ((*at, times),) if times else ()
        self.outside = attrs.evolve(self.outside, calls=tuple(sorted((*others, *mine))))

    def _answers(self, task: Task, way: Way, answer: Any) -> None:
        """The flow receives the answer, and goes on to its next effect."""
        node, token = task.node, next(self._tokens)
        step = Step(
            what="does",
            kind=task.kind,
            before=task.token,
            after=token,
            op=node.op,
            answer=answer,
            how=way.how,
            fault=way.fault,
        )
        self._add_step(step)
        task.token = token
        self._resumed(task, Node(task.kind, None, answer, self.outside.now_ms, named=node.named))

    def _resumed(self, task: Task, node: Node) -> None:
        self._stage.resumptions += 1
        advance(node, task.flow)
        task.node = node

    def _ends(self, process: Process, task: Task, way: Way) -> Taken | None:
        happens = tuple(ending(task.node))
        lost = tuple(ending(task.node, received=False))
        unlike = {UNHEARD} if lost == happens else set[Way]()
        unlike |= {ALL_DIE} if not happens else set[Way]()
        if way in unlike:
            return None
        how: How = "done"
        if way == UNHEARD:
            happens, how = lost, "not applied"
        for happening in happens:
            self._happens(happening)
        end, kind = outcome(task.node), task.kind
        ends = Step(what="ends", kind=kind, before=task.token, answer=end, how=how, note=f"{end}")
        self._add_step(ends)
        del self._tasks[process]
        self._stage.ended(task.seat)
        touch = touches.end_touch(lasts=bool(happens))
        if way == ALL_DIE:
            touch |= self._all_die()
        return Taken(touch, unlike=frozenset(unlike))

    # --- the end of flows --------------------------------------------------------------------

    def _dies(self, process: Process, task: Task, then: Then) -> Touch:
        if then == "all die":
            return self._all_die()
        note = f"{task.kind.name} dies"
        self._add_step(
            Step(what="dies", kind=task.kind, before=task.token, note=note, fault="death")
        )
        return self._gone(process) | touches.ENDS

    def _all_die(self) -> Touch:
        self._add_step(Step(what="dies", note="the whole process dies", fault="death"))
        touch = touches.ALL_DIE
        for process in tuple(self._tasks):
            touch |= self._gone(process)
        return touch

    def _gone(self, process: Process) -> Touch:
        """The flow is no more, and neither is its connection."""
        task = self._tasks.pop(process)
        held = bool(task.seat.held)
        self._stage.died(task.seat)
        self._sees_written(task.node.op)
        return touches.LETS_GO if held else touches.NOTHING

    def abandon(self) -> None:
        """The execution goes no further; connections that rest may be used again."""
        for task in self._tasks.values():
            self._stage.ended(task.seat)
        self._tasks.clear()

    # --- what happens ------------------------------------------------------------------------

    def _happens(self, happening: Happening) -> None:
        self.outside = world.happened(self.outside, happening)

    def _add_step(self, step: Step) -> None:
        self.story.append(step)
        self._pays(step.fault)

    def _pays(self, fault: FaultKind | None) -> None:
        if fault is not None:
            self._stage.fired.add(fault)
            self.faults += 1
            self.budget -= 1

    def _allows(self, fault: FaultKind) -> bool:
        return fault in self._scene.faults
