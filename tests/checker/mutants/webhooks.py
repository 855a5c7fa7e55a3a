"""What can an endpoint get wrong around a webhook flow that is right?"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
import math
from collections.abc import Callable
from typing import Any

import attrs

from xpay_flow import messages as m
from xpay_flow.checker.bounds import CANCELLED, EVENTS, HANDLERS, Scene
from xpay_flow.checker.shop import AnyFlow, answering
from xpay_flow.decide import decide
from xpay_flow.effects import Commit, Load, commit, history, load, now, run_handler
from xpay_flow.endpoints import WebRequest, json_response
from xpay_flow.errors import StoreError, StoreUnavailable
from xpay_flow.events import Event
from xpay_flow.flows import FlowContext, recording, webhook
from xpay_flow.flows.context import COMMIT_TRIES
from xpay_flow.intent import Intent
from xpay_flow.payment import payment_of
from xpay_flow.records import Record, change, receipt_alias
from xpay_flow.settings import Settings
from xpay_flow.signing import Authenticity

from .mutant import BAD_STORE, Mutant, rewritten, shop


def _is_news(request: WebRequest) -> bool:
    return request.path == "/webhook"


def _order() -> Any:
    """The record of the one order."""
    return (yield from history(receipt_alias("order-42")))[0]


def _fulfils(record: Record, key: str) -> AnyFlow:
    assert record.intent is not None
    yield from run_handler("on_success", payment_of(record.intent, "on_success", "", key, ()))


# --- when it is answered -------------------------------------------------------------------------


def swallows_store_errors(request: WebRequest, context: FlowContext) -> AnyFlow:
    """An error of the store is logged, and the webhook is answered 200."""
    response = yield from answering(request, context)
    return json_response(200, {}) if response.status == 503 else response


def answers_before_the_work(request: WebRequest, context: FlowContext) -> AnyFlow:
    """Whatever is signed is answered 200, and the commit is left for later, which never comes."""
    if not _is_news(request):
        return (yield from answering(request, context))
    return (
        yield from rewritten(
            answering(request, context), lambda e: True if isinstance(e, Commit) else None
        )
    )


def takes_unknown_for_done(request: WebRequest, context: FlowContext) -> AnyFlow:
    """A commit whose outcome is unknown, since the connection broke, is taken for done."""
    flow = answering(request, context)
    try:
        effect = next(flow)
        while True:
            try:
                answer = yield effect
            except StoreUnavailable as error:
                effect = flow.send(True) if isinstance(effect, Commit) else flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as end:
        return end.value


def gives_in_at_the_third_error(request: WebRequest, context: FlowContext) -> AnyFlow:
    """Two errors of the store are retried on the spot; after the third the webhook is dropped."""
    for _ in range(3):
        response = yield from answering(request, context)
        if response.status != 503:
            return response
    return json_response(200, {})


# --- pages ---------------------------------------------------------------------------------------


def writes_on_return(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The return page notes in the store that the customer is back."""
    if request.path == "/payment-status":
        yield Commit(change(Record(key="seen"), Record(key="seen")))
    return (yield from answering(request, context))


