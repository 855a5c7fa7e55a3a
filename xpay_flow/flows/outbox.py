"""Which handlers are due, and how do they get called exactly as often as promised?

Claim by compare-and-set, call, settle by compare-and-set. A process that dies in between leaves a
claim that runs out, and the call is made again with the same idempotency key. A handler that runs
within the store's transaction is settled by that very transaction, and so takes effect once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import attrs

from .. import events as ev
from ..decide import decide, superseded_by
from ..effects import (
    Command,
    HandlerTry,
    Ran,
    commit,
    count,
    history,
    load,
    now,
    orphaned,
    run_handler,
    run_in_transaction,
    with_lock,
)
from ..errors import InvalidValue, StoreContended, UnknownIntent
from ..intent import Intent
from ..payment import Payment, UnmatchedEvent, payment_of, unmatched_event_of
from ..ports import LOCKED, is_locked
from ..realm import in_words
from ..records import (
    EntryStatus,
    HandlerAttempt,
    HandlerName,
    OutboxEntry,
    Record,
    change,
    receipt_alias,
)
from .context import FlowContext, retry
from .queries import find
from .recording import record_event, with_decision
from .work_queue import FailedJob, never, work_on, work_through

HandlerNames = Collection[HandlerName]


@attrs.frozen(kw_only=True)
class WorkerCapabilities:
    """What this process has to deliver with.

    Args:
        handlers: the handlers that are registered in it; None is all.
        transactional: those of them that are called within the store's transaction.
        row_locks: the store can lock a record while its handlers run; see
            `xpay_flow.ports.RowLocking`.
    """

    handlers: HandlerNames | None = None
    transactional: HandlerNames = frozenset()
    row_locks: bool = False


ALL = WorkerCapabilities()

NO_ON_SUCCESS = "no on_success handler is registered in this process"


@attrs.frozen(kw_only=True)
class HandlerResult:
    """How one due handler call stands after this pass.

    Args:
        intent_id: None for `on_unmatched`, which is about no intent.
        outcome: `done`, `failed` (will be tried again), `dropped`, `missing`, `gave_up`; `pending`
            where another process has taken the call over.
    """

    entry_id: str
    name: HandlerName
    intent_id: str | None
    outcome: str
    error: str = ""


def deliver(
    context: FlowContext,
    *,
    limit: int = 100,
    handlers: HandlerNames | None = None,
    capabilities: WorkerCapabilities = ALL,
    stopping: Callable[[], bool] = never,
) -> Command[tuple[HandlerResult | FailedJob, ...]]:
    """Call every handler that is due now, on at most `limit` intents, longest due first.

    Args:
        handlers: the handlers that this process has; None is all. See `deliver_record`.
        capabilities: the same and more.
        stopping: no further intent is begun once it answers true.
    """
    capabilities = (
        capabilities if handlers is None else attrs.evolve(capabilities, handlers=handlers)
    )

    def do(key: str) -> Command[Sequence[HandlerResult]]:
        return deliver_record(key, context, capabilities)

    left: tuple[HandlerResult | FailedJob, ...] = ()
    if capabilities.row_locks:
        keys = yield from orphaned_records(limit)
        left = yield from work_on("deliver", keys, do, stopping=stopping)
    return (*left, *(yield from work_through("deliver", do, limit, stopping=stopping)))


def deliver_records(
    keys: Sequence[str],
    context: FlowContext,
    capabilities: WorkerCapabilities = ALL,
    *,
    stopping: Callable[[], bool] = never,
) -> Command[tuple[HandlerResult | FailedJob, ...]]:
    """Call every handler that is due now for these records, and no other.

    Args:
        stopping: no further record is begun once it answers true.
    """

    def do(key: str) -> Command[Sequence[HandlerResult]]:
        return deliver_record(key, context, capabilities)

    return (yield from work_on("deliver", keys, do, stopping=stopping))


def orphaned_records(limit: int) -> Command[Sequence[str]]:
    """Records whose worker has died in the middle of a handler; for a process that `row_locks`."""
    now_ms = yield from now()
    return (yield from orphaned(now_ms, limit))


def deliver_record(
    key: str, context: FlowContext, capabilities: WorkerCapabilities = ALL
) -> Command[Sequence[HandlerResult]]:
    """Call the due handlers of one intent, one after the other, each at most once.

    A process without `on_success` leaves what it has no handler for to those that have one. One
    with `on_success` is taken for a whole shop: other handlers that it lacks are not wanted.
    """
    if not capabilities.row_locks:
        return (yield from _delivered(key, context, capabilities))
    held = yield from with_lock(key, _delivered(key, context, capabilities))
    return held or ()


def _delivered(
    key: str, context: FlowContext, capabilities: WorkerCapabilities
) -> Command[Sequence[HandlerResult]]:
    delivered: list[HandlerResult] = []
    tried: set[str] = set()
    while (claimed := (yield from _claim(key, tried, context, capabilities))) is not None:
        intent, entry = claimed
        tried.add(entry.id)
        if entry.status == "pending":
            payment = yield from _payment(key, intent, entry, context)
            if entry.name in capabilities.transactional:
                outcome = yield from _call_in_transaction(key, entry, payment, context)
            else:
                ran = yield from _call(entry, payment, context)
                outcome = yield from _settle(key, entry, ran, context)
        else:
            outcome = _outcome(entry, intent, entry.status, entry.log[-1].error)
        yield from count(f"handler.{outcome.name}.{outcome.outcome}")
        delivered.append(outcome)
    return delivered


@attrs.frozen
class _Claim:
    """A try to claim that lost no race: the call that is now this process's, if one was due."""

    call: tuple[Intent | None, OutboxEntry] | None = None


