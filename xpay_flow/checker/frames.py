"""What can a paused flow still depend on? Two flows with equal rests go on alike.

A paused generator goes on from its place in the code, with the local variables that the code may
still read, and with what lies on its stack, such as the iterator of a loop. Nothing else of its
past can matter. So pasts that ended in the same rest are one, and the tree of pasts stays small.

Whatever is not understood stands for itself alone, and so never makes two rests equal.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import repeat
from types import CodeType, FrameType, FunctionType, GeneratorType
from typing import Any, cast

import attrs

from xpay_flow.events import Event
from xpay_flow.flows import FlowContext
from xpay_flow.records import OutboxEntry, Record

from .codes import Constant, NotUnderstood, Onward, known_of
from .essence import due_essence, event_essence, record_essence

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


@attrs.define(eq=False)
class Frame:
    """One of the generators that wait for each other, and the one that it waits for, if any.

    It is looked at once, however often its rest is asked for.
    """

    flow: Any
    inner: Any
    _rest: Hashable = None

    def rest(self) -> Hashable:
        """What stands for it, if it goes on after its place."""
        if self._rest is None:
            self._rest = _of_frame(self)
        return self._rest

    @property
    def paused(self) -> FrameType:
        is_known = type(self.flow) is GeneratorType
        found: FrameType | None = self.flow.gi_frame if is_known else None
        if found is None:
            raise NotUnderstood
        return found


def frames_of(flow: Any) -> list[Frame]:
    """The generators of a paused flow, the outermost first."""
    frames = list[Frame]()
    while flow is not None:
        inner = cast(Any, flow).gi_yieldfrom if type(flow) is GeneratorType else None
        frames.append(Frame(flow, inner))
        flow = inner
    return frames


def rest_of(frames: list[Frame]) -> Hashable | None:
    """What stands for the rest of a paused flow; None if it cannot be told."""
    try:
        return tuple(frame.rest() for frame in frames)
    except NotUnderstood:
        return None


def rest_with_error(frames: list[Frame]) -> Hashable | None:
    """What stands for the rest of a paused flow into which an error is thrown; None as above.

    Frames that do not handle it are left, whatever is in them. So nearly all pasts have the same
    rest here, and a flow need not be run again to fail once more as it has failed before.
    """
    try:
        for n in reversed(range(len(frames))):
            paused = frames[n].paused
            handler = known_of(paused.f_code).handler_at(paused.f_lasti)
            if handler is not None:
                return _going_on(frames[:n], frames[n], Onward(handler))
        return ()
    except NotUnderstood:
        return None


def rest_with_answer(frames: list[Frame], answer: Constant) -> Hashable | None:
    """What stands for the rest of a paused flow into which a constant is sent; None as above.

    The way is followed for as long as the constant alone decides it. A flow that has lost a race
    and reads again needs nothing of what it had read before, and so need not be run again either.
    """
    try:
        for n in reversed(range(len(frames))):
            paused = frames[n].paused
            onward = known_of(paused.f_code).onward(paused.f_lasti, answer)
            if isinstance(onward, Onward):
                return _going_on(frames[:n], frames[n], onward)
            answer = onward.answer
        return _digest(answer, 0)
    except NotUnderstood:
        return None


def _going_on(outer: list[Frame], frame: Frame, onward: Onward) -> Hashable:
    """What stands for a flow whose inner frames have been left for one that goes on elsewhere."""
    return (*(frame.rest() for frame in outer), _of_frame(frame, onward))


def _of_frame(frame: Frame, onward: Onward | None = None) -> Hashable:
    """What stands for one frame that goes on after its place, or elsewhere."""
    paused = frame.paused
    # Each look at a frame's code is told to whoever audits, so there is one.
    code, values = paused.f_code, paused.f_locals
    known, stack = known_of(code), tuple(_stack(frame, code, len(values)))
    if onward is None:
        place, live = paused.f_lasti, known.live_after(paused.f_lasti)
    else:
        place, live, values = onward.place, known.live_at(onward.place), values | onward.written
    named = tuple((name, _digest(values[name], 0)) for name in live if name in values)
    return id(code), (place, onward is None), named, stack


def _stack(frame: Frame, code: CodeType, variables: int) -> Iterator[Hashable]:
    """What lies on the stack of a frame: what it refers to after its code and its variables."""
    found = gc.get_referents(frame.flow)
    at = max((n for n, value in enumerate(found) if value is code), default=None)
    if at is None:
        raise NotUnderstood
    for value in found[at + 1 + variables :]:
        if value is not frame.inner:
            yield _digest(value, 0)


def _digest(value: Any, depth: int) -> Hashable:
    """What stands for a value; equal digests have equal futures."""
    if depth > DEPTH_MAX:
        raise NotUnderstood
    kind: type[Any] = value.__class__
    told = _TOLD.get(kind)
    if told is None:
        told = _TOLD[kind] = _teller(kind)
    return (kind, told(value, depth + 1))


def _teller(kind: type[Any]) -> Callable[[Any, int], Hashable]:
    """How values of a kind are told that is met for the first time."""
    if kind in _PLAIN or issubclass(kind, type):
        return lambda value, _: value
    return _of_attrs if attrs.has(kind) and kind is not FlowContext else _pinned


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
    return (id(known_of(function.__code__).code), id(function.__globals__), _digest(held, depth))


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
    OutboxEntry: lambda effect, _: due_essence(effect),
    Event: lambda event, _: event_essence(event),
    list: _of_items,
    tuple: _of_items,
    set: _of_set,
    frozenset: _of_set,
    dict: lambda value, depth: _of_items(value.items(), depth),
    range: lambda value, _: (value.start, value.stop, value.step),
    FunctionType: _of_function,
    GeneratorType: lambda flow, _: tuple(frame.rest() for frame in frames_of(flow)),
    **dict.fromkeys(ITERATORS, _of_iterator),
}
