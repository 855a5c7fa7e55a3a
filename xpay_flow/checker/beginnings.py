"""Which tasks may begin? Those for which there is a reason, and room."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from xpay_flow import messages as m
from xpay_flow.records import Work

from . import outside as world
from .bounds import FaultKind, Group, Scene
from .casting import Casting
from .contents import Contents
from .histories import Kind
from .outside import Happening, News, Outside
from .shop import Shop
from .situations import Situations
from .story import Step

# What may be wrong with a webhook that reaches the shop, each at the price of one fault.
FLAWS = ("forged", "wrong amount", "wrong currency", "foreign", "unknown type", "other content")
# Each of these has a number, and another may just have taken one.
NUMBERED = ("click", "forward")
# Of which parties those at work are, in order.
Groups = tuple[str, ...]
WAITING: dict[Group, Work] = {"worker": "deliver", "reconciler": "ask"}


@attrs.frozen
class Start:
    """A task that may begin: what that does to the world, and at which fault's price."""

    kind: Kind
    happens: tuple[Happening, ...] = ()
    fault: FaultKind | None = None

    @property
    def cost(self) -> int:
        """Its price in faults."""
        return int(self.fault is not None)

    def step(self, node: int) -> Step:
        """The step of a story in which it begins."""
        return Step(
            what="starts", kind=self.kind, after=node, fault=self.fault, happens=self.happens
        )


class Beginnings:
    """Who may begin in one scene."""

    def __init__(self, shop: Shop, scene: Scene, stored: Contents, situations: Situations) -> None:
        self._scene, self._stored, self._situations = scene, stored, situations
        self._casting = Casting(shop)
        self._starts: dict[int, tuple[Start, ...]] = {}

    def now(self, situation: int, groups: Groups, budget: int) -> Iterator[Start]:
        """Who may begin beside these, with up to so many faults."""
        if len(groups) >= self._scene.at_once:
            return
        starts = self._starts.get(situation)
        if starts is None:
            starts = self._starts[situation] = tuple(self._beginnings(situation))
        for start in starts:
            group = start.kind.group
            if start.cost <= budget and groups.count(group) < self._scene.parties[group]:
                yield start

    def _beginnings(self, situation: int) -> Iterator[Start]:
        """Which tasks may begin, were there room for them."""
        content, outside = self._situations[situation]
        parties = self._scene.parties
        if "click" in parties and outside.clicks < self._scene.clicks:
            pressed = world.happened(outside, ("pressed",))
            yield Start(self._casting.kind("click", None, pressed), (("pressed",),))
        for intent in outside.intents if "forward" in parties and not outside.forwards else ():
            if intent.reachable:
                # The shop sends the customer there itself; once is enough.
                kind = self._casting.kind("forward", intent.number, outside)
                yield Start(kind, (("forwarded",),))
        if "webhook" in parties:
            yield from self._deliveries(outside)
        for group, work in WAITING.items():
            times = [record.due_at_ms(work) for record in self._stored.records[content]]
            if group in parties and any(
                at_ms is not None and at_ms <= outside.now_ms for at_ms in times
            ):
                yield Start(self._casting.kind(group, None, outside))

    def _deliveries(self, outside: Outside) -> Iterator[Start]:
        for news, delivery in outside.news:
            kind = self._casting.kind("webhook", news, outside)
            if delivery == "owed":
                yield Start(kind)
            elif delivery == "acknowledged" and "repeat" in self._scene.faults:
                yield Start(kind, fault="repeat")
        for intent in outside.intents:
            for flaw in FLAWS:
                fault: FaultKind = "forgery" if flaw == "forged" else "flaw"
                if fault not in self._scene.faults or (flaw == "other content" and not intent.paid):
                    continue
                news = News(m.INTENT_SUCCESS, intent.number, 1, flaw)
                if any(news == known for known, _ in outside.news):
                    continue
                # What is authentic is sent until it is acknowledged; forgers do as they like.
                owed = () if flaw == "forged" else (("told", news, "owed"),)
                yield Start(self._casting.kind("webhook", news, outside), owed, fault)

    def early(self, before: int, after: int, groups: Groups, budget: int) -> Iterator[Start]:
        """Who may have begun before a step: as it was then, but for those that are numbered."""
        for situation, numbered in ((before, False), (after, True)):
            for start in self.now(situation, groups, budget):
                if (start.kind.group in NUMBERED) == numbered:
                    yield start
