"""Shops that are wrong in one way each, and the promise that each one breaks."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from xpay_flow import flows, xpay
from xpay_flow.checker.bounds import BEGINNING, HANDLERS, NEWS, SILENCE, Scene
from xpay_flow.checker.shop import AnyFlow, Shop, answering
from xpay_flow.checker.verify import shipped
from xpay_flow.decide import decide
from xpay_flow.effects import (
    Commit,
    Exchange,
    Load,
    Ran,
    commit,
    due,
    load,
    new_id,
    now,
    run_handler,
)
from xpay_flow.endpoints import WebRequest, json_response
from xpay_flow.events import FAILED_KINDS, PAID_KINDS
from xpay_flow.flows import Checkout, Rules, filing, outbox, webhook
from xpay_flow.intent import Intent
from xpay_flow.payment import payment_of
from xpay_flow.ports import NoAnswer
from xpay_flow.records import Change, Record, Work, change, receipt_alias
from xpay_flow.signing import Authenticity
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.terms import Terms

# The package exports a function of the same name.
deciding = importlib.import_module("xpay_flow.decide")


def shop(store: Any = None, **changes: Any) -> Shop:
    """The shipped shop with something replaced."""
    made = Shop.of(shipped())
    return attrs.evolve(made, store=store or MemoryStore(), **changes)


# --- stores --------------------------------------------------------------------------------------


class NewestWins(MemoryStore):
    """Puts what it is given, whatever is there."""

    def commit(self, change: Change) -> bool:
        stored = self.load(change.record.key)
        version = stored[0].version if stored else 0
        return super().commit(attrs.evolve(change, expected_version=version))


class ForgetsEffects(MemoryStore):
    """Saves what is owed in a second operation, which never comes."""

    def commit(self, change: Change) -> bool:
        return super().commit(attrs.evolve(change, record=attrs.evolve(change.record, effects=())))


class FindsNoWork(MemoryStore):
    """Knows what is owed and never says so."""

    def due(self, work: Work, now_ms: int, limit: int) -> Sequence[str]:
        return ()


class SaysYesToLosers(MemoryStore):
    """A lost race is reported as won."""

    def commit(self, change: Change) -> bool:
        super().commit(change)
        return True


class KeepsSnapshotsOnly(MemoryStore):
    """Replaces a record without the facts it held."""

    def commit(self, change: Change) -> bool:
        facts = change.new_facts
        return super().commit(attrs.evolve(change, record=attrs.evolve(change.record, facts=facts)))


# --- flows ---------------------------------------------------------------------------------------


def rewritten(flow: AnyFlow, answer: Callable[[Any], Any]) -> AnyFlow:
    """The flow, with some of its effects answered by `answer` instead; None leaves an effect."""
    value = None
    try:
        effect = next(flow)
        while True:
            instead = answer(effect)
            if instead is None:
                try:
                    value = yield effect
                except Exception as error:
                    effect = flow.throw(error)
                    continue
            else:
                value = instead
            effect = flow.send(value)
    except StopIteration as end:
        return end.value


def swallows_store_errors(request: WebRequest, rules: Rules) -> AnyFlow:
    response = yield from answering(request, rules)
    return json_response(200, {}) if response.status == 503 else response


def answers_before_the_work(request: WebRequest, rules: Rules) -> AnyFlow:
    """Says 200 to whatever is signed, and leaves the commit for later, which never comes."""
    if request.path != "/webhook":
        return (yield from answering(request, rules))
    return (
        yield from rewritten(
            answering(request, rules), lambda e: True if isinstance(e, Commit) else None
        )
    )


def writes_on_return(request: WebRequest, rules: Rules) -> AnyFlow:
    if request.path == "/payment-status":
        yield Commit(change(Record(key="seen"), Record(key="seen")))
    return (yield from answering(request, rules))


def chokes_on_new_types(request: WebRequest, rules: Rules) -> AnyFlow:
    if request.path == "/webhook":
        {"intent.success": 1, "intent.failed": 1}[json.loads(request.body)["eventType"]]
    return (yield from answering(request, rules))


def fulfils_in_the_webhook(request: WebRequest, rules: Rules) -> AnyFlow:
    """Calls on_success as soon as the news is there, before anything is durable."""
    if request.path == "/webhook" and b"intent.success" in request.body:
        found = yield from load(receipt_alias("order-42"))
        intent = found[0].intent
        assert intent is not None
        yield from run_handler("on_success", payment_of(intent, "on_success", "", "key", ()))
    return (yield from answering(request, rules))


def one_event_an_intent(request: WebRequest, rules: Rules) -> AnyFlow:
    """Takes the second event about an intent for a copy of the first."""
    if request.path == "/webhook":
        found = yield from load(receipt_alias("order-42"))
        if any(fact.event.source == "webhook" for record in found for fact in record.facts):
            return json_response(200, {})
    return (yield from answering(request, rules))


def works_without_claim(rules: Rules) -> AnyFlow:
    keys = yield from due("deliver", (yield from now()), 10)
    for key in keys:
        record = (yield from load(key))[0]
        intent = record.intent
        assert intent is not None
        for effect in record.effects:
            if effect.status == "owed":
                paid = payment_of(intent, effect.name, effect.subject, effect.id, ())
                yield from run_handler(effect.name, paid)
                done = record.with_effect(attrs.evolve(effect, status="done"))
                yield from commit(change(record, done))


def deletes_before_doing(rules: Rules) -> AnyFlow:
    keys = yield from due("deliver", (yield from now()), 10)
    for key in keys:
        record = (yield from load(key))[0]
        intent = record.intent
        assert intent is not None
        for effect in record.effects:
            done = record.with_effect(attrs.evolve(effect, status="done"))
            if effect.status == "owed" and (yield from commit(change(record, done))):
                paid = payment_of(intent, effect.name, effect.subject, effect.id, ())
                yield from run_handler(effect.name, paid)


def takes_any_end_for_done(rules: Rules) -> AnyFlow:
    """Settles a handler that failed as if it had worked."""
    inner, fails = outbox.deliver(rules), None
    effect = next(inner)
    try:
        while True:
            answer = yield effect
            fails = Ran("done") if isinstance(answer, Ran) else answer
            effect = inner.send(fails)
    except StopIteration as end:
        return end.value


def gives_up_soon(rules: Rules) -> AnyFlow:
    """Tries a handler a second time and then no more."""
    settings = attrs.evolve(rules.settings, retry_schedule_s=(5,))
    return flows.deliver(attrs.evolve(rules, settings=settings))


def new_key_for_each_click(terms: Terms, rules: Rules) -> AnyFlow:
    """Calls xPay first, under a key of its own, and stores nothing before the answer."""
    intent_id = f"pi_{(yield from now())}"
    body = terms.to_request(intent_id, rules.settings.metadata_key)
    key = yield from new_id("key")
    created = yield from xpay.create_intent(body, key, rules.settings)
    if not isinstance(created, xpay.Created):
        raise created.to_error()
    return Checkout(
        url=created.url,
        intent_id=intent_id,
        x_intent_id=created.answer.x_intent_id,
        state="created",
        resumed=False,
    )


def never_asks(rules: Rules) -> AnyFlow:
    """Takes each question off the list and does not put it."""
    silence = NoAnswer("not asked")
    asking = flows.reconcile(rules)
    return (yield from rewritten(asking, lambda e: silence if isinstance(e, Exchange) else None))


# --- deciders and other parts, put in place of ours --------------------------------------------


def failed_is_final(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    if intent.kinds & FAILED_KINDS and event.kind in PAID_KINDS:
        return attrs.evolve(decide(intent, event, lifecycle), intent=intent, owes=())
    return decide(intent, event, lifecycle)


def latest_news_wins(intent: Intent, event: Any, lifecycle: Any = None) -> Any:
    decision = decide(intent, event, lifecycle)
    if event.kind in FAILED_KINDS and decision.event is not None:
        after = attrs.evolve(decision.intent, state="failed")
        return attrs.evolve(decision, intent=after)
    return decision


def believes_anybody(*_: object) -> Authenticity:
    return Authenticity(key_index=0, hmac=True, ecdsa=False)


def drops_strangers(event: Any, rules: Rules) -> AnyFlow:
    yield Load("x:nobody")
    return webhook.Received(
        event_id=event.event_id, event_type=event.type, disposition="unknown", why="not ours"
    )


@attrs.frozen
class Planted:
    """A wrong shop.

    Args:
        patch: (module, name, value) to put in place of something of ours.
    """

    name: str
    promise: str
    faults: int
    scene: Scene
    make: Callable[[], Shop] = shop
    patch: tuple[Any, str, Any] | None = None


PLANTED = (
    Planted("newest wins", "recorded_once", 0, NEWS, lambda: shop(NewestWins())),
    Planted("forgets effects", "never_stuck", 0, NEWS, lambda: shop(ForgetsEffects())),
    Planted("finds no work", "never_stuck", 0, HANDLERS, lambda: shop(FindsNoWork())),
    Planted("losers win", "recorded_once", 0, NEWS, lambda: shop(SaysYesToLosers())),
    Planted("snapshots only", "order_does_not_matter", 0, NEWS, lambda: shop(KeepsSnapshotsOnly())),
    Planted("swallows", "recorded_once", 1, NEWS, lambda: shop(respond=swallows_store_errors)),
    Planted("2xx first", "recorded_once", 0, NEWS, lambda: shop(respond=answers_before_the_work)),
    Planted(
        "return page writes",
        "redirects_are_read_only",
        0,
        NEWS,
        lambda: shop(respond=writes_on_return),
    ),
    Planted(
        "chokes on types",
        "hostile_bytes_cause_one_error",
        1,
        NEWS,
        lambda: shop(respond=chokes_on_new_types),
    ),
    Planted(
        "effect before commit",
        "handlers_are_called_once",
        0,
        NEWS,
        lambda: shop(respond=fulfils_in_the_webhook),
    ),
    Planted("one event", "recorded_once", 0, NEWS, lambda: shop(respond=one_event_an_intent)),
    Planted(
        "no claim",
        "handlers_are_called_once",
        0,
        HANDLERS,
        lambda: shop(deliver=works_without_claim),
    ),
    Planted(
        "deletes first", "never_stuck", 1, HANDLERS, lambda: shop(deliver=deletes_before_doing)
    ),
    Planted("gives up soon", "never_stuck", 2, HANDLERS, lambda: shop(deliver=gives_up_soon)),
    Planted("any end", "never_stuck", 1, HANDLERS, lambda: shop(deliver=takes_any_end_for_done)),
    Planted(
        "new key", "no_second_payment", 0, BEGINNING, lambda: shop(click=new_key_for_each_click)
    ),
    Planted("never asks", "never_stuck", 1, SILENCE, lambda: shop(reconcile=never_asks)),
    Planted(
        "failed is final",
        "order_does_not_matter",
        0,
        NEWS,
        patch=(filing, "decide", failed_is_final),
    ),
    Planted(
        "late failed wins",
        "order_does_not_matter",
        0,
        NEWS,
        patch=(filing, "decide", latest_news_wins),
    ),
    Planted(
        "believes anybody",
        "webhooks_decide",
        1,
        NEWS,
        patch=(webhook, "authenticate", believes_anybody),
    ),
    Planted(
        "money not compared",
        "webhooks_decide",
        1,
        NEWS,
        patch=(deciding, "_is_asked_money", lambda *_: True),
    ),
    Planted("drops strangers", "recorded_once", 1, NEWS, patch=(webhook, "_park", drops_strangers)),
)
