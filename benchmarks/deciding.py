"""How many decisions a second? Beside two state machines that only move a state.

All receive the same five events of one payment: created, opened, failed, paid, and a
second failure that comes late. `decide` also compares money, recognises copies, collects evidence,
and explains which handler calls are due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from transitions import Machine

from xpay_flow import LIFECYCLE, Event, decide, messages
from xpay_flow import sample_records as b

from .calling import Refused
from .measure import Contestant, Group, Size, compared

OPPONENT: Final = "a state looked up in a dict"

EVENTS: Final[tuple[Event, ...]] = (
    b.created(),
    b.webhook(messages.INTENT_CHECKOUT_OPENED, "whe_opened"),
    b.failed("whe_failed"),
    b.paid("whe_paid"),
    b.failed("whe_late"),
)


class Order:
    """What `transitions` moves."""

    state: str


def measured(size: Size) -> list[Group]:
    """Seconds for one decision."""
    folds: dict[str, Callable[[Sequence[Event]], str]] = {
        OPPONENT: looked_up(),
        "transitions, moving a model": moved_model(),
        "decide": decided,
    }
    contestants = {name: _folding(fold, EVENTS, size) for name, fold in folds.items()}
    contestants["decide, each event twice"] = _folding(decided, [*EVENTS, *EVENTS], size)
    return [compared("one decision", contestants, size.turns, opponent=OPPONENT)]


def _folding(
    fold: Callable[[Sequence[Event]], str], events: Sequence[Event], size: Size
) -> Contestant:
    def turn() -> list[float]:
        began = perf_counter()
        ends = [fold(events) for _ in range(size.stories_a_turn)]
        took = perf_counter() - began
        if set(ends) != {"success"}:
            raise Refused(f"the stories ended in {set(ends)}")
        return [took / (size.stories_a_turn * len(events))]

    return turn


def looked_up() -> Callable[[Sequence[Event]], str]:
    """The least that can be done: one dictionary, no checks."""
    table = {pair: move.target for pair, move in LIFECYCLE.cells.items()}

    def fold(events: Sequence[Event]) -> str:
        state = "initiated"
        for event in events:
            state = table[state, event.kind]
        return state

    return fold


def moved_model() -> Callable[[Sequence[Event]], str]:
    """One model for all stories, put back each time: making one for each costs far more."""
    order = Order()
    machine = Machine(
        model=order,
        states=list(LIFECYCLE.states),
        initial="initiated",
        auto_transitions=False,
        transitions=[
            {
                "trigger": event,
                "source": state,
                "dest": move.target if move.target != state else None,
            }
            for (state, event), move in LIFECYCLE.cells.items()
        ],
    )

    def fold(events: Sequence[Event]) -> str:
        machine.set_state("initiated", order)
        for event in events:
            machine.events[event.kind].trigger(order)
        return order.state

    return fold


def decided(events: Sequence[Event]) -> str:
    """The same through the pure core."""
    intent = INTENT
    for event in events:
        intent = decide(intent, event).intent
    return intent.state


_stored = b.attempt().record.intent
assert _stored is not None
INTENT: Final = _stored
