"""How many states, of which sort? Bars for a page; every bar is made of the scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xpay_flow.drawing.svg import tag
from xpay_flow.drawing.text import xml

from .verdict import Searched

WIDTH, LABELS, NUMBERS, ROW, BAR = 360.0, 74.0, 72.0, 30.0, 18.0
TONES = 6
# A bar that would not be seen is this wide, so that "few" does not look like "none".
BAR_MIN = 2.0

_TITLES: Mapping[str, tuple[str, str]] = {
    "faults": ("States by number of faults", "faults"),
    "running": ("States by flows that run at once", "flows"),
}

Bars = Sequence[tuple[str, Sequence[int]]]


def charts(searched: Sequence[Searched]) -> list[tuple[str, str]]:
    """A title and an SVG for each thing that was counted. The scenes' states are always there."""
    per_scene: Bars = [
        (scene.scene, [scene.states if other is scene else 0 for other in searched])
        for scene in searched
    ]
    drawn = [("States by scene", bars_svg("States by scene", per_scene))]
    names = dict.fromkeys(name for scene in searched for name in scene.histogram)
    for name in names:
        title, unit = _TITLES.get(name, (f"States by {name}", ""))
        drawn.append((title, bars_svg(title, _bars(name, unit, searched))))
    return drawn


def tone(place: int) -> str:
    """The colour of the scene at this place."""
    return f"var(--t{place % TONES})"


def bars_svg(title: str, bars: Bars) -> str:
    """One bar a row: its label, its parts side by side, and their sum."""
    most = max((sum(parts) for _, parts in bars), default=0) or 1
    rows = [_bar(row, label, parts, most) for row, (label, parts) in enumerate(bars)]
    summary = "; ".join(f"{label}: {sum(parts):,}" for label, parts in bars)
    return tag(
        "svg",
        tag("title", xml(f"{title}: {summary}", 600)) + "".join(rows),
        viewBox=f"0 0 {WIDTH:.6g} {ROW * len(bars):.6g}",
        role="img",
        font_size="12.5",
    )


def _bars(name: str, unit: str, searched: Sequence[Searched]) -> Bars:
    length = max(len(scene.histogram.get(name, ())) for scene in searched)
    counts = [(*scene.histogram.get(name, ()), *[0] * length)[:length] for scene in searched]
    return [
        (f"{at} {unit.removesuffix('s') if at == 1 else unit}".strip(), [c[at] for c in counts])
        for at in range(length)
    ]


def _bar(row: int, label: str, parts: Sequence[int], most: int) -> str:
    y, x, room = ROW * row, LABELS, WIDTH - LABELS - NUMBERS
    drawn = [tag("text", xml(label, 11), x=0, y=y + 18, fill="currentColor")]
    for place, count in enumerate(parts):
        if not count:
            continue
        width = max(room * count / most, BAR_MIN)
        about = tag("title", f"{count:,}")
        box = {"x": x, "y": y + 5, "width": width, "height": BAR}
        drawn.append(tag("rect", about, **box, rx=2, style=f"fill:{tone(place)}"))
        x += width
    whole = f"{sum(parts):,}"
    drawn.append(tag("text", whole, x=x + 7, y=y + 18, fill="currentColor", opacity=0.75))
    return tag("g", "".join(drawn))
