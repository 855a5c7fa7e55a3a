"""What does a worker do, and how does it report it? For every program that runs one.

Any number of workers may run on one store; a job is claimed in the store. A worker that has to
stop finishes the job it is at. One that is killed leaves a claim that runs out, or, where the store
holds records by locks, a job that is free at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Final, TypeAlias

import attrs

from .effects import Command
from .errors import StoreError
from .flows import FailedJob, FlowContext, HandlerResult, ReconcileResult
from .flows.outbox import WorkerCapabilities, deliver_record, orphaned_records
from .flows.reconcile import reconcile_record
from .flows.work_queue import work_on, work_through
from .records import Work

# Keys read at once; the next pass reads the next ones.
BATCH: Final = 100

Result: TypeAlias = HandlerResult | ReconcileResult | FailedJob
_Do: TypeAlias = Callable[[str], Command[Sequence[Result]]]


def one_pass(
    context: FlowContext,
    capabilities: WorkerCapabilities,
    stopping: Callable[[], bool],
    report: Callable[[Result], None],
) -> Command[int]:
    """Everything that is due now, one job after the other; how many results there were.

    Calls that reconciliation has made due are delivered in the same pass.
    """

    def deliver_one(key: str) -> Command[Sequence[Result]]:
        return reported((yield from deliver_record(key, context, capabilities)))

    def reconcile_one(key: str) -> Command[Sequence[Result]]:
        return reported((yield from reconcile_record(key, context)))

    def reported(found: Sequence[Result]) -> Sequence[Result]:
        for result in found:
            report(result)
        return found

    def counted(done: Sequence[Result]) -> int:
        reported([result for result in done if isinstance(result, FailedJob)])
        return sum(not isinstance(result, FailedJob) for result in done)

    results = 0
    if capabilities.row_locks:
        keys = yield from orphaned_records(BATCH)
        results += counted((yield from work_on("deliver", keys, deliver_one, stopping=stopping)))
    steps: tuple[tuple[Work, _Do], ...] = (
        ("deliver", deliver_one),
        ("reconcile", reconcile_one),
        ("deliver", deliver_one),
    )
    for work, do in steps:
        results += counted((yield from work_through(work, do, BATCH, stopping=stopping)))
    return results


def work_until(
    stop: Event, one: Callable[[], int], poll_s: float | None, say: Callable[[str], object]
) -> None:
    """Pass after pass, each of which returns how much it found, until one finds nothing.

    Then it pauses for `poll_s` and begins again; with None it ends.

    Raises:
        StoreError: without a `poll_s`. Otherwise a store that is away for a while is no reason to
            end; what is due stays due.
    """
    while not stop.is_set():
        found = 0
        try:
            found = one()
        except StoreError as error:
            if poll_s is None:
                raise
            say(trying_again(error))
        if not found:
            if poll_s is None:
                return
            stop.wait(poll_s)


# --- output --------------------------------------------------------------------------------------


def looking(poll_s: float | None) -> str:
    """How a worker begins."""
    return "looking once" if poll_s is None else f"looking every {poll_s:g} s; Ctrl+C ends it"


def trying_again(error: StoreError) -> str:
    return f"the store failed, trying again: {error}"


def in_words(result: Result) -> str:
    """A result as a line of text."""
    return f"{time.strftime('%H:%M:%S')} {_what(result)}"


def _what(result: Result) -> str:
    if isinstance(result, HandlerResult):
        why = f" ({result.error})" if result.error else ""
        return f"{result.name} for {result.intent_id}: {result.outcome}{why}"
    if isinstance(result, FailedJob):
        return f"{result.work} of {result.key} failed, and stays due: {result.error}"
    state = f", state {result.state}" if result.state else ""
    return f"reconciled {result.intent_id or result.key}: {result.outcome}{state}"


def in_json(result: Result) -> str:
    """A result as a line for programs."""
    kinds = {HandlerResult: "delivered", ReconcileResult: "reconciled", FailedJob: "failed_job"}
    line = {
        "kind": kinds[type(result)],
        "at_ms": time.time_ns() // 1_000_000,
        **attrs.asdict(result),
    }
    return json.dumps(line)
