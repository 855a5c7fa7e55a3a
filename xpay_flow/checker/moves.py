"""What can happen next in one scene? To the world, by those at work, and by those who may begin.

This is the engine's model of a scene. A situation is a pair of the store's contents and the world
outside, by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from xpay_flow import messages as m
from xpay_flow.effects import Exchange
from xpay_flow.ports import NoAnswer
from xpay_flow.records import Work

from . import outside as world
from .bounds import FaultKind, Group, Scene
from .casting import Casting
from .contents import Contents
from .engine import Crew, Way
from .histories import Histories, Kind, Node
from .judging import Judge
from .outside import Happening, News, Outside, XIntent
from .promises import Promises, Wrong
from .properties import View
from .reductions import ALL, Reductions
from .shop import Shop
from .story import NO_ANSWER, How, Step, What
from .turns import Turn, Turns

HOUR_MS = 3_600_000
# What may be wrong with a webhook that reaches the shop, each at the price of one fault.
FLAWS = ("forged", "wrong amount", "wrong currency", "foreign", "unknown type", "other content")
HANG: FaultKind = "hang"
# The other may be one of these, and has taken a number then.
NUMBERED = ("click", "forward")
# Of which parties those at work are, in order.
Groups = tuple[str, ...]
WAITING: dict[Group, Work] = {"worker": "deliver", "reconciler": "ask"}


@attrs.frozen
class _Start:
    """A task that may begin: what that does to the world, and at which fault's price."""

    kind: Kind
    happens: tuple[Happening, ...] = ()
    fault: FaultKind | None = None

    @property
    def cost(self) -> int:
        return int(self.fault is not None)

    def step(self, node: int) -> Step:
        return Step(
            what="starts", kind=self.kind, after=node, fault=self.fault, happens=self.happens
        )


class Worlds:
    """Every world outside that a search has met, by number."""

    def __init__(self) -> None:
        self._outsides: list[Outside] = []
        self._numbers: dict[Outside, int] = {}
        self._after: dict[tuple[int, Happening], int] = {}

    def __getitem__(self, number: int) -> Outside:
        return self._outsides[number]

    def number(self, outside: Outside) -> int:
        """The number of a world; equal worlds have one."""
        number = self._numbers.setdefault(outside, len(self._outsides))
        if number == len(self._outsides):
            self._outsides.append(outside)
        return number

    def after(self, number: int, happening: Happening) -> int:
        """The number of the world after one thing more."""
        found = self._after.get((number, happening))
        if found is None:
            outside = world.happened(self._outsides[number], happening)
            found = self._after[number, happening] = self.number(outside)
        return found


