"""Which jobs are begun next, when several are done at once?

For each kind of work there are so many places. A kind is looked for when it has a free place and
nothing is known to be due; one that had nothing is looked for again when something was recorded, or
a little later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from .effects import Each
from .ports import HandlerLimiting
from .records import Work

# How often work is looked for, while other work is in progress, that another process has recorded.
LOOK_S: Final = 1.0
# Handler calls at a time in the shop's own process, whose requests need the processor, too; and in
# a worker, which has nothing else to do.
AT_ONCE: Final = 2
AT_ONCE_IN_WORKER: Final = 8


def at_once(wanted: int, store: object) -> int:
    """How many handlers may run at a time: as many as are wanted, and as the store serves."""
    most = store.handlers_at_once_max if isinstance(store, HandlerLimiting) else None
    return wanted if most is None else max(1, min(wanted, most))


class JobPool:
    """The jobs of one `Each`: those that wait, and those in progress."""

    def __init__(self, each: Each) -> None:
        self._each = each
        self._waiting: dict[Work, deque[str]] = {work: deque() for work in each.at_once}
        self._busy: dict[Work, set[str]] = {work: set() for work in each.at_once}
        self._look_at_s = dict.fromkeys(each.at_once, 0.0)
        self.results = 0
        self.error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        """Nothing waits and nothing is in progress."""
        return not any((*self._waiting.values(), *self._busy.values()))

    @property
    def is_ending(self) -> bool:
        """Nothing further is begun."""
        return self.error is not None or self._each.stopping()

    def to_look_for(self, now_s: float) -> list[Work]:
        """The kinds of work to look for now."""
        return [
            work
            for work, at_once in self._each.at_once.items()
            if not self._waiting[work]
            and len(self._busy[work]) < at_once
            and self._look_at_s[work] <= now_s
        ]

    def busy(self, work: Work) -> frozenset[str]:
        """The keys of jobs of this kind in progress."""
        return frozenset(self._busy[work])

    def found(self, work: Work, keys: Sequence[str], now_s: float) -> None:
        """What a look has found that is not in progress."""
        self._waiting[work].extend(keys)
        if not keys:
            self._look_at_s[work] = now_s + LOOK_S

    def look_again(self) -> None:
        """Something was recorded."""
        self._look_at_s = dict.fromkeys(self._look_at_s, 0.0)

    def to_begin(self) -> list[tuple[Work, str]]:
        """The jobs that have a place now; they are in progress from here on."""
        begun: list[tuple[Work, str]] = []
        for work, at_once in self._each.at_once.items():
            waiting, busy = self._waiting[work], self._busy[work]
            if self.is_ending:
                waiting.clear()
            while waiting and len(busy) < at_once:
                key = waiting.popleft()
                if key not in busy:
                    busy.add(key)
                    begun.append((work, key))
        return begun

    def ended(self, job: tuple[Work, str], results: int, error: BaseException | None) -> None:
        """A job has ended with so many results."""
        work, key = job
        self._busy[work].discard(key)
        self.results += results
        self.error = self.error or error
