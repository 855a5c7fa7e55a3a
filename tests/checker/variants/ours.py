"""Correct shops that are made of our flows, with a part done otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from xpay_flow import LIFECYCLE, AsyncFlow, Flow, Settings, flows, xpay_api
from xpay_flow.checker.bounds import (
    BEGINNING,
    CANCELLED,
    EVENTS,
    HANDLERS,
    MONEY_BACK,
    REFUNDED,
    SILENCE,
    SUPERSEDED,
    Scene,
)
from xpay_flow.checker.shop import AnyFlow, Shop, answering
from xpay_flow.effects import commit, due, history, now, run_handler
from xpay_flow.endpoints import WebRequest, json_response
from xpay_flow.events import EventIdentity, from_report
from xpay_flow.flows import FlowContext, recording
from xpay_flow.payment import Payment, payment_of
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, OutboxEntry, Record, Work, change, for_deciding
from xpay_flow.stores.memory import MemoryStore

from ..mutants import shop
from .variant import Variant

HANDLERS_OF_A_FLOW = ("on_success", "on_failed", "on_refunded", "on_attention")


def _with_handlers(flow: Any, handler: Any) -> Shop:
    for name in HANDLERS_OF_A_FLOW:
        getattr(flow, name)(handler)
    return Shop.of(flow)


def asynchronous() -> Shop:
    async def handler(_: Payment) -> None: ...

    return _with_handlers(AsyncFlow(MemoryStore(), Settings.sandbox(), background=False), handler)


def extended() -> Shop:
    lifecycle = LIFECYCLE.extended(states={"in_review": "redirected"}, events={"held": "in_review"})
    flow = Flow(MemoryStore(), Settings.sandbox(), lifecycle=lifecycle, background=False)
    return _with_handlers(flow, lambda _: None)


def one_at_a_time(context: FlowContext) -> AnyFlow:
    return flows.deliver(context, limit=1)


class SlowestFirst(MemoryStore):
    """Gives what is due in another order, and at most one key at a time."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return tuple(reversed(super().due(work, now_ms, limit, realms)))[:1]


class TwoTables(MemoryStore):
    """Keeps what is due in a table of its own, and changes both at once, as in one transaction."""

    def __init__(self) -> None:
        super().__init__()
        self._effects: dict[str, tuple[OutboxEntry, ...]] = {}

    def commit(self, change: Change) -> bool:
        record = attrs.evolve(change.record, outbox=())
        won = super().commit(attrs.evolve(change, record=record, changed_entries=()))
        if won:
            known = {entry.id: entry for entry in self._effects.get(record.key, ())}
            known |= {entry.id: entry for entry in change.changed_entries}
            self._effects[record.key] = tuple(known.values())
        return won

    def _whole(self, record: Record) -> Record:
        return attrs.evolve(record, outbox=self._effects.get(record.key, ()))

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [for_deciding(record, event) for record in self.history(alias)]

    def history(self, alias: str) -> Sequence[Record]:
        return [self._whole(record) for record in super().history(alias)]

    def recent(self, limit: int, realms: Realms = EVERY_REALM) -> Sequence[Record]:
        return [self._whole(record) for record in super().recent(limit, realms)]

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        waiting = [(r.due_at_ms(work), r.key) for r in self.recent(1000, realms)]
        late = sorted((at_ms, key) for at_ms, key in waiting if at_ms is not None)
        return [key for at_ms, key in late if at_ms <= now_ms][:limit]

    def snapshot(self) -> Any:
        return super().snapshot(), dict(self._effects)

    def restore(self, snapshot: Any) -> None:
        rows, effects = snapshot
        super().restore(rows)
        self._effects = dict(effects)


def leases_with_fencing(context: FlowContext) -> AnyFlow:
    """A worker of the shop's own: a claim has a number, and only its holder may settle."""
    for key in (yield from due("deliver", (yield from now()), 10)):
        record = (yield from history(key))[0]
        for effect in record.outbox:
            yield from _under_a_lease(record.key, effect.id, context)