def _claim(
    key: str, tried: set[str], context: FlowContext, capabilities: WorkerCapabilities
) -> Command[tuple[Intent | None, OutboxEntry] | None]:
    """Take the next due entry for this process, or end it: superseded, or tried too often.

    Losing every race is safe: the entry stays due.
    """
    try:
        claimed = yield from retry(
            context, key, lambda: _try_to_claim(key, tried, context, capabilities)
        )
    except StoreContended:
        return None
    return claimed.call


def _try_to_claim(
    key: str, tried: set[str], context: FlowContext, capabilities: WorkerCapabilities
) -> Command[_Claim | None]:
    """One try; None is a lost race."""
    found = yield from load(key)
    now_ms = yield from now()
    record = found[0] if found else None
    if record is None:
        return _Claim()
    due_now = (e for e in record.outbox if _is_due(e, now_ms, capabilities) and e.id not in tried)
    entry = next(due_now, None)
    if entry is None:
        return _Claim()
    after = _claimed(record, entry, now_ms, context, capabilities)
    claimed = after.entry(entry.id)
    step = change(record, after)
    if claimed is not None and (yield from commit(step)):
        return _Claim((record.intent, claimed))
    return None


def _is_due(entry: OutboxEntry, now_ms: int, capabilities: WorkerCapabilities) -> bool:
    mine = (
        capabilities.handlers is None
        or entry.name in capabilities.handlers
        or "on_success" in capabilities.handlers
    )
    # The worker that started it while holding the record is gone: now we hold it.
    is_free = entry.next_at_ms <= now_ms or (capabilities.row_locks and is_locked(entry))
    return mine and entry.status == "pending" and is_free


def _claimed(
    record: Record,
    entry: OutboxEntry,
    now_ms: int,
    context: FlowContext,
    capabilities: WorkerCapabilities,
) -> Record:
    intent, superseded = record.intent, None
    if intent is not None and not entry.forced:
        superseded = superseded_by(intent, entry.name)
    if superseded is not None:
        log = _logged(record, entry, now_ms, "dropped", superseded)
        return record.with_entry(attrs.evolve(entry, status="dropped", log=log))
    if entry.tries > len(context.settings.retry_schedule_s):
        # Every try ended without a word: the handler takes its process with it.
        log = _logged(record, entry, now_ms, "gave_up", "no try of this call has come to an end")
        return _given_up(record, attrs.evolve(entry, log=log), now_ms, context)
    # A call whose worker has died is free at once, but one that kills worker after worker is not:
    # the next one's claim has to run out.
    note = LOCKED if capabilities.row_locks and not _was_cut_short(entry) else ""
    claimed = attrs.evolve(
        entry,
        tries=entry.tries + 1,
        # Until then it is ours. A handler that runs longer may be called again meanwhile.
        next_at_ms=now_ms + context.settings.lease_s * 1000,
        log=_logged(record, entry, now_ms, "started", note),
    )
    return record.with_entry(claimed)


