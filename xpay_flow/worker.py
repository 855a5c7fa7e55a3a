"""What does a worker do, and how does it report it? For every program that runs one.

Any number of workers may run on one store; a job is claimed in the store. A worker that has to
stop finishes the job it is at. One that is killed leaves a claim that runs out, or, where the store
holds records by locks, a job that is free at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from threading import Event

import attrs

from .effects import Command
from .errors import StoreError
from .flows import FailedJob, FlowContext, HandlerResult, ReconcileResult
from .flows.all_due import Result as Result
from .flows.all_due import do_all_due
from .flows.outbox import WorkerCapabilities
from .job_pool import AT_ONCE_IN_WORKER
from .records import Work


def one_pass(
    context: FlowContext,
    capabilities: WorkerCapabilities,
    stopping: Callable[[], bool],
    report: Callable[[Result], None],
    at_once: int = AT_ONCE_IN_WORKER,
) -> Command[int]:
    """Everything that is due now; how many results there were.

    Payments are reconciled one at a time beside the deliveries, which do not wait for xPay. Calls
    that reconciliation has made due are delivered in the same pass.

    Args:
        at_once: how many handlers run at a time.
    """
    jobs: dict[Work, int] = {"deliver": at_once, "reconcile": 1}
    return (yield from do_all_due(context, capabilities, jobs, report, stopping=stopping))


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
