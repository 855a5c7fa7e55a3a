"""How is all that is due done, several jobs at a time, until there is nothing left?

A job that did nothing, or failed, stays due, and is not begun again for a while: it holds up no
others, and is reported. A pass may go on for as long as others become due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from ..effects import Command, due, each, now
from ..records import Work
from .context import FlowContext
from .outbox import HandlerResult, WorkerCapabilities, deliver_record, orphaned_records
from .reconcile import ReconcileResult, reconcile_record
from .work_queue import FailedJob, never, work_on

# Keys of one look; the next one follows as soon as these are begun.
LOOK_MAX: Final = 100
# How many deliveries are prepared or being recorded, beside those whose handlers run.
AHEAD: Final = 32
# How long a job that did nothing is passed over, within one pass.
AGAIN_MS: Final = 5000

Result: TypeAlias = HandlerResult | ReconcileResult | FailedJob


def do_all_due(
    context: FlowContext,
    capabilities: WorkerCapabilities,
    at_once: Mapping[Work, int],
    report: Callable[[Result], object],
    *,
    stopping: Callable[[], bool] = never,
) -> Command[int]:
    """Do these kinds of work until none is due; how many results there were.

    Args:
        at_once: how many jobs of each kind at a time; of deliveries, how many handlers.
        report: given each result as it comes.
        stopping: no further job is begun once it answers true.

    Raises:
        StoreUnavailable: the store itself failed; what is due stays due.
    """
    # Until when each is passed over.
    in_vain: dict[Work, dict[str, int]] = {work: {} for work in at_once}

    def look(work: Work, busy: frozenset[str]) -> Command[Sequence[str]]:
        now_ms = yield from now()
        # A copy: jobs end meanwhile.
        waiting = {key for key, until_ms in list(in_vain[work].items()) if now_ms < until_ms}
        passed_over = busy | waiting
        limit, keys = LOOK_MAX + len(passed_over), list[str]()
        if work == "deliver" and capabilities.row_locks:
            keys.extend((yield from orphaned_records(limit)))
        keys.extend((yield from due(work, now_ms, limit)))
        return [key for key in dict.fromkeys(keys) if key not in passed_over]

    def do_one(work: Work, key: str) -> Command[Sequence[HandlerResult | ReconcileResult]]:
        if work == "deliver":
            return (yield from deliver_record(key, context, capabilities))
        return (yield from reconcile_record(key, context))

    def do(work: Work, key: str) -> Command[int]:
        results = yield from work_on(work, (key,), lambda key: do_one(work, key))
        if not results or any(isinstance(result, FailedJob) for result in results):
            in_vain[work][key] = (yield from now()) + AGAIN_MS
        for result in results:
            report(result)
        return sum(not isinstance(result, FailedJob) for result in results)

    places = at_once.get("deliver", 0)
    jobs = dict(at_once)
    if places and not capabilities.row_locks:
        # Read before they have a place, and recorded after it. A job with a row lock needs a
        # connection from its beginning to its end.
        jobs["deliver"] += AHEAD
    return (yield from each(look, do, jobs, places, stopping))
