"""The lifecycle as a picture: states in the order of their rank, and what moves a payment on.

In the SVG a move leaves its source to the right and comes down on its target. So a line that
went back would be seen at once; there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs

from ..lifecycle import Lifecycle
from .svg import FINE_PX, code_width, document, path, tag
from .text import mermaid, xml

NAME_CHARS_MAX = 40
_MERMAID_ID = re.compile(r"[A-Za-z]\w*", re.ASCII)
_MERMAID_WORDS = frozenset({"class", "default", "direction", "end", "note", "state", "style"})

# Source and target of a move, and the names of the events that make it, in the table's order.
Moves = Mapping[tuple[str, str], tuple[str, ...]]


def moves_of(lifecycle: Lifecycle) -> Moves:
    """Every move that changes the state, read from the compiled machine."""
    found: dict[tuple[str, str], list[str]] = {}
    for event in lifecycle.machine.events.values():
        for source, transitions in event.transitions.items():
            target = transitions[0].dest
            if target is not None and target != source:
                found.setdefault((str(source), str(target)), []).append(event.name)
    return {pair: tuple(events) for pair, events in found.items()}


def lifecycle_mermaid(lifecycle: Lifecycle) -> str:
    """The lifecycle as Mermaid's `stateDiagram-v2`."""
    ids = {state: _mermaid_id(state, place) for place, state in enumerate(lifecycle.states)}
    lines = ["stateDiagram-v2", "  direction LR"]
    lines += [
        f'  state "{mermaid(state, NAME_CHARS_MAX)}" as {name}'
        for state, name in ids.items()
        if state != name
    ]
    lines.append(f"  [*] --> {ids[lifecycle.states[0]]}")
    for (source, target), events in moves_of(lifecycle).items():
        label = "<br/>".join(mermaid(event, NAME_CHARS_MAX) for event in events)
        lines.append(f"  {ids[source]} --> {ids[target]} : {label}")
    return "\n".join(lines) + "\n"


def _mermaid_id(state: str, place: int) -> str:
    plain = _MERMAID_ID.fullmatch(state) and state.lower() not in _MERMAID_WORDS
    return state if plain else f"s{place}"


# --- SVG -----------------------------------------------------------------------------------------

MARGIN, GAP = 20.0, 8.0
BOX_HEIGHT, ROW_GAP, LINE_HEIGHT = 34.0, 16.0, 16.0
# Where a column's line comes down, right of the column's left edge.
RAIL, LABEL_GAP = 14.0, 7.0
HEADING_HEIGHT = 64.0
_TONES = {"success": "good", "failed": "bad", "rejected": "bad", "cancelled": "warn"}


@attrs.frozen(kw_only=True)
class _Grid:
    """Where things are: one column and one row for each state, by rank."""

    states: tuple[str, ...]
    moves: Moves
    left: tuple[float, ...]
    widths: tuple[float, ...]
    top: tuple[float, ...]

    def rail(self, place: int) -> float:
        return self.left[place] + RAIL

    def middle(self, place: int) -> float:
        return self.top[place] + BOX_HEIGHT / 2

    def new_events(self, source: int, target: int) -> tuple[str, ...]:
        """The events to write at a junction: none where they are those of the one above."""
        events = self.moves.get((self.states[source], self.states[target]), ())
        above = next(
            (
                self.moves[self.states[place], self.states[target]]
                for place in reversed(range(source))
                if (self.states[place], self.states[target]) in self.moves
            ),
            (),
        )
        return events if events != above else ()

    @property
    def size(self) -> tuple[float, float]:
        return self.left[-1] + self.widths[-1] + MARGIN, self.top[-1] + BOX_HEIGHT + MARGIN


def lifecycle_svg(lifecycle: Lifecycle, current: str | None = None) -> str:
    """The lifecycle as an SVG of about 1,000 pixels; `current` marks the state a payment is in."""
    grid = _laid_out(lifecycle.states, moves_of(lifecycle))
    named = ", ".join(xml(state, NAME_CHARS_MAX) for state in lifecycle.states)
    description = f"States from least to most known: {named}. An event never moves a payment back."
    if current is not None:
        description += f" This payment is in state {xml(current, NAME_CHARS_MAX)}."
    parts = [*_heading(grid), *_rails(grid), *_boxes(grid, current)]
    return document("lifecycle", "The life of a payment", description, grid.size, parts)