def _under_a_lease(key: str, entry_id: str, context: FlowContext) -> AnyFlow:
    now_ms = yield from now()
    record = (yield from history(key))[0]
    effect = record.entry(entry_id)
    assert effect is not None
    if effect.status != "pending" or effect.next_at_ms > now_ms:
        return
    fence, until_ms = effect.tries + 1, now_ms + context.settings.lease_s * 1000
    mine = attrs.evolve(effect, tries=fence, next_at_ms=until_ms)
    if not (yield from commit(change(record, record.with_entry(mine)))):
        return
    assert record.intent is not None
    paid = payment_of(record.intent, effect.name, effect.subject, effect.id, ())
    ran = yield from run_handler(effect.name, paid)
    for _ in range(5):
        record = (yield from history(key))[0]
        held = record.entry(entry_id)
        assert held is not None
        if ran.outcome != "done" or held.tries != fence or held.status != "pending":
            return
        done = attrs.evolve(held, status="done")
        if (yield from commit(change(record, record.with_entry(done)))):
            return


def asks_for_ever(context: FlowContext) -> AnyFlow:
    """A job of the shop's own: it asks every hour until it knows."""
    for key in (yield from due("reconcile", (yield from now()), 10)):
        record = (yield from history(key))[0]
        later_ms = (yield from now()) + 3_600_000
        if (yield from commit(change(record, attrs.evolve(record, reconcile_at_ms=later_ms)))):
            yield from _asked(record, context)


def _asked(record: Record, context: FlowContext) -> AnyFlow:
    assert record.intent is not None
    answer = yield from xpay_api.get_intent(record.intent.x_intent_id or "", context.settings)
    if isinstance(answer, xpay_api.IntentAnswer) and answer.status == "SUCCESS":
        yield from recording.record_event(
            record.key, from_report(answer, (yield from now())), context
        )


def refuses_news(request: WebRequest, context: FlowContext) -> AnyFlow:
    """A shop that declares that it has no webhook."""
    if request.path == "/webhook":
        return json_response(501, {})
    return (yield from answering(request, context))


def _variant(name: str, how: str, scenes: tuple[Scene, ...], make: Any, *without: str) -> Variant:
    return Variant(name=name, how=how, scenes=scenes, make=make, without=without)


WORKING = (HANDLERS, SUPERSEDED)
OURS = (
    _variant("async", "handlers are coroutines", (EVENTS, *WORKING), asynchronous),
    _variant(
        "extended", "the lifecycle has a state and an event more", (EVENTS, *WORKING), extended
    ),
    _variant(
        "one at a time",
        "a worker takes one payment each time",
        WORKING,
        lambda: shop(deliver=one_at_a_time),
    ),
    _variant(
        "slowest first",
        "the store gives what is due one by one, from the end",
        (HANDLERS, SILENCE),
        lambda: shop(SlowestFirst()),
    ),
    _variant(
        "two tables",
        "due calls have a table of their own, written in the same transaction: an outbox",
        (EVENTS, *WORKING),
        lambda: shop(TwoTables()),
    ),
    _variant(
        "fencing",
        "a worker's claim has a lease and a number, and a superseded claim settles nothing",
        WORKING,
        lambda: shop(deliver=leases_with_fencing),
    ),
    _variant(
        "webhook first",
        "xPay's event about the creation comes before its answer",
        (BEGINNING,),
        shop,
    ),
    _variant(
        "refund heavy",
        "money is given back in parts, and disputed, more often than not",
        (MONEY_BACK, REFUNDED),
        shop,
    ),
    _variant(
        "cancelled and rotated",
        "payments are cancelled, and the secret of the webhooks changes meanwhile",
        (CANCELLED,),
        shop,
    ),
    _variant(
        "impatient",
        "payments are reconciled soon and often",
        (SILENCE,),
        lambda: _asking(5, 10, 20),
    ),
    _variant(
        "asks by itself",
        "a job of the shop's own asks xPay every hour until it knows",
        (SILENCE,),
        lambda: shop(reconcile=asks_for_ever),
    ),
    _variant(
        "reconcile only",
        "there is no webhook, and everything is learned by asking",
        (SILENCE,),
        lambda: shop(reconcile=asks_for_ever, respond=refuses_news),
        "events_are_acknowledged",
    ),
)


def _asking(*schedule_s: int) -> Shop:
    made = shop()
    settings = attrs.evolve(made.context.settings, reconcile_schedule_s=schedule_s)
    return attrs.evolve(made, context=attrs.evolve(made.context, settings=settings))
