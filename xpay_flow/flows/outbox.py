"""Which handlers are due, and how do they get called exactly as often as promised?

Claim by compare-and-set, call, settle by compare-and-set. A process that dies in between leaves a
claim that runs out, and the call is made again with the same idempotency key. A handler that runs
within the store's transaction is settled by that very transaction, and so takes effect once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeVar

import attrs

from .. import events as ev
from ..decide import decide, superseded_by
from ..effects import (
    Command,
    HandlerTry,
    Ran,
    commit,
    count,
    enter_place,
    history,
    leave_place,
    load,
    new_id,
    now,
    orphaned,
    pause,
    run_handler,
    run_in_transaction,
    with_lock,
    with_slot,
)
from ..errors import (
    InvalidValue,
    StoreContended,
    StoreError,
    StoreUnavailable,
    UnknownIntent,
    error_text,
)
from ..intent import Intent
from ..payment import Payment, UnmatchedEvent, payment_of, unmatched_event_of
from ..ports import LOCKED, is_locked
from ..realm import in_words
from ..records import (
    Change,
    EntryStatus,
    HandlerAttempt,
    HandlerName,
    OutboxEntry,
    Record,
    change,
    for_deciding,
    receipt_alias,
    receipt_in,
)
from .context import FlowContext, retry
from .erasing import finish_erasing
from .queries import find
from .recording import record_event, with_decision
from .work_queue import FailedJob, never, work_on, work_through

HandlerNames = Collection[HandlerName]
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class WorkerCapabilities:
    """What this process has to deliver with.

    Args:
        handlers: the handlers that are registered in it; None is all.
        transactional: those of them that are called within the store's transaction.
        row_locks: the store can lock a record while its handlers run; see
            `xpay_flow.ports.RowLocking`.
        slots: it keeps calls for one intent apart, and their number bounded; see
            `xpay_flow.effects.WithSlot` and `EnterPlace`.
    """

    handlers: HandlerNames | None = None
    transactional: HandlerNames = frozenset()
    row_locks: bool = False
    slots: bool = False


ALL = WorkerCapabilities()

# The waits before a record is read again whose claim lost its answer.
CLAIM_AGAIN_S: Final = (0.1, 0.4)
# The waits before a call that was made is tried to be recorded again. They end well within the half
# of a lease that is left to it.
SETTLE_AGAIN_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)

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

    A call that was cut short may have ended its process, and would be cut short by another that
    does. So it is made again while this process makes no other call.
    """
    results = yield from _each_call(key, context, capabilities)
    if any(result.intent_id is None for result in results):
        yield from finish_erasing(key)
    return results


def _each_call(
    key: str, context: FlowContext, capabilities: WorkerCapabilities
) -> Command[Sequence[HandlerResult]]:
    first = yield from _guarded(key, context, capabilities, alone=False)
    if not first.left:
        return first.results
    second = yield from _guarded(key, context, capabilities, alone=True)
    return (*first.results, *second.results)


@attrs.frozen
class _Delivered:
    """What was done for one intent.

    Args:
        left: a call is due that is to be made alone.
    """

    results: tuple[HandlerResult, ...] = ()
    left: bool = False


def _guarded(
    key: str, context: FlowContext, capabilities: WorkerCapabilities, *, alone: bool
) -> Command[_Delivered]:
    flow: Command[_Delivered | None] = _delivered(key, context, capabilities, alone)
    if capabilities.row_locks:
        flow = with_lock(key, flow)
        if capabilities.slots:
            flow = _in_place(flow)
    if capabilities.slots:
        # Calls that are in progress end within their time limit.
        patience_s = context.settings.handler_timeout_s
        flow = with_slot(key, flow, alone=alone, patience_s=patience_s)
    return (yield from flow) or _Delivered()


def _in_place(flow: Command[T]) -> Command[T]:
    yield from enter_place()
    answer = yield from flow
    yield from leave_place()
    return answer


