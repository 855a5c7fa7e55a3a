"""What is known of code before it runs? What it can still read, and where it goes on.

Where code goes on after an error is a table of its own. Where it goes on after an answer can be
told for as long as the answer alone decides it: only steps that do nothing but hand on, test and
keep constants are followed, and every other step ends it.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from operator import not_
from types import CodeType
from typing import Any

import attrs

Constant = bool | int | str | bytes | None


class NotUnderstood(Exception):
    """A value or a place whose future cannot be told from looking at it."""


@attrs.frozen
class Onward:
    """Where a frame goes on, and which variables were written on the way there."""

    place: int
    written: dict[str, Constant] = attrs.Factory(dict[str, Constant])


@attrs.frozen
class Returned:
    """What a frame has returned to the one that waits for it."""

    answer: Constant


class Known:
    """What is known of a code object: where it handles errors, and what it can still read."""

    def __init__(self, code: CodeType) -> None:
        # Kept, so that no other code comes to have its identity.
        self.code = code
        parse = getattr(dis, "_parse_exception_table")  # noqa: B009  # private; typeshed hides it
        self._handlers = [(entry.start, entry.end, entry.target) for entry in parse(code)]
        self._instructions = instructions = list(dis.get_instructions(code))
        self._index = {i.offset: n for n, i in enumerate(instructions)}
        self._ahead = [self._next(instructions, n) for n in range(len(instructions))]
        self._live = self._all_live(instructions)
        # Shared with inner functions, so who reads them is not to be seen here.
        self._cells = frozenset(code.co_cellvars) | frozenset(code.co_freevars)
        self._after: dict[int, tuple[str, ...]] = {}
        self._onward: dict[tuple[int, type, Constant], Onward | Returned] = {}

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

    def onward(self, place: int, answer: Constant) -> Onward | Returned:
        """Where it goes on if it waits at `place` and is sent a constant.

        Raises:
            NotUnderstood: what it does first needs more than the constant.
        """
        # True is 1, to a dictionary.
        key = (place, answer.__class__, answer)
        found = self._onward.get(key)
        if found is None:
            found = self._onward[key] = self._followed(self._at(place) + 1, answer)
        return found

    def _followed(self, n: int | None, answer: Constant) -> Onward | Returned:
        found: Onward | None = None
        stack, written = [answer], dict[str, Constant]()
        for _ in range(FOLLOWED_MAX):
            if n is None:
                break
            name, told = self._instructions[n].opname, self._instructions[n].argval
            if name == "RETURN_CONST" and isinstance(told, Constant):
                return Returned(told)
            if not stack:
                found = Onward(self._instructions[n].offset, dict(written))
            elif name == "RETURN_VALUE":
                return Returned(stack.pop())
            n = self._step(n, stack, written)
        if found is None:
            raise NotUnderstood
        return found

    def _step(self, n: int, stack: list[Constant], written: dict[str, Constant]) -> int | None:
        """Where one instruction leads; None if it needs more than these constants."""
        name, told = self._instructions[n].opname, self._instructions[n].argval
        if name in _LEAVES or (name == "SEND" and stack):
            # At `SEND`, whoever it was waiting for has returned.
            return self._index[told]
        if name.startswith("POP_JUMP") and stack:
            jumps = _TESTS[name.rpartition("_IF_")[2]](stack.pop())
            return self._index[told] if jumps else n + 1
        if name == "STORE_FAST" and stack:
            written[told] = stack.pop()
        elif name == "STORE_FAST_LOAD_FAST" and stack and told[0] == told[1]:
            written[told[0]] = stack[-1]
        elif name in _LOADS and told in written:
            stack.append(written[told])
        elif name == "LOAD_CONST" and isinstance(told, Constant):
            stack.append(told)
        elif name in _MADE and stack:
            stack.append(_MADE[name](stack.pop()))
        elif name not in _IDLE:
            return None
        return n + 1

    def _at(self, place: int) -> int:
        if place not in self._index:
            raise NotUnderstood
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


def known_of(code: CodeType) -> Known:
    # By identity: to hash code is to read all of it.
    known = _CODES.get(id(code))
    if known is None:
        known = _CODES[id(code)] = Known(code)
    return known


_CODES: dict[int, Known] = {}
_NOBODY = frozenset[str]()
_READS = ("LOAD_FAST", "LOAD_CLOSURE", "DELETE_FAST")
_LEAVES = (
    "JUMP_FORWARD",
    "JUMP_BACKWARD",
    "JUMP_BACKWARD_NO_INTERRUPT",
    "JUMP_NO_INTERRUPT",
    "JUMP",
)
_LOADS = ("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW")
# These do nothing to a constant that is handed on.
_IDLE = ("RESUME", "NOP", "END_SEND", "NOT_TAKEN")
_MADE: dict[str, Callable[[Constant], Constant]] = {"UNARY_NOT": not_, "TO_BOOL": bool}
_TESTS: dict[str, Callable[[Constant], bool]] = {
    "TRUE": bool,
    "FALSE": not_,
    "NONE": lambda value: value is None,
    "NOT_NONE": lambda value: value is not None,
}
# More steps than this are a loop that has no end.
FOLLOWED_MAX = 100
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
