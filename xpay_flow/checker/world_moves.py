"""What can happen outside the shop? What xPay, the customer and the clock can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import outside as world
from .bounds import FaultKind, Scene
from .contents import Contents
from .engine import Way
from .outside import Happening, XIntent
from .situations import Situations
from .story import Step, What

HOUR_MS = 3_600_000
HANG: FaultKind = "hang"


class WorldMoves:
    """What can happen outside in one scene.

    Args:
        passages_max: time goes on so often; None is without a limit.
    """

    def __init__(
        self, scene: Scene, stored: Contents, situations: Situations, *, passages_max: int | None
    ) -> None:
        self._scene, self._stored, self._situations = scene, stored, situations
        self._passages_max = passages_max
        self._labels: dict[tuple[str, Happening, FaultKind | None], tuple[Step, ...]] = {}

    def now(self, situation: int, *, busy: bool) -> Iterator[Way]:
        """All of it.

        Args:
            busy: flows are running.
        """
        yield from self._world(situation)
        if not busy:
            # While flows run it would be the same as before them.
            yield from self._losses(situation)
        yield from self._time(situation, hangs=busy)

    def _world(self, situation: int) -> Iterator[Way]:
        """What xPay and the customer can do."""
        _, outside = self._situations[situation]
        for intent in outside.intents:
            for what, note, word, *about in self._about(intent):
                yield self._happens(situation, what, note, (word, intent.number, *about))
        if self._scene.rotates and not outside.key:
            yield self._happens(situation, "xpay", "xPay signs with the next key", ("rotated",))

    def flaws(self, situation: int) -> Iterator[Way]:
        """Events that xPay can come to send, later, and that should not be believed."""
        _, outside = self._situations[situation]
        for event in world.flawed(outside) if self._allows("flaw") else ():
            happening: Happening = ("delivery", event, "pending")
            yield self._happens(situation, "xpay", f"xPay has {event} to send", happening, "flaw")

    def _losses(self, situation: int) -> Iterator[Way]:
        """What xPay can stop sending."""
        if not self._allows("loss"):
            return
        content, outside = self._situations[situation]
        for event, delivery in outside.events:
            if delivery == "pending" and self._is_unreconciled(content):
                note = f"xPay gives up delivering {event}"
                yield self._happens(situation, "xpay", note, ("delivery", event, "dropped"), "loss")

    def _about(self, intent: XIntent) -> Iterator[tuple[Any, ...]]:
        """What can become of an intent at xPay."""
        scene = self._scene
        # A charge under way when the intent is cancelled can still work, where it is cancelled by
        # others; what the shop itself cancels in a scene takes no money any more.
        if intent.reachable and not intent.paid and (scene.cancels or not intent.cancelled):
            if intent.failures < scene.failures:
                yield "customer", "a charge fails", "charged", False
            yield "customer", "the customer pays", "charged", True
            if scene.cancels and not intent.cancelled:
                yield "xpay", "the intent is cancelled at xPay", "cancelled"
        if intent.paid and intent.refunds < min(scene.refunds, 2):
            part = intent.refunds + 1 if scene.refunds > 1 else 3
            yield "xpay", ("a half", "the rest", "all")[part - 1] + " is refunded", "refunded", part
        if intent.paid and scene.disputes and not intent.disputed:
            yield "customer", "the customer disputes the payment", "disputed"

    def _is_unreconciled(self, content: int) -> bool:
        """No status request was sent yet: a loss after the last one is not noticed."""
        records = self._stored.records[content]
        return all(
            r.reconcile_count == 0 and r.reconcile_at_ms is not None for r in records if r.intent
        )

    def _time(self, situation: int, *, hangs: bool) -> Iterator[Way]:
        """Time passes until everything is due. While flows run this is a fault: deadlines are far
        longer than any flow takes."""
        content, outside = self._situations[situation]
        if self._allows("clock") and outside.now_ms > world.START_MS:
            back = ("later", -HOUR_MS)
            yield self._happens(situation, "time", "the clock is set back an hour", back, "clock")
        due_ms = self._stored.all_due_ms(content, outside.now_ms)
        if due_ms is None or not self._scene.has_time or (hangs and not self._allows("hang")):
            return
        limit = self._passages_max
        if limit is not None and outside.passages >= limit:
            return
        # To the hour, so that the same few moments come up again and again.
        ms = -(-(due_ms - world.START_MS) // HOUR_MS) * HOUR_MS + world.START_MS - outside.now_ms
        note, fault = f"{ms // 1000} seconds pass", HANG if hangs else None
        yield self._happens(situation, "time", note, ("later", ms, int(limit is not None)), fault)

    def _happens(
        self,
        situation: int,
        what: What,
        note: str,
        happening: Happening,
        fault: FaultKind | None = None,
    ) -> Way:
        stored, _ = self._situations[situation]
        after = self._situations.after(situation, (happening,), stored)
        label = self._labels.get((note, happening, fault))
        if label is None:
            label = (Step(what=what, note=note, fault=fault, happens=(happening,)),)
            self._labels[note, happening, fault] = label
        return Way(after, int(fault is not None), (), label)

    def _allows(self, fault: FaultKind) -> bool:
        return fault in self._scene.faults