@attrs.frozen
class _View:
    """A record as it was last read, or committed by us.

    Args:
        also_paid: other attempts for the same receipt that are paid, by intent id.
        elsewhere: payments for this receipt that none of our attempts has made, by xPay's id.
    """

    record: Record
    also_paid: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

    @property
    def intent(self) -> Intent | None:
        return self.record.intent

    def after(self, step: Change) -> _View:
        """What reading again would find after our commit: so nothing is read again."""
        return attrs.evolve(self, record=for_deciding(step.record))


@attrs.frozen
class _Claiming:
    """What a job knows as it claims one entry of its record after the other.

    Args:
        id: stands in its claims, and in no other's.
        alone: what was cut short is called, too.
        tried: the entries that it has claimed.
        unanswered: a commit of it lost its answer.
    """

    key: str
    id: str
    context: FlowContext
    capabilities: WorkerCapabilities
    alone: bool
    tried: frozenset[str] = frozenset()
    unanswered: bool = False

    def ours(self, record: Record) -> OutboxEntry | None:
        """What we have claimed and do not know of, since the commit lost its answer."""
        if not self.unanswered:
            return None
        claimed = [entry for entry in record.outbox if entry.id not in self.tried]
        return next((e for e in claimed if _was_cut_short(e) and e.log[-1].claim == self.id), None)

    def free(self, record: Record, now_ms: int) -> list[OutboxEntry]:
        """The entries that are due for this process."""
        due = [entry for entry in record.outbox if entry.id not in self.tried]
        return [entry for entry in due if _is_due(entry, now_ms, self.capabilities)]


def _delivered(
    key: str, context: FlowContext, capabilities: WorkerCapabilities, alone: bool
) -> Command[_Delivered]:
    results: tuple[HandlerResult, ...] = ()
    claiming = _Claiming(key, (yield from new_id("claim")), context, capabilities, alone)
    view: _View | None = None
    while True:
        claim = yield from _claim(claiming, view)
        if claim.call is None:
            return _Delivered(results, claim.left)
        view, entry = claim.call
        claiming = attrs.evolve(claiming, tried=claiming.tried | {entry.id})
        if entry.status == "pending":
            outcome, view = yield from _made(key, view, entry, context, capabilities)
        else:
            outcome = _outcome(entry, view.intent, entry.status, entry.log[-1].error)
        yield from count(f"handler.{outcome.name}.{outcome.outcome}")
        results = (*results, outcome)


def _made(
    key: str,
    view: _View,
    entry: OutboxEntry,
    context: FlowContext,
    capabilities: WorkerCapabilities,
) -> Command[tuple[HandlerResult, _View | None]]:
    """Make a call that was claimed; its result, and the record after that, if it is known."""
    try:
        payment, known = yield from _prepared(key, view, entry, context)
    except StoreError as error:
        return (yield from _settle(key, None, entry, _failed(error), context))
    if entry.name in capabilities.transactional:
        return (yield from _call_in_transaction(key, known, entry, payment, context))
    ran = yield from _call(entry, payment, context)
    if capabilities.slots and not capabilities.row_locks:
        # A row lock keeps its connection until the end is recorded.
        yield from leave_place()
    return (yield from _settle(key, known, entry, ran, context))


def _prepared(
    key: str, view: _View, entry: OutboxEntry, context: FlowContext
) -> Command[tuple[Payment | UnmatchedEvent, _View | None]]:
    """What the handler is given, and the record after that, if it is known."""
    if view.intent is None:
        return (yield from _unmatched_event(key, entry)), view
    paid = (*view.also_paid, *view.elsewhere)
    payment = payment_of(view.intent, entry.name, entry.subject, entry.id, paid)
    if not view.also_paid or entry.name != "on_success":
        return payment, view
    twice = ev.own(ev.PAID_TWICE, (yield from now()), subject=",".join(view.also_paid))
    yield from record_event(key, twice, context)
    return payment, None


def _failed(error: StoreError) -> Ran:
    """A call that the store has kept from being made, or from being committed."""
    return Ran("failed", error_text(error))


