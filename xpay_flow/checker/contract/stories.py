"""How is a counterexample of a store shown? As text for a terminal, as Mermaid and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, cast

import attrs

from xpay_flow.drawing.text import mermaid
from xpay_flow.records import Record

from .house import Mode
from .judging import SENTENCES, Breach, Rule, name_of
from .lifelines import Done
from .scenes import Scene
from .schedule import Deviation, RunResult
from .statements import Statement
from .steered import Begin
from .step import Fate, Step

ARROW_CHARS_MAX: Final = 80

EventKind = Literal["calls", "runs", "fails", "spoilt", "dies", "answers"]


@attrs.frozen(kw_only=True)
class Event:
    """One line of the story."""

    line: int
    kind: EventKind
    words: str
    where: str = ""

    def in_words(self) -> str:
        verb = {
            "calls": "calls",
            "runs": "→",
            "fails": "→ (fails, and does nothing)",
            "spoilt": "→ (applied, and reported as failed)",
            "dies": "dies before",
            "answers": "answers",
        }[self.kind]
        where = f"   [{self.where}]" if self.where else ""
        return f"{name_of(self.line)} {verb} {self.words}{where}".rstrip()


@attrs.frozen(kw_only=True)
class ContractViolation:
    """A rule of a store that is broken, and the shortest story of how.

    Args:
        cost: switches and faults that it takes.
        confirmed: it was done again, and ended the same.
    """

    scene: str
    mode: Mode
    rule: Rule
    detail: str
    events: tuple[Event, ...]
    cost: int
    script: tuple[Deviation, ...]
    confirmed: bool = False

    @property
    def sentence(self) -> str:
        return SENTENCES[self.rule]

    def as_text(self) -> str:
        """The story for a terminal."""
        lines = [
            f"{self.rule}: {self.sentence}",
            f"  scene: {self.scene}, {_MODES[self.mode]}, {self.cost} switch(es) and faults",
            *(f"  {n:3} {event.in_words()}" for n, event in enumerate(self.events, 1)),
        ]
        return "\n".join([*lines, *([f"  {self.detail}"] if self.detail else [])])

    def as_mermaid(self) -> str:
        """The story as Mermaid's `sequenceDiagram`, each lifeline a participant."""
        used = sorted({event.line for event in self.events})
        lines = [f"participant {name_of(n)} as {_MODES_ONE[self.mode]} {name_of(n)}" for n in used]
        lines.append("participant DB as database")
        lines += [line for event in self.events for line in _drawn(event)]
        note = mermaid(f"{self.rule}, {self.sentence}", 200)
        return "\n  ".join(["sequenceDiagram", *lines, f"Note over DB: {note}"])

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "sentence": self.sentence,
            "detail": self.detail,
            "scene": self.scene,
            "mode": self.mode,
            "cost": self.cost,
            "confirmed": self.confirmed,
            "script": [[d.step, d.line, d.fate] for d in self.script],
            "story": [event.in_words() for event in self.events],
            "mermaid": self.as_mermaid(),
        }


_MODES: Final[dict[Mode, str]] = {
    "processes": "a process for each",
    "threads": "threads of one process",
}
_MODES_ONE: Final[dict[Mode, str]] = {"processes": "process", "threads": "thread"}


def _drawn(event: Event) -> Iterator[str]:
    name = name_of(event.line)
    where = f" [{event.where}]" if event.where else ""
    text = mermaid(f"{event.words}{where}", ARROW_CHARS_MAX)
    if event.kind == "runs":
        yield f"{name}->>DB: {text}"
    elif event.kind in ("fails", "spoilt"):
        cross, word = {"fails": ("-x", "fails"), "spoilt": ("->>", "applied, reported as failed")}[
            event.kind
        ]
        yield from ("rect rgba(220, 38, 38, 0.16)", f"{name}{cross}DB: {text} ({word})", "end")
    elif event.kind == "dies":
        yield from ("rect rgba(220, 38, 38, 0.16)", f"Note over {name}: dies before {text}", "end")
    else:
        yield f"Note over {name}: {event.kind} {text}".rstrip()


def events_of(scene: Scene, run: RunResult) -> tuple[Event, ...]:
    """The story of a run: calls, statements and answers, without steps that cannot be noticed."""
    current: dict[int, int] = {}
    last: dict[tuple[int, int], int] = {}
    for place, step in enumerate(run.steps):
        if isinstance(step.at, Begin):
            current[step.line] = step.at.number
        last[(step.line, current[step.line])] = place
    events: list[Event] = []
    for place, step in enumerate(run.steps):
        events += _event(scene, step)
        events += (
            Event(line=call[0], kind="answers", words=_answer_words(run.done[call]))
            for call, end in last.items()
            if end == place and run.done[call].answer is not None
        )
    return tuple(events)


def _event(scene: Scene, step: Step) -> Iterator[Event]:
    if isinstance(step.at, Begin):
        words = scene.lifelines[step.line][step.at.number].words
        yield Event(line=step.line, kind="calls", words=words)
    elif isinstance(step.at, Statement) and not (step.at.quiet and step.fate == "go"):
        words = step.at.in_words() + (" (with the whole process)" if step.fate == "crash" else "")
        yield Event(line=step.line, kind=_KINDS[step.fate], words=words, where=step.at.where)


_KINDS: Final[dict[Fate, EventKind]] = {
    "go": "runs",
    "refuse": "fails",
    "spoil": "spoilt",
    "die": "dies",
    "crash": "dies",
}


def _answer_words(was: Done) -> str:
    """An answer in a few words."""
    answer = was.answer
    if not isinstance(answer, tuple):
        return repr(answer)
    parts = [_part(part) for part in cast("tuple[object, ...]", answer)]
    return f"[{', '.join(parts)}]"


def _part(part: object) -> str:
    if not isinstance(part, Record):
        return str(part)
    outbox = "+".join(f"{entry.name} {entry.status}" for entry in part.outbox) or "none"
    state = part.intent.state if part.intent is not None else "parked"
    return f"v{part.version} {state}, {len(part.events)} event(s), outbox {outbox}"


def violation_of(
    scene: Scene,
    mode: Mode,
    run: RunResult,
    breach: Breach,
    script: tuple[Deviation, ...],
    cost: int,
) -> ContractViolation:
    """The story of a run that broke a rule."""
    return ContractViolation(
        scene=scene.name,
        mode=mode,
        rule=breach.rule,
        detail=breach.detail,
        events=events_of(scene, run),
        cost=cost,
        script=script,
    )
