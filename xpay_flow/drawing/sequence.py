"""How is a timeline drawn as a sequence diagram? Messages between the parties, with verdicts.

One arrow for each entry of the timeline, in its order, with times after the first entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import attrs

from ..events import CREATE_UNRESOLVED, HANDLER_GAVE_UP
from ..timeline import Entry, Timeline
from .svg import code_width, document, path, tag
from .text import cut, elapsed, mermaid, xml

Party = Literal["Customer", "xPay", "Shop", "Handlers"]
Tone = Literal["good", "plain", "warn", "bad"]

# From left to right. Nearly all events go from xPay to the shop and on to its handlers.
PARTIES: Final[tuple[Party, ...]] = ("Customer", "xPay", "Shop", "Handlers")
# A picture of more arrows than this is not looked at; the table of the timeline has them all.
ENTRIES_MAX = 200
WHAT_CHARS_MAX, WHY_CHARS_MAX, NAME_CHARS_MAX = 60, 52, 60

_TONES: Final[dict[str, Tone]] = {
    "applied": "good",
    "done": "good",
    "contradictory": "warn",
    "mismatched": "warn",
    "unknown": "warn",
    "quarantined": "warn",
    "pending again": "warn",
    "failed": "bad",
    "missing": "bad",
}
# Our own event that alerts an operator; that it was applied is not the point.
_ALARMS: Final = frozenset({HANDLER_GAVE_UP, CREATE_UNRESOLVED})
# Each tone has its own sign as well, drawn around (0, 0), for those who do not see the colour.
_SIGNS: Final[dict[Tone, str]] = {
    "good": "M-5 0l3.5 4 6.5 -8",
    "plain": "M-4 0h8",
    "warn": "M0 -5.5v6.5M0 5v.2",
    "bad": "M-4 -4l8 8M4 -4l-8 8",
}


@attrs.frozen(kw_only=True)
class Arrow:
    """One entry, as seen between the parties. `answer` is what comes back without being sent."""

    entry: Entry
    source: Party
    target: Party
    answer: bool = False

    @property
    def tone(self) -> Tone:
        return tone_of(self.entry)


def tone_of(entry: Entry) -> Tone:
    """The tone of a verdict: good, plain, a warning, bad."""
    if entry.who == "shop" and entry.what in _ALARMS:
        return "warn"
    return _TONES.get(entry.verdict, "plain")


def arrows_of(timeline: Timeline) -> tuple[Arrow, ...]:
    """An arrow for each entry, in order, up to `ENTRIES_MAX`."""
    return tuple(_arrow(entry) for entry in timeline.entries[:ENTRIES_MAX])


def _arrow(entry: Entry) -> Arrow:
    if entry.who == "xPay":
        return Arrow(entry=entry, source="xPay", target="Shop", answer=entry.how == "API answer")
    if entry.who == "handler":
        return _try(entry)
    if entry.what == "stored":
        return Arrow(entry=entry, source="Customer", target="Shop")
    if entry.what == "sent_to_checkout":
        return Arrow(entry=entry, source="Shop", target="Customer", answer=True)
    return Arrow(entry=entry, source="Shop", target="Shop")


def _try(entry: Entry) -> Arrow:
    if entry.verdict == "started":
        return Arrow(entry=entry, source="Shop", target="Handlers")
    if entry.verdict in ("done", "failed"):
        return Arrow(entry=entry, source="Handlers", target="Shop", answer=True)
    # Dropped, missing or pending again: the handler was not called.
    return Arrow(entry=entry, source="Shop", target="Shop")


def _parties(arrows: Sequence[Arrow]) -> tuple[Party, ...]:
    seen = {"Shop"} | {arrow.source for arrow in arrows} | {arrow.target for arrow in arrows}
    return tuple(party for party in PARTIES if party in seen)


def _since_start(timeline: Timeline, entry: Entry) -> str:
    return elapsed(entry.at_ms - timeline.entries[0].at_ms)


def _left_out(timeline: Timeline) -> str:
    rest = len(timeline.entries) - ENTRIES_MAX
    return f"and {rest} later entries" if rest > 0 else ""


# --- Mermaid -------------------------------------------------------------------------------------

_RECTANGLES: Final[dict[Tone, str]] = {
    "warn": "rect rgba(245, 158, 11, 0.18)",
    "bad": "rect rgba(220, 38, 38, 0.16)",
}


def sequence_mermaid(timeline: Timeline) -> str:
    """The timeline as Mermaid's `sequenceDiagram`. Entries to look at have a coloured band."""
    arrows = arrows_of(timeline)
    lines = ["sequenceDiagram"]
    lines += [f"  participant {party}" for party in _parties(arrows)]
    for arrow in arrows:
        band = _RECTANGLES.get(arrow.tone)
        line = f"  {_mermaid_line(timeline, arrow)}"
        lines += [f"  {band}", f"  {line}", "  end"] if band else [line]
    if rest := _left_out(timeline):
        lines.append(f"  Note over Shop: {rest}")
    return "\n".join(lines) + "\n"


