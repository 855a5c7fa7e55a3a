"""What is a step of a trace? Words to show, and values to replay it."""

from __future__ import annotations

from typing import Any, Literal, cast

import attrs

from xpay_flow.effects import (
    Commit,
    Due,
    Exchange,
    History,
    Load,
    Ran,
    RunHandler,
    RunInTransaction,
)
from xpay_flow.flows import Checkout
from xpay_flow.records import Record

from .bounds import FAULT_WORDS, FaultKind
from .contents import Raised
from .histories import Kind
from .outside import Happening

What = Literal["starts", "does", "runs", "ends", "dies", "customer", "xpay", "time"]
How = Literal["done", "not applied", "applied"]

LOST = "the connection was lost"
NO_ANSWER = "timed out"
HANDLER_FAILED = "RuntimeError: the handler failed"

# What a fault did this time, where its kind can do more than one thing.
_FAULT_OUTCOMES: dict[tuple[FaultKind, How], str] = {
    ("store", "not applied"): "the store fails and changes nothing",
    ("store", "applied"): "the commit takes effect, and a failure is reported",
    ("silence", "not applied"): "the request is lost",
    ("silence", "applied"): "the request takes effect, and its answer is lost",
    ("handler", "not applied"): "the handler fails",
}


@attrs.frozen(kw_only=True)
class Seen:
    """What live code showed when the trace was replayed.

    Args:
        where: the line that yielded the effect, such as `xpay_flow/flows/outbox.py:123`.
        before, after: everything in the store around a write; None around anything else.
    """

    where: str
    before: tuple[Record, ...] | None = None
    after: tuple[Record, ...] | None = None


@attrs.frozen(kw_only=True)
class Step:
    """One step of a story.

    Args:
        before, after: the task's past before and after, by number; None where there is none.
        how: what became of `op`: done, or a fault and whether it took effect all the same. An end
            that reaches no party is not applied.
        happens: what happened to the world by a step that is not an effect.
        seen: None until the trace was replayed with live code.
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
    happens: tuple[Happening, ...] = ()
    seen: Seen | None = attrs.field(default=None, repr=False)

    @property
    def where(self) -> str:
        """The line of code that yielded the effect, once live code has shown it."""
        return self.seen.where if self.seen else ""

    @property
    def action(self) -> str:
        """What is done, without who does it."""
        return _effect_words(self.op) if self.what == "does" else self.note

    @property
    def answered(self) -> str:
        """What an effect is answered."""
        if isinstance(self.answer, Raised):
            return f"{type(self.answer.error).__name__} ({self.how})"
        match self.op:
            case Load() | History():
                found = ", ".join(f"{r.key} v{r.version}" for r in self.answer)
                return found or "nothing"
            case Due():
                return ", ".join(map(str, self.answer)) or "nothing"
            case Exchange():
                return str(getattr(self.answer, "status", f"no answer ({self.how})"))
            case RunHandler() | RunInTransaction():
                return _ended(self.op.name, self.answer)
            case Commit():
                return "written" if self.answer else "lost the race"
            case _:
                return str(self.answer)[:80]

    @property
    def end(self) -> str:
        """How a task ended, for the party that waited for it."""
        if isinstance(self.answer, Checkout):
            text = f"to the checkout of {self.answer.x_intent_id}"
            return text if self.how == "done" else f"{text}; the customer has left"
        text = str(self.answer)[:100]
        return text if self.how == "done" else f"{text}, too late: xPay sends it again"

    @property
    def trouble(self) -> str:
        """What the fault did; empty where there is none."""
        if self.fault is None:
            return ""
        return _FAULT_OUTCOMES.get((self.fault, self.how), FAULT_WORDS[self.fault])

    def in_words(self, who: str = "") -> str:
        """One line.

        Args:
            who: the task's name in this story, where several are of one kind.
        """
        who = who or (self.kind.name if self.kind else "")
        text = {
            "starts": f"{who} begins",
            "does": f"{who}: {self.action} → {self.answered}",
            "runs": f"{who}: … {self.note}",
            "ends": f"{who} ends: {self.end}",
        }.get(self.what, self.note)
        return f"{text}   ✗ fault: {self.trouble}" if self.fault else text

    def ends_of_arrow(self, who: str) -> tuple[str, str]:
        """From whom to whom; the same name twice for what a party does by itself.

        Args:
            who: the task's name in this story.
        """
        to: dict[Any, str] = {
            Load: "Store",
            History: "Store",
            Commit: "Store",
            Due: "Store",
            RunInTransaction: "Store",
            Exchange: "xPay",
        }
        if self.what == "does":
            kind = cast(Any, type(self.op))
            return who, "Handlers" if kind is RunHandler else to.get(kind, who)
        if self.what in ("customer", "xpay"):
            return ("Customer" if self.what == "customer" else "xPay"), "xPay"
        caller = "xPay" if self.kind and self.kind.group == "webhook" else "Customer"
        if self.kind and self.kind.group in ("click", "webhook", "send_to_checkout"):
            if self.what == "starts":
                return caller, who
            if self.what == "ends":
                return who, caller
        return who, who


def _ended(name: str, ran: Ran) -> str:
    """How a handler's call ended, with its error, or what to do about its absence."""
    if ran.outcome == "missing":
        return f"missing: no {name} is registered, so add one: @flow.{name}"
    return f"{ran.outcome}: {ran.error}" if ran.error else ran.outcome


def _effect_words(op: Any) -> str:
    match op:
        case Load(alias):
            return f"load {alias}"
        case History(alias):
            return f"history of {alias}"
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
        case RunInTransaction(name, _, change):
            return f"call {name} within the commit of {change.record.key} v{change.record.version}"
        case _:
            return type(op).__name__