def fulfils_on_return(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The return page fulfils the order, since a customer who comes back has surely paid."""
    if request.path == "/payment-status":
        yield from _fulfils((yield from _order()), "returned")
    return (yield from answering(request, context))


def believes_the_browser(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The return page shows that the order is paid, since the browser was sent to it."""
    if request.path == "/payment-status":
        return json_response(200, {"status": "SUCCESS"})
    return (yield from answering(request, context))


# --- what is in it -------------------------------------------------------------------------------


def answers_500_to_new_types(request: WebRequest, context: FlowContext) -> AnyFlow:
    """An event of an unknown type is answered 500, so it is sent again for ever."""
    if _is_news(request) and not json.loads(request.body)["eventType"].startswith(KNOWN):
        yield Load("nothing")
        return json_response(500, {})
    return (yield from answering(request, context))


def chokes_on_new_types(request: WebRequest, context: FlowContext) -> AnyFlow:
    """An event of a type that is not in the table ends in a KeyError, at every delivery."""
    if _is_news(request):
        {"intent.success": 1, "intent.failed": 1}[json.loads(request.body)["eventType"]]
    return (yield from answering(request, context))


def one_event_an_intent(request: WebRequest, context: FlowContext) -> AnyFlow:
    """Copies are recognised by the intent, not by the event, so the second event counts as one."""
    if _is_news(request):
        found = yield from history(receipt_alias("order-42"))
        if any(
            recorded.event.source == "webhook" for record in found for recorded in record.events
        ):
            return json_response(200, {})
    return (yield from answering(request, context))


def one_event_a_type(request: WebRequest, context: FlowContext) -> AnyFlow:
    """Copies are recognised by intent and type, so the second failed charge counts as one."""
    if _is_news(request):
        kind_sent = json.loads(request.body)["eventType"]
        found = yield from history(receipt_alias("order-42"))
        if any(recorded.event.type == kind_sent for record in found for recorded in record.events):
            return json_response(200, {})
    return (yield from answering(request, context))


def drops_failures(request: WebRequest, context: FlowContext) -> AnyFlow:
    """Only payments matter, so a failed charge is answered 200 and not kept."""
    if _is_news(request) and b"intent.failed" in request.body:
        return json_response(200, {})
    return (yield from answering(request, context))


def fulfils_in_the_webhook(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The handler is called as soon as the event is there, before anything is durable."""
    if _is_news(request) and b"intent.success" in request.body:
        yield from _fulfils((yield from _order()), "key")
    return (yield from answering(request, context))


def fulfils_any_news(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The handler is called for every event of the intent, whatever its type."""
    if _is_news(request):
        yield from _fulfils((yield from _order()), "key")
    return (yield from answering(request, context))


# --- whose it is ---------------------------------------------------------------------------------


def verifies_at_the_end(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The signature is checked after the event was filed, and the answer is 401 all the same."""
    if _is_news(request):
        yield from answering(attrs.evolve(request, headers=_signed(request, context)), context)
    return (yield from answering(request, context))


def _signed(request: WebRequest, context: FlowContext) -> tuple[tuple[str, str], ...]:
    """Headers that fit the body, from any sender."""
    key = context.settings.webhook_secrets[0].encode()
    signature = base64.b64encode(hmac.new(key, request.body, hashlib.sha512).digest())
    return ((m.HMAC_HEADER, signature.decode()),)


def verifies_its_own_bytes(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The signature is checked over the body parsed and written again, which is never the same."""
    if not _is_news(request):
        return (yield from answering(request, context))
    again = json.dumps(json.loads(request.body)).encode()
    return (yield from answering(attrs.evolve(request, body=again), context))


def of_another_environment(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The secret of the test account is configured for the live one."""
    settings = Settings.sandbox(webhook_secrets=("whsec_of_another_environment",))
    return (yield from answering(request, attrs.evolve(context, settings=settings)))


def knows_one_secret(request: WebRequest, context: FlowContext) -> AnyFlow:
    """Only one secret is accepted, so no event is accepted once xPay signs with the next."""
    secrets = context.settings.webhook_secrets[:1]
    settings = attrs.evolve(context.settings, webhook_secrets=secrets)
    return (yield from answering(request, attrs.evolve(context, settings=settings)))


def believes_anybody(*_: object) -> Authenticity:
    """The signature is looked for, and not checked."""
    return Authenticity(key_index=0, hmac=True, ecdsa=False)


def takes_it_for_the_latest_order(event: Event) -> AnyFlow:
    """An event is applied to the order of that moment and not to the one that it names."""
    found = yield from history(receipt_alias("order-42"))
    return found[-1] if found else None


def drops_strangers(event: Any, context: FlowContext) -> AnyFlow:
    """An event of an unknown intent is answered 200 and dropped."""
    yield Load("x:unknown")
    return webhook.WebhookResult(
        event_id=event.event_id, event_type=event.type, disposition="unknown", why="not ours"
    )


# --- what is made durable ------------------------------------------------------------------------


def saves_what_is_due_later(
    record: Record, intent: Intent, event: Event, context: FlowContext
) -> AnyFlow:
    """First the event is committed and then, if the process lives that long, its due call."""
    decision = decide(intent, event, context.lifecycle)
    if decision.event is None:
        return recording.RecordResult(record, intent, decision)
    whole = recording.with_decision(record, decision, (yield from now()), context)
    if not (yield from commit(change(record, attrs.evolve(whole, outbox=record.outbox)))):
        return None
    for _ in range(COMMIT_TRIES):
        now_there = (yield from history(record.key))[0]
        known = {effect.id for effect in now_there.outbox}
        more = tuple(effect for effect in whole.outbox if effect.id not in known)
        after = attrs.evolve(now_there, outbox=(*now_there.outbox, *more))
        if not more or (yield from commit(change(now_there, after))):
            break
    return recording.RecordResult(whole, decision.intent, decision)


def ignores_a_lost_race(
    record: Record, intent: Intent, event: Event, context: FlowContext
) -> AnyFlow:
    """What compare-and-set answers is not looked at: a lost race passes for a saved event."""
    decision = decide(intent, event, context.lifecycle)
    if decision.event is not None:
        step = change(
            record, recording.with_decision(record, decision, (yield from now()), context)
        )
        yield from commit(step)
    return recording.RecordResult(record, decision.intent, decision)


def saves_the_event_elsewhere_first(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The event's id is saved as seen before the event is: a retry after a crash is a copy."""
    if _is_news(request) and (key := _seen_key(request)):
        if (yield from load(key)):
            return json_response(200, {})
        seen = Record(key=key, aliases=frozenset({key}))
        yield from commit(change(Record(key=key), seen))
    return (yield from answering(request, context))


def _seen_key(request: WebRequest) -> str:
    return f"seen:{json.loads(request.body)['eventId']}"


def takes_time_to_go_on(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The time without an event is logged in powers of two, as if no clock went back."""
    if _is_news(request):
        record = yield from _order()
        silent_ms = (yield from now()) - record.events[-1].at_ms
        math.log2(1 + silent_ms)
    return (yield from answering(request, context))


# The package exports a function of the same name.
_webhook = importlib.import_module("xpay_flow.flows.webhook")
_decide = importlib.import_module("xpay_flow.decide")

Respond = Callable[[WebRequest, FlowContext], AnyFlow]

ON_FILE = "acknowledged and is not on file"
TWICE = "called twice though nothing failed"
TWO_FAILURES = attrs.evolve(EVENTS, failures=2)
KNOWN = ("intent.success", "intent.failed")
CLOCK_SET_BACK = attrs.evolve(
    CANCELLED, name="clock set back", faults=frozenset({"clock"}), rotates=False
)
CHANGED_KEY = attrs.evolve(CANCELLED, name="changed key", parties={"webhook": 1})
STUCK = "can never be fulfilled here"


def _endpoint(
    name: str,
    bug: Respond,
    promise: str,
    faults: int,
    expects: str,
    ref: str = "",
    scene: Scene = EVENTS,
) -> Mutant:
    """A shop whose endpoint is this flow; what the store raises is 503, as everywhere."""

    def respond(request: WebRequest, context: FlowContext) -> AnyFlow:
        try:
            return (yield from bug(request, context))
        except StoreError:
            return json_response(503, {})

    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=faults,
        scene=scene,
        expects=expects,
        make=lambda: shop(respond=respond),
        reference=ref,
    )


def _patched(
    name: str,
    bug: Any,
    part: tuple[Any, str],
    promise: str,
    faults: int,
    expects: str,
    ref: str = "",
    scene: Scene = EVENTS,
) -> Mutant:
    """The shipped shop, with this in place of a part of ours."""
    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=faults,
        scene=scene,
        expects=expects,
        patch=(*part, bug),
        reference=ref,
    )


def any_amount(*_: object) -> bool:
    """Paid is paid, whatever the amount and the currency."""
    return True


def any_currency(intent: Intent, event: Event) -> bool:
    """The numbers are compared and the currencies are not."""
    return event.amount_minor == intent.money.amount_minor


WEBHOOKS = (
    _endpoint(
        "swallows",
        swallows_store_errors,
        "recorded_once",
        1,
        ON_FILE,
        "https://github.com/mollie/magento2/issues/142",
    ),
    _endpoint("2xx first", answers_before_the_work, "recorded_once", 0, ON_FILE),
    _endpoint("unknown is done", takes_unknown_for_done, "recorded_once", 1, ON_FILE),
    _endpoint(
        "third error dropped",
        gives_in_at_the_third_error,
        "recorded_once",
        3,
        ON_FILE,
        scene=BAD_STORE,
    ),
    _endpoint("return page writes", writes_on_return, "redirects_are_read_only", 0, "writes"),
    _endpoint("return page fulfils", fulfils_on_return, "redirects_are_read_only", 0, "writes"),
    _endpoint(
        "return page believes",
        believes_the_browser,
        "redirects_are_read_only",
        0,
        "shown SUCCESS before the payment",
    ),
    _endpoint(
        "500 for ever",
        answers_500_to_new_types,
        "events_are_acknowledged",
        1,
        "never gets a 2xx",
    ),
    _endpoint(
        "chokes on types",
        chokes_on_new_types,
        "events_are_acknowledged",
        1,
        "never gets a 2xx",
    ),
    _endpoint("one event", one_event_an_intent, "recorded_once", 0, ON_FILE),
    _endpoint(
        "one event a type", one_event_a_type, "recorded_once", 0, ON_FILE, scene=TWO_FAILURES
    ),
    _endpoint("failures dropped", drops_failures, "recorded_once", 0, ON_FILE),
    _endpoint("effect before commit", fulfils_in_the_webhook, "handlers_are_called_once", 0, TWICE),
    _endpoint(
        "every event type fulfils",
        fulfils_any_news,
        "wrong_money_is_never_paid",
        0,
        "was not paid",
        "https://github.com/saleor/saleor/issues/6428",
    ),
    _endpoint(
        "verified at the end", verifies_at_the_end, "webhooks_decide", 1, "without a payment"
    ),
    _endpoint(
        "verified over other bytes",
        verifies_its_own_bytes,
        "never_stuck",
        0,
        STUCK,
        "https://github.com/octokit/webhooks.js/issues/76",
    ),
    _endpoint("secret of another environment", of_another_environment, "never_stuck", 0, STUCK),
    _endpoint(
        "seen before it is saved",
        saves_the_event_elsewhere_first,
        "recorded_once",
        0,
        ON_FILE,
        "https://github.com/AI-Shipping-Labs/website/issues/285",
    ),
    _endpoint(
        "time goes on",
        takes_time_to_go_on,
        "never_stuck",
        1,
        STUCK,
        "https://github.com/golang/go/issues/12914",
        CLOCK_SET_BACK,
    ),
    _endpoint("one secret only", knows_one_secret, "never_stuck", 0, STUCK, scene=CHANGED_KEY),
    _patched(
        "believes anybody",
        believes_anybody,
        (_webhook, "authenticate"),
        "webhooks_decide",
        1,
        "forged",
        "https://github.com/Azuriom/Plugin-Shop/issues/284",
    ),
    _patched(
        "the latest order",
        takes_it_for_the_latest_order,
        (_webhook, "find_owner"),
        "webhooks_decide",
        1,
        "without a payment",
    ),
    _patched("drops strangers", drops_strangers, (_webhook, "_park"), "recorded_once", 1, ON_FILE),
    _patched(
        "money not compared",
        any_amount,
        (_decide, "_is_requested_money"),
        "webhooks_decide",
        1,
        "without a payment",
        "https://github.com/payfort/woocommerce-payfort/pull/81",
    ),
    _patched(
        "currency not compared",
        any_currency,
        (_decide, "_is_requested_money"),
        "webhooks_decide",
        1,
        "without a payment",
    ),
    _patched(
        "call due in a second commit",
        saves_what_is_due_later,
        (_webhook, "try_to_record"),
        "never_stuck",
        1,
        "dies",
        scene=HANDLERS,
    ),
    _patched(
        "lost race ignored",
        ignores_a_lost_race,
        (_webhook, "try_to_record"),
        "recorded_once",
        0,
        ON_FILE,
    ),
)
