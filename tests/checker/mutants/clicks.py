"""What can go wrong between the button and xPay's page?"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import attrs

from xpay_flow import flows, xpay_api
from xpay_flow.checker.bounds import BEGINNING, CHANGED, SILENCE, Scene
from xpay_flow.checker.shop import AnyFlow
from xpay_flow.checkout_request import CheckoutRequest
from xpay_flow.effects import Commit, Exchange, commit, history, load, new_id, now, run_handler
from xpay_flow.flows import Checkout, FlowContext
from xpay_flow.payment import payment_of
from xpay_flow.records import Change, change, intent_alias, receipt_alias

from .mutant import Mutant, shop

_checkout = importlib.import_module("xpay_flow.flows.checkout")
_create = xpay_api.create_intent


def _created(created: Any, intent_id: str) -> Checkout:
    if not isinstance(created, xpay_api.Created):
        raise created.to_error()
    return Checkout(
        url=created.url,
        intent_id=intent_id,
        x_intent_id=created.answer.x_intent_id,
        state="created",
        resumed=False,
    )


def new_key_for_each_click(request: CheckoutRequest, context: FlowContext) -> AnyFlow:
    """xPay is called under a key of this click's, and nothing is stored before its answer."""
    intent_id = f"pi_{(yield from now())}"
    body = request.to_request(intent_id, context.settings.metadata_key)
    key = yield from new_id("key")
    return _created((yield from xpay_api.create_intent(body, key, context.settings)), intent_id)


def no_idempotency_key(*about: Any) -> AnyFlow:
    """The creation is sent without an idempotency key."""
    return (yield from _without_key(_create(*about)))


def _without_key(flow: AnyFlow) -> AnyFlow:
    answer = None
    try:
        while True:
            effect = flow.send(answer)
            if isinstance(effect, Exchange):
                kept = {n: v for n, v in effect.request.headers.items() if "dempotency" not in n}
                effect = Exchange(attrs.evolve(effect.request, headers=kept))
            answer = yield effect
    except StopIteration as end:
        return end.value


def a_new_key_for_each_try(request: str, key: str, *rest: Any) -> AnyFlow:
    """A creation that is repeated gets a new idempotency key, so it is another one."""
    fresh = yield from new_id("key")
    return (yield from _create(request, fresh, *rest))


def always_another_attempt(request: CheckoutRequest, context: FlowContext) -> AnyFlow:
    """Each click is a payment of its own, although one is open."""
    return flows.start_checkout(request, context, new_attempt=True)


def leaves_the_old_page_open(press: Any, found: Any) -> AnyFlow:
    """A changed order gets another page, and the one over the old amount stays open."""
    press._gone.add(found.key)
    yield from ()


def believes_the_cancellation(press: Any, found: Any) -> AnyFlow:
    """The old page is taken for closed once xPay was called to cancel it, without a reading."""
    press._gone.add(found.key)
    yield from ()
    return True


def stores_after_the_call(request: CheckoutRequest, context: FlowContext) -> AnyFlow:
    """The attempt is stored when xPay has answered, so that a click in between begins another."""
    held: list[Commit] = []
    flow = flows.start_checkout(request, context)
    answer: Any = None
    try:
        while True:
            effect = flow.send(answer)
            if isinstance(effect, Commit) and effect.change.expected_version == 0:
                held.append(effect)
                answer = True
                continue
            answer = yield effect
            if isinstance(effect, Exchange):
                while held:
                    yield held.pop(0)
    except StopIteration as end:
        return end.value


def ignores_a_lost_race(step: Change) -> AnyFlow:
    """Whether the attempt could be stored is not looked at, and xPay is called all the same."""
    yield from commit(step)
    return True


def writes_created_blindly(request: CheckoutRequest, context: FlowContext) -> AnyFlow:
    """The answer to the creation is saved over whatever a faster webhook has brought by then."""
    return (yield from _putting(flows.start_checkout(request, context)))


def _putting(flow: AnyFlow) -> AnyFlow:
    """The flow, with each change of a record written over what is there."""
    answer: Any = None
    try:
        while True:
            effect = flow.send(answer)
            if isinstance(effect, Commit) and effect.change.expected_version:
                answer = yield from _put(effect.change)
            else:
                answer = yield effect
    except StopIteration as end:
        return end.value


def _put(wanted: Change) -> AnyFlow:
    there = (yield from load(wanted.record.key))[0]
    written = attrs.evolve(wanted.record, version=there.version + 1)
    return (yield from commit(Change(record=written, expected_version=there.version)))


