"""How is a trace drawn? As a sequence diagram in SVG, with a lifeline for each flow.

One row for each step. A fault is a red band; where nothing helps any more is a red line; two steps
that cannot both be right are tied together.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from xpay_flow.drawing.svg import code_width, document, path, tag
from xpay_flow.drawing.text import xml

from .lanes import LEFT, RIGHT, Lanes, Row, Task
from .story import Step
from .telling import NO_RETURN, MarkedTrace

WIDTH, LANE_MIN, LANE_MAX = 1100.0, 128.0, 210.0
MARGIN, NUMBERS, RAIL = 20.0, 34.0, 40.0
TOP, HEAD, ROW, FOOT = 18.0, 50.0, 46.0, 52.0
BOX_MAX = 140.0
ACTION_CHARS_MAX, ANSWERED_CHARS_MAX, SENTENCE_CHARS_MAX = 64, 90, 150
# Reckoned generously: a text that keeps within the picture by this measure does so in any font.
SMALL_CHAR_PX = 6.4
# How many flows have a colour of their own; further ones begin again.
TONES = 6

# Halos hide the lines below a text, so in a band they have its colour.
STYLE = """
.xf{--xf-t0:#4649c9;--xf-t1:#0b766c;--xf-t2:#8b2fb8;--xf-t3:#0a68a8;--xf-t4:#587210;--xf-t5:#55607a}
@media (prefers-color-scheme:dark){.xf{--xf-t0:#aab0ff;--xf-t1:#6fdccd;--xf-t2:#dba6f7;
--xf-t3:#86c8ff;--xf-t4:#c3df72;--xf-t5:#b6bfd4}}
.xf .xf-bar{fill:var(--xf-own);fill-opacity:.22;stroke:var(--xf-own);stroke-width:1.5}
.xf .xf-own-box{fill:var(--xf-box);stroke:var(--xf-own);stroke-width:2}
.xf .xf-dot{fill:var(--xf-own,var(--xf-quiet));stroke:none}
.xf .xf-band{fill:var(--xf-bad-box);stroke:none}
.xf .xf-in-band .xf-over{stroke:var(--xf-bad-box)}
.xf .xf-tie{fill:none;stroke:var(--xf-warn);stroke-width:2}
.xf .xf-knot{fill:var(--xf-warn);stroke:none}
.xf .xf-fate{stroke:var(--xf-bad);stroke-width:2;stroke-dasharray:7 5;fill:none}
.xf .xf-seal{fill:var(--xf-bad-box);stroke:var(--xf-bad);stroke-width:1.5}
.xf .xf-flag{fill:var(--xf-bad);stroke:none}
.xf .xf-on-flag{fill:var(--xf-paper);font-size:11px;font-weight:650}
""".replace("\n", "")
_OWN = tuple(f"--xf-own:var(--xf-t{number})" for number in range(TONES))

_BEGINNINGS = {
    "click": "presses Pay",
    "webhook": "delivers",
    "send_to_checkout": "follows the link",
}


@attrs.frozen(kw_only=True)
class _Sheet:
    """Where everything is."""

    trace: MarkedTrace

    @property
    def lanes(self) -> Lanes:
        return self.trace.lanes

    @property
    def lane(self) -> float:
        room = WIDTH - 2 * MARGIN - NUMBERS - RAIL
        return min(max(room / max(len(self.lanes.parties), 1), LANE_MIN), LANE_MAX)

    def x(self, party: str) -> float:
        return MARGIN + NUMBERS + self.lane * (self.lanes.parties.index(party) + 0.5)

    def y(self, row: int) -> float:
        return TOP + HEAD + 14 + ROW * (row + 0.5)

    @property
    def left(self) -> float:
        return MARGIN + NUMBERS

    @property
    def right(self) -> float:
        return self.left + self.lane * len(self.lanes.parties)

    @property
    def bottom(self) -> float:
        return self.y(len(self.lanes.rows)) - ROW / 2

    @property
    def size(self) -> tuple[float, float]:
        return self.right + RAIL + MARGIN, self.bottom + FOOT + MARGIN

    def beside(self, start: float, end: float, width: float) -> float:
        """The middle of a text of this width above an arrow, clear of the bar it starts from."""
        clear, way = 9 + width / 2, 1 if end > start else -1
        x = max((start + end) / 2 * way, start * way + clear) * way
        return min(max(x, self.left + width / 2), self.right - width / 2)


def story_svg(trace: MarkedTrace) -> str:
    """The story of a broken promise as an SVG of about 1,100 pixels."""
    sheet = _Sheet(trace=trace)
    rows = range(len(trace.lanes.rows))
    words = " ".join(f"{row + 1}: {trace.lanes.words(row)}." for row in rows)
    parts = [
        tag("style", STYLE),
        *(_band(sheet, row) for row in rows if trace.lanes.rows[row].step.fault),
        *_frame(sheet),
        *(_row(sheet, row) for row in rows),
        *_fate(sheet),
        *_tie(sheet),
        *_seal(sheet),
    ]
    return document("story", "How a promise is broken", xml(words, 6000), sheet.size, parts)


# --- parties -------------------------------------------------------------------------------------


def _frame(sheet: _Sheet) -> Iterator[str]:
    tasks = {task.name: task for task in sheet.lanes.tasks}
    for party in sheet.lanes.parties:
        x, task = sheet.x(party), tasks.get(party)
        yield path(f"M{x:.6g} {TOP + HEAD:.6g}V{sheet.bottom:.6g}", "xf-life")
        own = "" if task is None else _own(sheet, task)
        head = _head(party, x, min(sheet.lane - 10, BOX_MAX), is_task=task is not None)
        bar = "" if task is None else _bar(sheet, task)
        yield tag("g", head + bar, style=own)


def _own(sheet: _Sheet, task: Task) -> str:
    return _OWN[sheet.lanes.tasks.index(task) % TONES]


def _head(party: str, x: float, width: float, *, is_task: bool) -> str:
    box = {"x": x - width / 2, "y": TOP, "width": width, "height": HEAD}
    name, _, about = (party, "", "") if party in (*LEFT, *RIGHT) else party.partition(" ")
    strong = "xf-strong xf-middle"
    chars = int((width - 8) / SMALL_CHAR_PX)
    lines = tag("text", xml(name, 16), x=x, y=TOP + (22 if about else 30), class_=strong)
    if about:
        small = "xf-small xf-quiet xf-middle"
        lines += tag("text", xml(about, chars), x=x, y=TOP + 38, class_=small)
    whole = tag("title", xml(party, 90))
    return whole + tag("rect", **box, rx=9, class_="xf-own-box" if is_task else "xf-box") + lines


def _bar(sheet: _Sheet, task: Task) -> str:
    """From the beginning of a flow to its end; beyond the picture if it still runs."""
    top, ends = sheet.y(task.first), task.last is not None
    bottom = sheet.bottom if task.last is None else sheet.y(task.last)
    x = sheet.x(task.name) - 5
    box = {"x": x, "y": top - 7, "width": 10.0, "height": bottom - top + (14 if ends else 3)}
    return tag("rect", **box, rx=5, class_="xf-bar")


# --- steps ---------------------------------------------------------------------------------------


def _band(sheet: _Sheet, row: int) -> str:
    top = sheet.y(row) - ROW / 2
    box = {"x": MARGIN / 2, "y": top, "width": sheet.size[0] - MARGIN, "height": ROW}
    return tag("rect", **box, rx=6, class_="xf-band")


def _row(sheet: _Sheet, number: int) -> str:
    row, y = sheet.lanes.rows[number], sheet.y(number)
    where = f" [{row.step.where}]" if row.step.where else ""
    parts = [
        tag("title", xml(sheet.lanes.words(number) + where, 600)),
        tag("text", str(number + 1), x=MARGIN + 18, y=y + 4, class_="xf-small xf-quiet xf-end"),
    ]
    if row.concerns_all:
        parts += _divider(sheet, number)
    elif row.is_loop:
        parts += _point(sheet, row, y)
    else:
        parts += _arrow(sheet, row, y)
    own = "" if row.task is None else _own(sheet, sheet.lanes.tasks[row.task])
    return tag("g", "".join(parts), class_="xf-in-band" if row.step.fault else "", style=own)


def _arrow(sheet: _Sheet, row: Row, y: float) -> Iterator[str]:
    start, end = sheet.x(row.source), sheet.x(row.target)
    way = 1 if end > start else -1
    kind = "xf-arrow xf-answer" if row.step.what == "ends" else "xf-arrow"
    yield path(f"M{start + 5 * way:.6g} {y:.6g}H{end - 13 * way:.6g}", kind)
    yield path(f"M{end - 5 * way:.6g} {y:.6g}l{-9 * way} -5v10z", "xf-tip")
    yield from _label(sheet, row.step, (start, end), y)


def _label(sheet: _Sheet, step: Step, ends: tuple[float, float], y: float) -> Iterator[str]:
    above, below = _words(step), step.answered if step.what == "does" else ""
    at = sheet.beside(*ends, code_width(min(len(above), ACTION_CHARS_MAX)))
    kind = "xf-code xf-middle xf-over"
    yield tag("text", xml(above, ACTION_CHARS_MAX), x=at, y=y - 7, class_=kind)
    if step.trouble:
        below = f"✗ {step.trouble}"
    if below:
        at = sheet.beside(*ends, SMALL_CHAR_PX * min(len(below), ANSWERED_CHARS_MAX))
        tone = "xf-bad xf-tone xf-strong" if step.trouble else "xf-quiet"
        kind = f"xf-small xf-middle xf-over {tone}"
        text = xml(below, ANSWERED_CHARS_MAX)
        yield tag("text", text, x=at, y=y + 15, class_=kind)


def _words(step: Step) -> str:
    if step.what == "starts" and step.kind is not None:
        begins = _BEGINNINGS.get(step.kind.group, "begins")
        about = step.kind.name.partition(" ")[2] if begins == "delivers" else ""
        return f"{begins} {about}".strip()
    return step.end if step.what == "ends" else step.action


def _point(sheet: _Sheet, row: Row, y: float) -> Iterator[str]:
    """What a party does by itself, with its words beside it."""
    x, step = sheet.x(row.source), row.step
    if step.what == "dies":
        yield _cross(x, y)
    else:
        yield tag("circle", cx=x, cy=y, r=4.5, class_="xf-dot")
    words = "ends" if step.what == "ends" else _words(step)
    label = f"✗ {words}" if step.fault else words
    width = SMALL_CHAR_PX * len(label) + 8
    # To the right of the party, or to its left where there is no room.
    at = x + 14 + width / 2
    at = at if at + width / 2 <= sheet.right else x - 14 - width / 2
    tone = "xf-bad xf-tone xf-strong" if step.fault else ""
    kind = f"xf-small xf-middle xf-over {tone}"
    yield tag("text", xml(label, ANSWERED_CHARS_MAX), x=at, y=y + 4, class_=kind)


def _cross(x: float, y: float) -> str:
    sign = path(f"M{x - 7:.6g} {y - 7:.6g}l14 14M{x - 7:.6g} {y + 7:.6g}l14 -14", "xf-mark")
    return tag("g", sign, class_="xf-bad", style="stroke:var(--xf-bad);stroke-width:3")


def _divider(sheet: _Sheet, number: int) -> Iterator[str]:
    """What all parties share: time, or the death of the whole process."""
    step, y = sheet.lanes.rows[number].step, sheet.y(number)
    yield path(f"M{sheet.left:.6g} {y:.6g}H{sheet.right:.6g}", "xf-rule")
    if step.what == "dies":
        for task in sheet.lanes.tasks:
            if task.last == number:
                yield _cross(sheet.x(task.name), y)
    label = f"✗ {step.note}" if step.fault else step.note
    tone = "xf-bad xf-tone" if step.fault else "xf-quiet"
    kind = f"xf-small xf-strong xf-middle xf-over {tone}"
    middle = (sheet.left + sheet.right) / 2
    yield tag("text", xml(label, ANSWERED_CHARS_MAX), x=middle, y=y + 4, class_=kind)


# --- marks ---------------------------------------------------------------------------------------


def _fate(sheet: _Sheet) -> Iterator[str]:
    if sheet.trace.no_return is None:
        return
    y = sheet.y(sheet.trace.no_return) + ROW / 2
    yield path(f"M{MARGIN / 2:.6g} {y:.6g}H{sheet.size[0] - MARGIN / 2:.6g}", "xf-fate")
    width = 7.0 * len(NO_RETURN)
    x = MARGIN / 2
    yield tag("rect", x=x, y=y - 9, width=width, height=18, rx=9, class_="xf-flag")
    yield tag("text", NO_RETURN, x=x + width / 2, y=y + 4, class_="xf-on-flag xf-middle")


def _tie(sheet: _Sheet) -> Iterator[str]:
    """A bracket beside two steps that cannot both be right."""
    if sheet.trace.clash is None:
        return
    one, other = (sheet.y(row) for row in sheet.trace.clash)
    x = sheet.right + RAIL - 14
    yield path(f"M{x - 12:.6g} {one:.6g}h12V{other:.6g}h-12", "xf-tie")
    for y in (one, other):
        yield tag("circle", cx=x - 14, cy=y, r=5.0, class_="xf-knot")
    middle = (one + other) / 2
    words = tag("text", "conflict", class_="xf-small xf-strong xf-middle xf-over xf-warn xf-tone")
    yield tag("g", words, transform=f"translate({x + 14:.6g} {middle:.6g}) rotate(90)")


def _seal(sheet: _Sheet) -> Iterator[str]:
    y, width = sheet.bottom + 10, sheet.size[0] - 2 * MARGIN
    yield tag("rect", x=MARGIN, y=y, width=width, height=FOOT - 12, rx=9, class_="xf-seal")
    text = xml(f"✗ {sheet.trace.sentence}", SENTENCE_CHARS_MAX)
    kind = "xf-strong xf-middle xf-bad xf-tone"
    yield tag("text", text, x=MARGIN + width / 2, y=y + 25, class_=kind)
