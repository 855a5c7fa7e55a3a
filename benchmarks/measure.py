"""How are two things compared? In turns, within one run, by medians.

A machine's speed drifts, and the disk's even more. So the contestants take turns (A B C, B C A, …),
and a ratio is taken within each turn before the median is taken over all of them.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs

# Does one turn's work; returns how many seconds each operation took.
Contestant: TypeAlias = Callable[[], Sequence[float]]
Turns: TypeAlias = tuple[tuple[float, ...], ...]

# Imports, caches and connections are made in the first turn, which does not count.
WARM_UP_TURNS: Final = 1


@attrs.frozen(kw_only=True)
class Size:
    """How much is measured: enough to see a tenth of difference, or just that it works.

    Args:
        searches: turns of what takes seconds.
        buyers: how large the world is that SPIN searches, too.
        stories: how many Hypothesis generates in a turn.
        faults: with how many the shipped flow is searched.
        rush_turns: of `rush_a_turn` webhooks, many at a time.
        paced: how many come at a steady pace.
        flushes_ms: how much longer a flush of PostgreSQL is made to take, one after the other.
        sqlite_flushes_ms: the same of SQLite.
        stored: among how many intents a webhook is compared.
        strangers: how many wait while webhooks come, `among_strangers` of them.
        shown: payments of which it is measured when their customer sees them.
    """

    turns: int
    webhooks_a_turn: int
    served_turns: int
    served_a_turn: int
    stories_a_turn: int
    import_turns: int
    searches: int
    buyers: int
    stories: int
    faults: tuple[int, ...]
    rush_turns: int
    rush_a_turn: int
    paced: int
    flushes_ms: tuple[int, ...]
    sqlite_flushes_ms: tuple[int, ...]
    stored: tuple[int, int]
    strangers: int
    among_strangers: int
    shown: int


FULL: Final = Size(
    turns=20,
    webhooks_a_turn=10,
    served_turns=10,
    served_a_turn=32,
    stories_a_turn=100,
    import_turns=9,
    searches=2,
    buyers=7,
    stories=2000,
    faults=(1, 2, 4),
    rush_turns=5,
    rush_a_turn=500,
    paced=1000,
    flushes_ms=(0, 2, 5, 10),
    sqlite_flushes_ms=(0, 1, 2),
    stored=(10_000, 1_000_000),
    strangers=3000,
    among_strangers=500,
    shown=50,
)
SHORT: Final = Size(
    turns=3,
    webhooks_a_turn=4,
    served_turns=1,
    served_a_turn=8,
    stories_a_turn=20,
    import_turns=1,
    searches=1,
    buyers=5,
    stories=10,
    faults=(0, 1),
    rush_turns=1,
    rush_a_turn=96,
    paced=60,
    flushes_ms=(0, 2),
    sqlite_flushes_ms=(0, 1),
    stored=(100, 1000),
    strangers=60,
    among_strangers=12,
    shown=2,
)


@attrs.frozen(kw_only=True)
class Row:
    """What one contestant needed.

    Args:
        turns: seconds of each operation, turn by turn.
        against: the opponent's row; None for the opponent itself.
    """

    name: str
    turns: Turns
    against: Row | None = None

    @property
    def seconds(self) -> list[float]:
        """Of all turns together."""
        return [second for turn in self.turns for second in turn]

    @property
    def median(self) -> float:
        """Of all seconds."""
        return statistics.median(self.seconds)

    @property
    def ratios(self) -> list[float]:
        """How many times as long as the opponent, in each turn."""
        if self.against is None:
            return [1.0 for _ in self.turns]
        pairs = zip(self.turns, self.against.turns, strict=True)
        return [statistics.median(mine) / statistics.median(its) for mine, its in pairs]


@attrs.frozen(kw_only=True)
class Group:
    """Rows that belong together.

    Args:
        counts: what a ratio is: so many times the opponent's time, or a share of a whole.
        notes: what else was counted, and what was left out.
    """

    title: str
    rows: tuple[Row, ...]
    counts: Literal["times", "share"] = "times"
    notes: tuple[str, ...] = ()


def in_turns(contestants: Mapping[str, Contestant], turns: int) -> dict[str, Turns]:
    """Let each contestant do its work in every turn, another one first each time."""
    names = list(contestants)
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    # The orders and their records are thousands of objects that no shop would have about.
    gc.freeze()
    try:
        for turn in range(WARM_UP_TURNS + turns):
            first = turn % len(names)
            for name in (*names[first:], *names[:first]):
                # What one leaves behind must not be cleared away at the next one's cost.
                gc.collect()
                taken[name].append(tuple(contestants[name]()))
    finally:
        gc.unfreeze()
    return {name: tuple(done[WARM_UP_TURNS:]) for name, done in taken.items()}


def compared(
    title: str, contestants: Mapping[str, Contestant], turns: int, *, opponent: str
) -> Group:
    """Everyone's row, with ratios to one of them, which comes first."""
    taken = in_turns(contestants, turns)
    base = Row(name=opponent, turns=taken.pop(opponent))
    others = (Row(name=name, turns=done, against=base) for name, done in taken.items())
    return Group(title=title, rows=(base, *others))


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest value that `part` of all do not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
