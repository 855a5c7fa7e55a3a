"""Which handlers are owed, and how do they get called exactly as often as promised?

Claim by compare-and-set, call, settle by compare-and-set. A process that dies in between leaves a
claim that runs out, and the call is made again with the same idempotency key. A handler that runs
within the store's transaction is settled by that very transaction, and so takes effect once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from .. import events as ev
from ..decide import decide, is_overtaken
from ..effects import (
    Command,
    Ran,
    abandoned,
    commit,
    count,
    holding,
    load,
    now,
    run_handler,
    run_within,
)
from ..errors import InvalidValue, StoreContended, UnknownIntent
from ..intent import Intent
from ..payment import Payment, payment_of
from ..ports import HELD, is_held
from ..records import HandlerName, Owed, OwedStatus, Record, Try, change, receipt_alias
from .filing import COMMIT_TRIES, Rules, file_event, with_decision
from .passes import Unworkable, work_on, work_through
from .queries import find

Able = Collection[HandlerName]


@attrs.frozen(kw_only=True)
class Means:
    """What this process has to deliver with.

    Args:
        able: the handlers that are registered in it; None is all.
        within: those of them that are called within the store's transaction.
        holds: the store can hold a record while its handlers run; see `xpay_flow.ports.Claiming`.
    """

    able: Able | None = None
    within: Able = frozenset()
    holds: bool = False


ALL = Means()

NO_ON_SUCCESS = "no on_success handler is registered in this process"


@attrs.frozen(kw_only=True)
class Delivered:
    """How one owed handler call stands after this pass.

    Args:
        outcome: `done`, `failed` (will be tried again), `dropped`, `missing` or `gave_up`; `owed`
            where another process has taken the call over.
    """

    effect_id: str
    name: HandlerName
    intent_id: str
    outcome: str
    error: str = ""


def deliver(
    rules: Rules, *, limit: int = 100, able: Able | None = None, means: Means = ALL
) -> Command[tuple[Delivered | Unworkable, ...]]:
    """Call every handler that is owed now, on at most `limit` intents, longest due first.

    Args:
        able: the handlers that this process has; None is all. See `deliver_record`.
        means: the same and more.
    """
    means = means if able is None else attrs.evolve(means, able=able)

    def do(key: str) -> Command[Sequence[Delivered]]:
        return deliver_record(key, rules, means)

    left: tuple[Delivered | Unworkable, ...] = ()
    if means.holds:
        left = yield from work_on("deliver", (yield from left_behind(limit)), do)
    return (*left, *(yield from work_through("deliver", do, limit)))


def left_behind(limit: int) -> Command[Sequence[str]]:
    """Records whose worker has died in the middle of a handler; for a process that `holds`."""
    now_ms = yield from now()
    return (yield from abandoned(now_ms, limit))


def deliver_record(key: str, rules: Rules, means: Means = ALL) -> Command[Sequence[Delivered]]:
    """Call the handlers that one intent is owed, one after the other, each at most once.

    A process without `on_success` leaves what it has no handler for to those that have one. One
    with `on_success` is taken for a whole shop: other handlers that it lacks are not wanted.
    """
    if not means.holds:
        return (yield from _delivered(key, rules, means))
    held = yield from holding(key, _delivered(key, rules, means))
    return held or ()


def _delivered(key: str, rules: Rules, means: Means) -> Command[Sequence[Delivered]]:
    delivered: list[Delivered] = []
    tried: set[str] = set()
    while (claimed := (yield from _claim(key, tried, rules, means))) is not None:
        intent, effect = claimed
        tried.add(effect.id)
        if effect.status == "owed":
            payment = yield from _payment(key, intent, effect, rules)
            if effect.name in means.within:
                outcome = yield from _call_within(key, effect, payment, rules)
            else:
                ran = yield from _call(effect, payment)
                outcome = yield from _settle(key, effect, ran, rules)
        else:
            outcome = _outcome(effect, intent, effect.status, effect.log[-1].error)
        yield from count(f"handler.{outcome.name}.{outcome.outcome}")
        delivered.append(outcome)
    return delivered


def _claim(
    key: str, tried: set[str], rules: Rules, means: Means
) -> Command[tuple[Intent, Owed] | None]:
    """Take the next due effect for this process, or end it: overtaken, or tried too often."""
    for _ in rules.tries:
        found = yield from load(key)
        now_ms = yield from now()
        record = found[0] if found else None
        if record is None or record.intent is None:
            return None
        due_now = (e for e in record.effects if _is_due(e, now_ms, means) and e.id not in tried)
        effect = next(due_now, None)
        if effect is None:
            return None
        after = _claimed(record, record.intent, effect, now_ms, rules, means)
        claimed = after.effect(effect.id)
        step = change(record, after)
        if claimed is not None and (yield from commit(step)):
            return record.intent, claimed
    return None


def _is_due(effect: Owed, now_ms: int, means: Means) -> bool:
    mine = means.able is None or effect.name in means.able or "on_success" in means.able
    # Whoever started it while holding the record is gone: now we hold it.
    is_free = effect.next_at_ms <= now_ms or (means.holds and is_held(effect))
    return mine and effect.status == "owed" and is_free


def _claimed(
    record: Record, intent: Intent, effect: Owed, now_ms: int, rules: Rules, means: Means
) -> Record:
    overtaken = None if effect.forced else is_overtaken(intent, effect.name)
    if overtaken is not None:
        log = _logged(record, effect, now_ms, "dropped", overtaken)
        return record.with_effect(attrs.evolve(effect, status="dropped", log=log))
    if effect.tries > len(rules.settings.retry_schedule_s):
        # Every try ended without a word: the handler takes its process with it.
        log = _logged(record, effect, now_ms, "gave_up", "no try of this call has come to an end")
        return _given_up(record, intent, attrs.evolve(effect, log=log), now_ms, rules)
    # A call whose worker has died is free at once, but one that kills worker after worker is not:
    # the next one's claim has to run out.
    note = HELD if means.holds and not _was_cut_short(effect) else ""
    claimed = attrs.evolve(
        effect,
        tries=effect.tries + 1,
        # Until then it is ours. A handler that runs longer may be called again meanwhile.
        next_at_ms=now_ms + rules.settings.lease_s * 1000,
        log=_logged(record, effect, now_ms, "started", note),
    )
    return record.with_effect(claimed)


def _was_cut_short(effect: Owed) -> bool:
    return bool(effect.log) and effect.log[-1].outcome == "started"


def _logged(
    record: Record, effect: Owed, now_ms: int, outcome: str, error: str = ""
) -> tuple[Try, ...]:
    return effect.logged(
        Try(at_ms=now_ms, version=record.version + 1, outcome=outcome, error=error)
    )


def _payment(key: str, intent: Intent, effect: Owed, rules: Rules) -> Command[Payment]:
    siblings = yield from load(receipt_alias(intent.receipt_id))
    also_paid = tuple(
        other.intent.id
        for other in siblings
        if other.intent is not None and other.intent.id != intent.id and other.intent.is_paid
    )
    if also_paid and effect.name == "on_success":
        twice = ev.own(ev.PAID_TWICE, (yield from now()), subject=",".join(also_paid))
        yield from file_event(key, twice, rules)
    return payment_of(intent, effect.name, effect.subject, effect.id, also_paid)


def _call(effect: Owed, payment: Payment) -> Command[Ran]:
    ran = yield from run_handler(effect.name, payment)
    if ran.outcome == "missing" and effect.name == "on_success":
        # Never forgotten: the order would be paid and not fulfilled.
        return Ran("failed", NO_ON_SUCCESS)
    return ran


def _call_within(key: str, claimed: Owed, payment: Payment, rules: Rules) -> Command[Delivered]:
    """Commit that the call is done, together with what it wrote. A lost race has written nothing.

    Where it is not known whether that was committed, the record says it to whoever comes next.
    """
    for _ in rules.tries:
        record, intent, current = yield from _claimed_record(key, claimed)
        now_ms = yield from now()
        if current.status != "owed" or current.tries != claimed.tries:
            # Our claim ran out and another process has taken over.
            return _outcome(claimed, intent, current.status)
        after = _settled(record, intent, current, Ran("done"), now_ms, rules)
        ran = yield from run_within(claimed.name, payment, change(record, after))
        if ran.outcome == "done":
            return _outcome(claimed, intent, "done")
        if ran.outcome != "lost":
            return (yield from _settle(key, claimed, ran, rules))
    raise StoreContended(f"settling {claimed.id} lost each of {COMMIT_TRIES} races")


def _claimed_record(key: str, claimed: Owed) -> Command[tuple[Record, Intent, Owed]]:
    """The record as it is now, its intent, and what has become of a call that was claimed."""
    record = (yield from load(key))[0]
    assert record.intent is not None
    current = record.effect(claimed.id)
    assert current is not None
    return record, record.intent, current


def _outcome(effect: Owed, intent: Intent, outcome: str, error: str = "") -> Delivered:
    return Delivered(
        effect_id=effect.id, name=effect.name, intent_id=intent.id, outcome=outcome, error=error
    )


def _settle(key: str, claimed: Owed, ran: Ran, rules: Rules) -> Command[Delivered]:
    """Record how the call ended. Losing every race is safe: the claim runs out."""
    for _ in rules.tries:
        record, intent, current = yield from _claimed_record(key, claimed)
        now_ms = yield from now()
        outcome = _outcome(claimed, intent, ran.outcome, ran.error)
        if current.status != "owed" or (ran.outcome == "failed" and current.tries != claimed.tries):
            # Our claim ran out and another process has taken over.
            return outcome
        after = _settled(record, intent, current, ran, now_ms, rules)
        if (yield from commit(change(record, after))):
            gave_up = after.effect(claimed.id)
            if gave_up is not None and gave_up.status == "gave_up":
                return attrs.evolve(outcome, outcome="gave_up")
            return outcome
    raise StoreContended(f"settling {claimed.id} lost each of {COMMIT_TRIES} races")


def _settled(
    record: Record, intent: Intent, effect: Owed, ran: Ran, now_ms: int, rules: Rules
) -> Record:
    log = _logged(record, effect, now_ms, ran.outcome, ran.error)
    if ran.outcome != "failed":
        status: OwedStatus = "done" if ran.outcome == "done" else "dropped"
        return record.with_effect(attrs.evolve(effect, status=status, log=log))
    schedule = rules.settings.retry_schedule_s
    if effect.tries <= len(schedule):
        next_at_ms = now_ms + schedule[effect.tries - 1] * 1000
        return record.with_effect(attrs.evolve(effect, next_at_ms=next_at_ms, log=log))
    return _given_up(record, intent, attrs.evolve(effect, log=log), now_ms, rules)


def _given_up(record: Record, intent: Intent, effect: Owed, now_ms: int, rules: Rules) -> Record:
    """No more tries, and a person is told."""
    given_up = record.with_effect(attrs.evolve(effect, status="gave_up"))
    if effect.name == "on_attention":
        # Nobody is left to tell; it stays visible on the timeline and in the intent's attention.
        return given_up
    news = ev.own(ev.HANDLER_GAVE_UP, now_ms, subject=_gave_up_subject(record, effect))
    return with_decision(given_up, decide(intent, news, rules.lifecycle), now_ms, rules)


def _gave_up_subject(record: Record, effect: Owed) -> str:
    """Which call was given up, and for which time: each time a person must hear of it."""
    subject = f"{effect.name}:{effect.subject}" if effect.subject else effect.name
    before = sum(
        fact.event.kind == ev.HANDLER_GAVE_UP and fact.event.digest.split("#")[0] == subject
        for fact in record.facts
    )
    return f"{subject}#{before + 1}" if before else subject


def redeliver(name: str, effect_id: str) -> Command[Owed]:
    """Owe a handler call again that was given up or dropped, after its cause is mended.

    Args:
        name: of the intent, as in `find`.

    An overtaken call is made all the same: who asks for it knows better.

    Raises:
        UnknownIntent: nothing owed has this id.
        InvalidValue: the call is neither given up nor dropped.
    """
    for _ in range(COMMIT_TRIES):
        now_ms = yield from now()
        for record in (yield from find(name)):
            effect = record.effect(effect_id)
            if effect is None:
                continue
            if effect.status not in ("gave_up", "dropped"):
                raise InvalidValue(
                    f"{effect_id} is {effect.status}; only a call that was given up or dropped "
                    "can be owed again"
                )
            log = _logged(record, effect, now_ms, "owed again")
            owed = attrs.evolve(
                effect, status="owed", tries=0, next_at_ms=now_ms, forced=True, log=log
            )
            if (yield from commit(change(record, record.with_effect(owed)))):
                return owed
            break
        else:
            raise UnknownIntent(effect_id)
    raise StoreContended(f"{effect_id} changed under each of {COMMIT_TRIES} tries")
