"""How does a page show a counterexample? Drawn, in numbered words, and as writes."""

from __future__ import annotations

from collections.abc import Iterator

from .changes import Changed, changes
from .charts import tone
from .page import Html, card, el, pill, text
from .picture import story_svg
from .story import Step
from .telling import MarkedTrace
from .verdict import Violation

# Of what is on file, this is seldom worth a look.
_QUIET = "version"


def story_cards(violation: Violation) -> Iterator[Html]:
    """The parts of the page that exist only if a promise is broken."""
    trace = violation.marked_trace
    yield _drawn(violation, trace)
    yield _steps(trace)
    if any(step.seen and step.seen.after is not None for step in violation.story):
        yield _writes(trace)


def _drawn(violation: Violation, trace: MarkedTrace) -> Html:
    count = violation.faults
    chips = [
        pill(f"scene {violation.scene}", "plain"),
        pill(f"{count or 'no'} fault{'s' * (count != 1)}", "bad" if count else "plain"),
        pill(f"{len(violation.story)} steps", "plain"),
    ]
    if violation.confirmed:
        chips.append(pill("✓ replayed with live code", "good"))
    svg = el("div", Html(story_svg(trace)), class_="scroll", tabindex=0, role="group")
    return card(
        "How it happens",
        "The shortest story with the fewest faults.",
        el("div", *chips, class_="chips"),
        el(
            "p",
            text("The picture is wide: move it sideways, or read the steps below."),
            class_="soft swipe",
        ),
        svg,
        *_elsewhere(violation),
    )


def _elsewhere(violation: Violation) -> Iterator[Html]:
    yield _folded("For a terminal", violation.as_text())
    yield _folded("As a Mermaid diagram", violation.as_mermaid())
    if violation.seed:
        yield _folded("Its seed, to do it again", violation.seed)


def _folded(title: str, content: str) -> Html:
    return el("details", el("summary", text(title)), el("pre", text(content), tabindex=0))


# --- in words ------------------------------------------------------------------------------------


def _steps(trace: MarkedTrace) -> Html:
    rows = [_step(trace, number) for number in range(len(trace.lanes.rows))]
    return card(
        "Step by step",
        "Every effect with the line of code that yielded it.",
        el("ol", *rows, class_="steps"),
    )


def _step(trace: MarkedTrace, number: int) -> Html:
    row = trace.lanes.rows[number]
    own = "" if row.task is None else f"--own:{tone(row.task)}"
    notes: list[Html] = []
    if row.step.trouble:
        notes.append(_note(f"✗ fault: {row.step.trouble}", "bad"))
    if mark := trace.mark(number):
        notes.append(_note(f"◀ {mark}", "bad" if number == trace.no_return else "warn"))
    return el(
        "li",
        el("span", text(number + 1), class_="n"),
        el("span", text(_who(trace, number)), class_="who", style=own),
        el("span", *_what(row.step), *notes, class_="what"),
        el("span", text(row.step.where), class_="where mono"),
        class_="fault" if row.step.fault else "",
    )


def _note(words: str, shade: str) -> Html:
    return el("span", text(words), class_=f"note {shade}")


def _who(trace: MarkedTrace, number: int) -> str:
    row = trace.lanes.rows[number]
    if row.task is not None:
        return trace.lanes.tasks[row.task].name
    return "all parties" if row.concerns_all else row.source


def _what(step: Step) -> Iterator[Html]:
    if step.what == "does":
        yield el("code", text(step.action))
        yield text(f" → {step.answered}")
    else:
        words = {"starts": "begins", "ends": f"ends: {step.end}"}
        yield text(words.get(step.what, step.note))


# --- in the store --------------------------------------------------------------------------------


def _writes(trace: MarkedTrace) -> Html:
    return card(
        "What was written",
        "What each write changed in the store, and nothing else.",
        el("div", *_each_write(trace), class_="writes"),
    )


def _each_write(trace: MarkedTrace) -> Iterator[Html]:
    for number, row in enumerate(trace.lanes.rows):
        seen = row.step.seen
        if seen is None or seen.before is None or seen.after is None:
            continue
        who = "" if row.task is None else trace.lanes.tasks[row.task].name
        own = "" if row.task is None else f"color:{tone(row.task)}"
        found = changes(seen.before, seen.after)
        yield el(
            "div",
            el("h3", text(f"Step {number + 1} · "), el("span", text(who), style=own)),
            el("div", text(seen.where), class_="soft mono"),
            *((_note(f"✗ fault: {row.step.trouble}", "bad"),) if row.step.fault else ()),
            _diff(found) if found else el("p", text(_nothing(row.step)), class_="soft"),
            class_="write fault" if row.step.fault else "write",
        )


def _nothing(step: Step) -> str:
    return f"Nothing changed: {step.answered}."


def _diff(found: tuple[Changed, ...]) -> Html:
    records = dict.fromkeys(change.record for change in found)
    head = el("tr", *(el("th", text(name), scope="col") for name in ("", "before", "after")))
    rows: list[Html] = []
    for record in records:
        rows.append(el("tr", el("td", el("code", text(record)), colspan=3)))
        rows += [_difference(change) for change in found if change.record == record]
    return el("table", el("thead", head), el("tbody", *rows), class_="diff")


def _difference(change: Changed) -> Html:
    now = "gone" if change.is_loss else change.now
    quiet = change.what == _QUIET
    return el(
        "tr",
        el("td", text(change.what)),
        el("td", text(change.was or "–"), class_="was"),
        el("td", text(now), class_="was" if quiet else "now"),
        class_="lost" if change.is_loss else "",
    )