class Moves:
    """All moves of one scene.

    Args:
        opening: the world as it is before anything happens.
        promises: what must hold; None looks at nothing.
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
    ) -> None:
        self._scene, self._contents, self._reductions = scene, contents, reductions
        self.at_once = scene.at_once
        oversight = shop.oversight() if shop.own_parties else None
        self.histories = Histories(merging=reductions.rests, oversight=oversight)
        whole = reductions.turns
        self._turns = Turns(shop, scene, contents, self.histories, whole=whole)
        self._casting = Casting(shop)
        self.fired: set[FaultKind] = set()
        self.judge = Judge(shop, promises, contents) if promises else None
        self._worlds = Worlds()
        # Situations, by number: contents and the world, by theirs.
        self.contents_of: list[int] = []
        self._worlds_of: list[int] = []
        self._situations: dict[tuple[int, int], int] = {}
        self._first_quiet: dict[tuple[Any, int], int] = {}
        self._settled: dict[int, int] = {}
        # Ways on, with the number of faults for which they were worked out.
        self._task_ways: dict[tuple[int, int], tuple[int, tuple[Way, ...]]] = {}
        self._rest_ways: dict[tuple[int, Groups], tuple[int, tuple[Way, ...]]] = {}
        self._overtaken: dict[tuple[int, int, int], tuple[Way, ...]] = {}
        self._starts_before: dict[tuple[int, int, Groups], tuple[int, tuple[Way, ...]]] = {}
        self._crew_groups: dict[Crew, Groups] = {}
        self._changes: dict[tuple[int, int], Wrong | None] = {}
        self._starts: dict[int, tuple[_Start, ...]] = {}
        self.opening: tuple[int, Crew] = (self.at(contents.first, opening), ())

    def at(self, content: int, outside: Outside) -> int:
        """The number of the situation with these contents and this world."""
        return self.number(content, self._worlds.number(outside))

    def number(self, content: int, world: int) -> int:
        """The number of a situation."""
        key = (content, world)
        number = self._situations.get(key)
        if number is None:
            number = self._situations[key] = len(self.contents_of)
            self.contents_of.append(content)
            self._worlds_of.append(world)
        return number

    def situation(self, number: int) -> tuple[int, Outside]:
        """The contents and the world of a situation."""
        return self.contents_of[number], self._worlds[self._worlds_of[number]]

    def after(self, situation: int, happens: Iterable[Happening], content: int) -> int:
        """The situation after something happened, with these contents."""
        number = self._worlds_of[situation]
        for happening in happens:
            number = self._worlds.after(number, happening)
        return self.number(content, number)

    def allows(self, fault: FaultKind) -> bool:
        return fault in self._scene.faults

    # --- what the engine asks ----------------------------------------------------------------

    def of_task(self, situation: int, task: int, budget: int) -> tuple[Way, ...]:
        """What one task can do."""
        found = self._task_ways.get((situation, task))
        if found is None or found[0] < budget:
            ways = tuple(self._task(situation, task, budget))
            found = self._task_ways[situation, task] = (budget, ways)
        return found[1]

    def of_rest(self, situation: int, crew: Crew, budget: int) -> tuple[Way, ...]:
        """What the world can do, and who may begin."""
        key = (situation, self._groups(crew))
        found = self._rest_ways.get(key)
        if found is None or found[0] < budget:
            found = self._rest_ways[key] = (budget, tuple(self._rest(*key, budget)))
        return found[1]

    def changes(self, before: int, after: int) -> bool:
        """A task that has read before this step could have read something else."""
        return self._reductions.turns and self.contents_of[before] != self.contents_of[after]

    def overtaken(self, before: int, after: int, task: int) -> tuple[Way, ...]:
        """How a waiting task goes on that had read before this step of another's."""
        key = (before, after, task)
        found = self._overtaken.get(key)
        if found is None:
            turns = self._late(before, after, task)
            ways = (self._way(after, turn, late=True) for turn in turns)
            found = self._overtaken[key] = tuple(ways)
        return found

    def overtaken_starts(self, before: int, after: int, crew: Crew, budget: int) -> tuple[Way, ...]:
        """The same for tasks that had begun just before this step."""
        key = (before, after, self._groups(crew))
        found = self._starts_before.get(key)
        if found is None or found[0] < budget:
            ways = self._started_before(before, after, key[2], budget)
            found = self._starts_before[key] = (budget, tuple(ways))
        return found[1]

    def settled(self, situation: int) -> int:
        """The first situation that is like this one while no flow runs."""
        if not self._reductions.quiet:
            return situation
        found = self._settled.get(situation)
        if found is None:
            content, outside = self.situation(situation)
            alike = self._contents.quiet(content, outside.now_ms)
            timeless = self._worlds.after(self._worlds_of[situation], ("at", world.START_MS))
            key = (alike, timeless)
            found = self._settled[situation] = self._first_quiet.setdefault(key, situation)
        return found

    def wrong(self, situation: int, faults: int) -> Wrong | None:
        """The first promise that is broken."""
        if self.judge is None:
            return None
        return self.judge.wrong(situation, *self.situation(situation), faults)

    def wrong_change(self, before: int, after: int) -> Wrong | None:
        """The first promise upon changes that a step breaks."""
        assert self.judge is not None
        key = (before, after)
        if key not in self._changes:
            views = (
                self.judge.view(*self.situation(before)),
                self.judge.view(*self.situation(after)),
            )
            checks = self.judge.promises.of_changes.items()
            said = ((name, check(*views)) for name, check in checks)
            self._changes[key] = next(((name, text) for name, text in said if text), None)
        return self._changes[key]

    def judges_changes(self) -> bool:
        return self.judge is not None and bool(self.judge.promises.of_changes)

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

    def _ways(self, situation: int, turn: Turn, *early: Step) -> Iterator[Way]:
        """A turn, and the same with the death of the whole process right after its change."""
        way = self._way(situation, turn, *early)
        yield way
        if turn.changed and self.allows("death"):
            died = Step(what="dies", note="the whole process dies", fault="death")
            if turn.died:
                # One death, of all.
                steps = (*way.label[:-1], died)
                yield Way(way.situation, way.cost, None, steps)
            else:
                yield Way(way.situation, way.cost + 1, None, (*way.label, died))

    def _way(self, situation: int, turn: Turn, *early: Step, late: bool = False) -> Way:
        cost = turn.cost
        for step in early:
            cost += step.fault is not None
        if cost:
            self.fired.update(step.fault for step in early + turn.steps if step.fault)
        label: Any = (turn.early, turn.steps) if late else early + turn.steps
        return Way(self.after(situation, turn.happens, turn.content), cost, turn.joined, label)

    def _exchanged(self, situation: int, node: Node, op: Exchange, budget: int) -> Iterator[Way]:
        content, outside = self.situation(situation)
        response, after = world.answer(outside, op.request)
        told = (response.status, response.body)
        did = self.number(content, self._worlds.number(after))
        yield from self._answered(did, node, budget, told, response, changed=did != situation)
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
        return self._turns.overtaken(content, self.contents_of[after], task, outside.now_ms)

    # --- everything else ---------------------------------------------------------------------

    def _rest(self, situation: int, groups: Groups, budget: int) -> Iterator[Way]:
        content, outside = self.situation(situation)
        yield from self._world(situation)
        yield from self._time(situation, hangs=bool(groups))
        for start in self._may_begin(situation, groups, budget):
            begun = self.after(situation, start.happens, content)
            node = self._turns.rest(self.histories.start(start.kind, outside.now_ms))
            step = start.step(node)
            at = (content, node, outside.now_ms, budget - start.cost)
            turns = self._turns.of(*at) if self._reductions.turns else ()
            for turn in turns:
                yield from self._ways(begun, turn, step)
            if not turns:
                # It waits for xPay, or each of its steps is a turn.
                yield Way(begun, start.cost, (node,), (step,))

    def _started_before(
        self, before: int, after: int, groups: Groups, budget: int
    ) -> Iterator[Way]:
        now_ms = self.situation(before)[1].now_ms
        for start in self._early_starts(before, after, groups, budget):
            node = self._turns.rest(self.histories.start(start.kind, now_ms))
            begun = self.after(after, start.happens, self.contents_of[after])
            for turn in self._late(before, begun, node):
                way = self._way(begun, turn, late=True)
                early, steps = way.label
                label = ((start.step(node), *early), steps)
                yield Way(way.situation, way.cost + start.cost, way.joined, label)

    def _early_starts(
        self, before: int, after: int, groups: Groups, budget: int
    ) -> Iterator[_Start]:
        """Who may have begun before a step: as it was then, but for those that are numbered."""
        for situation, numbered in ((before, False), (after, True)):
            for start in self._may_begin(situation, groups, budget):
                if (start.kind.group in NUMBERED) == numbered:
                    yield start

    def _groups(self, crew: Crew) -> Groups:
        """Of which parties a crew is; that alone tells who may join."""
        found = self._crew_groups.get(crew)
        if found is None:
            nodes = self.histories.nodes
            groups = sorted(nodes[task].kind.group for task in crew if task >= 0)
            found = self._crew_groups[crew] = tuple(groups) + ("",) * crew.count(-1)
        return found

    def _may_begin(self, situation: int, groups: Groups, budget: int) -> Iterator[_Start]:
        if len(groups) >= self._scene.at_once:
            return
        starts = self._starts.get(situation)
        if starts is None:
            starts = self._starts[situation] = tuple(self._beginnings(situation))
        for start in starts:
            group = start.kind.group
            if start.cost <= budget and groups.count(group) < self._scene.parties[group]:
                yield start

    def _beginnings(self, situation: int) -> Iterator[_Start]:
        """Which tasks may begin, were there room for them."""
        content, outside = self.situation(situation)
        parties = self._scene.parties
        if "click" in parties and outside.clicks < self._scene.clicks:
            pressed = world.happened(outside, ("pressed",))
            yield _Start(self._casting.kind("click", None, pressed), (("pressed",),))
        for intent in outside.intents if "forward" in parties and not outside.forwards else ():
            if intent.reachable:
                # The shop sends the customer there itself; once is enough.
                kind = self._casting.kind("forward", intent.number, outside)
                yield _Start(kind, (("forwarded",),))
        if "webhook" in parties:
            yield from self._deliveries(outside)
        for group, work in WAITING.items():
            times = [record.due_at_ms(work) for record in self._contents.records[content]]
            if group in parties and any(
                at_ms is not None and at_ms <= outside.now_ms for at_ms in times
            ):
                yield _Start(self._casting.kind(group, None, outside))

    def _deliveries(self, outside: Outside) -> Iterator[_Start]:
        for news, delivery in outside.news:
            kind = self._casting.kind("webhook", news, outside)
            if delivery == "owed":
                yield _Start(kind)
            elif delivery == "acknowledged" and self.allows("repeat"):
                yield _Start(kind, fault="repeat")
        for intent in outside.intents:
            for flaw in FLAWS:
                fault: FaultKind = "forgery" if flaw == "forged" else "flaw"
                if not self.allows(fault) or (flaw == "other content" and not intent.paid):
                    continue
                news = News(m.INTENT_SUCCESS, intent.number, 1, flaw)
                yield _Start(self._casting.kind("webhook", news, outside), fault=fault)

    def _world(self, situation: int) -> Iterator[Way]:
        """What xPay and the customer can do."""
        content, outside = self.situation(situation)
        for intent in outside.intents:
            for what, note, word, *about in self._about(intent):
                yield self._happens(situation, what, note, (word, intent.number, *about))
        if self._scene.rotates and not outside.key:
            yield self._happens(situation, "xpay", "xPay signs with the next key", ("rotated",))
        for news, delivery in outside.news:
            if delivery == "owed" and self.allows("loss") and self._still_asked(content):
                note = f"xPay gives up delivering {news}"
                yield self._happens(situation, "xpay", note, ("told", news, "dropped"), "loss")

    def _about(self, intent: XIntent) -> Iterator[tuple[Any, ...]]:
        """What can become of an intent at xPay."""
        scene = self._scene
        if intent.reachable and not intent.paid:
            if intent.failures < scene.failures:
                yield "customer", "a charge fails", "charged", False
            # A charge under way when the intent is cancelled can still work.
            yield "customer", "the customer pays", "charged", True
            if scene.cancels and not intent.cancelled:
                yield "xpay", "the intent is cancelled at xPay", "cancelled"
        if intent.paid and intent.refunds < min(scene.refunds, 2):
            part = intent.refunds + 1 if scene.refunds > 1 else 3
            yield "xpay", ("a half", "the rest", "all")[part - 1] + " is refunded", "refunded", part
        if intent.paid and scene.disputes and not intent.disputed:
            yield "customer", "the customer disputes the payment", "disputed"

    def _still_asked(self, content: int) -> bool:
        """No question was put to xPay yet: a loss after the last one is noticed by nobody."""
        records = self._contents.records[content]
        return all(r.asks == 0 and r.ask_at_ms is not None for r in records if r.intent)

    def _time(self, situation: int, *, hangs: bool) -> Iterator[Way]:
        """Time passes until everything is due. While flows run this is a fault: deadlines are far
        longer than any flow takes."""
        content, outside = self.situation(situation)
        if self.allows("clock") and outside.now_ms > world.START_MS:
            back = ("later", -HOUR_MS)
            yield self._happens(situation, "time", "the clock is set back an hour", back, "clock")
        due_ms = self._contents.all_due_ms(content, outside.now_ms)
        if due_ms is None or not self._scene.has_time or (hangs and not self.allows("hang")):
            return
        # To the hour, so that the same few moments come up again and again.
        ms = -(-(due_ms - world.START_MS) // HOUR_MS) * HOUR_MS + world.START_MS - outside.now_ms
        note, fault = f"{ms // 1000} seconds pass", HANG if hangs else None
        yield self._happens(situation, "time", note, ("later", ms), fault)

    def _happens(
        self,
        situation: int,
        what: What,
        note: str,
        happening: Happening,
        fault: FaultKind | None = None,
    ) -> Way:
        if fault is not None:
            self.fired.add(fault)
        after = self.after(situation, (happening,), self.contents_of[situation])
        step = Step(what=what, note=note, fault=fault, happens=(happening,))
        return Way(after, int(fault is not None), (), (step,))
