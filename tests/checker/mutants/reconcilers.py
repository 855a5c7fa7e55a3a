"""What can go wrong when a shop asks xPay what became of a payment?"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from xpay_flow import events as ev
from xpay_flow import flows, xpay_api
from xpay_flow.checker.bounds import SILENCE
from xpay_flow.checker.shop import AnyFlow
from xpay_flow.decide import decide
from xpay_flow.effects import Exchange, commit, due, history, now, run_handler
from xpay_flow.flows import FlowContext, recording
from xpay_flow.payment import payment_of
from xpay_flow.ports import NoAnswer
from xpay_flow.records import Change, Record, change

from .mutant import Mutant, rewritten, shop


def never_asks(context: FlowContext) -> AnyFlow:
    """Each question is taken off the list and not put."""
    silence = NoAnswer("not sent")
    asking = flows.reconcile(context)
    return (yield from rewritten(asking, lambda e: silence if isinstance(e, Exchange) else None))


def _asked(context: FlowContext) -> AnyFlow:
    """Every record that is due, with xPay's answer; the next question is an hour later."""
    answers = []
    for key in (yield from due("reconcile", (yield from now()), 10)):
        record = (yield from history(key))[0]
        x_intent_id = record.intent.x_intent_id if record.intent else None
        if x_intent_id is None:
            yield from _put_off(key)
        else:
            answer = yield from xpay_api.get_intent(x_intent_id, context.settings)
            answers.append((record, answer))
    return answers


def _put_off(key: str) -> AnyFlow:
    for _ in range(5):
        record = (yield from history(key))[0]
        if record.reconcile_at_ms is None:
            return
        later_ms = (yield from now()) + 3_600_000
        if (yield from commit(change(record, attrs.evolve(record, reconcile_at_ms=later_ms)))):
            return


def writes_back_what_it_read(context: FlowContext) -> AnyFlow:
    """The record is read, xPay is requested, and the record is saved whole over later changes."""
    for record, _ in (yield from _asked(context)):
        later_ms = (yield from now()) + 3_600_000
        there = (yield from history(record.key))[0]
        written = attrs.evolve(record, reconcile_at_ms=later_ms, version=there.version + 1)
        yield from commit(Change(record=written, expected_version=there.version))


def _fulfils(record: Record, key: str) -> AnyFlow:
    assert record.intent is not None
    yield from run_handler("on_success", payment_of(record.intent, "on_success", "", key, ()))


def fulfils_by_itself(context: FlowContext) -> AnyFlow:
    """Both the webhook and the question to xPay end in a call of the handler."""
    for record, answer in (yield from _asked(context)):
        if isinstance(answer, xpay_api.IntentAnswer) and answer.status == "SUCCESS":
            assert record.intent is not None
            yield from _fulfils(record, f"{record.intent.id}:on_success")
        yield from _put_off(record.key)


def takes_silence_for_failure(context: FlowContext) -> AnyFlow:
    """A question that got no answer marks the payment as failed."""
    for record, answer in (yield from _asked(context)):
        if isinstance(answer, xpay_api.Unclear):
            yield from _fails(record, context)
        yield from _put_off(record.key)


def takes_open_for_failed(context: FlowContext) -> AnyFlow:
    """A payment that is still open when xPay is requested counts as failed."""
    for record, answer in (yield from _asked(context)):
        if isinstance(answer, xpay_api.IntentAnswer) and answer.status == "CREATED":
            yield from _fails(record, context)
        yield from _put_off(record.key)


def _fails(record: Record, context: FlowContext) -> AnyFlow:
    assert record.intent is not None
    event = attrs.evolve(ev.own(ev.REPORT_FAILED, (yield from now())), source="answer")
    decision = decide(record.intent, event, context.lifecycle)
    after = recording.with_decision(record, decision, (yield from now()), context)
    yield from commit(change(record, after))


def cancels_what_is_open(context: FlowContext) -> AnyFlow:
    """A payment that is open for too long is forgotten, though its page can still be paid."""
    for record, answer in (yield from _asked(context)):
        if isinstance(answer, xpay_api.IntentAnswer) and answer.status == "CREATED":
            gone = attrs.evolve(record, reconcile_at_ms=None, aliases=frozenset({record.key}))
            yield from commit(change(record, gone))
        else:
            yield from _put_off(record.key)


def learns_and_does_not_tell(context: FlowContext) -> AnyFlow:
    """xPay's status is saved as the state, and nothing is due for it."""
    for record, answer in (yield from _asked(context)):
        if isinstance(answer, xpay_api.IntentAnswer) and answer.status == "SUCCESS":
            report = ev.from_report(answer, (yield from now()))
            decision = decide(record.intent, report, context.lifecycle)
            after = recording.with_decision(record, decision, (yield from now()), context)
            yield from commit(change(record, attrs.evolve(after, outbox=record.outbox)))
        else:
            yield from _put_off(record.key)


Reconcile = Callable[[FlowContext], AnyFlow]


def _reconciler(
    name: str, bug: Reconcile, promise: str, faults: int, expects: str, ref: str = ""
) -> Mutant:
    """A shop that asks like this."""
    return Mutant(
        name=name,
        bug=bug,
        promise=promise,
        faults=faults,
        scene=SILENCE,
        expects=expects,
        make=lambda: shop(reconcile=bug),
        reference=ref,
    )


STUCK = "can never be fulfilled here"

RECONCILERS = (
    _reconciler(
        "never asks",
        never_asks,
        "never_stuck",
        1,
        STUCK,
        "https://github.com/aasmanj/altarwed/issues/209",
    ),
    _reconciler(
        "writes back what it read", writes_back_what_it_read, "order_does_not_matter", 0, "lead to"
    ),
    _reconciler(
        "fulfils by itself", fulfils_by_itself, "handlers_are_called_once", 0, "called twice"
    ),
    _reconciler(
        "silence is failure",
        takes_silence_for_failure,
        "webhooks_decide",
        1,
        "no charge has failed",
    ),
    _reconciler(
        "open is failed", takes_open_for_failed, "webhooks_decide", 0, "no charge has failed"
    ),
    _reconciler("open is forgotten", cancels_what_is_open, "never_stuck", 0, STUCK),
    _reconciler("learns and does not record", learns_and_does_not_tell, "never_stuck", 0, STUCK),
)
