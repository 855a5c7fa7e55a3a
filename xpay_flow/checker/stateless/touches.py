"""Do two steps disturb each other? They do where one changes what the other looks at or changes.

What a step looks at is named: an alias in the store, xPay, the clock. When in doubt a name stands
for too much, and two steps count as disturbing each other that do not.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import cache

import attrs

from xpay_flow.effects import (
    Commit,
    Due,
    Exchange,
    History,
    Load,
    Orphaned,
    Recent,
    RunHandler,
    RunInTransaction,
)

from ..bounds import Scene
from ..performing import Hold, LetGo
from ..story import How, Step

# Every record at once, for a list of them.
RECORDS = "records"
XPAY = "xPay"
EVENTS = "events"
CLOCK = "clock"
# The locks of records.
HOLDS = "holds"
# Room for one more flow. An ending flow makes some, and two ends do not disturb each other; so to
# end counts as looking, and to begin as changing.
ROOM = "room"
# What the death of the process undoes or prevents.
LIFE = "life"
# A moment that a promise is about: records and the world outside together.
MOMENT = "moment"


@attrs.frozen
class Touch:
    """What one step looks at, and what it changes."""

    reads: frozenset[Hashable] = frozenset()
    writes: frozenset[Hashable] = frozenset()

    def disturbs(self, other: Touch) -> bool:
        """The two may not change places."""
        return not (
            self.writes.isdisjoint(other.writes)
            and self.writes.isdisjoint(other.reads)
            and self.reads.isdisjoint(other.writes)
        )

    def __or__(self, other: Touch) -> Touch:
        return Touch(self.reads | other.reads, self.writes | other.writes)


def touch(reads: Iterable[Hashable] = (), writes: Iterable[Hashable] = ()) -> Touch:
    """A touch, of any iterables."""
    return Touch(frozenset(reads), frozenset(writes))


NOTHING = touch()
ENDS = touch(reads=(ROOM, EVENTS, LIFE))
SEES_CLOCK = touch(reads=(CLOCK,))
LETS_GO = touch(writes=(HOLDS,))
ALL_DIE = touch(reads=(ROOM,), writes=(LIFE,))
# It lasts, so whether the process died before it can be seen.
LASTS = touch(reads=(LIFE,), writes=(MOMENT,))


def choice_touch(scene: Scene) -> Touch:
    """Of the director: what its choice of the next step, or of the next flow, depends on."""
    reads: set[Hashable] = {LIFE, XPAY}
    if scene.has_time or "loss" in scene.faults:
        reads.add(RECORDS)
    return touch(reads, (ROOM, EVENTS))


def happening_touch(step: Step) -> Touch:
    """Of what happens outside, or begins, without what the choice of it depends on."""
    if step.what == "time":
        return touch(writes=(CLOCK,))
    begins = touch(reads=(CLOCK,)) if step.what == "starts" else NOTHING
    return begins | touch(writes=(XPAY, MOMENT)) if step.happens else begins


def effect_touch(op: object, how: How, known: Iterable[str] = ()) -> Touch:
    """Of an effect that was performed like this.

    Args:
        known: the aliases that a record to be committed had before.
    """
    if how == "not applied":
        return NOTHING
    match op:
        case Load(alias) | History(alias):
            return _read(alias)
        case Due() | Recent():
            return _read(RECORDS)
        case Orphaned():
            return touch(reads=(RECORDS, HOLDS))
        case Hold() | LetGo():
            return LETS_GO
        case Commit(change) | RunInTransaction(_, _, change):
            aliases = {("alias", alias) for alias in change.record.aliases.union(known)}
            return LASTS | touch(writes={RECORDS, ("alias", change.record.key), *aliases})
        case Exchange(request) if request.method == "GET":
            return touch(reads=(XPAY,))
        case Exchange():
            return LASTS | touch(writes=(XPAY, EVENTS))
        case RunHandler():
            return LASTS
        case _:
            raise TypeError(f"not an effect that others can see: {op!r}")


def end_touch(*, lasts: bool) -> Touch:
    """Of a flow's end; `lasts` if a party outside receives it."""
    return ENDS | LASTS if lasts else ENDS


@cache
def _read(name: str) -> Touch:
    return touch(reads=(name if name == RECORDS else ("alias", name),))
