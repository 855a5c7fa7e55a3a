"""What does a check of an app print? A verdict with its figures, and a trace for a reader who has
never seen one: what happened, in which line of their code, and what lasts from then on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import attrs

from xpay_flow.drawing.text import cut

from .execution import FAULT_OF, SHOP, Step
from .points import Point
from .promises import ACKNOWLEDGED
from .scenes import Order
from .search import AppBound, Counterexample, Explored

LINE_CHARS_MAX: Final = 150
ROW_CHARS_MAX: Final = 90
ASSUMPTIONS: Final = (
    "each request runs in a process of its own, as behind a server with several workers; what an "
    "app keeps in memory is not there in the next one",
    "faults hit the webhooks that overlap; when xPay comes again, it comes alone and nothing fails",
    "an outgoing call is answered 200 with {} here, or fails",
    "of the database, what it promises: a transaction is atomic, and its locks are kept",
)
_COLUMNS: Final = re.compile(r"^(SELECT)\s+(.*?)\s+(FROM)\b", re.IGNORECASE | re.DOTALL)
_SEED: Final = re.compile(r"([a-z]+|shop)(\d+|\.(?:die|lose|fail|hang|unseen|waits))")
Verdict = Literal["EXHAUSTED", "VIOLATED", "UNFINISHED"]


@attrs.frozen(kw_only=True)
class AppResult:
    """The verdict of a check of an app.

    Args:
        explored: each scene with each number of faults, in the order in which they were searched.
        notes: what was taken to be so, because it was not given.
        diverged: why not everything could be seen.
        options: what was given, for a test.
    """

    target: str
    bound: AppBound
    explored: tuple[Explored, ...]
    promises: tuple[str, ...]
    notes: tuple[str, ...]
    order: Order
    webhook: str
    seconds: float
    diverged: str = ""
    options: dict[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    is_replay: bool = False

    @property
    def counterexample(self) -> Counterexample | None:
        """The simplest trace that breaks a promise."""
        return next((e.counterexample for e in self.explored if e.counterexample), None)

    @property
    def verdict(self) -> Verdict:
        """EXHAUSTED only if every scene was seen to its end."""
        if self.counterexample is not None:
            return "VIOLATED"
        if self.is_replay and not self.diverged:
            return "EXHAUSTED"
        all_seen = self.explored and all(found.is_exhausted for found in self.explored)
        return "EXHAUSTED" if all_seen and not self.diverged else "UNFINISHED"

    @property
    def executions(self) -> int:
        return sum(found.executions for found in self.explored)

    def as_text(self) -> str:
        """Everything, for a terminal."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        found = self.counterexample
        if found is not None:
            yield from trace_lines(found, self.webhook)
            yield ""
        yield f"{self.verdict}: {self.target}, {self.bound.in_words()}"
        for one in self.explored:
            yield _figures(one)
        yield (
            f"{self.executions:,} executions of the real app in {self.seconds:.1f} s, "
            f"paying {self.order.in_words()} at {self.webhook}"
        )
        yield from self.notes
        if self.verdict == "UNFINISHED":
            yield self.diverged or _how_far(self.explored)
        if found is not None:
            words = [*_given(self.options), f"--replay={seed_of(found)}"]
            yield f"Again: {shlex.join(['xpay-flow', 'check-app', self.target, *words])}"
        elif not self.is_replay:
            yield f"Promises: {'; '.join(self.promises)}; every genuine event is acknowledged"
            yield f"Assumed: {'; '.join(ASSUMPTIONS)}"

    def as_test(self) -> str:
        """A pytest module that does the trace again; empty if there is none."""
        found = self.counterexample
        return "\n".join(_test_lines(self, found)) + "\n" if found is not None else ""

    def as_json(self) -> dict[str, Any]:
        """Verdict, figures and trace, as values for JSON."""
        found = self.counterexample
        return {
            "verdict": self.verdict,
            "target": self.target,
            "bound": self.bound.in_words(),
            "executions": self.executions,
            "seconds": self.seconds,
            "scenes": [
                {
                    "name": one.scene,
                    "faults": one.faults,
                    "exhausted": one.is_exhausted,
                    "executions": one.executions,
                    "steps": one.steps,
                    "seconds": one.seconds,
                }
                for one in self.explored
            ],
            "promises": list(self.promises),
            "notes": list(self.notes),
            "diverged": self.diverged,
            "assumptions": list(ASSUMPTIONS),
            "violation": found
            and {
                "scene": found.scene.name,
                "promise": found.broken.promise,
                "why": found.broken.why,
                "faults": found.faults,
                "confirmed": found.confirmed,
                "seed": seed_of(found),
                "trace": list(trace_lines(found, self.webhook)),
                "test": self.as_test(),
            },
        }