def _read(key: str) -> Command[_View | None]:
    """The record and the other attempts for its receipt, which are found under one name."""
    receipt_id = receipt_in(key)
    found = (yield from load(receipt_alias(receipt_id))) if receipt_id is not None else ()
    record = next((r for r in found if r.key == key), None)
    if record is None:
        records = yield from load(key)
        if not records:
            return None
        record = records[0]
        if record.intent is None:
            return _View(record)
        found = yield from load(receipt_alias(record.intent.receipt_id))
    intents = [r.intent for r in found if r.intent is not None]
    # What was given back in full is no second payment.
    others = [r.intent for r in found if r.intent and r.key != key]
    also_paid = [other.id for other in others if other.is_paid and not other.is_given_back]
    elsewhere = {x_intent_id for intent in intents for x_intent_id in intent.paid_elsewhere}
    return _View(record, tuple(also_paid), tuple(sorted(elsewhere)))


@attrs.frozen
class _Claim:
    """A try to claim that lost no race.

    Args:
        call: what is now this process's, if something was due, and the record with it.
        left: a call is due that is to be made alone.
    """

    call: tuple[_View, OutboxEntry] | None = None
    left: bool = False


def _claim(claiming: _Claiming, view: _View | None) -> Command[_Claim]:
    """Take the next due entry for this process, or end it: superseded, or tried too often.

    Losing every race is safe: the entry stays due. A claim whose commit lost its answer is found in
    the record, so that it does not have to run out.
    """
    # The checker names the tasks of one kind alike, so there no claim is known by its id.
    for wait_s in CLAIM_AGAIN_S if claiming.capabilities.slots else ():
        try:
            return (yield from _claim_once(claiming, view))
        except _Unanswered:
            view, claiming = None, attrs.evolve(claiming, unanswered=True)
        yield from count("handler.claimed_again")
        yield from pause(wait_s)
    try:
        return (yield from _claim_once(claiming, view))
    except _Unanswered as unanswered:
        raise unanswered.error from None


def _claim_once(claiming: _Claiming, view: _View | None) -> Command[_Claim]:
    claimed = None
    if view is not None:
        claimed = yield from _try_to_claim(claiming, view)
    if claimed is not None:
        return claimed

    def attempt() -> Command[_Claim | None]:
        view = yield from _read(claiming.key)
        return _Claim() if view is None else (yield from _try_to_claim(claiming, view))

    try:
        return (yield from retry(claiming.context, claiming.key, attempt))
    except StoreContended:
        return _Claim()


class _Unanswered(Exception):
    """A claim may have been committed."""

    def __init__(self, error: StoreUnavailable) -> None:
        super().__init__(error)
        self.error = error


def _try_to_claim(claiming: _Claiming, view: _View) -> Command[_Claim | None]:
    """One try; None is a lost race."""
    if (ours := claiming.ours(view.record)) is not None:
        return _Claim((view, ours))
    now_ms = yield from now()
    record = view.record.as_of(now_ms)
    due = claiming.free(record, now_ms)
    mine = [entry for entry in due if claiming.alone or not _was_cut_short(entry)]
    if not mine:
        return _Claim(left=bool(due))
    if claiming.capabilities.slots:
        yield from enter_place()
        # What was due then is due now, and the claim begins now.
        now_ms = yield from now()
    after = _claimed(record, mine[0], now_ms, claiming)
    claimed = after.entry(mine[0].id)
    step = change(view.record, after.set_at(now_ms))
    try:
        won = yield from commit(step)
    except StoreUnavailable as error:
        raise _Unanswered(error) from error
    return _Claim((view.after(step), claimed)) if won and claimed is not None else None


def _is_due(entry: OutboxEntry, now_ms: int, capabilities: WorkerCapabilities) -> bool:
    mine = (
        capabilities.handlers is None
        or entry.name in capabilities.handlers
        or "on_success" in capabilities.handlers
    )
    # The worker that started it while holding the record is gone: now we hold it.
    is_free = entry.next_at_ms <= now_ms or (capabilities.row_locks and is_locked(entry))
    return mine and entry.status == "pending" and is_free


