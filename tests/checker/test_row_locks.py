"""What the search finds with workers that lock a record while they call its handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from tests.kit.planted_capabilities import Able
from xpay_flow import flows
from xpay_flow.checker.bounds import Group, Scene
from xpay_flow.checker.performing import Hold, LetGo, changed, taken_apart
from xpay_flow.checker.shop import AnyFlow, Shop
from xpay_flow.checker.stateless.check import StatelessBound, StatelessResult, check_stateless
from xpay_flow.checker.targets import shipped
from xpay_flow.effects import Orphaned, WithLock, load
from xpay_flow.flows import FlowContext
from xpay_flow.flows.outbox import WorkerCapabilities
from xpay_flow.ports import is_locked

HOLDS = WorkerCapabilities(row_locks=True)


def right(context: FlowContext) -> AnyFlow:
    """Holds a record until its calls are settled, and takes over what a dead worker left."""
    return flows.deliver(context, capabilities=HOLDS)


def lets_go_first(context: FlowContext) -> AnyFlow:
    """Holds the record, lets go of it, and only then does what it was held for."""

    def instead(effect: Any) -> AnyFlow:
        if not isinstance(effect, WithLock):
            return (yield effect)
        yield WithLock(effect.key, nothing())
        return (yield from effect.flow)

    return changed(right(context), instead)


def does_not_look(context: FlowContext) -> AnyFlow:
    """Works on the record, too, where another worker holds it."""

    def instead(effect: Any) -> AnyFlow:
        if not isinstance(effect, WithLock):
            return (yield effect)
        done = yield WithLock(effect.key, transactional(effect.flow))
        return done if done is not None else (yield from effect.flow)

    return changed(right(context), instead)


def leaves_the_abandoned(context: FlowContext) -> AnyFlow:
    """Keeps away from a record that is marked as locked, also when the holder is dead."""

    def instead(effect: Any) -> AnyFlow:
        if isinstance(effect, Orphaned):
            return ()
        if isinstance(effect, WithLock):
            found = yield from load(effect.key)
            if any(is_locked(entry) for record in found for entry in record.outbox):
                return None
        return (yield effect)

    return changed(right(context), instead)


def nothing() -> AnyFlow:
    yield from ()


def transactional(flow: AnyFlow) -> AnyFlow:
    """The flow; it can be run all the same where this is not."""
    return (yield from flow)


def searched(deliver: Callable[[FlowContext], AnyFlow], faults: int) -> StatelessResult:
    """What two workers show who do their work so, on a store that can hold."""
    store = Able()
    empty = store.snapshot()
    parties: dict[Group, int] = {"webhook": 1, "worker": 2}
    where = Scene(name="holding", parties=parties, faults=frozenset({"death"}))
    bound = StatelessBound(faults=faults, flows_max=3, scenes=(where,))
    shop = attrs.evolve(Shop.of(shipped()), deliver=deliver)
    return check_stateless(shop, lambda: store, lambda: store.restore(empty), bound)


@pytest.mark.parametrize("faults", [0, 1])
def test_workers_that_hold_are_right(faults: int) -> None:
    """A record that is held until all is settled, and taken over from the dead, is no alarm."""
    result = searched(right, faults)
    assert "EXHAUSTED" == result.verdict, result.as_text()


@pytest.mark.parametrize(
    ("deliver", "promise", "faults"),
    [
        (lets_go_first, "handlers_are_called_once", 0),
        (does_not_look, "handlers_are_called_once", 0),
        (leaves_the_abandoned, "never_stuck", 1),
    ],
)
def test_a_hold_that_is_misused_is_found(
    deliver: Callable[[FlowContext], AnyFlow], promise: str, faults: int
) -> None:
    """A misused lock breaks the promise that it is there for, with the fewest faults."""
    found = searched(deliver, 1).violation
    assert found is not None
    assert (promise, faults) == (found.promise, found.faults), found.as_text()


def test_a_hold_for_nothing_is_taken_and_let_go() -> None:
    """A flow that does nothing while it holds a record is no error, and ends with its value."""
    flow = taken_apart(holds_for_nothing())
    assert Hold("key") == next(flow)
    assert LetGo("key") == flow.send(True)
    with pytest.raises(StopIteration) as end:
        flow.send(None)
    assert "held" == end.value.value


def holds_for_nothing() -> AnyFlow:
    yield WithLock("key", nothing())
    return "held"
