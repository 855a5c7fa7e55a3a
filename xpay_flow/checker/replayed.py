"""How can code be run again up to where it was? By giving it the answers that it was given.

A plain function cannot be copied while it waits, and it may have to be thrown away: to free its
thread, or because it called a port where it could not wait. So every answer is kept. When the code
is needed again, a fresh run is given them all, and must yield the same effects on its way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from types import TracebackType
from typing import Any

import attrs

from xpay_flow.effects import Exchange, RunHandler
from xpay_flow.errors import ConfigurationError, XPayFlowError
from xpay_flow.ports import NoAnswer

from .hidden import HiddenState


class Orphaned(SystemExit):
    """This run is over: nothing that it does counts any more.

    It is raised at every port, again and again, so that no `finally` or `except` of an abandoned
    run can write. Threads and tasks end without a word on a `SystemExit`.
    """


class HandlerFailed(XPayFlowError):
    """A handler that plain code called has raised; the text is its error's."""


@attrs.frozen
class Thrown:
    """An answer that is an error: it is raised where the function waits."""

    error: Exception


@attrs.frozen
class Ended:
    """How a function ended: it returned a value, or raised an error."""

    value: Any = None
    error: Exception | None = None


class Body(ABC):
    """A function between its effects, with all answers on record.

    Args:
        name: for errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended: Ended | None = None
        # The place in the user's code that yielded last, such as `shop.py:41 in webhook`.
        self.place = ""
        self._record: list[tuple[Any, Any]] = []
        self._at = 0
        self._alive = False
        self._effect: Any = None

    def resume(self, *answer: Any) -> Any:
        """Go on to the next effect. `ended` is set if there is none.

        Args:
            answer: to the last effect; nothing at the beginning.
        """
        self._record += [(self._effect, given) for given in answer]
        effect = self._effect
        if not self._alive:
            self._alive, self._at = True, 0
            self._begin()
            effect = self._run()
        while self._at < len(self._record):
            self._attach(self._recorded(effect))
            effect = self._run()
        self._effect = effect
        return effect

    def _recorded(self, effect: Any) -> Any:
        """The answer on record to this effect, which must be the recorded one."""
        before, answer = self._record[self._at]
        self._at += 1
        if before != effect:
            raise HiddenState(
                f"{self.name} yielded {before!r} at first, and {effect!r} when run again with "
                "the same answers"
            )
        return answer

    @abstractmethod
    def _begin(self) -> None:
        """Prepare a fresh run."""

    @abstractmethod
    def _run(self) -> Any:
        """Run up to the next effect; None is the end."""

    @abstractmethod
    def _attach(self, answer: Any) -> None:
        """Answer the effect at which the run stands."""

    @abstractmethod
    def kill(self) -> None:
        """Throw the run away. It may be begun again, and may have ended."""


class PlainFlow(Generator[Any, Any, Any]):
    """A body as a flow: it yields effects and is sent their answers, as a generator of ours.

    Args:
        body: it is used by this flow alone.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._begun = False

    @property
    def place(self) -> str:
        """Where the user's code waits, such as `shop.py:41 in webhook`."""
        return self._body.place

    def send(self, answer: Any, /) -> Any:
        if not self._begun:
            self._begun = True
            return self._on()
        return self._on(answer)

    def throw(self, error: Any, _: Any = None, __: TracebackType | None = None, /) -> Any:
        if not isinstance(error, Exception):
            self.close()
            raise error
        return self._on(Thrown(error))

    def close(self) -> None:
        """Abandon it: from now on its ports refuse."""
        self._body.ended = self._body.ended or Ended()
        self._body.kill()

    def __del__(self) -> None:
        self.close()

    def _on(self, *answer: Any) -> Any:
        if self._body.ended is not None:
            raise StopIteration
        effect = self._body.resume(*answer)
        end = self._body.ended
        if end is None:
            return effect
        if end.error is not None:
            raise end.error
        raise StopIteration(end.value)


def received(effect: Any, answer: Any) -> Any:
    """What a port gives its caller for an answer, or raises."""
    if isinstance(answer, Thrown):
        # The search keeps the error for other runs; its trace would keep this one's variables.
        raise answer.error.with_traceback(None)
    if isinstance(effect, Exchange) and isinstance(answer, NoAnswer):
        raise answer.with_traceback(None)
    if isinstance(effect, RunHandler) and answer.outcome == "failed":
        raise HandlerFailed(answer.error)
    if isinstance(effect, RunHandler) and answer.outcome == "missing":
        raise ConfigurationError(f"this shop has no handler {effect.name}")
    return answer