def _claimed(record: Record, entry: OutboxEntry, now_ms: int, claiming: _Claiming) -> Record:
    context = claiming.context
    intent, superseded = record.intent, None
    if intent is not None and not entry.forced:
        superseded = superseded_by(intent, entry.name)
    if superseded is not None:
        log = _logged(record, entry, now_ms, "dropped", superseded)
        return record.with_entry(attrs.evolve(entry, status="dropped", log=log))
    was_cut_short = _was_cut_short(entry)
    entry = attrs.evolve(entry, cut_short=entry.cut_short + was_cut_short)
    # The next try would take one process more.
    takes_processes = was_cut_short and entry.cut_short + 1 >= context.settings.cut_short_max
    if takes_processes or entry.tries > len(context.settings.retry_schedule_s):
        log = _logged(record, entry, now_ms, "gave_up", "no try of this call has come to an end")
        return _given_up(record, attrs.evolve(entry, log=log), now_ms, context)
    # A call whose worker has died is free at once, but one that kills worker after worker is not:
    # the next one's claim has to run out.
    note = LOCKED if claiming.capabilities.row_locks and not was_cut_short else ""
    claimed = attrs.evolve(
        entry,
        tries=entry.tries + 1,
        # Until then it is ours. A handler that runs longer may be called again meanwhile.
        next_at_ms=now_ms + context.settings.lease_s * 1000,
        log=_logged(record, entry, now_ms, "started", note, claiming.id),
    )
    return record.with_entry(claimed)


def _was_cut_short(entry: OutboxEntry) -> bool:
    return bool(entry.log) and entry.log[-1].outcome == "started"


def _logged(
    record: Record, entry: OutboxEntry, now_ms: int, outcome: str, error: str = "", claim: str = ""
) -> tuple[HandlerAttempt, ...]:
    version = record.version + 1
    return entry.logged(
        HandlerAttempt(at_ms=now_ms, version=version, claim=claim, outcome=outcome, error=error)
    )


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
    return HandlerTry(
        number=claimed.tries,
        retry_s=_retry_s(claimed, context),
        timeout_s=context.settings.handler_timeout_s,
    )


def _retry_s(claimed: OutboxEntry, context: FlowContext) -> int | None:
    """Seconds until the next try, should this one fail; None where it is the last."""
    schedule = context.settings.retry_schedule_s
    return schedule[claimed.tries - 1] if claimed.tries <= len(schedule) else None


def _call_in_transaction(
    key: str,
    view: _View | None,
    claimed: OutboxEntry,
    payment: Payment | UnmatchedEvent,
    context: FlowContext,
) -> Command[tuple[HandlerResult, _View | None]]:
    """Commit that the call is done, together with what it wrote. A lost race has written nothing.

    Where it is not known whether that was committed, the record shows it. Once a failure is
    recorded it cannot be committed any more: the record has changed.
    """
    if view is not None and (
        ended := (yield from _try_in_transaction(key, view, claimed, payment, context))
    ):
        return ended

    def attempt() -> Command[tuple[HandlerResult, _View | None] | None]:
        view = yield from _claimed_record(key, claimed)
        ended = yield from _try_in_transaction(key, view, claimed, payment, context)
        # Without its siblings this view is not for the next call.
        return ended and (ended[0], None)

    return (yield from retry(context, claimed.id, attempt))


def _try_in_transaction(
    key: str,
    view: _View,
    claimed: OutboxEntry,
    payment: Payment | UnmatchedEvent,
    context: FlowContext,
) -> Command[tuple[HandlerResult, _View | None] | None]:
    current = _entry(view, claimed)
    now_ms = yield from now()
    if current.status != "pending" or current.tries != claimed.tries:
        # Our claim ran out and another process has taken over.
        return _outcome(claimed, view.intent, current.status), None
    after = _settled(view.record.as_of(now_ms), current, Ran("done"), now_ms, context)
    step = change(view.record, after.set_at(now_ms))
    try:
        ran = yield from run_in_transaction(claimed.name, payment, step, _current(claimed, context))
    except StoreUnavailable as error:
        return (yield from _settle(key, None, claimed, _failed(error), context))
    if ran.outcome == "done":
        return _outcome(claimed, view.intent, "done"), view.after(step)
    return None if ran.outcome == "lost" else (yield from _settle(key, view, claimed, ran, context))


