"""The table of the lifecycle: total, never down, one rule, and the same as the machine."""

from __future__ import annotations

from itertools import product

import attrs
import pytest

from xpay_flow.errors import InvalidValue
from xpay_flow.events import REPORT_KINDS
from xpay_flow.lifecycle import (
    GRID,
    IN_DOUBT,
    LIFECYCLE,
    PAID_OTHER_MONEY,
    REFUNDED_OTHER_MONEY,
    Lifecycle,
    Move,
)
from xpay_flow.messages import INTENT_EVENT_TYPES

from .oracle import RANKS, SPEAKS_FOR

SPOKEN_FOR = {
    **SPEAKS_FOR,
    PAID_OTHER_MONEY: "created",
    REFUNDED_OTHER_MONEY: "created",
    IN_DOUBT: "created",
}
PAIRS = list(product(LIFECYCLE.states, LIFECYCLE.events))
REAL_NEWS = sorted(
    {e for e, state in SPOKEN_FOR.items() if RANKS.index(state) >= RANKS.index("created")}
)
PAYMENTS = sorted(event for event, state in SPOKEN_FOR.items() if state == "success")


def against_the_rank_rule(lifecycle: Lifecycle, spoken_for: dict[str, str]) -> list[str]:
    """Cells that do something else than move up to what the event proves, or stay."""
    wrong: list[str] = []
    for state, event in product(lifecycle.states, lifecycle.events):
        move = lifecycle.step(state, event)
        expected = max(state, spoken_for[event], key=lifecycle.rank)
        moved_but_not_applied = move.target != state and move.disposition != "applied"
        if move.target != expected or moved_but_not_applied:
            wrong.append(f"{state} × {event}")
    return wrong


def small(**changes: Move) -> dict[tuple[str, str], Move]:
    """The cells of a table of two states and one event, some of them changed."""
    cells = {"low": Move("high", "applied"), "high": Move("high", "applied")} | changes
    return {(state, "rises"): move for state, move in cells.items()}


# --- the table -----------------------------------------------------------------------------------


def test_the_states_are_ranked_as_promised() -> None:
    """Seven states, from least to most known; `success` is the highest."""
    assert RANKS == LIFECYCLE.states
    assert sorted(RANKS, key=LIFECYCLE.rank) == list(RANKS)


def test_the_table_is_total() -> None:
    """There is exactly one cell for each state and event, and a row for each kind of event."""
    assert set(PAIRS) == set(LIFECYCLE.cells)
    assert len(PAIRS) == len(LIFECYCLE.cells) == len(LIFECYCLE.states) * len(LIFECYCLE.events)
    assert set(SPOKEN_FOR) == set(LIFECYCLE.events)
    assert set(LIFECYCLE.events) >= INTENT_EVENT_TYPES | set(REPORT_KINDS.values())


def test_the_grid_is_read_as_it_is_written() -> None:
    """No row of the grid is written twice, and each has a word for every state."""
    header, *rows = (line.split() for line in GRID.splitlines() if line.strip())
    assert header[1:] == list(LIFECYCLE.states)
    assert len(rows) == len({row[0] for row in rows}) == len(LIFECYCLE.events)
    assert {len(header)} == {len(row) for row in rows}


def test_every_cell_follows_the_one_rule() -> None:
    """An event moves an intent up to the state that it proves, or leaves it where it is."""
    assert [] == against_the_rank_rule(LIFECYCLE, SPOKEN_FOR)


def test_the_check_of_the_rule_finds_a_cell_that_breaks_it() -> None:
    """A success that did not beat a cancellation would be found."""
    cells = dict(LIFECYCLE.cells)
    cells["cancelled", "intent.success"] = Move("cancelled", "stale")
    planted = attrs.evolve(LIFECYCLE, cells=cells)
    assert ["cancelled × intent.success"] == against_the_rank_rule(planted, SPOKEN_FOR)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_no_cell_moves_down(state: str, event: str) -> None:
    """An event never lowers what is known."""
    assert LIFECYCLE.rank(LIFECYCLE.step(state, event).target) >= LIFECYCLE.rank(state)


