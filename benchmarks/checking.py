"""What does it cost to check the shipped flow, and how much of it does that show?

Beside Hypothesis, which tells stories of the same flow, with the rules and promises of the tests:
one random step after the other, each flow run through or cut off, and all promises looked at after
each step. What it costs is counted by new situations, which are what the store holds and what has
happened outside, without dates. The search also tells who is at work in a situation, and where in
their code they are; stories have nobody at work when they are looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Hashable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import attrs
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from xpay_flow.checker.bounds import DEEP, DEFAULT
from xpay_flow.checker.explore import Search
from xpay_flow.checker.shop import Shop
from xpay_flow.checker.targets import shipped
from xpay_flow.records import Record

from .calling import Refused
from .measure import Group, Row, Size, compared

STORIES: Final = "Hypothesis: a new situation"
SITUATIONS: Final = "the search: a new situation"
STATES: Final = "the search: a new state"
STEPS_A_STORY: Final = 40
# The tests import each other from there.
TESTS: Final = Path(__file__).parents[1] / "tests"


def measured(size: Size) -> list[Group]:
    """Beside stories, and by bounds."""
    return [_beside_stories(size), _by_bounds(size)]


# --- beside stories ------------------------------------------------------------------------------


def _beside_stories(size: Size) -> Group:
    found: list[tuple[int, int, float]] = []
    faults = min(size.faults[-1], DEFAULT.faults)

    def of_search() -> list[float]:
        found.append(_searched(faults))
        situations, _, seconds = found[-1]
        return [seconds / situations]

    contestants = {STORIES: lambda: _told(size.stories), SITUATIONS: of_search}
    group = compared(
        "something new about the shipped flow", contestants, size.searches, opponent=STORIES
    )
    hypothesis, search = group.rows
    situations, states, _ = found[-1]
    # The same searches, told by another unit.
    turns = tuple(tuple(s * situations / states for s in turn) for turn in search.turns)
    row = Row(name=STATES, turns=turns, against=hypothesis)
    return attrs.evolve(
        group,
        rows=(*group.rows, row),
        notes=(
            f"Hypothesis: {size.stories:,} stories of up to {STEPS_A_STORY} steps, two orders",
            f"the search: all with {_named(faults)}, {situations:,} situations, {states:,} states",
        ),
    )


def _told(stories: int) -> list[float]:
    """Seconds for each new situation that so many stories come to."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from flows.machine import ShopMachine  # type: ignore[import-not-found]  # is on the path now

    seen: set[Hashable] = set()

    class Counting(ShopMachine):  # type: ignore[misc]  # seen by pytest only
        @invariant()
        def counted(self) -> None:
            if hasattr(self, "world"):
                seen.add(_situation(self))

    began = perf_counter()
    run_state_machine_as_test(Counting, settings=_settings(stories))
    return [(perf_counter() - began) / len(seen)]


def _settings(stories: int) -> settings:
    return settings(
        max_examples=stories,
        stateful_step_count=STEPS_A_STORY,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )


def _situation(machine: Any) -> Hashable:
    """What is stored, sold and called at this point of a story."""
    xpay = machine.world.xpay
    return (
        frozenset(map(_stored, machine.records())),
        tuple((sold.x_intent_id, sold.succeeded) for sold in xpay.intents()),
        tuple(sorted(delivery.event_id for delivery in xpay.due())),
        tuple(machine.calls),
    )


def _stored(record: Record) -> Hashable:
    """A record without its dates, of which stories have many."""
    intent = record.intent
    return (
        record.key,
        intent and (intent.state, intent.refund_status, intent.money_checked, intent.x_intent_ids),
        frozenset(fact.id for fact in record.facts),
        frozenset((effect.id, effect.status) for effect in record.effects),
        record.ask_at_ms is None,
    )


def _searched(faults: int) -> tuple[int, int, float]:
    """How many situations and states all scenes have, and how long it took to see them."""
    seen: set[Hashable] = set()
    states, seconds = 0, 0.0
    for scene in DEFAULT.scenes:
        search = Search(
            Shop.of(shipped()).shortened(faults), scene, attrs.evolve(DEFAULT, faults=faults)
        )
        done = search.run()
        if done.verdict != "EXHAUSTED":
            raise Refused(f"the scene {scene.name} is {done.verdict}")
        states, seconds = states + done.states, seconds + done.seconds
        for number in {search.engine.state(each)[0] for each in range(done.states)}:
            view = search.moves.view(number)
            happened = (view.outside.intents, view.outside.news, view.outside.calls)
            seen.add((frozenset(map(_stored, view.records)), happened))
    return len(seen), states, seconds


# --- by bounds -----------------------------------------------------------------------------------


def _by_bounds(size: Size) -> Group:
    """Seconds to search every scene to its end, each bound in a process of its own."""
    rows: list[Row] = []
    notes: list[str] = []
    for faults in size.faults:
        told = _alone(faults)
        against = rows[0] if rows else None
        rows.append(Row(name=_named(faults), turns=((told["seconds"],),), against=against))
        notes.extend(_in_words(faults, told))
    return Group(title="the shipped flow, searched to its end", rows=(*rows,), notes=(*notes,))


def _alone(faults: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.one_search", str(faults)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _named(faults: int) -> str:
    named = [f", {bound.name}" for bound in (DEFAULT, DEEP) if bound.faults == faults]
    return f"any {faults} fault(s){''.join(named)}"


def _in_words(faults: int, told: dict[str, Any]) -> tuple[str, str]:
    rate = told["transitions"] / told["seconds"]
    return (
        f"{_named(faults)}: {told['states']:,} states, {told['transitions']:,} transitions, "
        f"{rate:,.0f} a second, {told['peak_mb']:.0f} MB",
        f"for real: {told['resumptions']:,} resumptions, {told['store_calls']:,} store calls",
    )