def _given(options: dict[str, Any]) -> Iterator[str]:
    """Options as the command takes them."""
    for name, value in options.items():
        if isinstance(value, Order):
            yield from ("--order", value.receipt_id, str(value.amount_minor), value.currency)
            yield f"--intent={value.x_intent_id}"
        else:
            yield f"--{name.replace('_', '-')}={value}"


def _figures(one: Explored) -> str:
    faults = f"{one.faults} fault{'s' * (one.faults != 1)}"
    seen = "seen to the end" if one.is_exhausted else "not seen to the end"
    broken = f", {one.broken:,} of them break a promise" if one.broken else ""
    return (
        f"  {one.scene:16} {faults:8} {one.executions:6,} executions {one.seconds:6.2f} s  "
        f"{seen}{broken}"
    )


def _how_far(explored: Sequence[Explored]) -> str:
    done = [f"{one.scene} with {one.faults} fault(s)" for one in explored if one.is_exhausted]
    return f"Time is up. Seen to the end: {', '.join(done) or 'nothing'}"


# --- the trace -----------------------------------------------------------------------------------


def trace_lines(found: Counterexample, webhook: str) -> Iterator[str]:
    """The trace for a reader: what is broken, who is who, then each step with its line of code."""
    yield f"BROKEN: {found.broken.promise}"
    yield f"   {found.broken.why}"
    yield ""
    yield f"   {_capital(found.scene.sentence)}. {_faults(found)}"
    names = _names(found)
    for process, name in names.items():
        yield f"   {name}: {_who(process, found, webhook)}"
    yield ""
    lanes = list(names)
    for number, step in enumerate(found.steps, 1):
        if step.process in names:
            yield from _step_lines(number, step, lanes, names)
    if any(step.process not in names for step in found.steps):
        yield "   …  and so on, each time that xPay sends it again"
    yield f"   ✗  {found.broken.why}"


def _capital(sentence: str) -> str:
    return sentence if sentence.startswith("xPay") else sentence[0].upper() + sentence[1:]


def _names(found: Counterexample) -> dict[str, str]:
    """A short name for each request that is shown, in the order in which they first act.

    Where xPay sends an event for ever, the first time is enough.
    """
    processes = list(dict.fromkeys(step.process for step in found.steps))
    if found.broken.promise == ACKNOWLEDGED:
        retries = [p for p in processes if p.startswith("again")]
        processes = [p for p in processes if p not in retries[1:]]
    letters = iter("ABCDEFGHIJKLMN")
    return {p: "shop" if p == SHOP else next(letters) for p in processes}


def _who(process: str, found: Counterexample, webhook: str) -> str:
    if process == SHOP:
        return "the shop's own commit of the order"
    subject = found.subjects.get(process, "")
    if subject.startswith("the return"):
        return subject
    acted = dict.fromkeys(step.process for step in found.steps)
    first = next(name for name in acted if found.subjects.get(name) == subject)
    again = "" if process == first else ", the same event again"
    return f"POST {webhook}  {subject}{again}"


def _faults(found: Counterexample) -> str:
    words = [_fault_words(step) for step in found.steps]
    words = [w for w in words if w]
    if found.scene.fault is not None:
        return ""
    return (
        f"One thing goes wrong: {words[0]}."
        if len(words) == 1
        else (
            f"{len(words)} things go wrong: {'; '.join(words)}."
            if words
            else "Nothing else goes wrong."
        )
    )


def _fault_words(step: Step) -> str:
    if step.act == "die":
        return "the process dies"
    if step.act == "hang":
        return "an outgoing call hangs"
    if step.point is None or step.act in ("go", "waits over"):
        return ""
    fault = FAULT_OF.get((step.point.kind, step.act))
    return {
        "lost answer": "a commit takes effect, but its answer is lost",
        "lost 2xx": "a 2xx is lost on its way, so xPay sends the event again",
        "call": "an outgoing call fails" if step.act == "fail" else "the answer of a call is lost",
    }.get(fault or "", "")


