"""Which lines of a user's code a search never ran."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any

import pytest

from xpay_flow.checker.coverage import OTHER_TRACER, Coverage
from xpay_flow.checker.parked import release_threads
from xpay_flow.checker.plain import PlainPorts, plain
from xpay_flow.effects import load
from xpay_flow.wire import canonical_json


@pytest.fixture(autouse=True)
def no_other_tracer() -> Any:
    """Measured as if no one else were tracing."""
    outer = sys.gettrace()
    sys.settrace(None)
    yield
    release_threads()
    sys.settrace(outer)


def chooses(way: int) -> str:
    """Takes one of two ways."""
    if way == 1:
        chosen = "one"
        chosen += "!"
    else:
        chosen = helps(way)
    return chosen


def helps(way: int) -> str:
    return canonical_json(way)


def lines(function: Any, first: int, last: int) -> str:
    """The lines of a function, counted from its `def`, as they are reported."""
    start = function.__code__.co_firstlineno
    span = f"{start + first}-{start + last}" if first != last else f"{start + first}"
    return f"tests/checker/test_checker_coverage.py:{span} in {function.__name__}"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(request.config.rootpath)


def test_a_way_not_taken_is_reported() -> None:
    """Lines that never ran are reported with file, lines and function, adjoining ones together."""
    coverage = Coverage([chooses])
    with coverage.watch():
        chooses(2)
    assert (lines(chooses, 3, 4),) == coverage.never_run()
    with coverage.watch():
        chooses(1)
    assert () == coverage.never_run()


def test_an_uncalled_function_is_reported() -> None:
    """A function that was named, or that such a one names, and never ran is reported whole."""
    coverage = Coverage([functools.partial(chooses, 1)])
    assert (lines(chooses, 2, 7), lines(helps, 1, 1)) == coverage.never_run()


def test_only_what_was_watched_counts() -> None:
    """What runs outside of the watch has not been checked."""
    coverage = Coverage([helps])
    helps(1)
    assert (lines(helps, 1, 1),) == coverage.never_run()


def test_our_own_lines_do_not_count() -> None:
    """Code of ours and of Python's is of no interest."""
    coverage = Coverage([canonical_json, inspect.getfile])
    with coverage.watch():
        canonical_json({})
    assert () == coverage.never_run()


def outer() -> Any:
    def inner() -> int:
        return 1

    return inner


def test_code_that_is_met_is_added() -> None:
    """A function that runs is reported, with those inside it, although it was not named."""
    coverage = Coverage()
    with coverage.watch():
        outer()
    start = outer.__code__.co_firstlineno
    assert (f"tests/checker/test_checker_coverage.py:{start + 2} in inner",) == coverage.never_run()


def flows() -> Any:
    first = yield from load("a")
    second = yield from load("b")
    return first, second


def asks(ports: PlainPorts) -> Any:
    first = ports.store.load("a")
    second = ports.store.load("b")
    return first, second


async def awaits(ports: PlainPorts) -> Any:
    first = await ports.store.load("a")
    second = await ports.store.load("b")
    return first, second


@pytest.mark.parametrize("function", [flows, asks, awaits])
def test_each_resumption_counts(function: Any) -> None:
    """A flow, a blocking function and a coroutine are followed from one resumption to the next."""
    coverage = Coverage([function])
    flow = function() if function is flows else plain(function)()
    with coverage.watch():
        next(flow)
    assert (lines(function, 2, 3),) == coverage.never_run()
    with coverage.watch():
        flow.send(1)
    assert (lines(function, 3, 3),) == coverage.never_run()
    with pytest.raises(StopIteration), coverage.watch():
        flow.send(2)
    assert () == coverage.never_run()


def test_another_tracer_is_left_alone() -> None:
    """Where a debugger or coverage.py traces, nothing is collected, and that is reported."""
    coverage = Coverage([chooses])

    def tracer(*_: Any) -> None:
        return None

    sys.settrace(tracer)
    with coverage.watch():
        chooses(1)
    assert tracer is sys.gettrace()
    assert (OTHER_TRACER,) == coverage.never_run()
