"""What is left when a piece of work ends at any of its driver calls? For tests of crashes.

    for cut in at_each_driver_call(lambda: flow.receive_webhook(body), before=start_anew):
        assert orders.paid_once(), cut.in_words()

The work runs once for each driver call that it makes, and ends there. At last it runs to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal

import attrs

from .drivers import DRIVERS
from .gate import Died, Watch
from .lookup import Table
from .statements import Driver, Statement

# The process dies before the call; the call fails; it is applied and reports a failure.
Ending = Literal["die", "refuse", "spoil"]
_WORDS: Final[dict[Ending, str]] = {
    "die": "died before",
    "refuse": "was refused",
    "spoil": "received a failure after",
}

# More calls than this are a loop without an end.
CALLS_MAX: Final = 10_000


@attrs.frozen(kw_only=True)
class Cut:
    """One run of the work, and where it was ended.

    Args:
        number: of the driver call, from 0; None is the run to the end.
        answer: what the work gave back, if it did.
        error: what it raised, if it did. A death raises nothing that is kept.
    """

    number: int | None
    ending: Ending
    statement: Statement | None = None
    answer: Any = None
    error: Exception | None = None

    def in_words(self) -> str:
        """Such as `died before call 3, UPDATE intents [shop.py:12]`."""
        if self.statement is None:
            return "ran to its end"
        words = f"{self.statement.in_words()} [{self.statement.where}]"
        return f"{_WORDS[self.ending]} call {self.number}, {words}"


def at_each_driver_call(
    act: Callable[[], Any],
    *,
    ending: Ending = "die",
    before: Callable[[], object] = lambda: None,
    drivers: Iterable[Driver] = DRIVERS,
    declared: Iterable[Callable[..., Any]] = (),
) -> Iterator[Cut]:
    """Run `act` on this thread, each time ended at the next of its driver calls.

    After a death nothing of `act` reaches a driver, and the connections that it used are closed
    without a commit. What it does on other threads is not seen.

    Args:
        before: called before each run, to begin anew.
        declared: callables that count as driver calls, too.
    """
    # Made for each run: `act` may import its driver.
    drivers, declared = tuple(drivers), tuple(declared)
    for number in range(CALLS_MAX):
        before()
        cut = _Cutter(Table(drivers, declared), number, ending).run(act)
        yield cut
        if cut.number is None:
            return
    raise RuntimeError(f"the work made {CALLS_MAX} driver calls, and went on")


class _Cutter:
    """Listens to one run, and ends it at one call."""

    def __init__(self, table: Table, number: int, ending: Ending) -> None:
        self._watch = Watch(table, self)
        self._left, self._number = number, number
        self._ending: Ending = ending
        self._cut: Statement | None = None
        self.dead = False

    def run(self, act: Callable[[], Any]) -> Cut:
        answer: Any = None
        error: Exception | None = None
        try:
            with self._watch.on_this_thread():
                answer = act()
        except Died:
            pass
        except Exception as raised:
            error = raised
        return Cut(
            number=None if self._cut is None else self._number,
            ending=self._ending,
            statement=self._cut,
            answer=None if self.dead else answer,
            error=None if self.dead else error,
        )

    def arrived(self, statement: Statement) -> None:
        if self._cut is not None:
            return
        if self._left:
            self._left -= 1
            return
        self._cut = statement
        if self._ending == "die":
            self.dead = True
            self._watch.drop()
            raise Died
        if self._ending == "refuse":
            raise statement.driver.error()

    def passed(self, statement: Statement, failed: bool) -> None:
        if statement is self._cut and not failed:
            raise statement.driver.error()

    def wants(self, is_free: Callable[[], bool]) -> None: ...
