"""How is a trace shown in a terminal, and as Mermaid?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from xpay_flow.drawing.text import cut, mermaid

from .lanes import Lanes, Row, lanes_of
from .marks import conflict
from .story import Step

NO_RETURN = "point of no return"
LINE_CHARS_MAX = 160
TEXT_CHARS_MAX = 120
RED = "rect rgba(220, 38, 38, 0.16)"


@attrs.frozen(kw_only=True)
class MarkedTrace:
    """A story with everything that deserves a mark.

    Args:
        no_return: the row after which nothing can put things right; None where that is not what
            is wrong.
        clash: the rows of two steps that cannot both be right.
    """

    lanes: Lanes
    sentence: str
    no_return: int | None
    clash: tuple[int, int] | None

    def mark(self, row: int) -> str:
        """The notes about a row besides its words."""
        text = [f"conflicts with step {self._other(row)}"] if row in (self.clash or ()) else []
        return ", ".join([*text, *([NO_RETURN] if row == self.no_return else [])])

    def _other(self, row: int) -> int:
        assert self.clash is not None
        return 1 + (self.clash[1] if row == self.clash[0] else self.clash[0])


def mark_trace(
    promise: str, sentence: str, story: Sequence[Step], no_return: int | None
) -> MarkedTrace:
    """The story of a broken promise, laid out and marked."""
    lanes = lanes_of(story)
    return MarkedTrace(
        lanes=lanes,
        sentence=f"{promise}: {sentence}",
        no_return=no_return,
        clash=conflict(promise, lanes),
    )


# --- for a terminal ------------------------------------------------------------------------------


def as_text(story: MarkedTrace) -> Iterator[str]:
    """What is broken, then numbered lines; beside them a thread for each flow, from its beginning
    to its end."""
    sentence = cut(story.sentence, 2 * LINE_CHARS_MAX)
    yield sentence
    for number in range(len(story.lanes.rows)):
        threads = _threads(story.lanes, number)
        line = cut(story.lanes.words(number), LINE_CHARS_MAX)
        mark = story.mark(number)
        yield f"{number + 1:3}  {threads}{line}" + (f"   ◀ {mark}" if mark else "")
    yield f"{'✗':>3}  {'  ' * (len(story.lanes.tasks) + 1)}{sentence}"


def _threads(lanes: Lanes, number: int) -> str:
    row = lanes.rows[number]
    signs: list[str] = []
    for task, about in enumerate(lanes.tasks):
        if not about.runs_at(number):
            signs.append(" ")
        elif row.step.what == "dies" and number == about.last:
            signs.append("✗")
        elif number == about.first:
            signs.append("┌")
        elif number == about.last:
            signs.append("└")
        else:
            signs.append("●" if row.task == task else "│")
    return "".join(f"{sign} " for sign in signs) + "  "


# --- Mermaid -------------------------------------------------------------------------------------


def as_mermaid(story: MarkedTrace) -> str:
    """Mermaid's `sequenceDiagram`: a lifeline for each flow; faults in red, with a note."""
    parties = story.lanes.parties or ("Store",)
    names = {party: f"p{number}" for number, party in enumerate(parties)}
    over_all = f"Note over {names[parties[0]]},{names[parties[-1]]}"
    lines = [
        f"participant {short} as {mermaid(name, TEXT_CHARS_MAX)}" for name, short in names.items()
    ]
    for number, row in enumerate(story.lanes.rows):
        lines += _banded(_arrow(row, names, over_all), row, names)
        if mark := story.mark(number):
            lines += [RED, f"{over_all}: {mermaid(mark, TEXT_CHARS_MAX)}", "end"]
    lines += [RED, f"{over_all}: {mermaid(story.sentence, 2 * TEXT_CHARS_MAX)}", "end"]
    return "\n  ".join(["sequenceDiagram", *lines])


def _banded(arrow: str, row: Row, names: dict[str, str]) -> list[str]:
    if row.step.fault is None:
        return [arrow]
    text = f"✗ fault, {row.step.trouble}"
    if row.concerns_all:
        return [RED, arrow, "end"]
    beside = names[row.target if row.step.what != "dies" else row.source]
    return [RED, arrow, f"Note over {beside}: {mermaid(text, TEXT_CHARS_MAX)}", "end"]


def _arrow(row: Row, names: dict[str, str], over_all: str) -> str:
    step = row.step
    if row.concerns_all:
        text = f"✗ fault, {step.note}" if step.fault else step.note
        return f"{over_all}: {mermaid(text, TEXT_CHARS_MAX)}"
    line = "-->>" if step.what == "ends" else "->>"
    text = mermaid(_message(step), TEXT_CHARS_MAX)
    return f"{names[row.source]}{line}{names[row.target]}: {text}"


def _message(step: Step) -> str:
    if step.what == "does":
        return f"{step.action} → {step.answered}"
    return {"starts": "begins", "ends": f"ends, {step.end}"}.get(step.what, step.note)