def _laid_out(states: tuple[str, ...], moves: Moves) -> _Grid:
    widths = tuple(_column_width(state, moves) for state in states)
    left = tuple(MARGIN + sum(widths[:place]) + GAP * place for place in range(len(states)))
    flat = _Grid(states=states, moves=moves, left=left, widths=widths, top=(0.0,) * len(states))
    top, y = list[float](), HEADING_HEIGHT
    for source in range(len(states)):
        top.append(y)
        lines = max((len(flat.new_events(source, t)) for t in range(len(states))), default=0)
        # Labels hang below the line that leaves the middle of the box.
        y += max(BOX_HEIGHT, BOX_HEIGHT / 2 + lines * LINE_HEIGHT) + ROW_GAP
    return attrs.evolve(flat, top=tuple(top))


def _column_width(state: str, moves: Moves) -> float:
    events = [event for (_, target), found in moves.items() if target == state for event in found]
    labels = [
        RAIL + LABEL_GAP + code_width(min(len(event), NAME_CHARS_MAX), FINE_PX) for event in events
    ]
    return max(_box_width(state), *labels, 0.0)


def _box_width(state: str) -> float:
    return max(84.0, 28 + 7.6 * len(state[:NAME_CHARS_MAX]))


def _heading(grid: _Grid) -> Iterator[str]:
    yield tag("text", "The life of a payment", x=MARGIN, y=36.0, class_="xf-head")
    if len(grid.states) < 4:
        return
    x, y = MARGIN, grid.size[1] - MARGIN - 3 * LINE_HEIGHT
    for place, line in enumerate(
        (
            "An event moves a payment to the right,",
            "or leaves it where it is. Never back.",
            "A dot is a move, by the event named above it.",
        )
    ):
        yield tag("text", line, x=x, y=y + (place + 1) * LINE_HEIGHT, class_="xf-small xf-quiet")


def _rails(grid: _Grid) -> Iterator[str]:
    """Lines first, then dots, then labels, so that nothing is crossed out."""
    places = range(len(grid.states))
    junctions = [
        (source, target)
        for source in places
        for target in places
        if (grid.states[source], grid.states[target]) in grid.moves
    ]
    for source in sorted({source for source, _ in junctions}):
        end = max(grid.rail(target) for s, target in junctions if s == source)
        start = grid.left[source] + _box_width(grid.states[source])
        yield path(f"M{start:.6g} {grid.middle(source):.6g}H{end:.6g}", "xf-line")
    for target in sorted({target for _, target in junctions}):
        start = min(grid.middle(source) for source, t in junctions if t == target)
        tip = grid.top[target] - 1
        x = grid.rail(target)
        yield path(f"M{x:.6g} {start:.6g}V{tip - 6:.6g}", "xf-line")
        yield path(f"M{x:.6g} {tip:.6g}l-5 -8h10z", "xf-tip")
    for source, target in junctions:
        yield tag("circle", cx=grid.rail(target), cy=grid.middle(source), r=4.0, class_="xf-tip")
    for source, target in junctions:
        yield from _label(grid, source, target)


def _label(grid: _Grid, source: int, target: int) -> Iterator[str]:
    x, y = grid.rail(target) + LABEL_GAP, grid.middle(source)
    for place, event in enumerate(grid.new_events(source, target), start=1):
        yield tag(
            "text",
            xml(event, NAME_CHARS_MAX),
            x=x,
            y=y + place * LINE_HEIGHT,
            class_="xf-code xf-fine xf-over",
        )


def _boxes(grid: _Grid, current: str | None) -> Iterator[str]:
    for place, state in enumerate(grid.states):
        x, y, width = grid.left[place], grid.top[place], _box_width(state)
        tone = _TONES.get(state, "plain")
        apart = " xf-apart" if state == "rejected" else ""
        box = tag(
            "rect",
            x=x,
            y=y,
            width=width,
            height=BOX_HEIGHT,
            rx=9,
            class_=f"xf-tone-box{apart}",
        )
        name = tag(
            "text",
            xml(state, NAME_CHARS_MAX),
            x=x + width / 2,
            y=y + 22,
            class_="xf-strong xf-middle xf-tone",
        )
        yield tag("g", box + name, class_=f"xf-{tone}")
        if state == current:
            yield from _here(x, y, width)


def _here(x: float, y: float, width: float) -> Iterator[str]:
    """A second frame and a word: the state must be found without colours."""
    middle, below = x + width / 2, y + BOX_HEIGHT
    frame = {"x": x - 4, "y": y - 4, "width": width + 8, "height": BOX_HEIGHT + 8, "rx": 12}
    yield tag("rect", **frame, class_="xf-mark xf-now xf-tone-line")
    label = {"x": middle - 21, "y": below - 3, "width": 42, "height": 17, "rx": 8.5}
    yield tag("rect", **label, class_="xf-tag")
    yield tag("text", "here", x=middle, y=below + 9.5, class_="xf-on-tag xf-middle")
