"""What can go wrong between an order that is paid and the handler that fulfils it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from xpay_flow import flows
from xpay_flow.checker.bounds import HANDLERS, SUPERSEDED, Scene
from xpay_flow.checker.shop import AnyFlow
from xpay_flow.effects import Ran, commit, due, history, now, run_handler
from xpay_flow.errors import StoreUnavailable
from xpay_flow.flows import FlowContext, outbox
from xpay_flow.payment import payment_of
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, OutboxEntry, Record, Work, change
from xpay_flow.stores.memory import MemoryStore

from .mutant import Mutant, shop


def _due_records() -> AnyFlow:
    keys = yield from due("deliver", (yield from now()), 10)
    found = []
    for key in keys:
        found.extend((yield from history(key)))
    return found


def _owed(record: Record, now_ms: int) -> list[OutboxEntry]:
    return [e for e in record.outbox if e.status == "pending" and e.next_at_ms <= now_ms]


def _called(record: Record, entry: OutboxEntry, key: str = "") -> AnyFlow:
    assert record.intent is not None
    paid = payment_of(record.intent, entry.name, entry.subject, key or entry.id, ())
    return (yield from run_handler(entry.name, paid))


def _with(record: Record, entry: OutboxEntry, **changed: Any) -> Record:
    return record.with_entry(attrs.evolve(entry, **changed))


def _claim(record: Record, entry: OutboxEntry, context: FlowContext) -> AnyFlow:
    """A claim as it should be: by compare-and-set, with a lease."""
    lease_ms = context.settings.lease_s * 1000
    until_ms = (yield from now()) + lease_ms
    claimed = _with(record, entry, next_at_ms=until_ms, tries=entry.tries + 1)
    return (yield from commit(change(record, claimed)))


def _put(record: Record) -> AnyFlow:
    """Over whatever is there by then."""
    there = (yield from history(record.key))[0]
    written = attrs.evolve(record, version=there.version + 1)
    return (yield from commit(Change(record=written, expected_version=there.version)))


# --- who does it ---------------------------------------------------------------------------------


def works_without_claim(context: FlowContext) -> AnyFlow:
    """Two workers take the same job, since neither records that it has."""
    for record in (yield from _due_records()):
        for entry in _owed(record, (yield from now())):
            yield from _called(record, entry)
            yield from commit(change(record, _with(record, entry, status="done")))


def looks_at_no_race(context: FlowContext) -> AnyFlow:
    """Who loses the race for a claim goes on all the same."""
    for record in (yield from _due_records()):
        for entry in _owed(record, (yield from now())):
            yield from _claim(record, entry, context)
            yield from _called(record, entry)
            yield from _settled(record, entry)


def _settled(record: Record, entry: OutboxEntry) -> AnyFlow:
    """The call marked as done, however often others are faster."""
    for _ in range(5):
        there = (yield from history(record.key))[0]
        mine = there.entry(entry.id)
        assert mine is not None
        if (yield from commit(change(there, _with(there, mine, status="done")))):
            return


def claims_without_a_lease(context: FlowContext) -> AnyFlow:
    """A claim is written down and the job stays due for all others."""
    for record in (yield from _due_records()):
        for entry in _owed(record, (yield from now())):
            claimed = _with(record, entry, tries=entry.tries + 1)
            if (yield from commit(change(record, claimed))):
                yield from _called(record, entry)
                yield from _settled(record, entry)


class LooksForNewWorkOnly(MemoryStore):
    """Jobs that were begun are not looked for again, so a worker that dies takes its job along."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        keys = super().due(work, now_ms, limit, realms)
        begun = (e.tries for key in keys for r in self.history(key) for e in r.outbox)
        return () if work == "deliver" and any(begun) else keys


# --- when it counts as done ----------------------------------------------------------------------


def deletes_before_doing(context: FlowContext) -> AnyFlow:
    """A job is taken off the queue, and then done."""
    for record in (yield from _due_records()):
        for entry in record.outbox:
            done = _with(record, entry, status="done")
            if entry.status == "pending" and (yield from commit(change(record, done))):
                yield from _called(record, entry)


def takes_any_end_for_done(context: FlowContext) -> AnyFlow:
    """A handler that failed is settled as if it had worked."""
    inner, answer = outbox.deliver(context), None
    entry = next(inner)
    try:
        while True:
            answer = yield entry
            entry = inner.send(Ran("done") if isinstance(answer, Ran) else answer)
    except StopIteration as end:
        return end.value


def settles_what_it_read_before(context: FlowContext) -> AnyFlow:
    """The record is written back as it was read before the call, over what has come since."""
    for record in (yield from _due_records()):
        for entry in _owed(record, (yield from now())):
            if (yield from _claim(record, entry, context)):
                yield from _called(record, entry)
                yield from _put(_with(record, entry, status="done"))


def settles_all_at_once(context: FlowContext) -> AnyFlow:
    """One flag marks a record's handlers as done, and it is set after the first of them."""
    for record in (yield from _due_records()):
        pending = _owed(record, (yield from now()))
        if pending and (yield from _claim(record, pending[0], context)):
            yield from _called(record, pending[0])
            yield from _all_settled(record)


def _all_settled(record: Record) -> AnyFlow:
    for _ in range(5):
        there = (yield from history(record.key))[0]
        outbox = tuple(attrs.evolve(e, status="done") for e in there.outbox)
        if (yield from commit(change(there, attrs.evolve(there, outbox=outbox)))):
            return


