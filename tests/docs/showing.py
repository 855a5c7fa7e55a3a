"""How does a page show a part of something? Functions of a file, and lines of an output."""

from __future__ import annotations

import ast
import re

LEFT_OUT = "…"


def fits(shown: str, printed: str) -> bool:
    """Whether a page that shows this is true of what was printed.

    `…` on a line of its own stands for any lines, and within a line for any words. Spaces at the
    ends of lines do not count.
    """
    pattern = "".join(map(_line, shown.splitlines()))
    said = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, said) is not None


def _line(shown: str) -> str:
    if shown.strip() == LEFT_OUT:
        return r"(?:.*\n)*?"
    return ".*".join(map(re.escape, shown.rstrip().split(LEFT_OUT))) + r"\n"


def changed(source: str, shown: str) -> str:
    """A module in which the shown functions stand instead of those of the same names.

    A name that the module does not have yet is a mistake of the page's.
    """
    lines = source.splitlines(keepends=True)
    places = dict(_functions(source))
    parts = shown.splitlines(keepends=True)
    # From the last to the first, so that the places before stay where they are.
    found = sorted(_functions(shown), key=lambda part: places[part[0]].start, reverse=True)
    for name, part in found:
        lines[places[name].start : places[name].stop] = parts[part.start : part.stop]
    return "".join(lines)


def _functions(source: str) -> list[tuple[str, range]]:
    """The functions of a module, and their lines."""
    return [
        (node.name, range(node.lineno - 1, node.end_lineno or 0))
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    ]
