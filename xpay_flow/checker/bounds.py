"""How far does a search go? A few scenes, each searched to its end, and a number of faults.

Everything at once would be a product of parties that hardly meet. So the life of a payment is cut
into scenes that overlap: each begins where another has led, and together they reach from the click
to the handler. A bug that needs parties of two scenes at once, or kinds of faults of two scenes, is
outside the bound, and `in_words` lists the parties and faults of each scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

Group = Literal["click", "send_to_checkout", "webhook", "worker", "reconciler"]
FaultKind = Literal[
    "repeat", "loss", "store", "silence", "handler", "death", "hang", "clock", "forgery", "flaw"
]

FAULT_WORDS: Mapping[FaultKind, str] = {
    "repeat": "a delivery repeated after its 2xx",
    "loss": "a delivery lost for good",
    "store": "an operation of the store that fails, or a commit that applies and reports a failure",
    "silence": "a request or an answer of xPay's lost",
    "handler": "a handler that fails",
    "death": "a flow, or the whole process, that dies",
    "hang": "time that passes while flows run",
    "clock": "a clock that is set back by an hour",
    "forgery": "a forged webhook",
    "flaw": "a webhook wrong in amount, currency, merchant, type or content",
}


# Flows of ours come to the end of their schedules; others may put a question off for ever. Each
# fault spoils one try at most, so there are these beside: for a first one, and one after another.
PASSAGES = 4


def passages_max(faults: int) -> int:
    """How often time goes on at most, where a party is the user's own."""
    return faults + PASSAGES


@attrs.frozen(kw_only=True)
class Scene:
    """One small world, searched to its end.

    Args:
        parties: which flows may run, and how many of each kind at once.
        at_once: how many flows of any kind run at once.
        faults: the kinds of faults that can happen here.
        begun: the payment was begun without trouble before the scene opens.
        clicks: how often Pay is pressed for the one order.
        failures: how many charges may fail before one works.
        refunds: 1 is all of the money at once, 2 is in two halves.
        disputes: the customer's bank may ask for the money.
        changes: each press of Pay may be for either of two amounts, and queries a page at xPay
            before it is handed out again.
        cancels: the intent may be cancelled at xPay, and be paid all the same.
        rotates: xPay may come to sign with the shop's second secret.
        reports_creation: xPay also sends `intent.created`, which can arrive before its answer.
    """

    name: str
    parties: Mapping[Group, int] = attrs.field(hash=False)
    at_once: int = 2
    faults: frozenset[FaultKind]
    begun: bool = True
    clicks: int = 0
    failures: int = 0
    refunds: int = 0
    disputes: bool = False
    changes: bool = False
    cancels: bool = False
    rotates: bool = False
    reports_creation: bool = False

    @property
    def has_time(self) -> bool:
        """A party here waits for a moment; without such a party time changes nothing."""
        return bool({"worker", "reconciler"} & set(self.parties))

    @property
    def delivers(self) -> bool:
        """Handlers are called here; elsewhere it is enough that they are pending."""
        return "worker" in self.parties

    def in_words(self) -> str:
        """Who takes part, how many at once, and what can go wrong."""
        people = ", ".join(f"{count} {group}" for group, count in self.parties.items())
        charges = f"; up to {self.failures} failed charge(s)" if self.failures else ""
        charges += f"; up to {self.refunds} refund(s)" if self.refunds else ""
        charges += "; a dispute" if self.disputes else ""
        charges += (
            "; either of two amounts at each click, and pages queried" if self.changes else ""
        )
        charges += "; a cancellation" if self.cancels else ""
        charges += "; a change of xPay's signing key" if self.rotates else ""
        wrong = "; ".join(FAULT_WORDS[kind] for kind in FAULT_WORDS if kind in self.faults)
        return f"{self.name}: {people}, {self.at_once} at once{charges}. Faults: {wrong}"


@attrs.frozen(kw_only=True)
class Bound:
    """Any `faults` faults of each scene's kinds, in any places. Everything else is free.

    Args:
        transitions_max: give up on a scene, UNFINISHED, after so many.
        seconds_max: give up after so many; None is never.
        deepens: search with no fault, then with one, two, … until the seconds are over.
    """

    name: str = "custom"
    faults: int = 2
    scenes: tuple[Scene, ...]
    transitions_max: int = 50_000_000
    seconds_max: float | None = None
    deepens: bool = False

    def in_words(self) -> str:
        """The bound as a few lines."""
        head = (
            f"any {self.faults} fault(s) of the kinds named, one order, one payment, the customer "
            "pays or walks away, deliveries in any order:"
        )
        return "\n".join([head, *(f"  {scene.in_words()}" for scene in self.scenes)])


BEGINNING = Scene(
    name="beginning",
    parties={"click": 2, "webhook": 1, "reconciler": 1},
    faults=frozenset({"silence", "store", "death"}),
    begun=False,
    clicks=2,
    reports_creation=True,
)
EVENTS = Scene(
    name="events",
    parties={"webhook": 2},
    faults=frozenset({"repeat", "store", "death", "forgery", "flaw"}),
    failures=1,
)
HANDLERS = Scene(
    name="handlers",
    parties={"webhook": 1, "worker": 2},
    faults=frozenset({"store", "handler", "death", "hang"}),
)
SUPERSEDED = Scene(
    name="superseded",
    parties={"webhook": 1, "worker": 1},
    faults=frozenset({"store", "handler", "death"}),
    failures=1,
)
SILENCE = Scene(
    name="silence",
    parties={"webhook": 1, "reconciler": 1, "send_to_checkout": 1},
    faults=frozenset({"loss", "silence", "store", "death"}),
)
MONEY_BACK = Scene(
    name="money back",
    parties={"webhook": 2},
    faults=frozenset({"repeat", "store"}),
    refunds=2,
    disputes=True,
)
REFUNDED = Scene(
    name="refunded",
    parties={"webhook": 1, "worker": 1},
    faults=frozenset({"handler", "death"}),
    refunds=1,
)
CANCELLED = Scene(
    name="cancelled",
    parties={"webhook": 1, "reconciler": 1},
    faults=frozenset({"silence", "store", "clock"}),
    cancels=True,
    rotates=True,
)
CHANGED = Scene(
    name="changed",
    parties={"click": 2, "webhook": 1},
    faults=frozenset({"silence", "store", "death"}),
    begun=False,
    clicks=2,
    changes=True,
)
SCENES = (
    EVENTS,
    HANDLERS,
    SUPERSEDED,
    SILENCE,
    BEGINNING,
    MONEY_BACK,
    REFUNDED,
    CANCELLED,
    CHANGED,
)

THREE = attrs.evolve(EVENTS, name="three deliveries", parties={"webhook": 3}, at_once=3)
ALL_SCENES = (*SCENES, THREE)

DEFAULT = Bound(name="default", scenes=SCENES)
DEEP = Bound(name="deep", faults=4, scenes=ALL_SCENES)
NIGHTLY = Bound(name="nightly", faults=9, scenes=ALL_SCENES, seconds_max=4 * 3600.0, deepens=True)
BOUNDS = {bound.name: bound for bound in (DEFAULT, DEEP, NIGHTLY)}