def _was_cut_short(entry: OutboxEntry) -> bool:
    return bool(entry.log) and entry.log[-1].outcome == "started"


def _logged(
    record: Record, entry: OutboxEntry, now_ms: int, outcome: str, error: str = ""
) -> tuple[HandlerAttempt, ...]:
    return entry.logged(
        HandlerAttempt(at_ms=now_ms, version=record.version + 1, outcome=outcome, error=error)
    )


def _payment(
    key: str, intent: Intent | None, entry: OutboxEntry, context: FlowContext
) -> Command[Payment | UnmatchedEvent]:
    if intent is None:
        return (yield from _unmatched_event(key, entry))
    siblings = yield from load(receipt_alias(intent.receipt_id))
    intents = [other.intent for other in siblings if other.intent is not None]
    also_paid = tuple(other.id for other in intents if other.id != intent.id and other.is_paid)
    elsewhere = {x_intent_id for other in intents for x_intent_id in other.paid_elsewhere}
    if also_paid and entry.name == "on_success":
        twice = ev.own(ev.PAID_TWICE, (yield from now()), subject=",".join(also_paid))
        yield from record_event(key, twice, context)
    return payment_of(intent, entry.name, entry.subject, entry.id, (*also_paid, *sorted(elsewhere)))


def _unmatched_event(key: str, entry: OutboxEntry) -> Command[UnmatchedEvent]:
    (whole,) = yield from history(key)
    event = next(r.event for r in whole.events if r.event.event_key == entry.subject)
    return unmatched_event_of(event, entry.id)


def _call(
    entry: OutboxEntry, payment: Payment | UnmatchedEvent, context: FlowContext
) -> Command[Ran]:
    ran = yield from run_handler(entry.name, payment, _current(entry, context))
    if ran.outcome == "missing" and entry.name == "on_success":
        # Never forgotten: the order would be paid and not fulfilled.
        return Ran("failed", NO_ON_SUCCESS)
    return ran


def _current(claimed: OutboxEntry, context: FlowContext) -> HandlerTry:
    return HandlerTry(number=claimed.tries, retry_s=_retry_s(claimed, context))


def _retry_s(claimed: OutboxEntry, context: FlowContext) -> int | None:
    """Seconds until the next try, should this one fail; None where it is the last."""
    schedule = context.settings.retry_schedule_s
    return schedule[claimed.tries - 1] if claimed.tries <= len(schedule) else None


def _call_in_transaction(
    key: str, claimed: OutboxEntry, payment: Payment | UnmatchedEvent, context: FlowContext
) -> Command[HandlerResult]:
    """Commit that the call is done, together with what it wrote. A lost race has written nothing.

    Where it is not known whether that was committed, the record shows it at the next pass.
    """

    def attempt() -> Command[HandlerResult | None]:
        record, current = yield from _claimed_record(key, claimed)
        now_ms = yield from now()
        if current.status != "pending" or current.tries != claimed.tries:
            # Our claim ran out and another process has taken over.
            return _outcome(claimed, record.intent, current.status)
        after = _settled(record, current, Ran("done"), now_ms, context)
        ran = yield from run_in_transaction(
            claimed.name, payment, change(record, after), _current(claimed, context)
        )
        if ran.outcome == "done":
            return _outcome(claimed, record.intent, "done")
        return None if ran.outcome == "lost" else (yield from _settle(key, claimed, ran, context))

    return (yield from retry(context, claimed.id, attempt))


def _claimed_record(key: str, claimed: OutboxEntry) -> Command[tuple[Record, OutboxEntry]]:
    """The record as it is now, and what has become of a call that was claimed."""
    record = (yield from load(key))[0]
    if record.entry(claimed.id) is None:
        # It has ended meanwhile, and so is not loaded to decide.
        record = (yield from history(key))[0]
    current = record.entry(claimed.id)
    assert current is not None
    return record, current


