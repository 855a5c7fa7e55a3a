"""What can happen next? For the world, and for those that may begin; see `task_moves` for tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from xpay_flow import messages as m
from xpay_flow.effects import Due, Load
from xpay_flow.records import Work

from . import outside as world
from .bounds import FaultKind, Group, Scene
from .casting import Casting
from .contents import Contents
from .outside import News, Outside
from .shop import Shop
from .story import Step, What
from .task_moves import Move, TaskMoves, with_crash

HOUR_MS = 3_600_000
# What may be wrong with a webhook that reaches the shop, each at the price of one fault.
FLAWS = ("forged", "wrong amount", "wrong currency", "foreign", "unknown type", "other content")
WAITING: dict[Group, Work] = {"worker": "deliver", "reconciler": "ask"}


class Moves(TaskMoves):
    """All moves of one scene."""

    def __init__(self, shop: Shop, scene: Scene, contents: Contents, *, fused: bool) -> None:
        super().__init__(shop, scene, contents, fused=fused)
        self._casting = Casting(shop)

    def of_world(self, content: int, outside: int) -> tuple[Move, ...]:
        """What xPay and the customer can do."""
        return tuple(self._world(content, self.outsides[outside]))

    def _world(self, content: int, now: Outside) -> Iterator[Move]:
        for intent in now.intents:
            if not intent.reachable or intent.paid:
                continue
            if intent.failures < self._scene.failures:
                failed = world.charge(now, intent.number, works=False)
                yield self._happens(content, failed, "customer", "a charge fails")
            paid = world.charge(now, intent.number, works=True)
            yield self._happens(content, paid, "customer", "the customer pays")
        for news, delivery in now.news:
            if delivery == "owed" and self.allows("loss") and self._still_asked(content):
                note = f"xPay gives up delivering {news}"
                yield self._happens(content, now.told(news, "dropped"), "xpay", note, "loss")

    def _still_asked(self, content: int) -> bool:
        """No question was put to xPay yet: a loss after the last one is noticed by nobody."""
        records = self._contents.records[content]
        return all(r.asks == 0 and r.ask_at_ms is not None for r in records if r.intent)

    def time(self, content: int, outside: int, *, hangs: bool) -> Move | None:
        """Time passes until everything is due. While flows run this is a fault: deadlines are far
        longer than any flow takes."""
        now = self.outsides[outside]
        due_ms = self._contents.all_due_ms(content, now.now_ms)
        if due_ms is None or not self._scene.has_time or (hangs and not self.allows("hang")):
            return None
        # To the hour, so that the same few moments come up again and again.
        due_ms += -(due_ms - world.START_MS) % HOUR_MS
        note = f"{(due_ms - now.now_ms) // 1000} seconds pass"
        later = attrs.evolve(now, now_ms=due_ms)
        return self._happens(content, later, "time", note, "hang" if hangs else None)

    def _happens(
        self, content: int, after: Outside, what: What, note: str, fault: FaultKind | None = None
    ) -> Move:
        if fault is not None:
            self.fired.add(fault)
        step = Step(what=what, note=note, fault=fault, outside=after)
        return Move(content, self.number(after), None, (step,))

    def starts(self, content: int, outside: int) -> tuple[Move, ...]:
        """Which tasks may begin."""
        found = self._starts(content, self.outsides[outside])
        return tuple(move for move in found if move is not None)

    def _starts(self, content: int, now: Outside) -> Iterator[Move | None]:
        if now.clicks < self._scene.clicks:
            yield self.begins("click", None, content, attrs.evolve(now, clicks=now.clicks + 1))
        for intent in now.intents:
            if intent.reachable and not now.forwards:
                # The shop sends the customer there itself; once is enough.
                sent = attrs.evolve(now, forwards=1)
                yield self.begins("forward", intent.number, content, sent)
        for news, delivery in now.news:
            if delivery == "owed":
                yield self.begins("webhook", news, content, now)
            elif delivery == "acknowledged":
                yield self.begins("webhook", news, content, now, "repeat")
        yield from self._flawed(content, now)
        for group, work in WAITING.items():
            times = [record.due_at_ms(work) for record in self._contents.records[content]]
            if any(at_ms is not None and at_ms <= now.now_ms for at_ms in times):
                yield self.begins(group, None, content, now)

    def _flawed(self, content: int, now: Outside) -> Iterator[Move | None]:
        for intent in now.intents:
            for flaw in FLAWS:
                if flaw == "other content" and not intent.paid:
                    continue
                news = News(m.INTENT_SUCCESS, intent.number, 1, flaw)
                fault: FaultKind = "forgery" if flaw == "forged" else "flaw"
                yield self.begins("webhook", news, content, now, fault)

    def begins(
        self,
        group: Group,
        subject: Any,
        content: int,
        after: Outside,
        fault: FaultKind | None = None,
    ) -> Move | None:
        """A task of this group begins, if the scene has such; fused with its first read."""
        if group not in self._scene.parties or (fault and not self.allows(fault)):
            return None
        if fault:
            self.fired.add(fault)
        kind = self._casting.kind(group, subject, after)
        node = self.histories.start(kind, after.now_ms)
        after = with_crash(after, node)
        left = self.left(node)
        step = Step(what="starts", kind=kind, after=left, fault=fault, outside=after)
        move = Move(content, self.number(after), left, (step,))
        if self._fused and isinstance(node.op, Load | Due):
            read = next(self.stored(content, after, node))
            return attrs.evolve(read, steps=(step, *read.steps))
        return move