def _step_lines(
    number: int, step: Step, lanes: Sequence[str], names: dict[str, str]
) -> Iterator[str]:
    indent = "   " * lanes.index(step.process)
    name = names[step.process]
    yield cut(f"  {number:2}  {indent}{name}  {_what(step)}", LINE_CHARS_MAX)
    pad = " " * (9 + len(indent))
    point = step.point
    if point is not None and point.where and point.kind != "answer":
        yield cut(f"{pad}{point.where}   {point.code}", LINE_CHARS_MAX)
    if step.act != "die" and step.done.error and not step.blocked:
        yield cut(f"{pad}raises {step.done.error}", LINE_CHARS_MAX)
    for change in step.changes:
        yield cut(f"{pad}▶ from now on: {change}", LINE_CHARS_MAX)


def _what(step: Step) -> str:
    point = step.point
    if point is None:
        return (
            "waits: a request holds the lock" if step.blocked else "COMMIT, and the order is there"
        )
    text = _point_words(point)
    if step.act == "die":
        return f"✗ the process dies before: {text}"
    if step.blocked:
        return f"{text}   waits: another request holds the lock"
    if step.act == "waits over":
        return f"{text}   has waited for too long"
    if trouble := _fault_words(step):
        return f"{text}   ✗ {trouble}"
    if point.kind == "answer" and point.text.startswith("2"):
        return f"{text}, and xPay will not send it again"
    return f"{text}   → {step.done.shown}" if step.done.shown else text


def _point_words(point: Point) -> str:
    if point.kind == "answer":
        return f"answers {point.text}"
    if point.kind == "call":
        return point.text
    return sql_words(point.text, point.parameters)


def sql_words(sql: str, parameters: Any) -> str:
    """A statement on one line, its values put in and its columns left out."""
    words = " ".join(sql.split())
    words = _COLUMNS.sub(lambda m: f"{m[1]} {m[2] if len(m[2]) < 30 else '…'} {m[3]}", words)
    table = re.search(r"\b(?:FROM|UPDATE|INTO)\s+([\w\"]+)", words, re.IGNORECASE)
    if table:
        words = re.sub(rf'{re.escape(table[1])}\.(?=[\w"])', "", words)
    return cut(_filled(words.replace('"', ""), parameters), LINE_CHARS_MAX)


def _filled(sql: str, parameters: Any) -> str:
    if isinstance(parameters, dict):
        for name, value in parameters.items():  # pyright: ignore[reportUnknownVariableType]
            sql = re.sub(rf":{name}\b|%\({name}\)s", lambda _, v=value: repr(v), sql)  # type: ignore[misc]
        return sql
    values = iter(parameters)
    return re.sub(r"\?|%s", lambda found: repr(next(values, found[0])), sql)


# --- a seed, and a test --------------------------------------------------------------------------


def seed_of(found: Counterexample) -> str:
    """The scene and the choices: `twice-a3-b2-a.die` lets a go on three times, then b twice."""
    parts: list[str] = []
    for process, act in found.moves:
        last = re.fullmatch(rf"{process}(\d+)", parts[-1]) if parts else None
        if act == "go" and last:
            parts[-1] = f"{process}{int(last[1]) + 1}"
        else:
            parts.append(f"{process}1" if act == "go" else f"{process}.{act.split()[0]}")
    return "_".join([found.scene.name, *parts])


def moves_of(seed: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The scene and the choices of a seed; the scene is empty if it is none."""
    name, *parts = seed.split("_")
    moves: list[tuple[str, str]] = []
    for part in parts:
        read = _SEED.fullmatch(part)
        if read is None:
            return "", ()
        process, what = read[1], read[2]
        if what.startswith("."):
            moves.append((process, "waits over" if what == ".waits" else what[1:]))
        else:
            moves += [(process, "go")] * int(what)
    return name, tuple(moves)


def _test_lines(result: AppResult, found: Counterexample) -> Iterator[str]:
    yield f'"""Found by the checker of xpay-flow: {found.broken.promise}."""'
    yield ""
    yield "from xpay_flow.checker import verify_app"
    if "order" in result.options:
        yield "from xpay_flow.checker.app import Order"
    yield ""
    for line in trace_lines(found, result.webhook):
        yield f"# {line}".rstrip()
    name = re.sub(r"\W+", "_", found.scene.name)
    yield f"test_{name} = verify_app("
    yield f'    "{result.target}",'
    for option, value in result.options.items():
        yield f"    {option}={value!r},"
    yield f'    replay="{seed_of(found)}",'
    yield ")"
