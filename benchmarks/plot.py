"""How do the figures look? Bars, drawn by hand as SVG, each group on a scale of its own.

A bar ends at the median, and the line across its end goes from the tenth to the ninetieth percent.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from html import escape
from typing import Final

from .measure import Group, Row, quantile
from .table import Facts, duration, factor

_WIDTH: Final = 860
_NAMES: Final = 300  # where bars begin
_BARS: Final = 380  # how long the longest is
_ROW: Final = 22
_BAR: Final = 13
_TITLE: Final = 40
_MARGIN: Final = 20

_OTHERS: Final = re.compile("by hand|transitions,|httpx|SPIN")

_STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #1f2933 }
  .title { font-weight: 600 }
  .fact, .figure { fill: #52606d }
  .opponent { fill: #9aa5b1 }
  .ours { fill: #2f6f9f }
  .spread { stroke: #1f2933; stroke-width: 1 }
"""


def drawn(groups: Sequence[Group], facts: Facts) -> str:
    """The whole picture."""
    parts: list[str] = []
    y = _MARGIN + 8
    for group in groups:
        parts.append(_text(_MARGIN, y + _ROW, group.title, "title"))
        y += _TITLE
        scale = _BARS / max(_reach(row) for row in group.rows)
        for row in group.rows:
            parts.extend(_bar(group, row, scale, y))
            y += _ROW
        for note in group.notes:
            parts.append(_text(_MARGIN, y + _BAR - 2, note, "fact"))
            y += _ROW
    caption = " · ".join(f"{name} {value}" for name, value in facts.items())
    parts.append(_text(_MARGIN, y + _ROW, caption, "fact"))
    height = y + _ROW + _MARGIN
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
            f' viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Benchmarks of xpay-flow">',
            f"<style>{_STYLE}</style>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        )
    )


def _reach(row: Row) -> float:
    return quantile(row.seconds, 0.9)


def _bar(group: Group, row: Row, scale: float, top: int) -> list[str]:
    median = statistics.median(row.seconds)
    low, high = quantile(row.seconds, 0.1), _reach(row)
    kind = "opponent" if row.against is None or _OTHERS.search(row.name) else "ours"
    middle = top + _BAR / 2
    figure = duration(median)
    if row.against is not None:
        figure += f"  {factor(group, statistics.median(row.ratios))}"
    end = _NAMES + max(median, high) * scale + 8
    return [
        _text(_MARGIN, top + _BAR - 2, row.name, "name"),
        f'<rect class="{kind}" x="{_NAMES}" y="{top}" width="{max(1.0, median * scale):.1f}"'
        f' height="{_BAR}"/>',
        f'<line class="spread" x1="{_NAMES + low * scale:.1f}" x2="{_NAMES + high * scale:.1f}"'
        f' y1="{middle}" y2="{middle}"/>',
        _text(end, top + _BAR - 2, figure, "figure"),
    ]


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}">{escape(words)}</text>'
