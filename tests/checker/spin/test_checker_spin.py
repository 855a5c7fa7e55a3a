"""The search meets exactly the states that SPIN meets in a twin written by hand.

Nothing is left out on either side: on ours each effect is one step; on SPIN's see `pan`. What a
state is made of has to be the same, too, so it is counted in two ways. "By rest" is as the checker
does it: where a task is in its code, and the variables that it has. "By past" is without
merging: a task is all the answers that it was ever given, and its twin writes them all down.
Tasks have names, so that both distinguish them; in one twin they have none on either side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest
from servers import absent

from xpay_flow.checker.engine import Engine

from . import pan
from .toy import FAULTS, Toy
from .worlds import TWINS, Twin

BY_REST_AND_BY_PAST = [
    pytest.param(twin, merging, id=f"{twin.world.name}, by {'rest' if merging else 'past'}")
    for twin in TWINS
    for merging in ((True,) if twin.symmetric else (True, False))
]
State: TypeAlias = tuple[tuple[int, ...], tuple[tuple[str, ...], ...]]
Compiler: TypeAlias = Callable[..., pan.Pan]

BROKEN = [twin for twin in TWINS if twin.broken_with is not None]


def named(twin: Twin) -> str:
    return twin.world.name


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    """Compiles a twin's search, with as many faults as it has, once for all tests."""
    if reason := pan.absent():
        absent(reason)

    @cache
    def once(text: Path, *defines: str) -> pan.Pan:
        return pan.compiled(text, tmp_path_factory.mktemp("pan"), defines)

    def compiled(twin: Twin, *, merging: bool = True, faults: int | None = None) -> pan.Pan:
        allowed = twin.faults if faults is None else faults
        pasts = () if merging else ("PASTS",)
        return once(twin.path, f"FAULTS={allowed}", *twin.defines, *pasts)

    return compiled


def searched(twin: Twin, *, merging: bool = True, judged: bool = True) -> Engine:
    """Our search."""
    engine = Engine(Toy(twin.world, merging=merging, judged=judged), twin.faults)
    engine.run()
    return engine


@pytest.mark.parametrize(("twin", "merging"), BY_REST_AND_BY_PAST)
def test_as_many_states_as_spin(twin: Twin, merging: bool, compiled: Compiler) -> None:
    """A world has as many states and ways between them as its twin has for SPIN."""
    figures = compiled(twin, merging=merging).run("-A")
    engine = searched(twin, merging=merging, judged=False)
    assert (figures.states, figures.transitions) == (engine.states, engine.transitions)
    assert 40 < figures.states


@pytest.mark.parametrize("twin", TWINS, ids=named)
def test_the_same_verdict_as_spin(twin: Twin, compiled: Compiler) -> None:
    """A promise is broken for the search exactly if it is for SPIN."""
    figures = compiled(twin).run()
    assert figures.wrong == (searched(twin).wrong is not None)
    assert figures.wrong == (twin.broken_with is not None)


@pytest.mark.parametrize("twin", BROKEN, ids=named)
def test_no_story_is_shorter(twin: Twin, compiled: Compiler) -> None:
    """With one fault less SPIN finds nothing wrong, and with as many no shorter story."""
    assert twin.broken_with is not None
    engine = searched(twin)
    assert engine.wrong is not None
    number = engine.wrong[1]
    assert twin.broken_with == engine.price(number)
    if twin.broken_with:
        fewer = compiled(twin, faults=twin.broken_with - 1)
        assert not fewer.run().wrong
    fewest = compiled(twin, faults=twin.broken_with)
    assert fewest.run().wrong
    assert fewest.shortest() == len(engine.labels(number))


@pytest.mark.parametrize("twin", [t for t in TWINS if t.faults], ids=named)
def test_faults_need_no_counting_in_a_state(twin: Twin) -> None:
    """Without a fault counter in it a state is met once, with the fewest faults that lead there."""
    found: list[dict[State, int]] = []
    for counts in (True, False):
        model = Toy(twin.world, merging=False, judged=False, counts_faults=counts)
        engine = Engine(model, twin.faults)
        assert engine.run() == "seen all"
        found.append(prices(engine, model))
    counted, uncounted = found
    assert counted == uncounted
    assert engine.states == len(uncounted)


def prices(engine: Engine, model: Toy) -> dict[State, int]:
    """The fewest faults with which each state is reached, the counter left out."""
    found: dict[State, int] = {}
    for number in range(engine.states):
        situation, crew = engine.state(number)
        held, price = model.held(situation), engine.price(number)
        assert held.pop(FAULTS) in (0, price)
        state = (tuple(held.values()), tuple(sorted(model.past(task) for task in crew)))
        found[state] = min(found.get(state, price), price)
    return found


def test_one_step_more_is_noticed(compiled: Compiler) -> None:
    """Were a world not its twin, neither states nor ways would be equally many."""
    lost, *_ = TWINS
    other = compiled(attrs.evolve(lost, defines=("BUYERS=2",))).run("-A")
    engine = searched(lost, judged=False)
    assert other.states != engine.states
    assert other.transitions != engine.transitions
