"""What can a paused generator still depend on? Generators with equal fingerprints go on alike.

A paused generator goes on from its place in its code, with its local variables and with what lies
on its stack, such as the iterator of a loop. Nothing else of its past can matter. So pasts that
ended in the same fingerprint are one, and the tree of pasts stays small.

The values are found by the garbage collector, so nothing here depends on one version's bytecode. A
value of an unknown kind, or a Python that does not show what is needed, makes the fingerprint None.
That is equal to nothing: such a past stands for itself, and the search is slower but not wrong.

What it needs to be true:

- Every value from which the rest can be computed is looked at, down to scalars. A value that can
  change is never known by its identity alone: it could have changed between two moments. Only code,
  modules and values of ours that never change are.
- Values that can change are numbered, so that one list under two names is not two equal lists.
- Memory that outlives the generator (globals, defaults, attributes of classes) is no part of it:
  code that depends on such memory is refused, see `shared_state`.
- Scalars are not compared by `is`, and what user code puts into our own values is data.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Hashable, Iterable
from enum import Enum
from functools import cache
from itertools import chain, repeat
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
from typing import Any, cast

import attrs

import xpay_flow
from xpay_flow.events import Event
from xpay_flow.flows import FlowContext
from xpay_flow.records import OutboxEntry, Record

from .essence import due_essence, event_essence, record_essence, whole_record

# Deeper values than this are not compared.
DEPTH_MAX = 40


def fingerprint(generator: Generator[Any, Any, Any], *, essence: bool = False) -> Hashable | None:
    """What stands for the rest of a paused generator; None if it cannot be known.

    Args:
        essence: records count as alike where our own flows make no difference; see `essence`.
    """
    return _fingerprint(generator, essence=essence) if _works_here() else None


def value_fingerprint(value: object) -> Hashable | None:
    """The same of any value; None if it cannot be known."""
    return _fingerprint(value)


def _fingerprint(value: Any, *, essence: bool = False) -> Hashable | None:
    try:
        return _Look(essence).digest(value)
    except _NotUnderstood:
        return None


_Probe = Generator[None, None, object]


class _NotUnderstood(Exception):
    """A value whose future cannot be known from looking at it."""


class _Look:
    """One look at a generator and at all that it holds."""

    def __init__(self, essence: bool) -> None:
        self._essence = essence
        # Values that can change are numbered, so that one list is not taken for two equal ones.
        self._numbers: dict[int, int] = {}
        self._depth = 0
        # What was made for this look: were it gone, another value could have its identity.
        self._made: list[Any] = []

    def kept(self, made: Any) -> Any:
        """A value that was made for this look, which now lasts as long as the look."""
        self._made.append(made)
        return made

    def digest(self, value: Any) -> Hashable:
        """What stands for a value; values with equal digests have equal futures."""
        # Not `value.__class__`: stand-ins claim to be of another kind than they are.
        kind = cast(Any, type)(value)
        if self._essence and (essence_of := _ESSENCES.get(kind)):
            return (kind, essence_of(value))
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
    at = [n for n, value in enumerate(held) if value is code]
    if len(at) != _mentions_of_code():
        # Not shown, or in a variable as well: where the values begin cannot be known.
        raise _NotUnderstood
    # A variable without a value is left out of both, so the names show which value is whose. Their
    # own order depends on who has looked at them before.
    names = tuple(sorted(frame.f_locals))
    return _itself(code, look), frame.f_lasti, names, look.digests(held[at[-1] + 1 :])


def _function(function: FunctionType, look: _Look) -> Hashable:
    """A function made on the way is known by its code and what it has closed over."""
    if function.__dict__:
        raise _NotUnderstood
    held = (function.__closure__, function.__defaults__, function.__kwdefaults__)
    code, names = function.__code__, function.__globals__
    return _itself(code, look), _itself(names, look), look.digests(held)


def _cell(cell: CellType, look: _Look) -> Hashable:
    try:
        return look.digest(cell.cell_contents)
    except ValueError:
        return "empty"


def _iterator(iterator: Any, look: _Look) -> Hashable:
    """What it goes over, and how far it has come.

    How much is left would not do: of a list that has become shorter than that, nothing is left.
    """
    return look.digests(look.kept(iterator.__reduce__())[1:])


def _repetition(iterator: Any, look: _Look) -> Hashable:
    """What is repeated, and how often still."""
    try:
        left: object = length_hint(iterator)
    except TypeError:
        left = "without end"
    return left, look.digests(gc.get_referents(iterator))


def _items(items: Iterable[Any], look: _Look) -> Hashable:
    return look.digests(items)


def _set(items: set[Any] | frozenset[Any], look: _Look) -> Hashable:
    """Which of several items comes first depends on how the set was made: that is not seen."""
    if len(items) > 1:
        raise _NotUnderstood
    return look.digests(items)


def _dict(value: dict[Any, Any], look: _Look) -> Hashable:
    return look.digests(chain.from_iterable(value.items()))


def _method(method: Any, look: _Look) -> Hashable:
    return method.__name__, look.digest(method.__self__)


def _value(value: Any, _: _Look) -> Hashable:
    """A value that is hashed by what it is."""
    found: Hashable = value
    return found


def _our_value(value: Any, look: _Look) -> Hashable:
    """Data of the library's: it does not change, and holds nothing that does."""
    try:
        hash(value)
    except TypeError:
        return _attrs(value, look)
    return _value(value, look)


