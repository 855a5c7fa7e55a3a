"""How a check is run: on SQLite itself, in several processes, for so long, and deeper each time."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from xpay_flow import Flow, Settings
from xpay_flow.checker import View, always, check
from xpay_flow.checker.bounds import DEFAULT, EVENTS, HANDLERS, NIGHTLY, SILENCE, SUPERSEDED
from xpay_flow.checker.verdict import Progress

from .planted_flows import PLANTED

ONE_FAULT = attrs.evolve(DEFAULT, name="one fault", faults=1)
TWO_SCENES = attrs.evolve(ONE_FAULT, scenes=(EVENTS, SUPERSEDED))


def on_sqlite(folder: Path) -> Flow:
    """The shipped flow on a file."""
    flow = Flow.open(f"sqlite:///{folder / 'shop.db'}", Settings.sandbox(), background=False)
    for register in (flow.on_success, flow.on_failed, flow.on_refunded, flow.on_attention):
        register(lambda _: None)
    return flow


def test_a_flow_on_sqlite_is_searched_on_sqlite(tmp_path: Path) -> None:
    """The same states as on the store in memory, with any one fault, and the file stays empty."""
    flow = on_sqlite(tmp_path)
    there, here = check(flow, TWO_SCENES), check(bound=TWO_SCENES)
    assert ("EXHAUSTED", "EXHAUSTED") == (there.verdict, here.verdict)
    assert [scene.states for scene in here.searched] == [scene.states for scene in there.searched]
    assert any("SQLite" in words for words in there.assumptions)
    assert [] == list(flow.store.recent(1))  # type: ignore[attr-defined]  # it is a Listing
    flow.close()


@pytest.mark.slow
def test_the_default_bound_on_sqlite(tmp_path: Path) -> None:
    """The shipped flow on SQLite keeps its promises in every scene of the default bound."""
    flow = on_sqlite(tmp_path)
    result = check(flow)
    assert "EXHAUSTED" == result.verdict, result.as_text()
    flow.close()


def test_processes_find_the_same() -> None:
    """Two processes search the same states as one, and bring back the same story."""
    alone, together = check(bound=TWO_SCENES), check(bound=TWO_SCENES, jobs=2)
    assert [s.states for s in alone.searched] == [s.states for s in together.searched]
    bug = next(planted for planted in PLANTED if planted.name == "newest wins")
    bound = attrs.evolve(DEFAULT, scenes=(HANDLERS, bug.scene))
    one, two = check(bug.make(), bound).violation, check(bug.make(), bound, jobs=2).violation
    assert one is not None
    assert two is not None
    assert (one.promise, one.faults, one.confirmed) == (two.promise, two.faults, two.confirmed)


def test_a_search_that_runs_out_of_time_says_what_it_has_seen() -> None:
    """With no time left a search is UNFINISHED; deepening reports what was finished before."""
    none = check(bound=attrs.evolve(ONE_FAULT, seconds_max=0.0))
    assert ("UNFINISHED", -1) == (none.verdict, none.exhausted_faults)


def test_deepening_ends_with_the_largest_number_of_faults() -> None:
    """A bound that deepens searches with no fault, one, two, and stops at its last."""
    bound = attrs.evolve(NIGHTLY, faults=2, scenes=(HANDLERS,), seconds_max=600.0)
    result = check(bound=bound)
    assert ("EXHAUSTED", 2) == (result.verdict, result.exhausted_faults)


def test_a_long_search_tells_how_far_it_is() -> None:
    """Progress names the scene, its faults and figures that only grow."""
    reported: list[Progress] = []
    check(bound=attrs.evolve(ONE_FAULT, scenes=(SILENCE,)), progress=reported.append)
    assert {"silence"} == {progress.scene for progress in reported}
    assert [0, 1] == sorted({progress.faults for progress in reported})
    assert sorted(p.states for p in reported) == [p.states for p in reported]


@always
def is_fulfilled_once(view: View) -> bool:
    """Whatever fails, on_success takes effect once."""
    return all(count == 1 for count in view.called("on_success").values())


def transactional(folder: Path) -> Flow:
    """A shop whose handlers write within the store's transaction."""
    flow = Flow.open(f"sqlite:///{folder / 'shop.db'}", Settings.sandbox(), background=False)
    for register in (flow.on_success, flow.on_failed, flow.on_refunded, flow.on_attention):
        register(transactional=True)(lambda payment, tx: None)
    return flow


def test_a_handler_within_the_transaction_takes_effect_once(tmp_path: Path) -> None:
    """With any two faults, even a process that dies: once; outside of the transaction it is not."""
    bound = attrs.evolve(DEFAULT, scenes=(HANDLERS,))
    flow = transactional(tmp_path)
    inside = check(flow, bound, own=[is_fulfilled_once])
    assert "EXHAUSTED" == inside.verdict, inside.as_text()
    assert any("within the store's transaction" in words for words in inside.assumptions)
    outside = check(bound=bound, own=[is_fulfilled_once]).violation
    assert outside is not None
    assert ("is_fulfilled_once", 1) == (outside.promise, outside.faults)
    flow.close()