def _mermaid_line(timeline: Timeline, arrow: Arrow) -> str:
    entry, line = arrow.entry, "-->>" if arrow.answer else "->>"
    message = f"{_since_start(timeline, entry)} {cut(entry.what, WHAT_CHARS_MAX)}, {entry.how}"
    verdict = f"{entry.verdict}, {entry.why}" if entry.why else entry.verdict
    text = f"{mermaid(message, 120)}<br/>{mermaid(verdict, 120)}"
    return f"{arrow.source}{line}{arrow.target}: {text}"


# --- SVG -----------------------------------------------------------------------------------------

MARGIN, TIME_WIDTH, LANE, BOX_WIDTH = 20.0, 78.0, 172.0, 96.0
# Right of the last lane: what was decided, and why.
VERDICT_GAP, VERDICT_WIDTH = 76.0, 330.0
TOP, HEAD_HEIGHT, ROW = 62.0, 32.0, 50.0
LOOP = 40.0


@attrs.frozen(kw_only=True)
class _Sheet:
    """Where the lanes are."""

    parties: tuple[Party, ...]
    rows: int

    def lane(self, party: Party) -> float:
        return MARGIN + TIME_WIDTH + BOX_WIDTH / 2 + LANE * self.parties.index(party)

    @property
    def verdict_x(self) -> float:
        return self.lane(self.parties[-1]) + VERDICT_GAP

    @property
    def bottom(self) -> float:
        return TOP + HEAD_HEIGHT + ROW * self.rows + 14

    @property
    def size(self) -> tuple[float, float]:
        return self.verdict_x + VERDICT_WIDTH + MARGIN, self.bottom + MARGIN


def sequence_svg(timeline: Timeline) -> str:
    """The timeline as an SVG of about 1,000 pixels. The full texts are in the tooltips."""
    arrows = arrows_of(timeline)
    rest = _left_out(timeline)
    sheet = _Sheet(parties=_parties(arrows), rows=len(arrows) + bool(rest))
    title = "The timeline of a payment"
    description = f"{len(timeline.entries)} entries. " + " ".join(
        _sentence(timeline, arrow) for arrow in arrows
    )
    parts = [*_frame(sheet, timeline, title)]
    for place, arrow in enumerate(arrows):
        parts.append(_row(sheet, timeline, arrow, TOP + HEAD_HEIGHT + ROW * place))
    if rest:
        y = sheet.bottom - ROW / 2
        parts.append(tag("text", rest, x=sheet.lane("Shop"), y=y, class_="xf-quiet xf-middle"))
    return document("sequence", title, description, sheet.size, parts)


def _sentence(timeline: Timeline, arrow: Arrow) -> str:
    entry = arrow.entry
    what, verdict = xml(entry.what, WHAT_CHARS_MAX), xml(entry.verdict, WHAT_CHARS_MAX)
    when = _since_start(timeline, entry)
    return f"{when}: {arrow.source} to {arrow.target}, {what}: {verdict}."


