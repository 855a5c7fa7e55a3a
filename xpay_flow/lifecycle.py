"""Which state follows from which event? One table, total over (state, event).

States are ranked by knowledge, and an event moves an intent up or leaves it where it is. So the
state is the highest that any event leads to, in whatever order the events came. The table is
written out cell by cell, because a reader who trusts this with money should not have to derive it.

    a state's name   the intent moves there                                      (applied)
    =                the intent stays; the event agrees with what is known        (applied)
    late             the intent stays; the event is older than what is known      (stale)
    odd              the intent stays; the event contradicts what is known        (contradictory)

`transitions` compiles the table once into a machine, with no model and no callback; pictures and
the hot path's plain table are read off that machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final, Literal

import attrs
from transitions import Machine

from .errors import InvalidValue, SchemaMismatch, quoted

Disposition = Literal[
    "applied", "duplicate", "stale", "contradictory", "mismatched", "unknown", "quarantined"
]

GRID: Final = """
event                       initiated  rejected   created    redirected failed    cancelled success

stored                      =          late       late       late       late      late      late
create_answered             created    created    =          late       late      late      late
create_refused              rejected   =          odd        odd        odd       odd       odd
sent_to_checkout            redirected redirected redirected =          late      late      late

intent.created              created    created    =          late       late      late      late
intent.checkout_opened      redirected redirected redirected =          late      late      late
intent.incomplete           created    created    =          late       late      late      late
intent.failed               failed     failed     failed     failed     =         late      late
intent.success              success    success    success    success    success   success   =
intent.refunded             success    success    success    success    success   success   =
intent.disputed             created    created    =          =          =         =         =
intent.dispute_under_review created    created    =          =          =         =         =
intent.dispute_won          created    created    =          =          =         =         =
intent.dispute_lost         created    created    =          =          =         =         =

report.open                 created    created    =          late       late      late      late
report.failed               failed     failed     failed     failed     =         late      late
report.cancelled            cancelled  cancelled  cancelled  cancelled  cancelled =         odd
report.success              success    success    success    success    success   success   =
report.refunded             success    success    success    success    success   success   =
report.partially_refunded   success    success    success    success    success   success   =
report.disputed             success    success    success    success    success   success   =
report.dispute_under_review success    success    success    success    success   success   =
report.dispute_won          success    success    success    success    success   success   =
report.dispute_lost         success    success    success    success    success   success   =

unknown                     created    created    =          =          =         =         =
unreadable                  created    created    =          =          =         =         =
in_doubt                    created    created    =          =          =         =         =
paid_other_money            created    created    =          =          =         =         =
refunded_other_money        created    created    =          =          =         =         =
handler_gave_up             =          =          =          =          =         =         =
create_unresolved           =          =          =          =          =         =         =
amount_unresolved           =          =          =          =          =         =         =
still_open                  =          =          =          =          =         =         =
paid_twice                  =          =          =          =          =         =         =
paid_elsewhere              =          =          =          =          =         =         =
"""
# `paid_other_money` and `refunded_other_money`: the proof of payment, or the refund, is authentic
# but names another amount or currency than we requested. It shows that the intent exists, no more.
PAID_OTHER_MONEY: Final = "paid_other_money"
REFUNDED_OTHER_MONEY: Final = "refunded_other_money"
# The event's type and its status contradict each other, so it proves neither: xPay is queried.
IN_DOUBT: Final = "in_doubt"

_STAYS: Final[Mapping[str, Disposition]] = {
    "=": "applied",
    "late": "stale",
    "odd": "contradictory",
}


@attrs.frozen
class Move:
    """One cell: where the intent is afterwards, and the event's disposition."""

    target: str
    disposition: Disposition


