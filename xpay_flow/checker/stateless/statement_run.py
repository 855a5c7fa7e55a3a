"""What happens when flows overlap between any two statements of the store's driver?

A step of a flow is one statement; with the first one the operation begins, and after the last one
the flow has its answer. A flow that waits for a lock cannot go on until another releases it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xpay_flow.effects import Exchange, RunHandler, RunInTransaction

from ..contract.drivers import PATIENT
from ..contract.lookup import Table
from ..contract.statements import Statement
from ..contract.steered import STUCK_LOOKS, Act
from ..performing import Seat, called, effect_answer
from ..story import How, Step
from . import touches
from .caller import Caller
from .dpor import Choice, Process, Taken
from .live_run import LiveRun
from .stage import Stage, Task
from .touches import Touch
from .ways import DONE, Way

# The click that comes before a scene, and a delivery that is begun again.
_MORE_FLOWS = 2
_ACTS: Mapping[How, Act] = {"done": "go", "not applied": "refuse", "applied": "spoil"}


class StatementStage(Stage):
    """A stage on which every flow calls its store on a thread of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = Table(PATIENT, getattr(self.store, "statements", ()))

    def prepare(self) -> None:
        """Open stores for as many flows as may begin, while no lock is held."""
        while len(self._idle) < self.flows_max + _MORE_FLOWS:
            self._idle.append(self.seated())

    def seated(self) -> Seat:
        return Caller(self.table, self.open_store)

    def ended(self, seat: Seat) -> None:
        # A connection that is used again takes fewer statements, and each execution must have
        # the same.
        self.died(seat)

    def died(self, seat: Seat) -> None:
        assert isinstance(seat, Caller)
        seat.leave()
        super().died(seat)

    def close(self) -> None:
        super().close()
        self.table.close()


class StatementRun(LiveRun):
    """One execution, a statement for a step."""

    _stage: StatementStage

    def __init__(self, stage: Stage, faults: int) -> None:
        # How the operations that have begun were treated up to now.
        self._begun: dict[Process, How] = {}
        self._last: dict[Process, Statement] = {}
        assert isinstance(stage, StatementStage)
        stage.prepare()
        super().__init__(stage, faults)

    def choices(self) -> Mapping[Process, Sequence[Choice]]:
        waiting = [process for process in self._tasks if self._waits(process)]
        if waiting and len(waiting) == len(self._tasks):
            # No flow is left to give a lock back: the database ends that, or their patience does.
            self._wake(given_up=True)
        return super().choices()

    def finish(self) -> None:
        """Let every flow run to its end, one after the other."""
        while self._tasks:
            able = (process for process in self._tasks if not self._waits(process))
            process = next(able, None)
            if process is None:
                self._wake(given_up=True)
            else:
                self.take(process, DONE)

    def _waits(self, process: Process) -> bool:
        return process in self._begun and _caller(self._tasks[process]).waits_for_others

    def _ways(self, task: Task) -> Iterator[Way]:
        process = next(process for process, mine in self._tasks.items() if mine is task)
        if self._waits(process):
            return
        begun = process in self._begun
        for way in super()._ways(task):
            # Whether the handler fails is settled as it begins.
            if not (begun and way.fault == "handler"):
                yield way

    def _goes_on(self, process: Process, task: Task, way: Way) -> Taken | None:
        if task.node.op is None or isinstance(task.node.op, Exchange | RunHandler):
            return super()._goes_on(process, task, way)
        if self._waits(process) and not _caller(task).settles(STUCK_LOOKS):
            return None
        others = frozenset(other for other in self._ways(task) if other.needs_change)
        statement = self._stated(process, task, way)
        lasts = statement is not None and not _reads(statement) and statement.settles
        if way.needs_change and not lasts:
            return None
        touch = _touch(statement)
        if _caller(task).rests:
            touch |= self._finished(process, task)
        self._wake()
        if way.then != "goes on":
            touch |= self._dies(process, task, way.then) if process in self._tasks else touch
        return Taken(touch, unlike=frozenset() if lasts else others)

    def _stated(self, process: Process, task: Task, way: Way) -> Statement | None:
        """The next statement is made, in this way."""
        caller, op = _caller(task), task.node.op
        fails = way.fault == "handler"
        if process not in self._begun:
            self._begun[process] = "done"
            self._stage.store_calls += 1
            caller.begin(lambda: effect_answer(op, caller, self._shop, fails=fails))
        act: Act = "go" if fails else _ACTS[way.how]
        statement = caller.statement
        while statement is not None:
            self._last[process] = statement
            caller.go_on(act, self._patience(process))
            if act != "go" or not statement.quiet or caller.statement is None:
                break
            # Nothing happened, so it is no step.
            statement = caller.statement
        if way.how != "done":
            self._begun[process] = way.how
        words = f"{statement.in_words()} [{statement.where}]" if statement else "no statement"
        self._add_step(Step(what="runs", kind=task.kind, note=words, how=way.how, fault=way.fault))
        return statement

    def _finished(self, process: Process, task: Task) -> Touch:
        """The operation has come to its end, and the flow goes on."""
        op, answer = task.node.op, _caller(task).answer
        how = self._begun.pop(process)
        if isinstance(op, RunInTransaction):
            self.outside = called(op, answer, self.outside)
        self._sees_written(op)
        self._answers(task, Way(how), answer)
        return self._went_on(process, task, DONE, touches.SEES_CLOCK)

    def _wake(self, *, given_up: bool = False) -> None:
        """Let those go on whose lock was given back."""
        for process in [process for process in self._begun if self._waits(process)]:
            task = self._tasks[process]
            looks = STUCK_LOOKS if given_up else self._patience(process)
            if _caller(task).settles(looks) and _caller(task).rests:
                self._finished(process, task)

    def _patience(self, process: Process) -> int:
        """How long to look whether it goes on: where no other can hold a lock, it will."""
        others = (last for other, last in self._last.items() if other != process)
        return 0 if any(last.open_after is not False for last in others) else STUCK_LOOKS

    def _all_die(self) -> Touch:
        # A flow that waits for a lock dies last, when the others have given theirs back.
        order = sorted(self._tasks, key=self._waits)
        self._tasks = {process: self._tasks[process] for process in order}
        return super()._all_die()

    def _gone(self, process: Process) -> Touch:
        touch = super()._gone(process)
        self._last.pop(process, None)
        return touch | _WROTE if self._begun.pop(process, None) else touch

    def abandon(self) -> None:
        for process in sorted(self._begun, key=self._waits):
            self._stage.died(self._tasks.pop(process).seat)
        self._begun.clear()
        super().abandon()


def _caller(task: Task) -> Caller:
    assert isinstance(task.seat, Caller)
    return task.seat


_READ = touches.SEES_CLOCK | touches.touch(reads=(touches.RECORDS,))
_WROTE = touches.LASTS | touches.SEES_CLOCK | touches.touch(writes=(touches.RECORDS,))


def _touch(statement: Statement | None) -> Touch:
    """What a statement touches; where in doubt, every record."""
    if statement is None:
        return _WROTE
    if statement.quiet:
        return touches.SEES_CLOCK
    return _READ if _reads(statement) else _WROTE


def _reads(statement: Statement) -> bool:
    """It changes nothing, and blocks no other."""
    texts = statement.texts
    return bool(texts) and statement.reads_only and not any("FOR " in text for text in texts)
