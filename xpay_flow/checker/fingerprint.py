"""What can a paused generator still depend on? Generators with equal fingerprints go on alike.

A paused generator goes on from its place in its code, with its local variables and with what lies
on its stack, such as the iterator of a loop. Nothing else of its past can matter. So pasts that
ended in the same fingerprint are one, and the tree of pasts stays small.

The values are found by the garbage collector, so nothing here depends on one version's bytecode. A
value of an unknown kind, or a Python that does not show what is needed, makes the fingerprint None.
That is equal to nothing: such a past stands for itself, and the search is slower but not wrong.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Hashable, Iterable
from enum import Enum
from functools import cache
from itertools import repeat
from operator import length_hint
from types import (
    BuiltinFunctionType,
    CellType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import attrs

import xpay_flow
from xpay_flow.events import Event
from xpay_flow.flows import FlowContext
from xpay_flow.records import OutboxEntry, Record

from .essence import due_essence, event_essence, record_essence

# Deeper values than this are not compared.
DEPTH_MAX = 40


def fingerprint(generator: Generator[Any, Any, Any]) -> Hashable | None:
    """What stands for the rest of a paused generator; None if it cannot be known."""
    return _fingerprint(generator) if _works_here() else None


def _fingerprint(generator: Any) -> Hashable | None:
    try:
        return _Look().digest(generator)
    except _NotUnderstood:
        return None


_Probe = Generator[None, None, object]


class _NotUnderstood(Exception):
    """A value whose future cannot be known from looking at it."""


class _Look:
    """One look at a generator and at all that it holds."""

    def __init__(self) -> None:
        # Values that can change are numbered, so that one list is not taken for two equal ones.
        self._numbers: dict[int, int] = {}
        self._depth = 0

    def digest(self, value: Any) -> Hashable:
        """What stands for a value; values with equal digests have equal futures."""
        kind: type[Any] = value.__class__
        digest_of = _DIGESTS.get(kind) or _digest_of_kind(kind)
        if kind in _CHANGING:
            if id(value) in self._numbers:
                return ("met before", self._numbers[id(value)])
            self._numbers[id(value)] = len(self._numbers)
        if self._depth >= DEPTH_MAX:
            raise _NotUnderstood
        self._depth += 1
        found = digest_of(value, self)
        self._depth -= 1
        return (kind, found)

    def digests(self, values: Iterable[Any]) -> Hashable:
        return tuple([self.digest(value) for value in values])


def _generator(generator: Any, look: _Look) -> Hashable:
    frame: FrameType | None = generator.gi_frame
    if frame is None:
        return "ended"
    if generator.gi_running:
        raise _NotUnderstood
    code = frame.f_code
    held = gc.get_referents(generator)
    # First its names, its frame, its function and its code. Then the values of its variables, and
    # last its stack, where the generator is that it waits for.
    at = max((n for n, value in enumerate(held) if value is code), default=None)
    if at is None:
        raise _NotUnderstood
    # A variable without a value is left out of both, so the names show which value is whose. Their
    # own order depends on who has looked at them before.
    names = tuple(sorted(frame.f_locals))
    return _itself(code, look), frame.f_lasti, names, look.digests(held[at + 1 :])


def _function(function: FunctionType, look: _Look) -> Hashable:
    """A function made on the way is known by its code and what it has closed over."""
    held = (function.__closure__, function.__defaults__, function.__kwdefaults__)
    code, names = function.__code__, function.__globals__
    return _itself(code, look), _itself(names, look), look.digests(held)


def _cell(cell: CellType, look: _Look) -> Hashable:
    try:
        return look.digest(cell.cell_contents)
    except ValueError:
        return "empty"


def _iterator(iterator: Any, look: _Look) -> Hashable:
    """What it goes over, and how far it still has to go."""
    try:
        left: object = length_hint(iterator)
    except TypeError:
        left = "without end"
    return left, look.digests(gc.get_referents(iterator))


def _items(items: Iterable[Any], look: _Look) -> Hashable:
    return look.digests(items)


def _set(items: Iterable[Any], look: _Look) -> Hashable:
    return frozenset(look.digest(item) for item in items)


def _dict(value: dict[Any, Any], look: _Look) -> Hashable:
    return look.digests(value.items())


def _method(method: Any, look: _Look) -> Hashable:
    return method.__name__, look.digest(method.__self__)


def _value(value: Any, _: _Look) -> Hashable:
    """A value that is hashed by what it is."""
    found: Hashable = value
    return found


def _our_value(value: Any, look: _Look) -> Hashable:
    """One of the library's own values: they do not change, and hold nothing that does."""
    try:
        hash(value)
    except TypeError:
        return _attrs(value, look)
    return _value(value, look)


