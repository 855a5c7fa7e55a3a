"""What does a lifeline of a scene do? Its calls of one store, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from xpay_flow.errors import StoreError
from xpay_flow.ports import Store

from .gate import Died
from .steered import STUCK_LOOKS, Begin, Room, Steered, settle


class Unknown:
    """The answer of a method that raised StoreError: it may or may not have happened."""

    def __repr__(self) -> str:
        return "it is not known"


@attrs.frozen
class Raised:
    """The answer of a method that raised what it must not raise."""

    error: BaseException = attrs.field(eq=False)


@attrs.define(eq=False)
class Done:
    """One method call, as it went; times are ticks of the run's own clock."""

    began: int | None = None
    ended: int | None = None
    answer: Any = None


class Lifeline(Steered):
    """One thread that makes its calls.

    Args:
        calls: what to call; each gives its answer in a form that can be compared.
        found: what its store shows.
    """

    def __init__(
        self,
        room: Room,
        opened: Callable[[], Store],
        calls: Sequence[Callable[[Store], Any]],
        found: Callable[[Store], Any],
    ) -> None:
        super().__init__(room, opened)
        self._calls, self._found = calls, found
        self.done = [Done() for _ in calls]
        self.found: Any = None

    def look(self) -> Any:
        """What its store now holds, as its own process sees it."""
        self.release("go")
        return self.found if settle(self._room, [self], STUCK_LOOKS) else Unknown()

    def _work(self, store: Store) -> None:
        self._steered = True
        for number, (call, done) in enumerate(zip(self._calls, self.done, strict=True)):
            self._park(Begin(number))
            done.began = self._room.tick()
            try:
                answer = answer_of(call, store)
            finally:
                done.ended = self._room.tick()
            if self.dead:
                raise Died
            done.answer = answer
        self._steered = False
        while self._wait("done") == "go":
            self.found = answer_of(self._found, store)


def answer_of(call: Callable[[Store], Any], store: Store) -> Any:
    """What a method answers, in a form that can be compared also where it raises."""
    try:
        return call(store)
    except StoreError:
        return Unknown()
    except Exception as error:
        return Raised(error)
