"""What does it cost to check the shipped flow, and how much of it does that show?

Beside Hypothesis, which walks at random through the very same steps (`checker.machine`): one after
the other, and all promises looked at after each. What it costs is counted by states: what is
stored, what has happened outside, and who is at work where in their code. Both are counted as the
walks distinguish them; the search needs to visit fewer, since it knows which of them are alike.
"""

from __future__ import annotations

import json
import subprocess
import sys
from time import perf_counter
from typing import Any, Final

import attrs
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from xpay_flow.checker.bounds import DEEP, DEFAULT, EVENTS
from xpay_flow.checker.explore import Search
from xpay_flow.checker.machine import AFRESH, state_machine
from xpay_flow.checker.reductions import ALL, Reductions
from xpay_flow.checker.shop import Shop
from xpay_flow.checker.targets import shipped
from xpay_flow.checker.verdict import Searched

from .calling import Refused
from .measure import Group, Row, Size, compared

WALKS: Final = "Hypothesis: a new state"
SEARCH: Final = "the search: a state"
STEPS_A_WALK: Final = 40


def measured(size: Size) -> list[Group]:
    """Beside random walks, and by bounds."""
    return [_beside_walks(size), _by_bounds(size)]


# --- beside random walks -------------------------------------------------------------------------


def _beside_walks(size: Size) -> Group:
    """Seconds for each state of one scene that is shown, with any two faults."""
    there_are = _searched(AFRESH).states
    seen: list[int] = []
    visited: list[int] = []

    def of_walks() -> list[float]:
        count, seconds = _walked(size.stories)
        seen.append(count)
        return [seconds / count]

    def of_search() -> list[float]:
        done = _searched(ALL)
        visited.append(done.states)
        return [done.seconds / there_are]

    contestants = {WALKS: of_walks, SEARCH: of_search}
    # One turn: thousands of walks take long, and hardly differ from one time to the next.
    group = compared("a state of the scene events", contestants, 1, opponent=WALKS)
    return attrs.evolve(
        group,
        notes=(
            f"there are {there_are:,} states with {_named(DEFAULT.faults)}",
            f"Hypothesis: {size.stories:,} walks of {STEPS_A_WALK} steps saw {max(seen):,} of them",
            f"the search: all of them, by visiting {visited[-1]:,}",
        ),
    )


def _walked(walks: int) -> tuple[int, float]:
    """How many different states so many walks come to, and how long they take."""
    machine = state_machine(scene=EVENTS, faults=DEFAULT.faults, steps=STEPS_A_WALK)
    seen: set[tuple[int, tuple[int, ...]]] = set()

    class Counting(machine):  # type: ignore[misc,valid-type]  # made by a function
        @invariant()
        def counted(self) -> None:
            seen.add(self.at)

    began = perf_counter()
    run_state_machine_as_test(Counting, settings=_settings(walks))
    return len(seen), perf_counter() - began


def _settings(walks: int) -> settings:
    return settings(
        max_examples=walks,
        stateful_step_count=STEPS_A_WALK,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )


def _searched(reductions: Reductions) -> Searched:
    shop = Shop.of(shipped()).shortened(DEFAULT.faults)
    done = Search(shop, EVENTS, DEFAULT, reductions=reductions).run()
    if done.verdict != "EXHAUSTED":
        raise Refused(f"the scene {done.scene} is {done.verdict}")
    return done


# --- by bounds -----------------------------------------------------------------------------------


def _by_bounds(size: Size) -> Group:
    """Seconds to search every scene to its end, each bound in a process of its own."""
    rows: list[Row] = []
    notes: list[str] = []
    for faults in size.faults:
        figures = _alone(faults)
        against = rows[0] if rows else None
        rows.append(Row(name=_named(faults), turns=((figures["seconds"],),), against=against))
        notes.extend(_in_words(faults, figures))
    return Group(title="the shipped flow, searched to its end", rows=(*rows,), notes=(*notes,))


def _alone(faults: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.one_search", str(faults)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _named(faults: int) -> str:
    named = [f", {bound.name}" for bound in (DEFAULT, DEEP) if bound.faults == faults]
    return f"any {faults} fault(s){''.join(named)}"


def _in_words(faults: int, figures: dict[str, Any]) -> tuple[str, str]:
    rate = figures["transitions"] / figures["seconds"]
    return (
        f"{_named(faults)}: {figures['states']:,} states, {figures['transitions']:,} transitions, "
        f"{rate:,.0f} a second, {figures['peak_mb']:.0f} MB",
        f"for real: {figures['resumptions']:,} resumptions, {figures['store_calls']:,} store calls",
    )
