"""What of a paused generator its future can depend on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import repeat
from typing import Any

import attrs
import pytest

from xpay_flow.checker import fingerprint as module
from xpay_flow.checker.fingerprint import fingerprint

Flow = Generator[str, Any, Any]


def paused(flow: Flow, *answers: object) -> Flow:
    """The flow as it waits for its first answer, or for the one after these."""
    next(flow)
    for answer in answers:
        flow.send(answer)
    return flow


def reads(value: object) -> Flow:
    """Holds a value while it waits, and reads it afterwards."""
    answer = yield "waiting"
    return answer, value


def within(value: object, inner: Flow) -> Flow:
    """Holds a value while another flow waits."""
    found = yield from inner
    return found, value


def rounds(over: Iterable[object]) -> Flow:
    """Waits in each round of a loop; nothing but the loop distinguishes the rounds."""
    for _ in over:
        yield "waiting"


def alike(one: Flow, other: Flow) -> bool:
    """Whether both are understood and go on alike."""
    return fingerprint(one) == fingerprint(other) is not None


@attrs.frozen
class Frozen:
    """A value."""

    amount: int


@attrs.define(eq=False)
class Mutable:
    """A value that can change, and is equal to itself only."""

    amount: int


class Unknown:
    """A value of which nothing is known."""


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n,
        lambda n: [n, [n]],
        lambda n: {"a": (n, {n})},
        lambda n: range(n),
        lambda n: Frozen(n),
        lambda n: Mutable(n),
        lambda n: lambda: n,
        lambda n: [n].append,
        lambda n: paused(reads(n)),
    ],
)
def test_a_fingerprint_tells_values_apart(make: Callable[[int], object]) -> None:
    """Equal values in hand have equal fingerprints, and others do not, however deep they are."""
    assert alike(paused(reads(make(1))), paused(reads(make(1))))
    assert not alike(paused(reads(make(1))), paused(reads(make(2))))
    assert alike(paused(within(make(1), reads(2))), paused(within(make(1), reads(2))))
    assert not alike(paused(within(3, reads(make(1)))), paused(within(3, reads(make(2)))))


def test_a_fingerprint_tells_kinds_apart() -> None:
    """`1`, `1.0` and `True` are equal, and yet code can distinguish them."""
    one, real, true = (fingerprint(paused(reads(value))) for value in (1, 1.0, True))
    assert one != real != true != one


def test_a_fingerprint_has_the_place() -> None:
    """Flows that hold the same and wait in different places go on in different ways."""

    def twice() -> Flow:
        yield "waiting"
        yield "waiting"

    assert not alike(paused(twice()), paused(twice(), None))


@pytest.mark.parametrize(
    "over", [(1, 1, 1), [1, 1, 1], reversed([1, 1, 1])], ids=lambda over: type(over).__name__
)
def test_a_fingerprint_has_the_round_of_a_loop(over: Iterable[object]) -> None:
    """How far a loop has come is on the stack only."""
    once, twice = [1, 1, 1], [1, 1]
    flow = paused(rounds(over))
    first = fingerprint(flow)
    flow.send(None)
    assert first is not None
    assert first != fingerprint(flow)
    assert not alike(paused(rounds(once)), paused(rounds(twice)))


def test_a_loop_without_end_has_one_round() -> None:
    """A loop over `repeat` is the same in each round."""
    again = repeat(None)
    assert alike(paused(rounds(again)), paused(rounds(again), None))
    assert not alike(paused(rounds(repeat(None, 3))), paused(rounds(repeat(None, 3)), None))


def test_a_fingerprint_has_what_is_on_the_stack() -> None:
    """A value that is in no variable, and is used once the answer has come."""

    def holds(values: list[int]) -> Flow:
        return values.pop(), (yield "waiting")

    assert alike(paused(holds([1])), paused(holds([1])))
    assert not alike(paused(holds([1])), paused(holds([2])))


def test_a_fingerprint_has_the_error_being_handled() -> None:
    """A flow that waits inside an error's handler may raise the error again: it is not merged."""

    def handles(text: str) -> Flow:
        try:
            raise ValueError(text)
        except ValueError:
            yield "waiting"
            raise

    assert fingerprint(paused(handles("a"))) is None


