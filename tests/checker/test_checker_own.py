"""What the checker makes of promises of the user's own, and of promises that are left out."""

from __future__ import annotations

import sys
from types import ModuleType

import attrs
import pytest

from xpay_flow import ConfigurationError
from xpay_flow.checker import Own, View, always, check, eventually, on_change, sometimes
from xpay_flow.checker.bounds import DEFAULT, EVENTS, HANDLERS, Bound, Scene
from xpay_flow.checker.targets import shipped

from .planted_flows import PLANTED


def within(scene: Scene, faults: int = 0) -> Bound:
    return attrs.evolve(DEFAULT, name="small", faults=faults, scenes=(scene,))


@always
def nobody_fails(view: View) -> bool:
    """No payment fails."""
    return all(intent.state != "failed" for intent in view.intents)


@always
def sums_are_small(view: View) -> str | None:
    wrong = [i.id for i in view.intents if i.money.amount_minor > 5000]
    return f"{wrong[0]} is over too much" if wrong else None


@on_change
def failed_stays_failed(before: View, after: View) -> bool:
    """A payment that failed is never paid."""
    failed = {intent.id for intent in before.intents if intent.state == "failed"}
    return not any(i.id in failed and i.is_paid for i in after.intents)


@eventually
def failures_are_told(view: View) -> bool:
    """A failed charge leads to a call. Here no worker runs."""
    return bool(view.called("on_failed"))


@sometimes
def somebody_pays(view: View) -> bool:
    """A payment succeeds."""
    return any(intent.is_paid for intent in view.intents)


@sometimes
def pigs_fly(_: View) -> bool:
    """The impossible happens."""
    return False


def test_a_promise_of_every_moment_is_looked_at() -> None:
    """`always` is broken at the first moment at which it is not so, and live code confirms it."""
    result = check(bound=within(EVENTS), own=[nobody_fails])
    assert result.violation is not None
    assert ("nobody_fails", 0, True) == (
        result.violation.promise,
        result.violation.faults,
        result.violation.confirmed,
    )
    assert "No payment fails" in result.violation.sentence


def test_a_sentence_says_what_is_wrong() -> None:
    """A promise that holds returns nothing; one that does not may return its reason."""
    assert "EXHAUSTED" == check(bound=within(EVENTS), own=[sums_are_small]).verdict
    assert sums_are_small(View(records=(), outside=None, lifecycle=None)) is None  # type: ignore[arg-type]  # not looked at


def test_a_promise_of_changes_sees_both_moments() -> None:
    """`on_change` is broken by a step, and the story ends with it."""
    result = check(bound=within(EVENTS), own=[failed_stays_failed])
    assert result.violation is not None
    assert "failed_stays_failed" == result.violation.promise
    assert result.violation.confirmed
    words = " ".join(step.in_words() for step in result.violation.story[-3:])
    assert "success" in words


def test_what_can_never_be_reached_is_a_violation() -> None:
    """`eventually` is broken where no continuation leads to it, although no moment is wrong."""
    result = check(bound=within(EVENTS), own=[failures_are_told])
    assert result.violation is not None
    assert "failures_are_told" == result.violation.promise


def test_what_never_comes_true_is_a_violation() -> None:
    """`sometimes` guards against a check that is passed because nothing happens."""
    assert "EXHAUSTED" == check(bound=within(EVENTS), own=[somebody_pays]).verdict
    result = check(bound=within(EVENTS), own=[somebody_pays, pigs_fly])
    assert ("VIOLATED", ("pigs_fly",)) == (result.verdict, result.in_vain)
    assert "Never came true: pigs_fly: The impossible happens." in result.as_text()


def test_promises_of_the_named_module_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promises beside the flow that is named are found without being handed over."""
    module = ModuleType("a_shop_with_promises")
    vars(module).update(build=shipped, nobody_fails=nobody_fails)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    result = check("a_shop_with_promises:build", within(EVENTS))
    assert result.violation is not None
    assert "nobody_fails" == result.violation.promise


def test_a_promise_can_be_left_out() -> None:
    """A promise that is left out by name is not looked at, and the result shows it."""
    bug = next(planted for planted in PLANTED if planted.name == "forgets effects")
    assert "never_stuck" == bug.promise
    result = check(bug.make(), within(EVENTS), without=["never_stuck"])
    assert ("EXHAUSTED", ("never_stuck",)) == (result.verdict, result.without)
    assert "Not looked at: never_stuck" in result.as_text()


def test_an_unknown_name_leaves_out_nothing() -> None:
    """A misspelt promise is refused, with the names that there are."""
    with pytest.raises(ConfigurationError, match="never_stuck"):
        check(bound=within(HANDLERS), without=["never_stock"])


def test_a_promise_says_its_name_and_sentence() -> None:
    """A promise is reported by its function's name and the first line of its docstring."""
    assert ("pigs_fly", "The impossible happens.") == (pigs_fly.name, pigs_fly.sentence)
    assert ("sums_are_small", "sums are small") == (sums_are_small.name, sums_are_small.sentence)
    assert isinstance(pigs_fly, Own)
