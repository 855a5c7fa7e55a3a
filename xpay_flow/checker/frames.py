"""What can a paused flow still depend on? Two flows with equal rests go on alike.

A paused generator goes on from its place in the code, with the local variables that the code may
still read, and with what lies on its stack, such as the iterator of a loop. Nothing else of its
past can matter. So pasts that ended in the same rest are one, and the tree of pasts stays small.

Whatever is not understood stands for itself alone, and so never makes two rests equal.
"""

from __future__ import annotations

import dis
import gc
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from functools import cache
from itertools import repeat
from types import CodeType, FrameType, FunctionType, GeneratorType
from typing import Any, cast

import attrs

from xpay_flow.events import Event
from xpay_flow.flows import Rules
from xpay_flow.records import Owed, Record

from .essence import event_essence, owed_essence, record_essence

# Deeper values than this are not compared.
DEPTH_MAX = 12
_NOTHING: dict[Any, Any] = {}
_EMPTY: tuple[Iterable[Any], ...] = (
    (),
    list[Any](),
    range(0),
    _NOTHING,
    _NOTHING.values(),
    _NOTHING.items(),
    "",
    b"",
)
ITERATORS: tuple[type[Any], ...] = (*(type(iter(each)) for each in _EMPTY), repeat)


class _NotUnderstood(Exception):
    """A value whose future cannot be told from looking at it."""


def rest_of(flow: Generator[Any, Any, Any]) -> Hashable | None:
    """What stands for the rest of a paused flow; None if it cannot be told."""
    try:
        return tuple(_of_frame(*level) for level in _levels(flow))
    except _NotUnderstood:
        return None


def rest_with_error(flow: Generator[Any, Any, Any]) -> Hashable | None:
    """What stands for the rest of a paused flow into which an error is thrown; None as above.

    Frames that do not handle it are left, whatever is in them. So nearly all pasts have the same
    rest here, and a flow need not be run again to fail once more as it has failed before.
    """
    try:
        levels = list(_levels(flow))
        while levels:
            flow, frame, inner = levels.pop()
            handler = _handler_at(frame.f_code, frame.f_lasti)
            if handler is not None:
                handling = _of_frame(flow, frame, inner, goes_on=handler)
                return (*(_of_frame(*level) for level in levels), handling)
        return ()
    except _NotUnderstood:
        return None


def _levels(flow: Any) -> Iterator[tuple[Any, FrameType, Any]]:
    """The generators that wait for each other, the outermost first: each, its frame, the next."""
    while flow is not None:
        if type(flow) is not GeneratorType or flow.gi_frame is None:
            raise _NotUnderstood
        inner: Any = cast(Any, flow).gi_yieldfrom
        yield flow, flow.gi_frame, inner
        flow = inner


def _of_frame(flow: Any, frame: FrameType, inner: Any, goes_on: int | None = None) -> Hashable:
    """What stands for one frame that goes on from its place, or from another."""
    code, place = frame.f_code, frame.f_lasti if goes_on is None else goes_on
    if place not in _places(code):
        raise _NotUnderstood
    values = frame.f_locals
    live = sorted(name for name in _live_at(code, place) if name in values)
    named = tuple((name, _digest(values[name], 0)) for name in live)
    return code, place, named, tuple(_stack(flow, frame, inner))


def _stack(flow: Any, frame: FrameType, inner: Any) -> Iterator[Hashable]:
    """What lies on the stack of a frame: what it refers to after its code and its variables."""
    found = gc.get_referents(flow)
    at = max((n for n, value in enumerate(found) if value is frame.f_code), default=None)
    if at is None:
        raise _NotUnderstood
    for value in found[at + 1 + len(frame.f_locals) :]:
        if value is not inner:
            yield _digest(value, 0)


def _digest(value: Any, depth: int) -> Hashable:
    """What stands for a value; equal digests have equal futures."""
    if depth > DEPTH_MAX:
        raise _NotUnderstood
    kind: type[Any] = value.__class__
    told = _TOLD.get(kind)
    if told is not None:
        return (kind, told(value, depth + 1))
    if attrs.has(kind) and kind is not Rules:
        return _of_attrs(value, depth)
    return _pinned(value)


def _of_items(items: Iterable[Any], depth: int) -> Hashable:
    return tuple(_digest(item, depth) for item in items)


def _of_set(items: Iterable[Any], depth: int) -> Hashable:
    return frozenset(_digest(item, depth) for item in items)


def _of_iterator(iterator: Any, depth: int) -> Hashable:
    """What it goes over, and how far it has come."""
    made, arguments, *position = iterator.__reduce__()
    return (made is iter, _of_items(arguments, depth), tuple(position))