# --- what the rows mean --------------------------------------------------------------------------


@pytest.mark.parametrize("event", LIFECYCLE.events)
def test_success_absorbs(event: str) -> None:
    """Nothing leads out of `success`."""
    assert "success" == LIFECYCLE.step("success", event).target


@pytest.mark.parametrize(("state", "event"), list(product(RANKS, PAYMENTS)))
def test_a_payment_beats_every_state(state: str, event: str) -> None:
    """A payment is accepted from anywhere: after a failure, a cancellation, even a refusal."""
    assert Move("success", "applied") == LIFECYCLE.step(state, event)


def test_only_payment_events_lead_to_success() -> None:
    """Nine kinds of event show a payment or a refund, and no other leads to `success`."""
    into = {
        event
        for state, event in PAIRS
        if state != "success" and LIFECYCLE.step(state, event).target == "success"
    }
    assert {
        "intent.success",
        "intent.refunded",
        "report.success",
        "report.refunded",
        "report.partially_refunded",
        "report.disputed",
        "report.dispute_under_review",
        "report.dispute_won",
        "report.dispute_lost",
    } == into


@pytest.mark.parametrize("event", REAL_NEWS)
def test_a_refusal_is_beaten_by_evidence_that_the_intent_exists(event: str) -> None:
    """An event of an intent that xPay claimed to have refused is believed."""
    move = LIFECYCLE.step("rejected", event)
    assert Move(SPOKEN_FOR[event], "applied") == move


@pytest.mark.parametrize("state", RANKS[2:])
def test_a_refusal_of_what_exists_is_a_contradiction(state: str) -> None:
    """A definite error to the creation moves nothing once the intent is known to exist."""
    assert Move(state, "contradictory") == LIFECYCLE.step(state, "create_refused")


@pytest.mark.parametrize("state", ["initiated", "rejected"])
def test_a_refusal_of_what_is_not_known_to_exist(state: str) -> None:
    """A definite error to the creation ends an attempt of which nothing else is known."""
    assert Move("rejected", "applied") == LIFECYCLE.step(state, "create_refused")


def test_a_cancellation_is_beaten_by_success_only() -> None:
    """A cancelled intent leaves its state for `success` and for nothing else."""
    targets = {LIFECYCLE.step("cancelled", event).target for event in LIFECYCLE.events}
    assert {"cancelled", "success"} == targets
    assert Move("success", "contradictory") == LIFECYCLE.step("success", "report.cancelled")


@pytest.mark.parametrize("event", ["intent.failed", "report.failed"])
def test_a_late_failure_is_stale(event: str) -> None:
    """A failed attempt undoes neither a success nor a cancellation."""
    assert Move("success", "stale") == LIFECYCLE.step("success", event)
    assert Move("cancelled", "stale") == LIFECYCLE.step("cancelled", event)


def test_a_failed_attempt_is_not_the_end() -> None:
    """After a failure the customer may pay or we may cancel; `checkout_opened` adds nothing."""
    assert "success" == LIFECYCLE.step("failed", "intent.success").target
    assert "cancelled" == LIFECYCLE.step("failed", "report.cancelled").target
    assert Move("failed", "stale") == LIFECYCLE.step("failed", "intent.checkout_opened")


@pytest.mark.parametrize(
    "event", [PAID_OTHER_MONEY, REFUNDED_OTHER_MONEY, IN_DOUBT, "unknown", "unreadable"]
)
def test_an_event_that_counts_for_little_shows_that_the_intent_exists(event: str) -> None:
    """Money other than requested, and types without a rule, prove `created` only."""
    assert "created" == LIFECYCLE.step("initiated", event).target
    for state in RANKS[2:]:
        assert Move(state, "applied") == LIFECYCLE.step(state, event)


@pytest.mark.parametrize("event", [e for e in LIFECYCLE.events if e.startswith("intent.disp")])
@pytest.mark.parametrize("state", RANKS[2:])
def test_disputes_leave_the_state_alone(state: str, event: str) -> None:
    """A dispute's webhook is another dimension: it never moves an intent that is known to exist."""
    assert Move(state, "applied") == LIFECYCLE.step(state, event)


