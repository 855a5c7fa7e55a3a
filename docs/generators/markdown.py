"""How is a generated page written? Headings, tables and docstrings as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_SECTION = re.compile(r"(Args|Returns|Raises):")
_ITEM = re.compile(r"    (?P<name>[\w, .*]+): (?P<text>.*)")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, without its last line end."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def code(text: object) -> str:
    return f"`{text}`"


def first_sentence(documented: object) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", text)[0]


def docstring(documented: object) -> str:
    """A docstring as Markdown; its sections become lists."""
    return "\n\n".join(_part(part) for part in _parts(inspect.getdoc(documented) or ""))


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"\n\n", text) if part.strip()]


def _part(part: str) -> str:
    title, _, rest = part.partition("\n")
    if _SECTION.fullmatch(title):
        return f"*{title.removesuffix(':')}*\n\n{_items(rest)}"
    if part.startswith("    "):
        return f"```text\n{inspect.cleandoc(part)}\n```"
    return " ".join(part.split())


def _items(lines: str) -> str:
    items: list[str] = []
    for line in lines.splitlines():
        found = _ITEM.fullmatch(line)
        if found:
            names = ", ".join(code(name) for name in found["name"].split(", "))
            items.append(f"- {names}: {found['text']}")
        elif items:
            items[-1] += " " + line.strip()
        else:
            items.append(f"- {line.strip()}")
    return "\n".join(items)