def _attrs(value: Any, look: _Look) -> Hashable:
    names = [field.name for field in attrs.fields(value.__class__)]
    if not set(names).issuperset(getattr(value, "__dict__", ())):
        raise _NotUnderstood
    return look.digests(getattr(value, name) for name in names)


def _itself(value: Any, _: _Look) -> Hashable:
    """A value that does not change is known by its identity."""
    # Kept for ever, so that no other value comes to have it.
    _KEPT[id(value)] = value
    return id(value)


def _unknown(_: Any, __: _Look) -> Hashable:
    raise _NotUnderstood


_KEPT: dict[int, Any] = {}


def _digest_of_kind(kind: type[Any]) -> Callable[[Any, _Look], Hashable]:
    """How values of a kind are digested that is met for the first time."""
    found: Callable[[Any, _Look], Hashable] = _unknown
    if issubclass(kind, type | Enum):
        found = _value
    elif attrs.has(kind):
        changes = kind.__hash__ in (None, object.__hash__)
        is_ours = kind.__module__.partition(".")[0] == xpay_flow.__name__
        found = _our_value if is_ours and not changes else _attrs
        if changes:
            _CHANGING.add(kind)
    _DIGESTS[kind] = found
    return found


_LIST: list[object] = []
_ITERATORS: tuple[type[Any], ...] = (
    *(type(iter(_LIST)), type(reversed(_LIST)), type(iter(tuple(_LIST)))),
    repeat,
)
_DIGESTS: dict[type, Callable[[Any, _Look], Hashable]] = {
    FlowContext: _itself,
    Record: lambda record, _: (record_essence(record), record.version),
    OutboxEntry: lambda entry, _: due_essence(entry),
    Event: lambda event, _: event_essence(event),
    range: lambda value, _: (value.start, value.stop, value.step),
    list: _items,
    tuple: _items,
    set: _set,
    frozenset: _set,
    dict: _dict,
    FunctionType: _function,
    BuiltinFunctionType: _method,
    MethodType: lambda method, look: look.digests((method.__self__, method.__func__)),
    CellType: _cell,
    GeneratorType: _generator,
    **dict.fromkeys(_ITERATORS, _iterator),
    **dict.fromkeys((type(None), str, int, float, bytes, bool), _value),
    **dict.fromkeys((MethodDescriptorType, ModuleType), _itself),
}
_CHANGING: set[type[Any]] = {list, set, dict, FunctionType, CellType, GeneratorType, *_ITERATORS}


@cache
def _works_here() -> bool:
    """Whether this Python shows all that distinguishes generators: tried on some that differ."""
    return all(
        _fingerprint(_paused(make(1))) == _fingerprint(_paused(make(1))) is not None
        and _fingerprint(_paused(make(1))) != _fingerprint(_paused(make(2)))
        for make in (_in_variable, _in_inner, _on_stack, _in_loop)
    )


def _paused(generator: _Probe) -> _Probe:
    next(generator)
    return generator


def _in_variable(value: int) -> _Probe:
    yield
    return value


def _in_inner(value: int) -> _Probe:
    return (yield from _in_variable(value))


def _on_stack(value: int) -> _Probe:
    values = [value]
    return values.pop(), (yield)


def _in_loop(value: int) -> _Probe:
    """Waits in the first or the second round of a loop over equal items."""
    for n in [1, 1, 1]:
        value -= n
        if value <= 0:
            value = 0
            yield
    return value