def forgets_the_page(request: CheckoutRequest, context: FlowContext) -> AnyFlow:
    """The address of the page is in the session only, so the next click makes another intent."""
    for _ in range(5):
        found = yield from history(receipt_alias(request.receipt_id))
        if not found:
            return (yield from flows.start_checkout(request, context))
        intent = found[0].intent
        assert intent is not None
        key = f"{intent.idempotency_key}:{len(found[0].events)}"
        body = request.to_request(intent.id, context.settings.metadata_key)
        return _created((yield from xpay_api.create_intent(body, key, context.settings)), intent.id)


# --- on the way to the page ----------------------------------------------------------------------


def forwards_blindly(intent_id: str, context: FlowContext) -> AnyFlow:
    """That the customer was sent to the page is saved over a payment that came meanwhile."""
    flow = flows.send_to_checkout(intent_id, context)
    return (yield from _putting(flow))


def fulfils_on_the_way(intent_id: str, context: FlowContext) -> AnyFlow:
    """The order is fulfilled as soon as the customer is sent to the page."""
    record = (yield from load(intent_alias(intent_id)))[0]
    assert record.intent is not None
    yield from run_handler("on_success", payment_of(record.intent, "on_success", "", "key", ()))
    return record.intent.checkout_url


def sets_the_state_on_the_way(intent_id: str, context: FlowContext) -> AnyFlow:
    """Sending the customer away sets the state, though a slow browser may query after paying."""
    for _ in range(5):
        record = (yield from load(intent_alias(intent_id)))[0]
        assert record.intent is not None
        after = attrs.evolve(record, intent=attrs.evolve(record.intent, state="redirected"))
        if (yield from commit(change(record, after))):
            break
    return record.intent.checkout_url


PAYS_TWO = "the customer can pay in_1 and in_2"
Click = Callable[[CheckoutRequest, FlowContext], AnyFlow]


def _click(
    name: str,
    bug: Click,
    promise: str,
    faults: int,
    expects: str,
    ref: str = "",
) -> Mutant:
    """A shop whose button does this."""
    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=faults,
        scene=BEGINNING,
        expects=expects,
        make=lambda: shop(click=bug),
        reference=ref,
    )


def _part(
    name: str,
    bug: Any,
    part: tuple[Any, str],
    ref: str = "",
    *,
    scene: Scene = BEGINNING,
) -> Mutant:
    """The shipped shop, with this in place of a part of ours."""
    return Mutant(
        name=name,
        bug=bug,
        promise="no_second_payment",
        faults=0,
        scene=scene,
        expects=PAYS_TWO,
        patch=(*part, bug),
        reference=ref,
    )


def _forward(name: str, bug: Any, promise: str, expects: str, ref: str = "") -> Mutant:
    """A shop that sends the customer on like this."""
    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=0,
        scene=SILENCE,
        expects=expects,
        make=lambda: shop(send_to_checkout=bug),
        reference=ref,
    )


CLICKS = (
    _click(
        "new key",
        new_key_for_each_click,
        "no_second_payment",
        0,
        PAYS_TWO,
        "https://github.com/square/square-mcp-server/issues/31",
    ),
    _part(
        "no key",
        no_idempotency_key,
        (xpay_api, "create_intent"),
        "https://github.com/own-pay/OwnPay/issues/280",
    ),
    _part(
        "new key at each try",
        a_new_key_for_each_try,
        (xpay_api, "create_intent"),
        "https://github.com/Adyen/adyen-commercetools/issues/1305",
    ),
    _click(
        "always another attempt",
        always_another_attempt,
        "no_second_payment",
        0,
        PAYS_TWO,
        "https://github.com/lightspeedretail/webstore/issues/158",
    ),
    _click(
        "stored after the call",
        stores_after_the_call,
        "no_second_payment",
        0,
        PAYS_TWO,
        "https://github.com/chethanac15/eStore/issues/182",
    ),
    _part("lost race for the attempt", ignores_a_lost_race, (_checkout, "commit")),
    _part(
        "old page left open", leaves_the_old_page_open, (_checkout._Press, "_close"), scene=CHANGED
    ),
    _part(
        "cancellation believed",
        believes_the_cancellation,
        (_checkout._Press, "_ask"),
        scene=CHANGED,
    ),
    _click("created over paid", writes_created_blindly, "order_does_not_matter", 0, "lead to"),
    _click(
        "page forgotten",
        forgets_the_page,
        "no_second_payment",
        0,
        PAYS_TWO,
        "https://github.com/Automattic/woocommerce-payments/issues/5678",
    ),
    _forward("forwarded over paid", forwards_blindly, "order_does_not_matter", "lead to"),
    _forward(
        "fulfilled on the way", fulfils_on_the_way, "wrong_money_is_never_paid", "was not paid"
    ),
    _forward("state set on the way", sets_the_state_on_the_way, "order_does_not_matter", "lead to"),
)