@attrs.frozen
class Lifecycle:
    """A ranked list of states and a table over every (state, event).

    Args:
        states: from least to most known.
        events: every kind of event that has a row.
        cells: exactly one `Move` for each pair.

    Raises:
        InvalidValue: a pair is missing or too many, or a cell moves an intent down.
    """

    states: tuple[str, ...]
    events: tuple[str, ...]
    cells: Mapping[tuple[str, str], Move] = attrs.field(repr=False, hash=False)

    def __attrs_post_init__(self) -> None:
        for names in (self.states, self.events):
            if len(names) != len(set(names)):
                raise InvalidValue(f"the lifecycle names something twice: {sorted(names)}")
        pairs = {(state, event) for state in self.states for event in self.events}
        if pairs != set(self.cells):
            odd = sorted(pairs ^ set(self.cells))[0]
            raise InvalidValue(f"the lifecycle must decide each (state, event) once; see {odd}")
        for (state, event), move in self.cells.items():
            if move.target not in self.states:
                raise InvalidValue(f"{event} leads from {state} to no known state: {move.target}")
            if self.rank(move.target) < self.rank(state):
                raise InvalidValue(f"{event} would move an intent down, {state} to {move.target}")

    def rank(self, state: str) -> int:
        """How much a state knows; greater beats smaller."""
        return self.states.index(state)

    @cached_property
    def machine(self) -> Machine:
        """The table as a `transitions` machine, for pictures and tools. It drives no model."""
        return Machine(
            model=None,
            states=list(self.states),
            initial=self.states[0],
            auto_transitions=False,
            transitions=[
                {
                    "trigger": event,
                    "source": state,
                    # None is an internal transition: the machine stays and re-enters nothing.
                    "dest": move.target if move.target != state else None,
                }
                for (state, event), move in self.cells.items()
            ],
        )

    @cached_property
    def _moves(self) -> dict[tuple[str, str], Move]:
        """The machine's transitions as a plain dictionary: what the hot path reads."""
        return {
            (source, event.name): Move(
                found[0].dest or source, self.cells[source, event.name].disposition
            )
            for event in self.machine.events.values()
            for source, found in event.transitions.items()
        }

    def step(self, state: str, event: str) -> Move:
        """Where `event` takes an intent that is in `state`.

        Raises:
            SchemaMismatch: the state is not one of this lifecycle: another version stored it.
        """
        move = self._moves.get((state, event))
        if move is None:
            raise SchemaMismatch(
                f"this lifecycle has no row for {quoted(event)} in state {quoted(state)}; "
                "start this process with the lifecycle that the stored intents were made with"
            )
        return move

    def extended(
        self, *, states: Mapping[str, str], events: Mapping[str, str] | None = None
    ) -> Lifecycle:
        """A lifecycle with states and events of your own, such as `in_review`.

        New cells follow the one rule of this table: an event moves an intent up to the state
        that it leads to, and otherwise leaves it.

        Args:
            states: new state -> the known state that it ranks just above.
            events: new event -> the state that it leads to.

        Raises:
            InvalidValue: a name is taken, or a state it refers to is not known.
        """
        events = events or {}
        ranked = list(self.states)
        for state, below in states.items():
            if state in ranked or below not in ranked:
                raise InvalidValue(f"cannot place state {quoted(state)} above {quoted(below)}")
            ranked.insert(ranked.index(below) + 1, state)
        taken = set(events) & set(self.events)
        if taken or not set(events.values()) <= set(ranked):
            raise InvalidValue(f"event names are taken or lead nowhere: {sorted(events)}")
        bottom, top = self.states[0], self.states[-1]
        speaks_for = {event: self.cells[bottom, event].target for event in self.events}
        # The disposition of an event that moves nothing: the one at the top of the table.
        unmoved: dict[str, Disposition] = {
            event: self.cells[top, event].disposition for event in self.events
        }
        cells = {
            (state, event): self.cells.get((state, event))
            or _by_rank(ranked, state, target, unmoved.get(event, "stale"))
            for state in ranked
            for event, target in (speaks_for | dict(events)).items()
        }
        return Lifecycle(tuple(ranked), (*self.events, *events), cells)


def _by_rank(ranked: list[str], state: str, target: str, unmoved: Disposition) -> Move:
    if ranked.index(target) > ranked.index(state):
        return Move(target, "applied")
    return Move(state, "applied" if target == state else unmoved)


def _parse(grid: str) -> Lifecycle:
    header, *rows = (line.split() for line in grid.splitlines() if line.strip())
    states = tuple(header[1:])
    cells: dict[tuple[str, str], Move] = {}
    for event, *words in rows:
        for state, word in zip(states, words, strict=True):
            stays = _STAYS.get(word)
            cells[state, event] = Move(state, stays) if stays else Move(word, "applied")
    return Lifecycle(states, tuple(row[0] for row in rows), cells)


LIFECYCLE: Final = _parse(GRID)
