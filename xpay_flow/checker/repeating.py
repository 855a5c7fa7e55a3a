"""Can a handler be repeated? It is called twice under one key, and cut at each of its lines.

A handler that reaches outside is called at least once: after a death, or a failure, it is called
again under the same key. So it must leave the same behind, however far an earlier call has come.
Here it is run once as it is; then again after that; then, from the same beginning, with a death
before each line of the user's code, and called again. All must end alike, and leave alike what the
handler can name: globals, closures, attributes.

Not seen: what is behind a library or a connection, such as the rows of a database; there only the
outcome of the second call is compared. An error that the handler catches itself is not tried.
"""

from __future__ import annotations

import copy
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

from .coverage import plain_function
from .shared_state import SharedState
from .theirs import is_theirs, place_of

# A handler of more lines is cut at the first ones.
CUTS_MAX = 100
Call = Callable[[], tuple[str, str]]


class _Cut(BaseException):
    """The process dies here: no `except Exception` sees it."""


def unrepeatable(handler: Callable[..., object], call: Call) -> str | None:
    """Why a handler cannot be repeated; nothing if it can, and None if it fails at once.

    Args:
        call: calls it, and returns how that ended: `done` or `failed`, and the error.
    """
    function = plain_function(handler)
    if function is None or not is_theirs(function.__code__.co_filename):
        return ""
    world = SharedState([handler])
    first = Copy(world)
    try:
        if call()[0] != "done":
            # That it fails is for other promises to judge.
            return None
        after = world.look()
        again = call()
        if again[0] != "done":
            return f"called again under the same key, it fails: {again[1]}"
        if world.look() != after:
            return f"called twice under one key, it changes {_first_difference(world, after)} twice"
        for line in range(CUTS_MAX):
            first.put_back()
            place = _cut_at(line, call)
            if not place:
                break
            ended = call()
            if ended[0] != "done":
                return f"cut at {place} and called again, it fails: {ended[1]}"
            if world.look() != after:
                name = _first_difference(world, after)
                return f"cut at {place} and called again, it leaves another {name} than in one go"
    finally:
        first.put_back()
    return ""


def _first_difference(world: SharedState, after: dict[str, Any]) -> str:
    return next(name for name, seen in world.look().items() if seen != after[name])


def _cut_at(line: int, call: Call) -> str:
    """Call it with a death before this line of those that run; the place, or nothing if none."""
    with _dying(line) as places:
        try:
            call()
        except _Cut:
            return places[0]
    return places[0] if places else ""


@contextmanager
def _dying(at: int) -> Generator[list[str], None, None]:
    outer, left, places = sys.gettrace(), [at], list[str]()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            return trace if is_theirs(frame.f_code.co_filename) else None
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                # Again at each line after it: a process that is dead runs no `finally`.
                places.append(place_of(frame))
                raise _Cut
        return trace

    sys.settrace(trace)
    try:
        yield places
    finally:
        sys.settrace(outer)


class Copy:
    """What a handler can name, to be put back."""

    def __init__(self, world: SharedState) -> None:
        self._values = {name: value for name, value in world.values() if _can_be_put_back(value)}
        try:
            self._copies = copy.deepcopy(self._values)
        except Exception:
            # Something within cannot be copied, such as a lock.
            self._values, self._copies = {}, {}

    def put_back(self) -> None:
        """Be as when the copy was made."""
        for name, was in copy.deepcopy(self._copies).items():
            _put_into(self._values[name], was)


def _can_be_put_back(value: Any) -> bool:
    if type(value) in (list, dict, set, deque, bytearray):
        return True
    return is_instance_of_theirs(value) and hasattr(value, "__dict__")


def is_instance_of_theirs(value: Any) -> bool:
    """Its class is the user's."""
    kind = cast(Any, type)(value)
    return not isinstance(value, type) and not callable(value) and _class_is_theirs(kind)


def _class_is_theirs(kind: type[Any]) -> bool:
    module = sys.modules.get(kind.__module__)
    return is_theirs(getattr(module, "__file__", None) or "<none>")


def _put_into(value: Any, was: Any) -> None:
    kind = cast(Any, type)(value)
    if kind in (list, deque, bytearray):
        value.clear()
        value.extend(was)
    elif kind in (dict, set):
        value.clear()
        value.update(was)
    else:
        held = cast(Any, vars)(value)
        held.clear()
        held.update(vars(was))