def test_a_lost_race_leaves_nothing_in_hand() -> None:
    """Attempts that had read different values wait alike once they have lost, and start again."""

    def attempt() -> Flow:
        found = yield "load"
        return (yield f"commit {found}")

    def tries() -> Flow:
        won = None
        for _ in repeat(None):
            won = yield from attempt()
            if won:
                return won
        return None

    assert not alike(paused(tries(), 1), paused(tries(), 2))
    assert alike(paused(tries(), 1, None), paused(tries(), 2, None))
    assert alike(paused(tries(), 1, None), paused(tries()))


def test_variables_without_a_value_are_not_mistaken() -> None:
    """One value in two different variables makes two different fingerprints."""

    def one_of(first: bool) -> Flow:
        if first:
            a = "held"
        else:
            b = "held"
        del first
        yield "waiting"
        return a, b

    assert not alike(paused(one_of(True)), paused(one_of(False)))


def test_one_list_is_not_two_equal_ones() -> None:
    """A change of one list is seen under both of its names; of two lists, it is not."""

    def holds(a: list[int], b: list[int]) -> Flow:
        yield "waiting"
        a.append(1)
        return b

    one: list[int] = []
    assert not alike(paused(holds(one, one)), paused(holds([], [])))
    itself: list[Any] = []
    itself.append(itself)
    assert fingerprint(paused(reads(itself))) is not None


def over_range() -> Iterator[object]:
    return iter(range(3))


@pytest.mark.parametrize(
    "make",
    [Unknown, over_range, lambda: map(str, [1]), lambda: enumerate([1]), lambda: iter({1: 2})],
    ids=["object", "range", "map", "enumerate", "dict"],
)
def test_what_is_not_understood_has_no_fingerprint(make: Callable[[], object]) -> None:
    """Values that can change unseen are never taken for equal, wherever they are."""
    for flow in (
        reads(make()),
        reads([make()]),
        within(make(), reads(1)),
        within(1, reads(make())),
    ):
        assert fingerprint(paused(flow)) is None


def test_deep_values_have_no_fingerprint() -> None:
    """What is nested deeper than the limit is not looked at."""
    deep: object = ()
    for _ in range(module.DEPTH_MAX):
        deep = (deep,)
    assert fingerprint(paused(reads(deep))) is None


def test_an_ended_generator_is_like_any_other() -> None:
    """One that has returned, and is still in a variable, only ends again."""
    ended = reads(1)
    ended.close()
    other = reads(2)
    other.close()
    assert alike(paused(reads(ended)), paused(reads(other)))


def test_a_look_changes_nothing() -> None:
    """A fingerprint is the same at a second look, and when a debugger has looked as well."""
    flow = paused(within(1, reads([2])))
    first = fingerprint(flow)
    assert flow.gi_frame is not None
    assert {"value": 1} == {k: v for k, v in flow.gi_frame.f_locals.items() if k == "value"}
    assert first == fingerprint(flow) == fingerprint(paused(within(1, reads([2])))) is not None


def test_a_look_between_changes_nothing() -> None:
    """A flow has the same fingerprint whether or not it was looked at in an earlier place."""

    def binds(value: int) -> Flow:
        if not value:
            first = value
        second = yield "waiting"
        first = yield "waiting"
        yield "waiting"
        return first, second

    looked_at = paused(binds(1))
    for answer in (2, 3):
        assert fingerprint(looked_at) is not None
        looked_at.send(answer)
    assert alike(looked_at, paused(binds(1), 2, 3))


@pytest.mark.parametrize("hidden", ["_generator", "_iterator"])
def test_a_python_that_shows_too_little_has_no_fingerprints(
    hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of difference is tried once; where one stays unseen, nothing is merged."""
    kinds = {kind for kind, how in module._DIGESTS.items() if how is getattr(module, hidden)}
    for kind in kinds:
        monkeypatch.setitem(module._DIGESTS, kind, lambda value, look: "alike")
    module._works_here.cache_clear()
    try:
        assert fingerprint(paused(reads(1))) is None
    finally:
        monkeypatch.undo()
        module._works_here.cache_clear()
    assert fingerprint(paused(reads(1))) is not None