@pytest.mark.parametrize(
    "event",
    [
        "handler_gave_up",
        "create_unresolved",
        "amount_unresolved",
        "paid_twice",
        "paid_elsewhere",
        "still_open",
    ],
)
@pytest.mark.parametrize("state", RANKS)
def test_our_own_troubles_move_nothing(state: str, event: str) -> None:
    """What went wrong on our side is kept, and proves nothing about the payment."""
    assert Move(state, "applied") == LIFECYCLE.step(state, event)


# --- the machine ---------------------------------------------------------------------------------


def test_the_machine_has_no_models_and_no_callbacks() -> None:
    """The `transitions` machine is a description: it drives no object and calls nothing."""
    machine = LIFECYCLE.machine
    assert [] == machine.models
    for event in machine.events.values():
        for found in event.transitions.values():
            assert 1 == len(found)
            assert not any((found[0].prepare, found[0].conditions, found[0].before, found[0].after))
    assert not any(state.on_enter or state.on_exit for state in machine.states.values())


def test_the_machine_has_the_tables_events_and_moves_only() -> None:
    """No trigger is added by `transitions` itself, and staying is not leaving and coming back."""
    assert set(LIFECYCLE.events) == set(LIFECYCLE.machine.events)
    for (state, event), move in LIFECYCLE.cells.items():
        found = LIFECYCLE.machine.events[event].transitions[state][0]
        assert (None if move.target == state else move.target) == found.dest


def test_the_machine_is_compiled_once() -> None:
    """Pictures, tools and the hot path share one machine."""
    assert LIFECYCLE.machine is LIFECYCLE.machine


class _Model:
    state: str


@pytest.mark.parametrize("extend", [False, True])
def test_driving_the_machine_leads_where_the_table_says(extend: bool) -> None:
    """`transitions`, driven with a throw-away model, agrees with the plain table on every pair."""
    lifecycle = in_review() if extend else attrs.evolve(LIFECYCLE)
    for state, event in product(lifecycle.states, lifecycle.events):
        model = _Model()
        lifecycle.machine.add_model(model, initial=state)
        lifecycle.machine.events[event].trigger(model)
        assert lifecycle.step(state, event).target == model.state, (state, event)
        lifecycle.machine.remove_model(model)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_the_plain_table_says_what_the_cells_say(state: str, event: str) -> None:
    """What the hot path reads off the machine is what the grid declares."""
    assert LIFECYCLE.cells[state, event] == LIFECYCLE.step(state, event)


# --- lifecycles that refuse to exist -------------------------------------------------------------


def test_a_small_lifecycle_of_ones_own() -> None:
    """A whole table that never moves down is a lifecycle."""
    lifecycle = Lifecycle(("low", "high"), ("rises",), small())
    assert Move("high", "applied") == lifecycle.step("low", "rises")


@pytest.mark.parametrize(
    ("states", "events", "cells", "words"),
    [
        (("low", "high"), ("rises", "falls"), small(), "decide each"),
        (("low", "middle", "high"), ("rises",), small(), "decide each"),
        (("low",), ("rises",), small(), "decide each"),
        (("low", "high"), ("rises",), small(high=Move("low", "applied")), "down, high to low"),
        (("low", "high"), ("rises",), small(low=Move("nowhere", "applied")), "no known state"),
    ],
    ids=["no row", "no column", "too many", "down", "nowhere"],
)
def test_a_table_with_a_hole_or_a_way_down_refuses_to_exist(
    states: tuple[str, ...],
    events: tuple[str, ...],
    cells: dict[tuple[str, str], Move],
    words: str,
) -> None:
    """A pair that is missing or too many, a move down and a move to nowhere are refused."""
    with pytest.raises(InvalidValue, match=words):
        Lifecycle(states, events, cells)


@pytest.mark.parametrize("pair", [("success", "intent.failed"), ("initiated", "stored")])
def test_the_real_table_without_one_cell_refuses_to_exist(pair: tuple[str, str]) -> None:
    """Nothing is decided by absence."""
    cells = {known: move for known, move in LIFECYCLE.cells.items() if known != pair}
    with pytest.raises(InvalidValue, match=pair[1]):
        attrs.evolve(LIFECYCLE, cells=cells)


