"""What is a step of a story? In words for people, and in values to do it again for real."""

from __future__ import annotations

from typing import Any, Literal, cast

import attrs

from xpay_flow.effects import Commit, Due, Exchange, Load, RunHandler

from .bounds import FAULT_WORDS, FaultKind
from .contents import Raised
from .histories import Kind
from .outside import Outside

What = Literal["starts", "does", "ends", "dies", "customer", "xpay", "time"]
How = Literal["done", "not applied", "applied"]

LOST = "the connection was lost"
NO_ANSWER = "timed out"
HANDLER_FAILED = "RuntimeError: the handler failed"


@attrs.frozen(kw_only=True)
class Step:
    """One step of a story.

    Args:
        before, after: the task's past before and after, by number; None where there is none.
        how: what became of `op`: done, or a fault and whether it took effect all the same.
        outside: the world after a step that is not the work of an effect.
    """

    what: What
    kind: Kind | None = None
    before: int | None = None
    after: int | None = None
    op: Any = attrs.field(default=None, repr=False)
    answer: Any = attrs.field(default=None, repr=False)
    how: How = "done"
    note: str = ""
    fault: FaultKind | None = None
    outside: Outside | None = attrs.field(default=None, repr=False)

    def in_words(self) -> str:
        """One line."""
        who = self.kind.name if self.kind else {"time": "time"}.get(self.what, "")
        text = {
            "starts": f"{who} begins",
            "does": f"{who}: {_told(self.op)} → {self._answered()}",
            "ends": f"{who} ends: {self.note[:100]}",
        }.get(self.what, self.note)
        return f"{text}   ✗ fault: {FAULT_WORDS[self.fault]}" if self.fault else text

    def ends_of_arrow(self) -> tuple[str, str]:
        """From whom to whom, for a sequence diagram."""
        who = self.kind.name if self.kind else "Customer"
        to: dict[Any, str] = {Load: "Store", Commit: "Store", Due: "Store", Exchange: "xPay"}
        if self.what == "does":
            kind = cast(Any, type(self.op))
            return who, "Handlers" if kind is RunHandler else to.get(kind, who)
        if self.what in ("customer", "xpay"):
            return ("Customer" if self.what == "customer" else "xPay"), "xPay"
        caller = "xPay" if self.kind and self.kind.group == "webhook" else "Customer"
        if self.kind and self.kind.group in ("click", "webhook", "forward"):
            return (caller, who) if self.what == "starts" else (who, caller)
        return who, who

    def _answered(self) -> str:
        if isinstance(self.answer, Raised):
            return f"{type(self.answer.error).__name__} ({self.how})"
        match self.op:
            case Load():
                found = ", ".join(f"{r.key} v{r.version}" for r in self.answer)
                return found or "nothing"
            case Exchange():
                return str(getattr(self.answer, "status", f"no answer ({self.how})"))
            case RunHandler():
                return str(self.answer.outcome)
            case Commit():
                return "written" if self.answer else "lost the race"
            case _:
                return str(self.answer)[:80]


def _told(op: Any) -> str:
    match op:
        case Load(alias):
            return f"load {alias}"
        case Commit(change):
            intent = change.record.intent
            state = f", {intent.state}" if intent else ""
            return f"commit {change.record.key} v{change.record.version}{state}"
        case Due(work):
            return f"what is due to {work}"
        case Exchange(request):
            return f"{request.method} {request.url.partition('//')[2].partition('/')[2][:60]}"
        case RunHandler(name):
            return f"call {name}"
        case _:
            return type(op).__name__