def _of_function(function: FunctionType, depth: int) -> Hashable:
    """A function made on the way is told by its code and what it has closed over."""
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    held = (cells, function.__defaults__ or (), function.__kwdefaults__ or {})
    return (function.__code__, id(function.__globals__), _digest(held, depth))


def _of_attrs(value: Any, depth: int) -> Hashable:
    kind: type[Any] = value.__class__
    try:
        hash(value)
    except TypeError:
        fields = attrs.fields(kind)
        return (kind, tuple(_digest(getattr(value, f.name), depth + 1) for f in fields))
    return (kind, value)


def _pinned(value: Any) -> Hashable:
    if value is None or isinstance(value, str | int | float | bytes | bool | type):
        return (type(value), value)
    # Its identity; kept for ever, so that no other value comes to have it.
    _PINS[id(value)] = value
    return (id, id(value))


_PINS: dict[int, Any] = {}

_TOLD: dict[type, Callable[[Any, int], Hashable]] = {
    Record: lambda record, _: (record_essence(record), record.version),
    Owed: lambda effect, _: owed_essence(effect),
    Event: lambda event, _: event_essence(event),
    list: _of_items,
    tuple: _of_items,
    set: _of_set,
    frozenset: _of_set,
    dict: lambda value, depth: _of_items(value.items(), depth),
    range: lambda value, _: (value.start, value.stop, value.step),
    FunctionType: _of_function,
    GeneratorType: lambda flow, _: tuple(_of_frame(*level) for level in _levels(flow)),
    **dict.fromkeys(ITERATORS, _of_iterator),
}


@cache
def _places(code: CodeType) -> frozenset[int]:
    return frozenset(i.offset for i in dis.get_instructions(code))


@cache
def _live_at(code: CodeType, place: int) -> frozenset[str]:
    """The local variables that may be read after `place`, before they are written again."""
    instructions = list(dis.get_instructions(code))
    index = {i.offset: n for n, i in enumerate(instructions)}
    ahead = [_next(code, instructions, index, n) for n in range(len(instructions))]
    live: list[frozenset[str]] = [frozenset()] * len(instructions)
    changed = True
    while changed:
        changed = False
        for n in range(len(instructions) - 1, -1, -1):
            after = _NOBODY.union(*(live[m] for m in ahead[n]))
            now = _before(instructions[n], after)
            if now != live[n]:
                live[n], changed = now, True
    return _NOBODY.union(*(live[m] for m in ahead[index[place]])) | _cells(code)


def _cells(code: CodeType) -> frozenset[str]:
    # Shared with inner functions, so who reads them is not to be seen here.
    return frozenset(code.co_cellvars) | frozenset(code.co_freevars)


_NOBODY = frozenset[str]()
_READS = ("LOAD_FAST", "LOAD_CLOSURE", "DELETE_FAST")
_LEAVES = (
    "JUMP_FORWARD",
    "JUMP_BACKWARD",
    "JUMP_BACKWARD_NO_INTERRUPT",
    "JUMP_NO_INTERRUPT",
    "JUMP",
)
_ENDS = ("RETURN_VALUE", "RETURN_CONST", "RERAISE", "RAISE_VARARGS")


def _before(instruction: dis.Instruction, after: frozenset[str]) -> frozenset[str]:
    name, told = instruction.opname, instruction.argval
    names: list[Any] = [*told] if isinstance(told, tuple) else [told]
    if name.startswith("STORE_FAST_LOAD_FAST"):
        return (after - {names[0]}) | {names[-1]}
    if name.startswith(_READS):
        return after | {n for n in names if isinstance(n, str)}
    if name.startswith("STORE_FAST"):
        return after - set(names)
    return after


def _next(
    code: CodeType, instructions: list[dis.Instruction], index: dict[int, int], n: int
) -> list[int]:
    """Where the code may be after an instruction: on, over a jump, or in an exception's handler."""
    instruction, found = instructions[n], list[int]()
    name = instruction.opname
    goes_on = name not in _ENDS and name not in _LEAVES
    if goes_on and n + 1 < len(instructions):
        found.append(n + 1)
    if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
        found.append(index[instruction.argval])
    for start, end, target in _handlers(code):
        if start <= instruction.offset < end:
            found.append(index[target])
    return found


def _handler_at(code: CodeType, place: int) -> int | None:
    """Where code goes on that raises at `place`; None if it does not handle it."""
    return next((to for start, end, to in _handlers(code) if start <= place < end), None)


@cache
def _handlers(code: CodeType) -> tuple[tuple[int, int, int], ...]:
    parse = getattr(dis, "_parse_exception_table")  # noqa: B009  # private, and typeshed hides it
    return tuple((entry.start, entry.end, entry.target) for entry in parse(code))
