"""Which tasks may begin? Those with a reason and room."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from xpay_flow import messages as m
from xpay_flow.records import Work

from . import outside as world
from .bounds import FaultKind, Group, Scene
from .casting import ORDERS, Casting
from .contents import Contents
from .histories import Kind
from .outside import Happening, Outside, XEvent
from .shop import Shop
from .situations import Situations
from .story import Step

# Each of these has a number, and another may just have taken one.
NUMBERED = ("click", "send_to_checkout")
# Of which parties those at work are, in order.
Groups = tuple[str, ...]
WAITING: dict[Group, Work] = {"worker": "deliver", "reconciler": "reconcile"}


@attrs.frozen
class Start:
    """A task that may begin: what that does to the world, and at which fault's price."""

    kind: Kind
    happens: tuple[Happening, ...] = ()
    fault: FaultKind | None = None
    _steps: dict[int, Step] = attrs.field(init=False, factory=dict[int, Step], eq=False, repr=False)

    @property
    def cost(self) -> int:
        """Its price in faults."""
        return int(self.fault is not None)

    def step(self, node: int) -> Step:
        """The step of a story in which it begins."""
        step = self._steps.get(node)
        if step is None:
            happens, fault = self.happens, self.fault
            step = Step(what="starts", kind=self.kind, after=node, fault=fault, happens=happens)
            self._steps[node] = step
        return step


class Beginnings:
    """Who may begin in one scene."""

    def __init__(self, shop: Shop, scene: Scene, stored: Contents, situations: Situations) -> None:
        self._scene, self._stored, self._situations = scene, stored, situations
        self._casting = Casting(shop)
        self._starts: dict[int, tuple[Start, ...]] = {}
        self._known: dict[Start, Start] = {}

    def now(self, situation: int, groups: Groups, budget: int) -> Iterator[Start]:
        """Who may begin beside these, with up to so many faults."""
        if len(groups) >= self._scene.at_once:
            return
        starts = self._starts.get(situation)
        if starts is None:
            # The same starts come up in very many situations.
            begins = self._beginnings(situation)
            starts = tuple(self._known.setdefault(start, start) for start in begins)
            self._starts[situation] = starts
        for start in starts:
            group = start.kind.group
            # While flows run, a flawed event would be the same as before them.
            is_idle = not groups or start.fault != "flaw"
            room = groups.count(group) < self._scene.parties[group]
            if is_idle and room and start.cost <= budget:
                yield start

    def _beginnings(self, situation: int) -> Iterator[Start]:
        """Which tasks may begin, were there room for them."""
        content, outside = self._situations[situation]
        parties = self._scene.parties
        if "click" in parties and outside.clicks < self._scene.clicks:
            pressed = world.happened(outside, ("pressed",))
            for order in ORDERS if self._scene.changes else (None,):
                yield Start(self._casting.kind("click", order, pressed), (("pressed",),))
        for intent in (
            outside.intents if "send_to_checkout" in parties and not outside.forwards else ()
        ):
            if intent.reachable:
                # The shop sends the customer there itself; once is enough.
                kind = self._casting.kind("send_to_checkout", intent.number, outside)
                yield Start(kind, (("sent_to_checkout",),))
        if "webhook" in parties:
            yield from self._deliveries(outside)
        for group, work in WAITING.items():
            records = self._stored.records[content]
            if group in parties and any(r.is_due(work, outside.now_ms) for r in records):
                yield Start(self._casting.kind(group, None, outside))

    def _deliveries(self, outside: Outside) -> Iterator[Start]:
        for event, delivery in outside.events:
            kind = self._casting.kind("webhook", event, outside)
            if delivery == "pending":
                yield Start(kind)
            elif delivery == "acknowledged" and "repeat" in self._scene.faults:
                yield Start(kind, fault="repeat")
        for intent in outside.intents if "forgery" in self._scene.faults else ():
            # Forgers do as they like, and no delivery of theirs is pending.
            event = XEvent(m.INTENT_SUCCESS, intent.number, 1, "forged")
            yield Start(self._casting.kind("webhook", event, outside), fault="forgery")
        for event in world.flawed(outside) if "flaw" in self._scene.faults else ():
            happens = (("delivery", event, "pending"),)
            yield Start(self._casting.kind("webhook", event, outside), happens, fault="flaw")

    def early(self, before: int, after: int, groups: Groups, budget: int) -> Iterator[Start]:
        """Who may have begun before a step: as it was then, but for those that are numbered."""
        for situation, numbered in ((before, False), (after, True)):
            for start in self.now(situation, groups, budget):
                if (start.kind.group in NUMBERED) == numbered:
                    yield start
