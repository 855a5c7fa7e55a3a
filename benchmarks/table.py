"""How are the figures shown? As one table for people, and as one object for programs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .measure import Group, Row, quantile

Facts = Mapping[str, str | int | float]

# On a pipe there is no width; names and figures need this much.
_WIDTH = 130


def print_table(groups: Sequence[Group], facts: Facts) -> None:
    """One table; under each title the opponent first, and the others as ratios to it.

    What else was counted stands below.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=" · ".join(f"{name} {value}" for name, value in facts.items()),
    )
    table.add_column("medians of interleaved turns", no_wrap=True)
    for heading in ("median", "10 %", "90 %", "worst", "ratio", "10 % – 90 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        table.add_section()
        table.add_row(f"[bold]{group.title}[/bold]")
        for row in group.rows:
            table.add_row(f"  {row.name}", *_times(row), *_ratios(group, row))
    console = Console(width=None if Console().is_terminal else _WIDTH, highlight=False)
    console.print(table)
    for group in groups:
        if group.notes:
            console.print(f"[bold]{group.title}[/bold]", *group.notes, sep="\n  ", end="\n\n")


def _times(row: Row) -> list[str]:
    seconds = row.seconds
    points = (quantile(seconds, 0.1), quantile(seconds, 0.9), max(seconds))
    return [duration(at) for at in (statistics.median(seconds), *points)]


def _ratios(group: Group, row: Row) -> list[str]:
    if row.against is None:
        return ["", ""]
    ratios = row.ratios
    low, high = quantile(ratios, 0.1), quantile(ratios, 0.9)
    return [
        factor(group, statistics.median(ratios)),
        f"{factor(group, low)} – {factor(group, high)}",
    ]


def duration(seconds: float) -> str:
    """With three digits and the unit that fits: `1.23 ms`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def factor(group: Group, ratio: float) -> str:
    """`×2.1`, or `33 %` where the group shows shares."""
    if group.counts == "share":
        return f"{100 * ratio:.0f} %"
    digits = 3 if ratio < 0.0995 else 2 if ratio < 9.95 else 0
    return f"×{ratio:.{digits}f}"


def as_json(groups: Sequence[Group], facts: Facts) -> dict[str, object]:
    """Everything, with each sample in seconds, so that others can judge for themselves."""
    return {
        "machine": dict(facts),
        "groups": [
            {
                "title": group.title,
                "counts": group.counts,
                "notes": list(group.notes),
                "rows": [_row_as_json(row) for row in group.rows],
            }
            for group in groups
        ],
    }


def _row_as_json(row: Row) -> dict[str, object]:
    seconds = row.seconds
    return {
        "name": row.name,
        "against": row.against.name if row.against else None,
        "median_s": statistics.median(seconds),
        "p10_s": quantile(seconds, 0.1),
        "p90_s": quantile(seconds, 0.9),
        "worst_s": max(seconds),
        "ratio": statistics.median(row.ratios),
        "turns_s": [list(turn) for turn in row.turns],
    }