def a_key_for_each_try(context: FlowContext) -> AnyFlow:
    """The idempotency key names the try, and so protects from nothing."""
    for record in (yield from _due_records()):
        for entry in _owed(record, (yield from now())):
            if (yield from _claim(record, entry, context)):
                yield from _called(record, entry, f"{entry.id}:{entry.tries}")
                yield from _settled(record, entry)


def takes_unknown_for_undone(context: FlowContext) -> AnyFlow:
    """A commit whose outcome is unknown is taken for undone, and the job goes back as a new one."""
    for record in (yield from _due_records()):
        for entry in _owed(record, (yield from now())):
            if not (yield from _claim(record, entry, context)):
                continue
            yield from _called(record, entry)
            try:
                yield from _settled(record, entry)
            except StoreUnavailable:
                yield from _called(record, entry, f"{entry.id}:again")


# --- when it is given up -------------------------------------------------------------------------


def _gives_up_after(*schedule_s: int) -> Callable[[FlowContext], AnyFlow]:
    def worker(context: FlowContext) -> AnyFlow:
        settings = attrs.evolve(context.settings, retry_schedule_s=schedule_s)
        return flows.deliver(attrs.evolve(context, settings=settings))

    return worker


def never_tries_again(context: FlowContext) -> AnyFlow:
    """A job that failed is set aside, and never looked at again."""
    for record in (yield from _due_records()):
        for entry in _owed(record, (yield from now())):
            if not (yield from _claim(record, entry, context)):
                continue
            ran = yield from _called(record, entry)
            if ran.outcome == "done":
                yield from _settled(record, entry)
            else:
                there = (yield from history(record.key))[0]
                yield from commit(change(there, _with(there, entry, status="gave_up")))


def gives_up_soon(context: FlowContext) -> AnyFlow:
    """A handler is tried a second time and then no more."""
    return _gives_up_after(5)(context)


def gives_up_later(context: FlowContext) -> AnyFlow:
    """A handler is tried three times and then no more, and no operator is notified."""
    return _gives_up_after(5, 5)(context)


def sets_poison_aside(context: FlowContext) -> AnyFlow:
    """A job that was begun three times without an end counts as poison, though the process died."""
    for record in (yield from _due_records()):
        for entry in _owed(record, (yield from now())):
            if entry.tries >= 3:
                yield from commit(change(record, _with(record, entry, status="gave_up")))
            elif (yield from _claim(record, entry, context)):
                ran = yield from _called(record, entry)
                if ran.outcome == "done":
                    yield from _settled(record, entry)


# --- the order of two handlers -------------------------------------------------------------------


def first_things_only(context: FlowContext) -> AnyFlow:
    """Only the first call of the outbox is looked at, and it may be done long ago."""
    for record in (yield from _due_records()):
        entry = record.outbox[0]
        if entry.status == "pending" and (yield from _claim(record, entry, context)):
            yield from _called(record, entry)
            yield from _settled(record, entry)


TWICE = "called twice though nothing failed"
STUCK = "can never be fulfilled here"


def _worker(
    name: str,
    bug: Callable[[FlowContext], AnyFlow],
    promise: str,
    faults: int,
    expects: str,
    ref: str = "",
    scene: Scene = HANDLERS,
) -> Mutant:
    """A shop with this worker."""
    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=faults,
        scene=scene,
        expects=expects,
        make=lambda: shop(deliver=bug),
        reference=ref,
    )


ONE_WORKER = attrs.evolve(HANDLERS, name="one worker", parties={"webhook": 1, "worker": 1})

WORKERS = (
    _worker(
        "no claim",
        works_without_claim,
        "handlers_are_called_once",
        0,
        TWICE,
        "https://github.com/DhananjayThomble/URL-Shortener-App/issues/282",
    ),
    _worker("lost claim ignored", looks_at_no_race, "handlers_are_called_once", 0, TWICE),
    _worker(
        "claim without lease",
        claims_without_a_lease,
        "handlers_are_called_once",
        0,
        TWICE,
    ),
    Mutant(
        name="new work only",
        bug=LooksForNewWorkOnly,
        promise="never_stuck",
        faults=1,
        scene=HANDLERS,
        expects=STUCK,
        make=lambda: shop(LooksForNewWorkOnly()),
        reference="https://github.com/rapina-rs/rapina/issues/793",
    ),
    _worker("deletes first", deletes_before_doing, "never_stuck", 1, STUCK),
    _worker("any end", takes_any_end_for_done, "never_stuck", 1, STUCK),
    _worker(
        "settles what it read",
        settles_what_it_read_before,
        "order_does_not_matter",
        0,
        "lead to",
        scene=SUPERSEDED,
    ),
    _worker(
        "one flag for all handlers", settles_all_at_once, "never_stuck", 0, STUCK, scene=SUPERSEDED
    ),
    _worker(
        "a key for each try",
        a_key_for_each_try,
        "paid_once",
        1,
        "on_success was called for",
    ),
    _worker(
        "unknown is undone", takes_unknown_for_undone, "paid_once", 1, "on_success was called for"
    ),
    _worker("never tries again", never_tries_again, "never_stuck", 1, STUCK),
    _worker("gives up soon", gives_up_soon, "never_stuck", 2, STUCK),
    _worker("gives up later", gives_up_later, "never_stuck", 3, STUCK, scene=ONE_WORKER),
    _worker("poison set aside", sets_poison_aside, "never_stuck", 3, STUCK),
    _worker("first handler only", first_things_only, "never_stuck", 0, STUCK, scene=SUPERSEDED),
)
