"""How is a verdict shown to others? As one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import xpay_flow

from .bounds import FAULT_WORDS, Scene
from .charts import charts, tone
from .page import Html, bullets, card, el, page, pill, text
from .properties import PROPERTIES, RECORD_CHECKS, called_once
from .report_story import story_cards
from .verdict import NEVER_STUCK, OUTSIDE, Result, Searched

TONES = {"EXHAUSTED": "good", "VIOLATED": "bad", "UNFINISHED": "warn"}
_HEADLINES = {
    "EXHAUSTED": "Every state within the bound keeps every promise",
    "UNFINISHED": "The search came to a limit, so nothing is proven",
}
_FIGURES = (
    ("states", "States"),
    ("transitions", "Transitions"),
    ("resumptions", "Real resumptions"),
    ("store_calls", "Real store calls"),
    ("seconds", "Seconds"),
    ("states_per_s", "States per second"),
)


def report_html(result: Result) -> str:
    """The whole verdict as one HTML page, without scripts, and for light and dark."""
    parts = [
        _hero(result),
        *(story_cards(result.violation) if result.violation else ()),
        _figures(result),
        _bound(result),
        _promises(result),
        el("div", _assumed(result), _left_out(result), class_="pair"),
        el("footer", text(f"Searched by the model checker of xpay-flow {xpay_flow.__version__}")),
    ]
    return page(f"{result.verdict}: {_checked(result)}", *parts)


def _checked(result: Result) -> str:
    return result.target or "the shipped flow"


# --- the verdict ---------------------------------------------------------------------------------


def _hero(result: Result) -> Html:
    broken = result.violation
    parts = [pill(result.verdict, TONES[result.verdict])]
    if broken is not None:
        parts += [
            el("h1", text("A promise is broken: "), el("code", text(broken.promise))),
            el("p", text(_sentence(broken.sentence)), class_="lead"),
        ]
    else:
        parts += [el("h1", text(_HEADLINES[result.verdict]))]
    what = (
        text("Checked: "),
        el("code", text(_checked(result))),
        text(f", within the bound “{result.bound.name}”: {_any_faults(result)}."),
    )
    parts += [el("p", *what, class_="soft"), _tiles(result)]
    return el("section", *parts, class_=f"card hero {TONES[result.verdict]}")


def _any_faults(result: Result) -> str:
    count, scenes = result.bound.faults, len(result.bound.scenes)
    faults = f"any {count} fault{'s' * (count != 1)}, in any places"
    return f"{faults}, in each of {scenes} scenes" if scenes != 1 else f"{faults}, in one scene"


def _tiles(result: Result) -> Html:
    tiles = [
        el("div", el("b", text(_figure(value))), el("span", text(label)), class_="tile")
        for label, value in _totals(result)
    ]
    return el("div", *tiles, class_="tiles")


def _totals(result: Result) -> Iterator[tuple[str, Any]]:
    seconds = result.total("seconds")
    for name, label in _FIGURES:
        rate = result.total("states") / seconds if seconds else 0.0
        yield label, rate if name == "states_per_s" else result.total(name)


def _figure(value: Any) -> str:
    """Whole numbers in groups of three; a small number of seconds with its hundredths."""
    return f"{value:.2f}" if isinstance(value, float) and value < 100 else f"{value:,.0f}"


# --- the search ----------------------------------------------------------------------------------


def _figures(result: Result) -> Html:
    labels = ("Scene", "Verdict", *(label for _, label in _FIGURES))
    head = el("tr", *(el("th", text(label), scope="col") for label in labels))
    rows = [_scene_row(scene, labels) for scene in result.searched]
    verdict = pill(result.verdict, TONES[result.verdict])
    total = [text("all"), verdict, *(text(_figure(value)) for _, value in _totals(result))]
    foot = el("tr", *_cells(total, labels))
    table = el("table", el("thead", head), el("tbody", *rows), el("tfoot", foot), class_="figures")
    drawn = [el("div", el("h3", text(title)), Html(svg)) for title, svg in charts(result.searched)]
    return card(
        "What was searched",
        "A state is what is stored, the world outside, and where each running flow stands. "
        "Real code and the real store were run once for each different situation only.",
        table,
        el("div", *drawn, class_="charts"),
        _legend(result),
        *_unused(result),
    )


def _scene_row(scene: Searched, labels: tuple[str, ...]) -> Html:
    cells = [el("strong", text(scene.scene)), pill(scene.verdict, TONES[scene.verdict])]
    cells += [text(_figure(getattr(scene, name))) for name, _ in _FIGURES]
    return el("tr", *_cells(cells, labels))


def _cells(cells: list[Html], labels: tuple[str, ...]) -> Iterator[Html]:
    # On a narrow screen each cell names its column.
    for cell, label in zip(cells, labels, strict=True):
        yield el("td", el("span", cell), data_label=label)


def _legend(result: Result) -> Html:
    marks = [
        el("span", el("i", style=f"--own:{tone(place)}"), text(scene.scene))
        for place, scene in enumerate(result.searched)
    ]
    return el("div", *marks, class_="legend")


def _unused(result: Result) -> Iterator[Html]:
    never = [f"{s.scene}: {FAULT_WORDS[kind]}" for s in result.searched for kind in s.unused]
    skipped = [s.name for s in result.bound.scenes if s.name not in _names(result)]
    if skipped:
        note = f"Not searched, since only fewer faults would show more: {', '.join(skipped)}."
        yield el("p", text(note), class_="soft", style="margin-top:14px")
    if never:
        yield el("h3", text("What never happened"), style="margin-top:18px")
        yield bullets(never)


def _names(result: Result) -> set[str]:
    return {scene.scene for scene in result.searched}


# --- what it means -------------------------------------------------------------------------------


def _bound(result: Result) -> Html:
    head = result.bound.in_words().partition("\n")[0].rstrip(":")
    scenes = [_scene(scene) for scene in result.bound.scenes]
    return card(
        "The bound, in words",
        f"{head[:1].upper()}{head[1:]}. Everything that is no fault may happen in any order and "
        "as often as it can.",
        el("div", *scenes, class_="scenes"),
    )


def _scene(scene: Scene) -> Html:
    who = [f"{count} × {group}" for group, count in scene.parties.items()]
    about = [f"{scene.at_once} at once"]
    if scene.failures:
        about.append(f"up to {scene.failures} failed charge{'s' * (scene.failures != 1)}")
    faults = [word for kind, word in FAULT_WORDS.items() if kind in scene.faults]
    chips = [pill(word, "plain") for word in (*who, *about)]
    return el(
        "div",
        el("h3", text(scene.name)),
        el("div", *chips, class_="chips"),
        el("p", text("Faults:"), class_="soft", style="margin:10px 0 2px"),
        el("ul", *(el("li", text(word)) for word in faults)),
        class_="scene",
    )


def _promises(result: Result) -> Html:
    rows = [_promise(result, name, sentence) for name, sentence in _all_promises()]
    return card(
        "The promises",
        "Each is checked in every state; the last one checks for every state whether "
        "things can still come right.",
        el("ul", *rows, class_="promises"),
    )


def _all_promises() -> Iterator[tuple[str, str]]:
    for name, check in {**RECORD_CHECKS, **PROPERTIES}.items():
        yield name, _first_line(check)
    yield "handlers_are_called_once", _first_line(called_once)
    yield NEVER_STUCK, "From everywhere, what is paid at xPay can still be fulfilled."


def _first_line(check: Any) -> str:
    return (check.__doc__ or "").partition("\n")[0]


def _promise(result: Result, name: str, sentence: str) -> Html:
    broken = result.violation is not None and result.violation.promise == name
    word, shown = {
        "EXHAUSTED": ("kept", "good"),
        "VIOLATED": ("not decided", "plain"),
        "UNFINISHED": ("not proven", "warn"),
    }[result.verdict]
    mark = pill("broken", "bad") if broken else pill(word, shown)
    return el("li", mark, el("div", el("code", text(name)), text(f" – {sentence}")))


def _assumed(result: Result) -> Html:
    return card("What is assumed", "", bullets([_sentence(a) for a in result.assumptions]))


def _left_out(result: Result) -> Html:
    limits = [f"more than {result.bound.faults} fault(s)"] if result.verdict != "UNFINISHED" else []
    return card(
        "What this does not cover", "", bullets([_sentence(o) for o in (*limits, *OUTSIDE)])
    )


def _sentence(words: str) -> str:
    first = words.partition(" ")[0]
    # Names such as `intent.failed` and xPay's are written small, also where a sentence begins.
    is_name = first.startswith("xPay") or not first.isalpha()
    return f"{words if is_name else words[:1].upper() + words[1:]}."
