"""The checker's steps, walked by Hypothesis far beyond what a search can see."""

from __future__ import annotations

import attrs
import pytest
from hypothesis.errors import HypothesisException
from hypothesis.stateful import run_state_machine_as_test

from xpay_flow.checker.bounds import EVENTS
from xpay_flow.checker.machine import EVERYTHING, state_machine

from .planted_flows import PLANTED

# One of the broken shops believes forgers as well, which breaks another promise.
HONEST = attrs.evolve(EVENTS, faults=EVENTS.faults - {"forgery"})

TestEverybodyAtOnce = state_machine(steps=60, examples=15).TestCase


@pytest.mark.parametrize("name", ["newest wins", "2xx first", "one event"])
def test_a_planted_bug_is_met_on_a_walk(name: str) -> None:
    """A walk through a broken shop breaks its promise, and is reported as a story."""
    bug = next(planted for planted in PLANTED if planted.name == name)
    machine = state_machine(bug.make(), scene=HONEST, faults=2, steps=20, examples=300)
    with pytest.raises((AssertionError, HypothesisException, ExceptionGroup)) as met:
        run_state_machine_as_test(machine)
    assert bug.promise in repr(met.value) or bug.promise in str(met.value)


def test_everybody_is_there() -> None:
    """The walk has every party, four at once, with nine faults of nearly every kind."""
    assert {"click", "send_to_checkout", "webhook", "worker", "reconciler"} == set(
        EVERYTHING.parties
    )
    assert 4 == EVERYTHING.at_once
