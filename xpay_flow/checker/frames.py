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
            handler = _known(frame.f_code).handler_at(frame.f_lasti)
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
    """What stands for one frame that goes on after its place, or at another."""
    known = _known(frame.f_code)
    place = frame.f_lasti if goes_on is None else goes_on
    live = known.live_after(place) if goes_on is None else known.live_at(place)
    values = frame.f_locals
    named = tuple((name, _digest(values[name], 0)) for name in live if name in values)
    stack = tuple(_stack(flow, frame.f_code, len(values), inner))
    return id(frame.f_code), (place, goes_on is None), named, stack


def _stack(flow: Any, code: CodeType, variables: int, inner: Any) -> Iterator[Hashable]:
    """What lies on the stack of a frame: what it refers to after its code and its variables."""
    found = gc.get_referents(flow)
    at = max((n for n, value in enumerate(found) if value is code), default=None)
    if at is None:
        raise _NotUnderstood
    for value in found[at + 1 + variables :]:
        if value is not inner:
            yield _digest(value, 0)


def _digest(value: Any, depth: int) -> Hashable:
    """What stands for a value; equal digests have equal futures."""
    if depth > DEPTH_MAX:
        raise _NotUnderstood
    kind: type[Any] = value.__class__
    told = _TOLD.get(kind)
    if told is None:
        told = _TOLD[kind] = _teller(kind)
    return (kind, told(value, depth + 1))


def _teller(kind: type[Any]) -> Callable[[Any, int], Hashable]:
    """How values of a kind are told that is met for the first time."""
    if kind in _PLAIN or issubclass(kind, type):
        return lambda value, _: value
    return _of_attrs if attrs.has(kind) and kind is not Rules else _pinned


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
    return (id(_known(function.__code__).code), id(function.__globals__), _digest(held, depth))


def _of_attrs(value: Any, depth: int) -> Hashable:
    try:
        hash(value)
    except TypeError:
        fields = attrs.fields(value.__class__)
        return tuple(_digest(getattr(value, field.name), depth) for field in fields)
    itself: Hashable = value
    return itself


def _pinned(value: Any, _: int) -> Hashable:
    # Its identity; kept for ever, so that no other value comes to have it.
    _PINS[id(value)] = value
    return id(value)


_PINS: dict[int, Any] = {}
_PLAIN: frozenset[type[Any]] = frozenset({type(None), str, int, float, bytes, bool})

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


# --- code ----------------------------------------------------------------------------------------


class _Known:
    """What is known of a code object: where it handles errors, and what it can still read."""

    def __init__(self, code: CodeType) -> None:
        # Kept, so that no other code comes to have its identity.
        self.code = code
        parse = getattr(dis, "_parse_exception_table")  # noqa: B009  # private; typeshed hides it
        self._handlers = [(entry.start, entry.end, entry.target) for entry in parse(code)]
        instructions = list(dis.get_instructions(code))
        self._index = {i.offset: n for n, i in enumerate(instructions)}
        self._ahead = [self._next(instructions, n) for n in range(len(instructions))]
        self._live = self._all_live(instructions)
        # Shared with inner functions, so who reads them is not to be seen here.
        self._cells = frozenset(code.co_cellvars) | frozenset(code.co_freevars)
        self._after: dict[int, tuple[str, ...]] = {}

    def live_after(self, place: int) -> tuple[str, ...]:
        """The variables that may be read after `place`, before they are written again."""
        found = self._after.get(place)
        if found is None:
            ahead = self._ahead[self._at(place)]
            found = self._sorted(_NOBODY.union(*(self._live[n] for n in ahead)))
            self._after[place] = found
        return found

    def live_at(self, place: int) -> tuple[str, ...]:
        """The same from `place` on."""
        return self._sorted(self._live[self._at(place)])

    def handler_at(self, place: int) -> int | None:
        """Where it goes on if it raises at `place`; None if it does not handle that."""
        return next((to for start, end, to in self._handlers if start <= place < end), None)

    def _at(self, place: int) -> int:
        if place not in self._index:
            raise _NotUnderstood
        return self._index[place]

    def _sorted(self, names: frozenset[str]) -> tuple[str, ...]:
        return tuple(sorted(names | self._cells))

    def _all_live(self, instructions: list[dis.Instruction]) -> list[frozenset[str]]:
        live, changed = [_NOBODY] * len(instructions), True
        while changed:
            changed = False
            for n in range(len(instructions) - 1, -1, -1):
                after = _NOBODY.union(*(live[m] for m in self._ahead[n]))
                now = _before(instructions[n], after)
                if now != live[n]:
                    live[n], changed = now, True
        return live

    def _next(self, instructions: list[dis.Instruction], n: int) -> list[int]:
        """Where it may be after an instruction: on, over a jump, or in an error's handler."""
        instruction, found = instructions[n], list[int]()
        name = instruction.opname
        goes_on = name not in _ENDS and name not in _LEAVES
        if goes_on and n + 1 < len(instructions):
            found.append(n + 1)
        if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            found.append(self._index[instruction.argval])
        if (handler := self.handler_at(instruction.offset)) is not None:
            found.append(self._index[handler])
        return found


def _known(code: CodeType) -> _Known:
    # By identity: to hash code is to read all of it.
    known = _CODES.get(id(code))
    if known is None:
        known = _CODES[id(code)] = _Known(code)
    return known


_CODES: dict[int, _Known] = {}
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