def _outcome(
    entry: OutboxEntry, intent: Intent | None, outcome: str, error: str = ""
) -> HandlerResult:
    return HandlerResult(
        entry_id=entry.id,
        name=entry.name,
        intent_id=intent.id if intent is not None else None,
        outcome=outcome,
        error=error,
    )


def _settle(
    key: str, claimed: OutboxEntry, ran: Ran, context: FlowContext
) -> Command[HandlerResult]:
    """Record how the call ended. Losing every race is safe: the claim runs out."""

    def attempt() -> Command[HandlerResult | None]:
        record, current = yield from _claimed_record(key, claimed)
        now_ms = yield from now()
        outcome = _outcome(claimed, record.intent, ran.outcome, ran.error)
        if current.status != "pending" or (
            ran.outcome == "failed" and current.tries != claimed.tries
        ):
            # Our claim ran out and another process has taken over.
            return outcome
        after = _settled(record, current, ran, now_ms, context)
        if not (yield from commit(change(record, after))):
            return None
        settled = after.entry(claimed.id)
        gave_up = settled is not None and settled.status == "gave_up"
        return attrs.evolve(outcome, outcome="gave_up") if gave_up else outcome

    return (yield from retry(context, claimed.id, attempt))


def _settled(
    record: Record, entry: OutboxEntry, ran: Ran, now_ms: int, context: FlowContext
) -> Record:
    log = _logged(record, entry, now_ms, ran.outcome, ran.error)
    if ran.outcome != "failed":
        status: EntryStatus = "done" if ran.outcome == "done" else "dropped"
        return record.with_entry(attrs.evolve(entry, status=status, log=log))
    retry_s = _retry_s(entry, context)
    if retry_s is not None:
        next_at_ms = now_ms + retry_s * 1000
        return record.with_entry(attrs.evolve(entry, next_at_ms=next_at_ms, log=log))
    return _given_up(record, attrs.evolve(entry, log=log), now_ms, context)


def _given_up(record: Record, entry: OutboxEntry, now_ms: int, context: FlowContext) -> Record:
    """No more tries, and an operator is alerted."""
    given_up = record.with_entry(attrs.evolve(entry, status="gave_up", given_up=entry.given_up + 1))
    if entry.name == "on_attention" or record.intent is None:
        # No other alert is left; it stays visible in the log, on the timeline, and in the intent's
        # attention.
        return given_up
    event = ev.own(ev.HANDLER_GAVE_UP, now_ms, subject=_gave_up_subject(entry))
    return with_decision(given_up, decide(record.intent, event, context.lifecycle), now_ms, context)


def _gave_up_subject(entry: OutboxEntry) -> str:
    """Which call was given up, and for which time: each time an operator must see it."""
    subject = f"{entry.name}:{entry.subject}" if entry.subject else entry.name
    return f"{subject}#{entry.given_up + 1}" if entry.given_up else subject


def redeliver(name: str, entry_id: str, context: FlowContext) -> Command[OutboxEntry]:
    """Make a handler call due again that was given up or dropped, after its cause is fixed.

    Args:
        name: of the intent, as in `find`.

    A superseded call is made all the same: the operator knows better.

    Raises:
        UnknownIntent: no handler call has this id.
        InvalidValue: the call is neither given up nor dropped, or of another mode or account.
    """
    return (yield from retry(context, entry_id, lambda: _try_to_redeliver(name, entry_id, context)))


def _try_to_redeliver(
    name: str, entry_id: str, context: FlowContext
) -> Command[OutboxEntry | None]:
    now_ms = yield from now()
    for record in (yield from find(name)):
        entry = record.entry(entry_id)
        if entry is None:
            continue
        if record.realm not in context.settings.realms:
            raise InvalidValue(
                f"{entry_id} belongs to {in_words(record.realm)}, and these settings to "
                f"{context.settings.realm}: use the flow of that account"
            )
        if entry.status not in ("gave_up", "dropped"):
            raise InvalidValue(
                f"{entry_id} is {entry.status}; only a call that was given up or dropped "
                "can be made again"
            )
        log = _logged(record, entry, now_ms, "pending again")
        pending = attrs.evolve(
            entry, status="pending", tries=0, next_at_ms=now_ms, forced=True, log=log
        )
        won = yield from commit(change(record, record.with_entry(pending)))
        return pending if won else None
    raise UnknownIntent(entry_id)
