"""How are many jobs done at once with few statements? Side by side, in rounds.

Each job is a flow. In a round all of them go as far as they can by themselves. Then what they want
to read is one look, and what they want to write is one transaction, in which one job's claim goes
together with another's settlement; and what takes its time, such as a handler, goes on beside.
So the sync and the async driver have one pool of jobs, and only perform what it yields.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, Protocol

import attrs

from .calls import Calls
from .effects import (
    Commit,
    Each,
    EnterPlace,
    Exchange,
    LeavePlace,
    Load,
    Pause,
    RunHandler,
    RunInTransaction,
    WithLock,
    WithSlot,
)
from .job_pool import LOOK_S, JobPool
from .records import Work

# What goes together: enough to share its cost, and a transaction that is still short.
TOGETHER_MAX: Final = 64


# --- what a driver performs, beside effects ------------------------------------------------------


@attrs.frozen
class LoadMany:
    """What each of these loads finds, in their order; they all differ."""

    loads: tuple[Load, ...]


@attrs.frozen
class CommitMany:
    """Whether each of these commits has won, in their order; their records all differ."""

    commits: tuple[Commit, ...]


@attrs.frozen
class Begin:
    """Begin an effect, and answer an `InProgress`."""

    effect: Any


@attrs.frozen
class Rest:
    """Come back when something has ended or woken us, or after so many seconds."""

    seconds: float


@attrs.frozen
class TakeLock:
    """Take the row lock of a record; False if another worker has it."""

    key: str


@attrs.frozen
class ReleaseLock:
    """Release the row lock of a record."""

    key: str


class InProgress(Protocol):
    """An effect that was begun."""

    @property
    def ends_at_s(self) -> float:
        """When it is over at the latest, by the monotonic clock."""
        ...

    def has_ended(self) -> bool: ...

    def result(self) -> Any:
        """Its answer, once it has ended or its time is over; or raises what it has raised."""
        ...


# --- the rounds ----------------------------------------------------------------------------------


@attrs.frozen(eq=False)
class _Frame:
    """A flow of a job, and what it holds until its end: the slot, or the lock, of a record."""

    flow: Generator[Any, Any, Any]
    slot: str | None = None
    lock: str | None = None


@attrs.frozen(eq=False)
class _Job:
    """Its flow, and those that run within it."""

    work: Work
    key: str
    frames: list[_Frame]


@attrs.frozen
class _Answer:
    """What a job goes on with."""

    value: Any = None
    error: BaseException | None = None


@attrs.frozen(eq=False)
class _ForSlot:
    """A job that waits for the slot of its record, until a moment."""

    job: _Job
    slot: WithSlot
    ends_at_s: float


class Rounds:
    """The rounds of one `Each`.

    Args:
        calls: of this process.
        wake: ends a `Rest`; called in any thread.
        loads_many, commits_many: whether the driver performs `LoadMany` and `CommitMany`. Without
            it, such effects are begun one by one, and go on beside each other.
    """

    def __init__(
        self,
        it: Each,
        calls: Calls,
        wake: Callable[[], object],
        *,
        loads_many: bool,
        commits_many: bool,
    ) -> None:
        self._each, self._calls, self._wake = it, calls, wake
        self._loads_many, self._commits_many = loads_many, commits_many
        self._pool = JobPool(it)
        self._jobs: set[_Job] = set()
        self._ready: deque[tuple[_Job, _Answer]] = deque()
        self._loads: list[tuple[_Job, Load]] = []
        self._commits: list[tuple[_Job, Commit]] = []
        self._in_progress: dict[InProgress, _Job] = {}
        self._for_slots: list[_ForSlot] = []
        self._for_places: deque[_Job] = deque()
        self._in_places: set[_Job] = set()

    def woken(self) -> None:
        """Something was recorded: it is worth looking for work. Called in any thread."""
        self._pool.look_again()
        self._wake()

    def run(self) -> Generator[Any, Any, int]:
        """All of it; how many results the jobs had."""
        try:
            while not (yield from self._round()):
                pass
        finally:
            # All have ended, unless this was ended from outside.
            for job in self._jobs:
                self._give_back(job)
        if self._pool.error is not None:
            raise self._pool.error
        return self._pool.results

    def _round(self) -> Generator[Any, Any, bool]:
        """One step of all jobs; whether none is left."""
        yield from self._begin_jobs()
        while self._ready:
            yield from self._go_on(*self._ready.popleft())
            if not self._ready:
                # Some may have ended.
                yield from self._begin_jobs()
        if self._loads:
            yield from self._load()
        elif self._some_have_ended() or self._some_have_slots():
            # They may have something to write, too.
            return False
        elif self._commits:
            yield from self._commit()
        elif self._pool.is_done:
            return True
        else:
            yield Rest(self._rest_s())
        return False

    # --- jobs ------------------------------------------------------------------------------------

    def _begin_jobs(self) -> Generator[Any, Any, None]:
        for work in self._pool.to_look_for(time.monotonic()):
            if self._pool.is_ending or self._calls.hang:
                break
            try:
                keys = yield from self._each.look(work, self._pool.busy(work))
            except Exception as error:
                self._pool.error = error
                break
            self._pool.found(work, keys, time.monotonic())
        for work, key in self._pool.to_begin():
            job = _Job(work, key, [_Frame(self._each.do(work, key))])
            self._jobs.add(job)
            self._ready.append((job, _Answer()))
        while self._for_places and self._pool.is_ending:
            # It has done nothing yet.
            job = self._for_places.popleft()
            for frame in reversed(job.frames):
                frame.flow.close()
            self._give_back(job)
            self._end(job, _Answer(0))

    def _give_back(self, job: _Job) -> None:
        while job.frames:
            if (slot := job.frames.pop().slot) is not None:
                self._calls.give_back(slot)

    def _end(self, job: _Job, answer: _Answer) -> None:
        self._jobs.discard(job)
        self._leave_place(job)
        self._pool.ended((job.work, job.key), answer.value or 0, answer.error)

    def _go_on(self, job: _Job, answer: _Answer) -> Generator[Any, Any, None]:
        """A job, until it has to wait for something."""
        while job.frames:
            flow = job.frames[-1].flow
            try:
                if answer.error is not None:
                    effect = flow.throw(answer.error)
                else:
                    effect = flow.send(answer.value)
            except StopIteration as end:
                answer = _Answer(end.value)
                yield from self._leave(job.frames.pop())
            except BaseException as error:
                answer = _Answer(error=error)
                yield from self._leave(job.frames.pop())
            else:
                answered = yield from self._answer_to(job, effect)
                if answered is None:
                    return
                answer = answered
        self._end(job, answer)

    def _leave(self, frame: _Frame) -> Generator[Any, Any, None]:
        if frame.lock is not None:
            yield ReleaseLock(frame.lock)
        if frame.slot is not None:
            self._calls.give_back(frame.slot)

    def _answer_to(self, job: _Job, effect: Any) -> Generator[Any, Any, _Answer | None]:
        """The answer to an effect; None where the job waits for it."""
        match effect:
            case Load() if self._loads_many:
                self._loads.append((job, effect))
                return None
            case Commit() if self._commits_many:
                self._commits.append((job, effect))
                return None
            case Load() | Commit() | Exchange() | Pause() | RunHandler() | RunInTransaction():
                return (yield from self._begin(job, effect))
            case WithSlot():
                return self._take_slot(_ForSlot(job, effect, time.monotonic() + effect.patience_s))
            case WithLock():
                return (yield from self._take_lock(job, effect))
            case EnterPlace():
                return self._enter_place(job)
            case LeavePlace():
                self._leave_place(job)
                return _Answer()
            case _:
                return (yield from _performed(effect))

    # --- the store -------------------------------------------------------------------------------

    def _load(self) -> Generator[Any, Any, None]:
        waiting: dict[Load, list[_Job]] = {}
        for job, load in self._loads:
            waiting.setdefault(load, []).append(job)
        together = list(waiting)[:TOGETHER_MAX]
        self._loads = [(job, load) for job, load in self._loads if load not in together]
        found = yield from _all_of(together, LoadMany(tuple(together)))
        for number, load in enumerate(together):
            for job in waiting[load]:
                yield from self._answered(job, load, found[number] if found else None)

    def _commit(self) -> Generator[Any, Any, None]:
        together: dict[str, tuple[_Job, Commit]] = {}
        left: list[tuple[_Job, Commit]] = []
        for job, commit in self._commits:
            key = commit.change.record.key
            if len(together) < TOGETHER_MAX and key not in together:
                together[key] = job, commit
            else:
                left.append((job, commit))
        self._commits = left
        commits = [commit for _, commit in together.values()]
        won = yield from _all_of(commits, CommitMany(tuple(commits)))
        for number, (job, commit) in enumerate(together.values()):
            yield from self._answered(job, commit, won[number] if won else None)
            if job.work != "deliver" and commit.change.record.deliver_at_ms is not None:
                # A job that delivers finds by itself what it has made due.
                self._pool.look_again()

    def _answered(
        self, job: _Job, effect: Any, answer: _Answer | None
    ) -> Generator[Any, Any, None]:
        if answer is None:
            # One of them may be at fault, or the outcome is not known: each alone is answered by
            # itself. What was committed already loses its race.
            answer = yield from self._begin(job, effect)
        if answer is not None:
            self._ready.append((job, answer))

    # --- what takes its time ---------------------------------------------------------------------

    def _begin(self, job: _Job, effect: Any) -> Generator[Any, Any, _Answer | None]:
        begun = yield from _performed(Begin(effect))
        if begun.error is not None:
            return begun
        self._in_progress[begun.value] = job
        return None

    def _some_have_ended(self) -> bool:
        now_s = time.monotonic()
        ended = [it for it in self._in_progress if it.has_ended() or it.ends_at_s <= now_s]
        for it in ended:
            self._ready.append((self._in_progress.pop(it), _result(it)))
        return bool(ended)

    def _rest_s(self) -> float:
        ends = [it.ends_at_s for it in self._in_progress] + [it.ends_at_s for it in self._for_slots]
        return max(0.0, min(LOOK_S, min(ends, default=math.inf) - time.monotonic()))

    # --- slots, locks and places -----------------------------------------------------------------

    def _take_slot(self, it: _ForSlot) -> _Answer | None:
        slot = it.slot
        answer = self._calls.take(slot.key, slot.alone, slot, self._wake)
        if answer == "wait" and it.ends_at_s <= time.monotonic():
            self._calls.leave(slot)
            answer = "busy"
        if answer == "wait":
            self._for_slots.append(it)
            return None
        if answer == "busy":
            slot.flow.close()
        else:
            it.job.frames.append(_Frame(slot.flow, slot=slot.key))
        return _Answer()

    def _some_have_slots(self) -> bool:
        waiting, self._for_slots = self._for_slots, []
        for it in waiting:
            if (answer := self._take_slot(it)) is not None:
                self._ready.append((it.job, answer))
        return bool(self._ready)

    def _take_lock(self, job: _Job, effect: WithLock) -> Generator[Any, Any, _Answer]:
        taken = yield from _performed(TakeLock(effect.key))
        if not taken.value:
            effect.flow.close()
            return _Answer(error=taken.error)
        job.frames.append(_Frame(effect.flow, lock=effect.key))
        return _Answer()

    def _enter_place(self, job: _Job) -> _Answer | None:
        if job not in self._in_places:
            if self._for_places or not self._has_place():
                self._for_places.append(job)
                return None
            self._in_places.add(job)
        return _Answer()

    def _has_place(self) -> bool:
        return len(self._in_places) < self._each.places and not self._pool.is_ending

    def _leave_place(self, job: _Job) -> None:
        self._in_places.discard(job)
        while self._for_places and self._has_place():
            first = self._for_places.popleft()
            self._in_places.add(first)
            self._ready.append((first, _Answer()))


def _performed(effect: Any) -> Generator[Any, Any, _Answer]:
    try:
        return _Answer((yield effect))
    except Exception as error:
        return _Answer(error=error)


def _all_of(effects: Sequence[Any], many: Any) -> Generator[Any, Any, Sequence[_Answer] | None]:
    """The answers to these; None where they are to be had one by one."""
    answers = yield from _performed(many)
    if answers.error is None:
        return [_Answer(answer) for answer in answers.value]
    return [answers] if len(effects) == 1 else None


def _result(it: InProgress) -> _Answer:
    try:
        return _Answer(it.result())
    except BaseException as error:
        return _Answer(error=error)