def _frame(sheet: _Sheet, timeline: Timeline, title: str) -> Iterator[str]:
    yield tag("text", title, x=MARGIN, y=36.0, class_="xf-head")
    if timeline.intent is not None:
        intent = timeline.intent
        about = f"{intent.receipt_id} · {intent.money} · {intent.state}"
    else:
        about = f"{timeline.key} · parked, unmatched"
    width = sheet.size[0]
    yield tag(
        "text", xml(about, NAME_CHARS_MAX), x=width - MARGIN, y=36.0, class_="xf-quiet xf-end"
    )
    y = TOP + HEAD_HEIGHT / 2 + 5
    yield tag("text", "After", x=MARGIN, y=y, class_="xf-small xf-quiet")
    yield tag("text", "Decided, and why", x=sheet.verdict_x, y=y, class_="xf-small xf-quiet")
    for party in sheet.parties:
        x = sheet.lane(party)
        yield path(f"M{x:.6g} {TOP + HEAD_HEIGHT:.6g}V{sheet.bottom:.6g}", "xf-life")
        box = {"x": x - BOX_WIDTH / 2, "y": TOP, "width": BOX_WIDTH, "height": HEAD_HEIGHT}
        yield tag("rect", **box, rx=9, class_="xf-box")
        yield tag("text", party, x=x, y=y, class_="xf-strong xf-middle")


def _row(sheet: _Sheet, timeline: Timeline, arrow: Arrow, top: float) -> str:
    entry, y = arrow.entry, top + 29
    parts = [
        tag("title", _tooltip(entry)),
        path(f"M{MARGIN:.6g} {top + ROW:.6g}H{sheet.size[0] - MARGIN:.6g}", "xf-rule"),
        tag(
            "text",
            _since_start(timeline, entry),
            x=MARGIN,
            y=y + 4,
            class_="xf-small xf-quiet",
        ),
        *(_loop(sheet, arrow, y) if arrow.source == arrow.target else _straight(sheet, arrow, y)),
        *_verdict(sheet, arrow, y),
    ]
    return tag("g", "".join(parts), class_=f"xf-{arrow.tone}")


def _straight(sheet: _Sheet, arrow: Arrow, y: float) -> Iterator[str]:
    start, end = sheet.lane(arrow.source), sheet.lane(arrow.target)
    way = 1 if end > start else -1
    room = int((abs(end - start) - 12) / code_width(1))
    kind = "xf-arrow xf-answer" if arrow.answer else "xf-arrow"
    yield path(f"M{start:.6g} {y:.6g}H{end - 9 * way:.6g}", kind)
    yield path(f"M{end - way:.6g} {y:.6g}l{-9 * way} -5v10z", "xf-tip")
    middle = (start + end) / 2
    text = xml(arrow.entry.what, min(room, WHAT_CHARS_MAX))
    yield tag("text", text, x=middle, y=y - 7, class_="xf-code xf-middle xf-over")
    how = xml(arrow.entry.how, 30)
    yield tag("text", how, x=middle, y=y + 14, class_="xf-small xf-quiet xf-middle xf-over")


def _loop(sheet: _Sheet, arrow: Arrow, y: float) -> Iterator[str]:
    x = sheet.lane(arrow.source)
    yield path(f"M{x:.6g} {y - 9:.6g}h{LOOP - 8}q8 0 8 8v4q0 8 -8 8h{16 - LOOP}", "xf-arrow")
    yield path(f"M{x + 1:.6g} {y + 11:.6g}l9 -5v10z", "xf-tip")
    text = xml(arrow.entry.what, 26)
    yield tag("text", text, x=x + LOOP + 8, y=y - 1, class_="xf-code xf-over")
    how = xml(arrow.entry.how, 30)
    yield tag("text", how, x=x + LOOP + 8, y=y + 14, class_="xf-small xf-quiet xf-over")


def _verdict(sheet: _Sheet, arrow: Arrow, y: float) -> Iterator[str]:
    entry, x = arrow.entry, sheet.verdict_x
    sign = path(_SIGNS[arrow.tone], "xf-mark xf-tone-line")
    disc = tag("circle", r=10.0, class_="xf-tone-box")
    yield tag("g", disc + sign, transform=f"translate({x + 10:.6g} {y:.6g})")
    verdict_y = y - 3 if entry.why else y + 5
    verdict = xml(entry.verdict, 24)
    yield tag("text", verdict, x=x + 30, y=verdict_y, class_="xf-strong xf-tone")
    if entry.why:
        why = xml(entry.why, WHY_CHARS_MAX)
        yield tag("text", why, x=x + 30, y=y + 14, class_="xf-small")


def _tooltip(entry: Entry) -> str:
    details = "; ".join(f"{name} {value}" for name, value in entry.details)
    text = f"{entry.what} ({entry.how}): {entry.verdict}. {entry.why}"
    return xml(f"{text} [{details}]" if details else text, 600)
