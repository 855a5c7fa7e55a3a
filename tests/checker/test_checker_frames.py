"""What of a paused flow its future can depend on."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from xpay_flow.checker.frames import rest_of, rest_with_error

Flow = Generator[str, Any, Any]


def paused(flow: Flow) -> Flow:
    """The flow as it waits for its first answer."""
    next(flow)
    return flow


def reads(value: int) -> Flow:
    """Holds a value while it waits, and reads it afterwards."""
    answer = yield "asked"
    return answer, value


def handles(kept: int, dropped: int) -> Flow:
    """Holds two values, of which only one is read after an error."""
    try:
        yield "asked"
    except ValueError:
        return kept
    return dropped


def within(value: int, inner: Flow) -> Flow:
    """Holds a value while another flow waits, and reads it whatever becomes of that."""
    found = yield from inner
    return found, value


def test_an_answer_can_meet_all_that_is_in_hand() -> None:
    """Flows that hold different values are told apart, since an answer lets them be read."""
    assert rest_of(paused(reads(1))) != rest_of(paused(reads(2)))
    assert rest_of(paused(reads(1))) == rest_of(paused(reads(1)))


def test_an_error_that_nobody_handles_leaves_nothing() -> None:
    """Whatever a flow holds, an error that it lets through is all that is left of it."""
    assert () == rest_with_error(paused(reads(1))) == rest_with_error(paused(reads(2)))
    nested = within(3, within(4, reads(5)))
    assert () == rest_with_error(paused(nested))


def test_a_handler_meets_what_it_reads() -> None:
    """Flows are told apart by what their handler can still read, and by nothing else."""
    rest = rest_with_error(paused(handles(1, 2)))
    assert rest == rest_with_error(paused(handles(1, 3)))
    assert rest != rest_with_error(paused(handles(2, 2)))


def test_whoever_waits_for_the_handler_goes_on() -> None:
    """What stands outside of the handler goes on as after any answer, with all that it holds."""
    rest = rest_with_error(paused(within(1, handles(1, 2))))
    assert rest == rest_with_error(paused(within(1, handles(1, 3))))
    assert rest != rest_with_error(paused(within(2, handles(1, 2))))
    # What is inside of it is gone.
    assert rest_with_error(paused(guarded(reads(1)))) == rest_with_error(paused(guarded(reads(2))))


def guarded(inner: Flow) -> Flow:
    """Handles what another flow lets through."""
    try:
        return (yield from inner)
    except ValueError:
        return None


def test_the_error_itself_goes_where_it_was_said_to_go() -> None:
    """What is foreseen is what happens: flows of one rest end alike when the error is thrown."""
    for flow in (handles(1, 2), handles(1, 3), within(1, handles(1, 2))):
        with pytest.raises(StopIteration) as end:
            paused(flow).throw(ValueError())
        assert end.value.value in (1, (1, 1))
