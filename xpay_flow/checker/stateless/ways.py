"""How can a flow go on? What becomes of its effect, and of itself afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import attrs

from xpay_flow.effects import Commit, Exchange, RunHandler, RunInTransaction

from ..bounds import FaultKind
from ..performing import LetGo
from ..story import How

Then = Literal["goes on", "unheard", "dies", "all die"]
Allows = Callable[[FaultKind], bool]
DEATHS: tuple[Then, ...] = ("dies", "all die")
LASTING = (Commit, Exchange, RunHandler, RunInTransaction)
# What takes effect may report a failure all the same.
REPORTED = (Commit, Exchange, RunInTransaction)


@attrs.frozen
class Way:
    """One way to go on.

    Args:
        fault: why the effect is not simply done.
    """

    how: How = "done"
    then: Then = "goes on"
    fault: FaultKind | None = None

    @property
    def needs_change(self) -> bool:
        """It is there only where the effect changes something for good."""
        return self.how == "applied" or self.then in DEATHS


DONE = Way()
UNHEARD = Way(then="unheard")
ALL_DIE = Way(then="all die")


def effect_ways(op: Any, budget: int, allows: Allows) -> Iterator[Way]:
    """Every way to perform an effect; whether it changes anything is not known yet."""
    yield DONE
    if not budget:
        return
    faults = faults_of(op)
    for fault in filter(allows, faults):
        yield Way("not applied", fault=fault)
    survived = [DONE]
    if isinstance(op, REPORTED) and allows(faults[0]):
        yield (reported := Way("applied", fault=faults[0]))
        if budget > 1:
            survived.append(reported)
    if isinstance(op, LASTING) and allows("death"):
        yield from (attrs.evolve(way, then=then) for way in survived for then in DEATHS)


def faults_of(op: Any) -> tuple[FaultKind, ...]:
    """What can go wrong with an effect."""
    match op:
        case Exchange():
            return ("silence",)
        case RunHandler():
            return ("handler",)
        case RunInTransaction():
            return ("store", "handler")
        case LetGo():
            return ()
        case _:
            return ("store",)
