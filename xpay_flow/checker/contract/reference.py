"""Which outcomes are right? Those that `MemoryStore` gives for some order of the same calls.

The order must keep each call that ended before another began in front of it. A call that was cut
short, or that raised StoreError, may have happened or not; in halves it never happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, permutations
from typing import Any

import attrs

from xpay_flow.stores.memory import MemoryStore

from .lifelines import Done, Unknown
from .scenes import Scene

CallId = tuple[int, int]


@attrs.frozen(kw_only=True)
class Outcome:
    """What the reference answers in one order, and what it holds in the end."""

    answers: dict[CallId, Any] = attrs.field(hash=False)
    found: tuple[Any, ...]
    glanced: tuple[Any, ...]


class Reference:
    """The right outcomes of one scene, made when they are needed."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._calls = {
            (line, place): call
            for line, calls in enumerate(scene.lifelines)
            for place, call in enumerate(calls)
        }
        self._made: dict[tuple[CallId, ...], Outcome] = {}

    def of(self, order: tuple[CallId, ...]) -> Outcome:
        """What comes of these calls, in this order, and of no others."""
        if order not in self._made:
            store = MemoryStore()
            self._scene.prepare(store)
            answers = {call: self._calls[call].ask(store) for call in order}
            self._made[order] = Outcome(
                answers=answers,
                found=self._scene.found(store),
                glanced=self._scene.glanced(store),
            )
        return self._made[order]

    def is_commit(self, call: CallId) -> bool:
        return self._calls[call].change is not None

    def allowed(
        self, done: dict[CallId, Done], *, timed: bool = True, unsure: Sequence[CallId] = ()
    ) -> Iterator[Outcome]:
        """Every right outcome, given when the calls ran and which have no answer.

        Args:
            timed: False takes every order of different lifelines' calls for possible.
            unsure: more calls that may or may not have happened.
        """
        begun = {call: was for call, was in done.items() if was.began is not None}
        open_ended = [
            call
            for call, was in begun.items()
            if self.is_commit(call) and (is_open(was) or call in unsure)
        ]
        left_out = chain.from_iterable(
            combinations(open_ended, count) for count in range(len(open_ended) + 1)
        )
        for missing in left_out:
            there = [call for call in begun if call not in missing]
            for order in permutations(there):
                if _keeps_time(order, begun, timed):
                    yield self.of(order)


def is_open(was: Done) -> bool:
    """The end of the call was not reported."""
    return was.answer is None or isinstance(was.answer, Unknown)


def _keeps_time(order: tuple[CallId, ...], done: dict[CallId, Done], timed: bool) -> bool:
    for first, second in combinations(order, 2):
        if first[0] == second[0] and first > second:
            return False
        began, ended = done[first].began, done[second].ended
        if timed and began is not None and ended is not None and ended < began:
            return False
    return True
