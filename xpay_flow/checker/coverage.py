"""Which lines of the user's code did a search never run? What never ran was never checked.

Lines are traced in frames of the user's own files only; every other call costs one look at its
file. Reported are the functions that were named, those that they name in turn, and those that ran.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

from .theirs import is_theirs, short

OTHER_TRACER = "not collected: another tracer is at work, such as a debugger or coverage.py"


class Coverage:
    """Lines of the user's code that ran.

    Args:
        functions: what is to be run: handlers, flows, plain functions.
    """

    def __init__(self, functions: Iterable[Callable[..., object]] = ()) -> None:
        # By identity: to hash code is to read all of it.
        self._codes: dict[int, CodeType] = {}
        self._ran: set[tuple[int, int]] = set()
        self._tracer = self._entered
        self._line_tracer = self._line
        self._yielded = False
        for function in functions:
            self._add_function(function)

    def watch(self) -> Watch:
        """`with coverage.watch(): …` notes what this thread runs. Cheap to enter and to leave."""
        return Watch(self, self._tracer)

    def never_run(self) -> tuple[str, ...]:
        """Ranges of lines, such as `shop.py:41-43 in fulfil`, in the order of files and lines."""
        if self._yielded:
            return (OTHER_TRACER,)
        ordered = sorted(
            self._codes.values(), key=lambda code: (code.co_filename, code.co_firstlineno)
        )
        return tuple(text for code in ordered for text in self._gaps(code))

    def step_aside(self) -> None:
        """Another tracer is at work, and is left alone."""
        self._yielded = True

    def _entered(self, frame: FrameType, _: str, __: Any) -> Any:
        code = frame.f_code
        if id(code) not in self._codes:
            if not is_theirs(code.co_filename) or code.co_name == "<module>":
                return None
            self._add_code(code)
        return self._line_tracer

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self._ran.add((id(frame.f_code), frame.f_lineno))
        return self._line_tracer

    def _add_function(self, function: Any) -> None:
        """A function, and those that it names, wherever their code is the user's."""
        todo = [function]
        while todo:
            found = plain_function(todo.pop())
            if found is None or id(found.__code__) in self._codes:
                continue
            if is_theirs(found.__code__.co_filename):
                codes = self._add_code(found.__code__)
                names = (name for code in codes for name in code.co_names)
                todo += [found.__globals__[name] for name in names if name in found.__globals__]
                todo += [cell for cell in _cells(found) if callable(cell)]

    def _add_code(self, code: CodeType) -> list[CodeType]:
        """A function's code and that of every function inside it."""
        added = [code]
        for known in added:
            added += [inner for inner in known.co_consts if isinstance(inner, CodeType)]
        self._codes |= {id(known): known for known in added}
        return added

    def _gaps(self, code: CodeType) -> Iterator[str]:
        """Runs of lines that follow each other in the code and never ran."""
        gap: list[int] = []
        for line in [*_lines(code), None]:
            if line is not None and (id(code), line) not in self._ran:
                gap.append(line)
            elif gap:
                last = f"-{gap[-1]}" if len(gap) > 1 else ""
                yield f"{short(code.co_filename)}:{gap[0]}{last} in {code.co_name}"
                gap = []


class Watch:
    """The time during which lines are noted."""

    __slots__ = ("_coverage", "_outer", "_tracer")

    def __init__(self, coverage: Coverage, tracer: Any) -> None:
        self._coverage, self._tracer = coverage, tracer

    def __enter__(self) -> None:
        self._outer = sys.gettrace()
        if self._outer is None:
            sys.settrace(self._tracer)
        elif self._outer is not self._tracer:
            self._coverage.step_aside()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._outer is None:
            sys.settrace(None)


def plain_function(found: Any) -> FunctionType | None:
    """The function behind a method, a partial, a decorated function or a callable object."""
    # A partial has its function as `func`, a method as `__func__`.
    while (within := getattr(found, "func", None) or getattr(found, "__func__", None)) is not None:
        found = within
    if not inspect.isfunction(found) and not inspect.isclass(found):
        found = inspect.getattr_static(found, "__call__", None)
    return inspect.unwrap(found) if inspect.isfunction(found) else None


def _cells(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue


def _lines(code: CodeType) -> list[int]:
    """The lines that can run, in order, without the one that defines the function."""
    found = {line for _, _, line in code.co_lines() if line is not None}
    if not code.co_name.startswith("<"):
        found.discard(code.co_firstlineno)
    return sorted(found)