def _attrs(value: Any, look: _Look) -> Hashable:
    kind = cast(Any, type)(value)
    names = [field.name for field in attrs.fields(kind)]
    if not set(names).issuperset(getattr(value, "__dict__", ())):
        raise _NotUnderstood
    try:
        return look.digests([object.__getattribute__(value, name) for name in names])
    except AttributeError:
        raise _NotUnderstood from None


def _float(value: float, _: _Look) -> Hashable:
    # Zero and its negative are equal, and no nan is.
    return repr(value)


def _member(value: Any, look: _Look) -> Hashable:
    """A member of an enumeration is known by its class and name, unless it holds more."""
    held = cast(Any, vars)(value)
    if not held.keys() <= _OF_A_MEMBER:
        raise _NotUnderstood
    return _itself(type(value), look), value.name, look.digest(value.value)


def _class(value: Any, look: _Look) -> Hashable:
    """A class of Python's or ours; what another has as attributes can change."""
    if not value.__flags__ & _CANNOT_CHANGE and not _is_ours(value):
        raise _NotUnderstood
    return _itself(value, look)


def _itself(value: Any, _: _Look) -> Hashable:
    """A value that does not change is known by its identity."""
    # Kept for ever, so that no other value comes to have it.
    _KEPT[id(value)] = value
    return id(value)


def _unknown(_: Any, __: _Look) -> Hashable:
    raise _NotUnderstood


_KEPT: dict[int, Any] = {}
# Modules of ours whose values are data, through and through.
_OF_DATA = {f"xpay_flow.{name}" for name in ("events", "intent", "money", "realm", "records")}
_OF_A_MEMBER = {"_value_", "_name_", "__objclass__", "_sort_order_"}
# `Py_TPFLAGS_IMMUTABLETYPE`: no class statement made it, and its attributes cannot change.
_CANNOT_CHANGE = 1 << 8


def _is_ours(kind: type[Any]) -> bool:
    return kind.__module__.partition(".")[0] == xpay_flow.__name__


def _digest_of_kind(kind: type[Any]) -> Callable[[Any, _Look], Hashable]:
    """How values of a kind are digested that is met for the first time."""
    found: Callable[[Any, _Look], Hashable] = _unknown
    if issubclass(kind, type):
        found = _class
    elif issubclass(kind, Enum):
        found = _member
    elif attrs.has(kind) and _is_all_attrs(kind):
        # A class that has a hash can have values that change all the same.
        is_data = kind.__module__ in _OF_DATA
        found = _our_value if is_data else _attrs
        if not is_data:
            _CHANGING.add(kind)
    _DIGESTS[kind] = found
    return found


def _is_all_attrs(kind: type[Any]) -> bool:
    """No base of it has a place of its own for values, such as a list or an exception."""
    return all("__attrs_attrs__" in vars(base) or base is object for base in kind.__mro__)


_LIST: list[object] = []
_ITERATORS: tuple[type[Any], ...] = (
    *(type(iter(_LIST)), type(reversed(_LIST)), type(iter(tuple(_LIST)))),
)
# What our own flows make no difference between, and others may.
_ESSENCES: dict[type, Callable[[Any], Hashable]] = {
    Record: lambda record: (record_essence(record), record.version),
    OutboxEntry: due_essence,
    Event: event_essence,
}
_DIGESTS: dict[type, Callable[[Any, _Look], Hashable]] = {
    FlowContext: _itself,
    Record: lambda record, _: (whole_record(record), record.version),
    Event: lambda event, _: (event, event.url),
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
    repeat: _repetition,
    float: _float,
    **dict.fromkeys((type(None), str, int, bytes, bool), _value),
    **dict.fromkeys((MethodDescriptorType, ModuleType), _itself),
}
_CHANGING: set[type[Any]] = {
    *(list, set, dict, FunctionType, CellType, GeneratorType, repeat),
    *_ITERATORS,
}


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


@cache
def _mentions_of_code() -> int:
    """How often this Python shows a generator's code among what it refers to."""
    generator = _paused(_in_variable(1))
    return sum(value is _in_variable.__code__ for value in gc.get_referents(generator))


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