def _claimed_record(key: str, claimed: OutboxEntry) -> Command[_View]:
    """The record as it is now, with the call that was claimed, whatever has become of it."""
    record = (yield from load(key))[0]
    if record.entry(claimed.id) is None:
        # It has ended meanwhile, and so is not loaded to decide.
        record = (yield from history(key))[0]
    return _View(record)


def _entry(view: _View, claimed: OutboxEntry) -> OutboxEntry:
    current = view.record.entry(claimed.id)
    assert current is not None
    return current


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
    key: str, view: _View | None, claimed: OutboxEntry, ran: Ran, context: FlowContext
) -> Command[tuple[HandlerResult, _View | None]]:
    """Record how the call ended, and again a little later where that failed.

    What is never recorded is safe, but comes late: the claim has to run out.
    """
    for wait_s in SETTLE_AGAIN_S:
        try:
            return (yield from _settle_once(key, view, claimed, ran, context))
        except (StoreUnavailable, StoreContended):
            # It may have been recorded all the same: the record shows it.
            view = None
        yield from count("handler.settled_again")
        yield from pause(wait_s)
    return (yield from _settle_once(key, view, claimed, ran, context))


def _settle_once(
    key: str, view: _View | None, claimed: OutboxEntry, ran: Ran, context: FlowContext
) -> Command[tuple[HandlerResult, _View | None]]:
    if view is not None and (ended := (yield from _try_to_settle(view, claimed, ran, context))):
        return ended

    def attempt() -> Command[tuple[HandlerResult, _View | None] | None]:
        view = yield from _claimed_record(key, claimed)
        settled = yield from _try_to_settle(view, claimed, ran, context)
        return settled and (settled[0], None)

    return (yield from retry(context, claimed.id, attempt))


def _try_to_settle(
    view: _View, claimed: OutboxEntry, ran: Ran, context: FlowContext
) -> Command[tuple[HandlerResult, _View | None] | None]:
    current = _entry(view, claimed)
    now_ms = yield from now()
    outcome = _outcome(claimed, view.intent, ran.outcome, ran.error)
    if current.status != "pending" or (ran.outcome == "failed" and not _is_ours(current, claimed)):
        # Our claim ran out and another process has taken over; or this is recorded already.
        if ran.outcome == "failed" and current.status != "pending":
            outcome = _outcome(claimed, view.intent, current.status)
        return outcome, None
    after = _settled(view.record.as_of(now_ms), current, ran, now_ms, context)
    step = change(view.record, after.set_at(now_ms))
    if not (yield from commit(step)):
        return None
    settled = after.entry(claimed.id)
    if settled is not None and settled.status == "gave_up":
        outcome = attrs.evolve(outcome, outcome="gave_up")
    return outcome, view.after(step)


def _is_ours(current: OutboxEntry, claimed: OutboxEntry) -> bool:
    """Whether this is still the try that was claimed, and its end is not recorded."""
    return current.tries == claimed.tries and _was_cut_short(current)


def _settled(
    record: Record, entry: OutboxEntry, ran: Ran, now_ms: int, context: FlowContext
) -> Record:
    log = _logged(record, entry, now_ms, ran.outcome, ran.error)
    if ran.outcome != "failed":
        status: EntryStatus = "done" if ran.outcome == "done" else "dropped"
        return record.with_entry(attrs.evolve(entry, status=status, log=log))
    entry = attrs.evolve(entry, cut_short=entry.cut_short + ran.cut_short)
    spent = ran.cut_short and entry.cut_short >= context.settings.cut_short_max
    retry_s = _retry_s(entry, context)
    if retry_s is not None and not spent:
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
            entry, status="pending", tries=0, cut_short=0, next_at_ms=now_ms, forced=True, log=log
        )
        after = record.as_of(now_ms).with_entry(pending).set_at(now_ms)
        won = yield from commit(change(record, after))
        return pending if won else None
    raise UnknownIntent(entry_id)
