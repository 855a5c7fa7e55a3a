"""`xpay-flow check --cross-check` compares with a search that merges nothing."""

from __future__ import annotations

import json

import attrs
import pytest
from click.testing import CliRunner

from xpay_flow.checker.bounds import DEFAULT, EVENTS, HANDLERS
from xpay_flow.checker.own import on_change
from xpay_flow.checker.properties import View
from xpay_flow.checker.reductions import Reductions
from xpay_flow.checker.shop import AnyFlow, Shop, answering
from xpay_flow.checker.targets import shipped
from xpay_flow.checker.verify import cross_check
from xpay_flow.cli.root import xpay_flow as command_line
from xpay_flow.effects import load, run_handler
from xpay_flow.endpoints import WebRequest
from xpay_flow.flows import FlowContext
from xpay_flow.payment import payment_of
from xpay_flow.records import HandlerName, Record, receipt_alias

SMALL = attrs.evolve(DEFAULT, faults=0, scenes=(HANDLERS,))


def test_cross_check_agrees_on_the_shipped_flow() -> None:
    """Both searches of the shipped flow show the same, and the scenes are named."""
    found = cross_check(shipped(), SMALL)
    assert found.agrees
    assert "the same without reductions, by scene (faults): handlers (0)" in found.as_text()


def calls_from_what_it_read(request: WebRequest, context: FlowContext) -> AnyFlow:
    """Calls the handler of a failure from what was read before another delivery's commit."""
    if request.path != "/webhook":
        return (yield from answering(request, context))
    record = (yield from load(receipt_alias("order-42")))[0]
    failed = json.loads(request.body)["eventType"] == "intent.failed"
    assert record.intent is not None
    paid_before = record.intent.is_paid
    if failed and not paid_before:
        yield from call(record, "on_failed")
    response = yield from answering(request, context)
    if not failed and not paid_before and response.status == 200:
        yield from call(record, "on_success")
    return response


def call(record: Record, name: HandlerName) -> AnyFlow:
    assert record.intent is not None
    yield from run_handler(name, payment_of(record.intent, name, "", name, ()))


@on_change
def no_bad_news_after_good(before: View, after: View) -> bool:
    """A customer who was told of a payment is not told of a failure afterwards."""
    told = before.called("on_failed") != after.called("on_failed")
    return not (told and before.called("on_success"))


def test_cross_check_finds_a_merge_that_hides_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a reduction is wrong, the two verdicts differ, and that is printed."""
    made = attrs.evolve(Shop.of(shipped()), respond=calls_from_what_it_read)
    bound = attrs.evolve(SMALL, scenes=(EVENTS,))
    own, left_out = [no_bad_news_after_good], ("handlers_are_called_once", "never_stuck")
    assert cross_check(made, bound, own=own, without=left_out).agrees
    monkeypatch.setattr(Reductions, "permitted", lambda wanted, **_: wanted)
    found = cross_check(made, bound, own=own, without=left_out)
    assert not found.agrees
    assert "VIOLATED without reductions: a defect of the checker" in found.as_text()


def test_cross_check_names_what_it_did_not_end() -> None:
    """A scene that is not searched to its end in time is compared with nothing."""
    found = cross_check(shipped(), attrs.evolve(SMALL, scenes=(EVENTS,)), seconds=0)
    assert found.agrees
    assert "not ended in time: events (0)" in found.as_text()


def test_the_command_cross_checks() -> None:
    """The option prints the comparison after the verdict."""
    done = CliRunner().invoke(
        command_line, ["check", "--faults", "0", "--scene", "handlers", "--cross-check"]
    )
    assert 0 == done.exit_code, done.output
    assert "EXHAUSTED within" in done.output
    assert "Cross-check: the same without reductions" in done.output