@pytest.mark.parametrize(
    ("states", "events"),
    [(("low", "high"), ("rises", "rises")), (("low", "high", "low"), ("rises",))],
    ids=["event", "state"],
)
def test_a_name_that_is_used_twice_is_refused(
    states: tuple[str, ...], events: tuple[str, ...]
) -> None:
    """A table with two rows or two columns of one name refuses to exist."""
    with pytest.raises(InvalidValue):
        Lifecycle(states, events, small())


# --- extensions ----------------------------------------------------------------------------------


def in_review() -> Lifecycle:
    """A shop that looks at an order before it lets the customer's payment count."""
    return LIFECYCLE.extended(
        states={"in_review": "redirected", "shipped": "success"},
        events={"review_started": "in_review", "parcel_sent": "shipped", "noted": "initiated"},
    )


def test_an_extension_places_its_states_where_it_says() -> None:
    """A new state ranks just above the one that is named."""
    assert (
        "initiated",
        "rejected",
        "created",
        "redirected",
        "in_review",
        "failed",
        "cancelled",
        "success",
        "shipped",
    ) == in_review().states


def test_an_extension_follows_the_same_rule() -> None:
    """The cells of an extended table move up to the state that the event proves, or stay."""
    spoken_for = SPOKEN_FOR | {
        "review_started": "in_review",
        "parcel_sent": "shipped",
        "noted": "initiated",
    }
    assert [] == against_the_rank_rule(in_review(), spoken_for)


def test_an_extension_leaves_the_old_cells_alone() -> None:
    """No cell of the original table is changed, and the original itself is not touched."""
    extended = in_review()
    assert dict(LIFECYCLE.cells) == {pair: extended.cells[pair] for pair in LIFECYCLE.cells}
    assert RANKS == LIFECYCLE.states


def test_a_state_of_ones_own_keeps_the_words_for_events() -> None:
    """In a new state, an event that moves nothing gets the same disposition as elsewhere."""
    extended = in_review()
    assert Move("in_review", "stale") == extended.step("in_review", "sent_to_checkout")
    assert Move("in_review", "contradictory") == extended.step("in_review", "create_refused")
    assert Move("shipped", "contradictory") == extended.step("shipped", "report.cancelled")
    assert Move("shipped", "applied") == extended.step("shipped", "intent.disputed")
    assert Move("in_review", "applied") == extended.step("in_review", "review_started")
    assert Move("success", "stale") == extended.step("success", "review_started")


def test_extensions_can_be_extended() -> None:
    """An extension refers to states of an earlier one, and keeps the rule."""
    twice = in_review().extended(states={"delivered": "shipped"}, events={"signed": "delivered"})
    assert "delivered" == twice.states[-1]
    assert Move("delivered", "applied") == twice.step("in_review", "signed")
    assert Move("delivered", "contradictory") == twice.step("delivered", "report.cancelled")


def test_an_extension_without_events() -> None:
    """Events of one's own are optional."""
    assert LIFECYCLE.events == LIFECYCLE.extended(states={"in_review": "created"}).events


@pytest.mark.parametrize(
    ("states", "events", "words"),
    [
        ({"success": "created"}, {}, "cannot place state 'success'"),
        ({"in_review": "nowhere"}, {}, "above 'nowhere'"),
        ({"in_review": "in_review"}, {}, "cannot place state"),
        ({}, {"intent.failed": "success"}, "taken or lead nowhere"),
        ({}, {"review_started": "in_review"}, "taken or lead nowhere"),
    ],
    ids=["state taken", "above nothing", "above itself", "event taken", "leads nowhere"],
)
def test_a_bad_extension_is_refused(
    states: dict[str, str], events: dict[str, str], words: str
) -> None:
    """An extension cannot change what exists, nor refer to what does not."""
    with pytest.raises(InvalidValue, match=words):
        LIFECYCLE.extended(states=states, events=events)
