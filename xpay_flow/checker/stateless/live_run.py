"""What happens on the real store when flows go on in this order, with these faults?

One execution. Each flow is a live generator with a store of its own, opened for it alone, as by a
process or a connection of its own. It begins after `reset()`, and nothing in it is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Literal

import attrs

from xpay_flow.effects import Commit, Exchange, Ran, RunHandler
from xpay_flow.errors import StoreUnavailable
from xpay_flow.ports import NoAnswer, Store

from .. import outside as world
from ..bounds import FaultKind, Scene
from ..casting import Casting
from ..contents import Contents, Raised, ask
from ..histories import Kind, Node, advance
from ..moves import Moves
from ..outside import Happening, Outside
from ..promises import Promises
from ..reductions import NONE
from ..shop import AnyFlow, Shop
from ..story import HANDLER_FAILED, LOST, NO_ANSWER, How, Step
from ..turns import AWAITED, ending, outcome
from . import touches
from .dpor import DIRECTOR, Choice, Process, Taken
from .touches import Touch

Then = Literal["goes on", "begins again", "dies", "all die"]


@attrs.frozen
class Way:
    """How a flow goes on: what becomes of its effect, and of itself afterwards."""

    how: How = "done"
    then: Then = "goes on"


DONE = Way()
LASTING = (Commit, Exchange, RunHandler)


class Watching(Contents):
    """What the store holds now, by number, for whoever looks from outside."""

    def __init__(self, store: Store) -> None:
        super().__init__(_Standing(store), alike=False)

    def look(self) -> int:
        """The number of what the store holds."""
        return self._number()


class _Standing:
    """A store that only ever is where it is."""

    def __init__(self, store: Any) -> None:
        self.load, self.commit = store.load, store.commit
        self.due, self.recent, self.reader = store.due, store.recent, store.reader

    def snapshot(self) -> None:
        return None

    def restore(self, snapshot: None) -> None: ...


class Stage:
    """What all executions of one scene have in common.

    Args:
        open_store: opens the store once more, as another process would. One that has a `close` is
            closed when its flow dies, and must be nobody else's.
        reset: empties the store; what was opened before goes on to work.
        flows_max: so many flows begin in one execution, and no more.
    """

    def __init__(
        self,
        shop: Shop,
        scene: Scene,
        open_store: Callable[[], Store],
        reset: Callable[[], object],
        promises: Promises,
        *,
        flows_max: int,
    ) -> None:
        self.shop, self.scene, self.flows_max = shop, scene, flows_max
        self._open, self._idle, self.reset = open_store, list[Store](), reset
        reset()
        self.store: Any = open_store()
        self.first = Outside(tells_creation=scene.tells_creation)
        self.watching = Watching(self.store)
        self.moves = Moves(shop, scene, self.watching, self.first, NONE, promises=promises)
        self.choice = touches.of_choice(scene)
        pressed = world.happened(self.first, ("pressed",))
        self.click = Casting(shop).kind("click", None, pressed)
        self.fired: set[FaultKind] = set()
        self.resumptions = 0
        self.store_calls = 0

    def opened(self) -> Any:
        """A store for one flow."""
        return self._idle.pop() if self._idle else self._open()

    def ended(self, store: Any) -> None:
        """The flow that had this store has ended."""
        self._idle.append(store)

    def died(self, store: Any) -> None:
        """The flow that had this store has died, and its connection with it."""
        getattr(store, "close", lambda: None)()

    def close(self) -> None:
        """Let go of all stores."""
        for store in (*self._idle, self.store):
            self.died(store)
        self._idle.clear()


@attrs.define(eq=False)
class Task:
    """A live flow.

    Args:
        root: by which the scene knows of what kind it is.
        token: its past, by a number that no other has.
    """

    kind: Kind
    root: int
    flow: AnyFlow
    node: Node
    store: Any
    token: int


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

    # --- what the search asks ----------------------------------------------------------------

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
            limited: no more flows than the bound says, and no time for nobody.
        """
        crew = tuple(sorted(task.root for task in self._tasks.values()))
        full = limited and self._flows >= self._stage.flows_max
        for way in self._stage.moves.of_rest(self.situation, crew, self.budget):
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
        touch = self._stage.choice | touches.of_happening(step)
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
        node, flow = Node(kind, None, None, self.outside.now_ms), kind.make()
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
        op, budget = task.node.op, self.budget
        yield DONE
        if op is None:
            if task.kind.group == "webhook" and self._may_begin_again():
                yield Way(then="begins again")
            if budget and self._allows("death"):
                yield Way(then="all die")
            return
        fails = budget and self._allows(_fault_of(op))
        hows: list[How] = ["done"]
        if fails:
            yield Way("not applied")
        if fails and isinstance(op, Commit | Exchange):
            yield Way("applied")
            if budget > 1:
                hows.append("applied")
        if budget and isinstance(op, LASTING) and self._allows("death"):
            yield from (Way(how, then) for how in hows for then in ("dies", "all die"))

    def _may_begin_again(self) -> bool:
        return self._scene.parties["webhook"] > 1 and self._flows < self._stage.flows_max

    def _goes_on(self, process: Process, task: Task, way: Way) -> Taken | None:
        if task.node.op is None:
            return self._ends(process, task, way)
        touch, lasts = self._performs(task, way.how)
        if not lasts and (way.then != "goes on" or way.how == "applied"):
            return None
        if task.node.clock:
            touch |= touches.SEES_CLOCK
        if way.then != "goes on":
            return self._dies(process, task, way.then, touch)
        if task.node.op is None and task.kind.group not in AWAITED:
            end = self._ends(process, task, DONE)
            assert end is not None
            touch |= end.touch
        nothing_lasts = way.how == "done" and not lasts
        return Taken(touch, unlike=_UNLASTING if nothing_lasts else frozenset())

    def _performs(self, task: Task, how: How) -> tuple[Touch, bool]:
        """The effect is performed: what that touches, and whether it changes anything for good."""
        node, before = task.node, self.outside
        op = node.op
        aliases: frozenset[str] = frozenset()
        if isinstance(op, Commit):
            key, new = op.change.record.key, op.change.record.aliases
            aliases = self._aliases.get(key, frozenset())
            self._aliases[key] = aliases | new
        answer, stored = self._answered(task.store, op, how)
        token = next(self._tokens)
        step = Step(
            what="does",
            kind=task.kind,
            before=task.token,
            after=token,
            op=op,
            answer=answer,
            how=how,
            fault=_fault_of(op) if how != "done" else None,
        )
        self._tells(step)
        task.token = token
        self._resumed(task, Node(task.kind, None, answer, self.outside.now_ms, named=node.named))
        return touches.of_effect(op, how, aliases), stored or self.outside != before

    def _answered(self, store: Any, op: Any, how: How) -> tuple[Any, bool]:
        """What an effect is answered after it did what it does, and whether it stored something."""
        if isinstance(op, Exchange):
            response, after = world.answer(self.outside, op.request)
            if how != "not applied":
                self.outside = after
            return response if how == "done" else NoAnswer(NO_ANSWER), False
        if isinstance(op, RunHandler):
            return self._ran(op, how), False
        lost = Raised(StoreUnavailable(LOST))
        if how == "not applied":
            return lost, False
        self._stage.store_calls += 1
        answer = ask(store, op)
        return answer if how == "done" else lost, isinstance(op, Commit) and answer is True

    def _ran(self, op: RunHandler, how: How) -> Ran:
        if how != "done":
            return Ran("failed", HANDLER_FAILED)
        ran = self._shop.ran(op)
        if ran.outcome == "done":
            self._happens(("called", op.name, op.payment.idempotency_key))
        return ran

    def _resumed(self, task: Task, node: Node) -> None:
        self._stage.resumptions += 1
        advance(node, task.flow)
        task.node = node

    def _ends(self, process: Process, task: Task, way: Way) -> Taken | None:
        happens = tuple(ending(task.node))
        told = any(happening[0] == "told" for happening in happens)
        if (way.then == "begins again" and not told) or (way.then == "all die" and not happens):
            return None
        end = outcome(task.node.result)
        step = Step(what="ends", kind=task.kind, before=task.token, answer=end, note=f"{end}")
        touch = touches.of_end(lasts=bool(happens))
        again = (process, "again") if way.then == "begins again" else None
        if again is not None:
            self._starts(again, task.kind, task.root)
            touch |= touches.SEES_CLOCK
        for happening in happens:
            self._happens(happening)
        self._tells(step)
        del self._tasks[process]
        self._stage.ended(task.store)
        if way.then == "all die":
            touch |= self._all_die()
        unlike = {Way(then="begins again")} if not told else set[Way]()
        unlike |= {Way(then="all die")} if not happens else set[Way]()
        return Taken(touch, started=again, unlike=frozenset(unlike))

    # --- the end of flows --------------------------------------------------------------------

    def _dies(self, process: Process, task: Task, then: Then, touch: Touch) -> Taken:
        if then == "all die":
            return Taken(touch | self._all_die())
        note = f"{task.kind.name} dies"
        self._tells(Step(what="dies", kind=task.kind, before=task.token, note=note, fault="death"))
        del self._tasks[process]
        self._stage.died(task.store)
        return Taken(touch | touches.ENDS)

    def _all_die(self) -> Touch:
        self._tells(Step(what="dies", note="the whole process dies", fault="death"))
        for task in self._tasks.values():
            self._stage.died(task.store)
        self._tasks.clear()
        return touches.ALL_DIE

    def abandon(self) -> None:
        """The execution goes no further; connections that rest may be used again."""
        for task in self._tasks.values():
            self._stage.ended(task.store)
        self._tasks.clear()

    # --- what happens ------------------------------------------------------------------------

    def _happens(self, happening: Happening) -> None:
        self.outside = world.happened(self.outside, happening)

    def _tells(self, step: Step) -> None:
        self.story.append(step)
        self._pays(step.fault)

    def _pays(self, fault: FaultKind | None) -> None:
        if fault is not None:
            self._stage.fired.add(fault)
            self.faults += 1
            self.budget -= 1

    def _allows(self, fault: FaultKind) -> bool:
        return fault in self._scene.faults


# What an effect that changed nothing for good leaves no room for.
_UNLASTING = frozenset(
    {
        Way("applied"),
        *(Way(how, then) for how in ("done", "applied") for then in ("dies", "all die")),
    }
)


def _fault_of(op: Any) -> FaultKind:
    if isinstance(op, Exchange):
        return "silence"
    return "handler" if isinstance(op, RunHandler) else "store"
