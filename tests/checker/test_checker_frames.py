"""What of a paused flow its future can depend on."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable
from typing import Any

import pytest

from xpay_flow.checker import frames
from xpay_flow.checker.codes import Constant

Flow = Generator[str, Any, Any]


def paused(flow: Flow) -> Flow:
    """The flow as it waits for its first answer."""
    next(flow)
    return flow


def rest_of(flow: Flow) -> Hashable | None:
    """What stands for the rest of a paused flow."""
    return frames.rest_of(frames.frames_of(flow))


def rest_with_error(flow: Flow) -> Hashable | None:
    """The same for an error."""
    return frames.rest_with_error(frames.frames_of(flow))


def rest_with_answer(flow: Flow, answer: Constant) -> Hashable | None:
    """The same for an answer that is a constant."""
    return frames.rest_with_answer(frames.frames_of(flow), answer)


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


def commits(value: int) -> Flow:
    """Asks whether it has won, as our own effects do."""
    won = yield f"commit {value}"
    return won


def tries(value: int, again: Iterable[object]) -> Flow:
    """Returns what it holds once it has won, and tries again with nothing in hand until then."""
    for _ in again:
        found = yield from once(value)
        if found is not None:
            return found
        value = yield "load"
    return None


def once(value: int) -> Flow:
    """One try: None is a lost race."""
    if not (yield from commits(value)):
        return None
    return value


def test_a_lost_race_leaves_nothing_in_hand() -> None:
    """Flows that had read something else go on alike once they have lost, and not if they win."""
    one, other = paused(tries(1, range(3))), paused(tries(2, range(3)))
    assert rest_of(one) != rest_of(other)
    assert rest_with_answer(one, False) == rest_with_answer(other, False) is not None
    assert rest_with_answer(one, True) != rest_with_answer(other, True)
    assert "load" == one.send(False) == other.send(False)
    assert rest_of(one) == rest_of(other)


def test_a_lost_race_leaves_the_tries_that_are_left() -> None:
    """What stands on the stack, such as how many tries there are, still tells flows apart."""
    one, other = paused(tries(1, range(3))), paused(tries(1, range(4)))
    assert rest_with_answer(one, False) != rest_with_answer(other, False)


def noted(value: int, answered: bool) -> Flow:
    """Keeps the answer and goes on in the same place, whatever it was."""
    won = yield "asked"
    if answered:
        yield "again"
    return won, value if answered else None


def test_an_answer_that_is_kept_is_told() -> None:
    """What a flow has written down on its way is part of its rest."""
    flow = paused(noted(1, answered=True))
    assert rest_with_answer(flow, True) != rest_with_answer(flow, False)
    # `1` is no other number than `True`, and yet it may be told from it.
    assert rest_with_answer(flow, True) != rest_with_answer(flow, 1)


def test_a_flow_that_ends_upon_an_answer_leaves_the_answer() -> None:
    """Of a flow that does nothing but hand its answer on, nothing else is left."""
    one, other = paused(commits(1)), paused(commits(2))
    assert rest_with_answer(one, False) == rest_with_answer(other, False)
    assert rest_with_answer(one, False) != rest_with_answer(one, True)
