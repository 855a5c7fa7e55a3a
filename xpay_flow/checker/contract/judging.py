"""Was that run right? If not, which rule of a store does it break?

A run is right if `MemoryStore` allows its answers and what it left, in some order that keeps time.
If none fits, the demand is loosened step by step; the name is that of the first loosening that
would have to be made.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs

from .lifelines import Done, Raised, Unknown
from .reference import CallId, Outcome, Reference, is_open
from .scenes import Scene
from .schedule import RunResult

Rule = Literal[
    "errors", "stuck", "lost-update", "lost-commit", "half-applied", "torn-read", "stale-read"
]

SENTENCES: Final[dict[Rule, str]] = {
    "errors": "a method raised something other than a StoreError",
    "stuck": "the methods wait for each other, or go on without end",
    "lost-update": "no order of these commits gives these answers: a version was not compared with "
    "what is stored at the very moment of the change",
    "lost-commit": "a commit was answered True, and its change is not in the store",
    "half-applied": "the store holds what no order of whole commits leaves: parts of a change "
    "were kept without the others",
    "torn-read": "a read answered what was never stored at any one moment",
    "stale-read": "a read answered what had been replaced before the read began",
}


@attrs.frozen
class Breach:
    """The broken rule, and what showed it."""

    rule: Rule
    detail: str = ""


class Judge:
    """Knows what is right for one scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._reference = Reference(scene)

    def judge(self, run: RunResult) -> Breach | None:
        """The rule that a run breaks, if any."""
        done = dict(run.done)
        early = _early(run)
        if early is not None:
            return early
        fits = list(self._reference.allowed(done))
        if any(_answers(o, done) and _contents(o, run) for o in fits):
            return None
        return self._named(run, done, fits)

    def _named(self, run: RunResult, done: dict[CallId, Done], fits: list[Outcome]) -> Breach:
        commits = {c: was for c, was in done.items() if self._reference.is_commit(c)}
        winners = [o for o in self._reference.allowed(commits) if _answers(o, commits)]
        if not winners:
            return Breach("lost-update", self._who(commits))
        if not any(o.found == run.found for o in winners):
            return self._contents_breach(run, commits)
        reads = {c: was for c, was in done.items() if c not in commits}
        for call, was in reads.items():
            if not is_open(was) and not self._was_ever(call, was, done):
                return Breach("torn-read", self._words(call))
        if any(_answers(o, done) and o.found == run.found for o in fits):
            return Breach("stale-read", "a store that was open all the time shows an old state")
        return Breach("stale-read", self._who(reads))

    def _contents_breach(self, run: RunResult, commits: dict[CallId, Done]) -> Breach:
        answered = [call for call, was in commits.items() if was.answer is True]
        if any(o.found == run.found for o in self._reference.allowed(commits, unsure=answered)):
            return Breach("lost-commit", self._who({c: commits[c] for c in answered}))
        return Breach("half-applied", self._who(commits))

    def _was_ever(self, call: CallId, was: Done, done: dict[CallId, Done]) -> bool:
        """Some moment of some order had this answer."""
        everything = [c for c in done if self._reference.is_commit(c)]
        return any(
            o.answers.get(call) == was.answer
            for o in self._reference.allowed(done, timed=False, unsure=everything)
        )

    def _words(self, call: CallId) -> str:
        line, place = call
        return f"{name_of(line)}: {self._scene.lifelines[line][place].words}"

    def _who(self, calls: dict[CallId, Done]) -> str:
        return "; ".join(
            f"{self._words(call)} answered {was.answer if was.answer is not None else 'nothing'}"
            if self._reference.is_commit(call)
            else self._words(call)
            for call, was in calls.items()
        )


def name_of(line: int) -> str:
    """How a lifeline is called in a story: A, B, C."""
    return "ABCDEFGH"[line]


def _early(run: RunResult) -> Breach | None:
    """What is wrong whatever the order."""
    if run.stuck:
        return Breach("stuck")
    if isinstance(run.found, Unknown):
        return Breach("errors", "no call is under way, and a store that was opened does not answer")
    raised: list[Any] = [was.answer for was in run.done.values()]
    for answer in [*raised, *run.living, run.found]:
        if isinstance(answer, Raised):
            return Breach("errors", f"{type(answer.error).__name__}: {answer.error}")
    return None


def _answers(outcome: Outcome, done: dict[CallId, Done]) -> bool:
    return all(
        outcome.answers.get(call) == was.answer for call, was in done.items() if not is_open(was)
    )


def _contents(outcome: Outcome, run: RunResult) -> bool:
    """The store holds the same, when it is opened again and where it was open all the time."""
    living = (found for found in run.living if not isinstance(found, Unknown))
    return run.found == outcome.found and all(found == outcome.glanced for found in living)
