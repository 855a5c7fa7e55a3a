"""What can happen next in one scene? In the world, by those at work, and by those who may begin.

This is the engine's model of a scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from xpay_flow.effects import Exchange
from xpay_flow.ports import NoAnswer

from . import outside as world
from .beginnings import Beginnings, Groups, Start
from .bounds import FaultKind, Scene, passages_max
from .contents import Contents
from .engine import Crew, Way
from .histories import Histories, Node
from .judging import Judge
from .outside import Outside
from .promises import LooksFurther, Promises, Wrong
from .properties import View
from .reductions import ALL, Reductions
from .shared_state import SharedState
from .shop import Shop
from .situations import Situations
from .story import NO_ANSWER, How, Step
from .turns import Turn, Turns
from .world_moves import WorldMoves

ALL_DIE = Step(what="dies", note="the whole process dies", fault="death")


class Moves:
    """All moves of one scene.

    Args:
        opening: the world as it is before anything happens.
        reductions: those that are permitted here.
        promises: what must hold; None looks at nothing.
        faults: the most that can happen at all.
    """

    def __init__(
        self,
        shop: Shop,
        scene: Scene,
        contents: Contents,
        opening: Outside,
        reductions: Reductions = ALL,
        *,
        promises: Promises | None = None,
        faults: int = 0,
    ) -> None:
        self._scene, self._reductions = scene, reductions
        self.at_once = scene.at_once
        own = shop.own_parties
        shared = SharedState(own, shop.allows) if own else None
        self.histories = Histories(
            merging=reductions.rests,
            essence=reductions.essence,
            oversight=shop.oversight() if own else None,
            shared=shared,
        )
        self._ends_join = reductions.turns and reductions.ends
        # Where time may pass over a flow, that it has begun is a step of its own.
        self._begins_alone = not self._ends_join and "hang" in scene.faults
        self._turns = Turns(
            shop,
            scene,
            contents,
            self.histories,
            whole=reductions.turns,
            ends=reductions.ends,
            calls=reductions.calls,
            faults=faults,
            shared=shared,
        )
        quiet = reductions.quiet and reductions.essence
        self.situations = Situations(contents, quiet=quiet)
        self._beginnings = Beginnings(shop, scene, contents, self.situations)
        self._world = WorldMoves(
            scene,
            contents,
            self.situations,
            passages_max=passages_max(faults) if own else None,
        )
        self.fired: set[FaultKind] = set()
        self.judge = Judge(shop, promises, contents) if promises else None
        # Ways on, with the number of faults for which they were worked out.
        self._task_ways: dict[tuple[int, int], tuple[int, tuple[Way, ...]]] = {}
        self._rest_ways: dict[tuple[int, Groups], tuple[int, tuple[Way, ...]]] = {}
        self._stale_reads: dict[tuple[int, int, int], tuple[Way, ...]] = {}
        self._starts_before: dict[tuple[int, int, Groups], tuple[int, tuple[Way, ...]]] = {}
        self._crew_groups: dict[Crew, Groups] = {}
        self._changes: dict[tuple[int, int], Wrong | None] = {}
        self.opening: tuple[int, Crew] = (self.at(contents.first, opening), ())

    def at(self, content: int, outside: Outside) -> int:
        """The number of the situation with these contents and this world."""
        return self.situations.at(content, outside)

    def situation(self, number: int) -> tuple[int, Outside]:
        """The contents and the world of a situation."""
        return self.situations[number]

    def allows(self, fault: FaultKind) -> bool:
        return fault in self._scene.faults

    # --- what the engine calls ---------------------------------------------------------------

    def task_transitions(self, situation: int, task: int, budget: int) -> tuple[Way, ...]:
        """What one task can do."""
        found = self._task_ways.get((situation, task))
        if found is None or found[0] < budget:
            ways = _best(self._task(situation, task, budget), situation, (task,))
            found = self._task_ways[situation, task] = (budget, ways)
        return found[1]

    def rest_transitions(self, situation: int, crew: Crew, budget: int) -> tuple[Way, ...]:
        """What the world can do, and who may begin."""
        key = (situation, self._groups(crew))
        found = self._rest_ways.get(key)
        if found is None or found[0] < budget:
            ways = _best(self._rest(*key, budget), situation, ())
            found = self._rest_ways[key] = (budget, ways)
        return found[1]

    def changes(self, before: int, after: int) -> bool:
        """A task that has read before this step could have read something else."""
        contents = self.situations.contents
        if not self._reductions.turns:
            return False
        if contents[before] != contents[after]:
            return True
        return not self._ends_join and self._now_ms(before) != self._now_ms(after)

    def _now_ms(self, situation: int) -> int:
        return self.situation(situation)[1].now_ms

    def stale_read(self, before: int, after: int, task: int) -> tuple[Way, ...]:
        """How a waiting task goes on that had read before this step of another's."""
        key = (before, after, task)
        found = self._stale_reads.get(key)
        if found is None:
            turns = self._late(before, after, task)
            ways = (self._way(after, turn, late=True) for turn in turns)
            found = self._stale_reads[key] = tuple(ways)
        return found

    def stale_read_starts(
        self, before: int, after: int, crew: Crew, budget: int
    ) -> tuple[Way, ...]:
        """The same for tasks that had begun just before this step."""
        if self._begins_alone:
            return ()
        key = (before, after, self._groups(crew))
        found = self._starts_before.get(key)
        if found is None or found[0] < budget:
            ways = self._started_before(before, after, key[2], budget)
            found = self._starts_before[key] = (budget, tuple(ways))
        return found[1]

    def settled(self, situation: int) -> int:
        """The first situation that is like this one while no flow runs."""
        return self.situations.settled(situation)

    def wrong(self, situation: int, faults: int) -> Wrong | None:
        """The first promise that is broken.

        Raises:
            LooksFurther: a promise of the user's looks at more than the reductions are argued for.
        """
        if self.judge is None:
            return None
        wrong = self.judge.wrong(situation, *self.situation(situation), faults)
        if self._reductions.essence and self.judge.promises.looks:
            raise LooksFurther
        return wrong

    def wrong_change(self, before: int, after: int) -> Wrong | None:
        """The first promise about changes that a step breaks."""
        assert self.judge is not None
        key = (before, after)
        if key not in self._changes:
            views = (
                self.judge.view(*self.situation(before)),
                self.judge.view(*self.situation(after)),
            )
            checks = self.judge.promises.change_checks.items()
            found = ((name, check(*views)) for name, check in checks)
            self._changes[key] = next(((name, text) for name, text in found if text), None)
        return self._changes[key]

    def judges_changes(self) -> bool:
        return self.judge is not None and bool(self.judge.promises.change_checks)

    def view(self, situation: int) -> View:
        """What can be seen in a situation."""
        assert self.judge is not None
        return self.judge.view(*self.situation(situation))

    # --- a running task ----------------------------------------------------------------------

    def _task(self, situation: int, task: int, budget: int) -> Iterator[Way]:
        content, outside = self.situation(situation)
        node = self.histories.nodes[task]
        if isinstance(node.op, Exchange):
            yield from self._exchanged(situation, node, node.op, budget)
            return
        for turn in self._turns.of(content, task, outside.now_ms, budget):
            yield from self._ways(situation, turn)

    def _ways(
        self, situation: int, turn: Turn, *early: Step, mover: int = -1, alone: bool = False
    ) -> Iterator[Way]:
        """A turn, and the same with the death of the whole process right after its change.

        Args:
            mover: the task, if it has just begun.
            alone: no other flow would die.
        """
        way = self._way(situation, turn, *early, mover=mover)
        yield way
        if turn.changed and not alone and self.allows("death"):
            # One death, of all.
            steps, cost = (way.label[:-1], way.cost) if turn.died else (way.label, way.cost + 1)
            yield Way(way.situation, cost, None, (*steps, ALL_DIE))

    def _way(
        self, situation: int, turn: Turn, *early: Step, mover: int = -1, late: bool = False
    ) -> Way:
        cost = turn.cost
        for step in early:
            cost += step.fault is not None
        if cost:
            self.fired.update(step.fault for step in early + turn.steps if step.fault)
        label: Any = (turn.early, turn.steps) if late else early + turn.steps
        after = self.situations.after(situation, turn.happens, turn.content)
        joined = turn.joined
        if joined:
            joined = tuple(task for task in joined if not self._begins_anyway(task))
        return Way(after, cost, joined, label, mover)

    def _begins_anyway(self, task: int) -> bool:
        """A delivery that is back at its beginning: the same may begin at any time.

        Either its delivery is still pending at xPay, or our answer to another copy could have come
        too late. It needs promises to which it makes no difference whether an event is pending, or
        was acknowledged while another delivery of it is at work; and flows that come back only by
        a lost race, so that what was sent for the price of a fault is not sent for it again.
        """
        node = self.histories.nodes[task]
        back = node.parent is None and node.kind.group == "webhook"
        return back and self._reductions.anew

    def _exchanged(self, situation: int, node: Node, op: Exchange, budget: int) -> Iterator[Way]:
        content, outside = self.situation(situation)
        response, after = world.answer(outside, op.request)
        answer_key = (response.status, response.body)
        did = self.at(content, after)
        yield from self._answered(did, node, budget, answer_key, response, changed=did != situation)
        if not budget or not self.allows("silence"):
            return
        lost = (node, budget - 1, NO_ANSWER, NoAnswer(NO_ANSWER))
        yield from self._answered(situation, *lost, how="not applied")
        if did != situation:
            yield from self._answered(did, *lost, changed=True, how="applied")

    def _answered(
        self,
        situation: int,
        node: Node,
        budget: int,
        key: Any,
        answer: Any,
        *,
        changed: bool = False,
        how: How = "done",
    ) -> Iterator[Way]:
        content, outside = self.situation(situation)
        child = self.histories.step(node, key, answer, outside.now_ms)
        rest = self._turns.rest(child)
        step = Step(
            what="does",
            kind=node.kind,
            before=node.id,
            after=rest,
            op=node.op,
            answer=answer,
            how=how,
            fault="silence" if how != "done" else None,
        )
        at = (content, rest, outside.now_ms, budget)
        for turn in self._turns.answered(*at, changed=changed):
            yield from self._ways(situation, turn, step)

    def _late(self, before: int, after: int, task: int) -> tuple[Turn, ...]:
        node = self.histories.nodes[task]
        if isinstance(node.op, Exchange):
            return ()
        content, outside = self.situation(before)
        later, later_ms = self.situations.contents[after], self._now_ms(after)
        return self._turns.stale_read(content, later, task, outside.now_ms, later_ms)

    # --- everything else ---------------------------------------------------------------------

    def _rest(self, situation: int, groups: Groups, budget: int) -> Iterator[Way]:
        content, outside = self.situation(situation)
        for way in self._world.now(situation, busy=bool(groups)):
            self.fired.update(step.fault for step in way.label if step.fault)
            yield way
        for start in self._beginnings.now(situation, groups, budget):
            begun = self.situations.after(situation, start.happens, content)
            node = self._turns.rest(self.histories.start(start.kind, outside.now_ms))
            step = start.step(node)
            at = (content, node, outside.now_ms, budget - start.cost)
            turns = self._turns.of(*at) if self._begins_within(start) else ()
            for turn in turns:
                yield from self._ways(begun, turn, step, mover=node, alone=not groups)
            if not turns:
                # It waits for xPay, or each of its steps is a turn.
                yield Way(begun, start.cost, (node,), (step,))
        if not groups:
            # Last, so that a trace rather shows the end of the delivery.
            yield from self._world.flaws(situation)

    def _begins_within(self, start: Start) -> bool:
        """It begins with its first turn, since nothing shows that it has begun."""
        if self._ends_join:
            return True
        return self._reductions.turns and not self._begins_alone and not start.happens

    def _started_before(
        self, before: int, after: int, groups: Groups, budget: int
    ) -> Iterator[Way]:
        now_ms = self.situation(before)[1].now_ms
        for start in self._beginnings.early(before, after, groups, budget):
            if not self._begins_within(start):
                continue
            node = self._turns.rest(self.histories.start(start.kind, now_ms))
            turns = self._late(before, after, node)
            if not turns:
                continue
            begun = self.situations.after(after, start.happens, self.situations.contents[after])
            for turn in turns:
                way = self._way(begun, turn, late=True)
                early, steps = way.label
                label = ((start.step(node), *early), steps)
                yield Way(way.situation, way.cost + start.cost, way.joined, label, node)

    def _groups(self, crew: Crew) -> Groups:
        """Of which parties a crew is; that alone decides who may join."""
        found = self._crew_groups.get(crew)
        if found is None:
            nodes = self.histories.nodes
            groups = sorted(nodes[task].kind.group for task in crew if task >= 0)
            found = self._crew_groups[crew] = tuple(groups) + ("",) * crew.count(-1)
        return found


def _best(ways: Iterable[Way], situation: int, mover: Crew) -> tuple[Way, ...]:
    """The cheapest of the ways that lead to one place, the first of equals; none that stays.

    Args:
        situation, mover: where the ways begin, and whose they are.
    """
    best: dict[tuple[int, Crew | None, int], Way] = {}
    for way in ways:
        place = (way.situation, way.joined, way.mover)
        known = best.get(place)
        if (known is None or way.cost < known.cost) and place[:2] != (situation, mover):
            # Where it would have come, had the dearer one not been there.
            best.pop(place, None)
            best[place] = way
    return tuple(best.values())
