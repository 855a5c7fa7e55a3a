"""Does playing at random find the same bugs? The catalogue through the machine of `tests/flows`.

A short form: sixty stories of up to thirty steps for each bug, the same ones on every run.
Only what replaces a store or a part of our flows can be run there: the machine calls our flows.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from xpay_flow import flows
from xpay_flow.checker.shop import Shop, answering

from .figures import found
from .mutant import Mutant, shop

TESTS = Path(__file__).parents[2]
STORIES = settings(
    max_examples=60,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


@attrs.frozen(kw_only=True)
class Played:
    """What the machine has made of one bug.

    Args:
        why_not: the machine cannot run it, and why.
    """

    found: bool = False
    seconds: float = 0.0
    why_not: str = ""

    def __str__(self) -> str:
        if self.why_not:
            return f"cannot run: {self.why_not}"
        return f"{'found' if self.found else 'not found'} in {self.seconds:.2f} s"


def why_not(made: Shop) -> str:
    """Why the machine cannot run a shop; nothing if it can."""
    if made.respond is not answering:
        return "its endpoint is its own, and the machine calls ours"
    ours = (flows.start_checkout, flows.send_to_checkout, flows.deliver, flows.reconcile)
    if (made.click, made.send_to_checkout, made.deliver, made.reconcile) != ours:
        # A correct job of a shop's own, too, breaks the machine's rules for tries and
        # reconciliations.
        return "it has a party of its own, and the machine's promises know ours"
    if any(handler is not _nothing for handler in made.handlers.values()):
        return "its handlers are its own, and the machine has others"
    return ""


_nothing = next(iter(shop().handlers.values()))


def _machine() -> Any:
    """The module of the machine, which is imported as its own tests import it."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    return importlib.import_module("flows.machine")


def played(mutant: Mutant) -> Played:
    """One bug, looked for by telling stories at random."""
    if reason := why_not(mutant.make()):
        return Played(why_not=reason)
    module = _machine()

    class WrongShop(module.ShopMachine):  # type: ignore[misc]  # as above
        def __init__(self) -> None:
            super().__init__()
            self._memory = mutant.make().store

    began = time.perf_counter()
    with mutant.planted():
        noticed = _noticed(WrongShop)
    return Played(found=noticed, seconds=time.perf_counter() - began)


def _noticed(machine: Any) -> bool:
    """A story ends badly, whatever the error is: each of them passes in a shop that is right."""
    try:
        run_state_machine_as_test(machine, settings=STORIES)
    except Exception:
        return True
    return False


def lines(mutants: Iterable[Mutant]) -> Iterator[str]:
    """A table: the checker, and the machine beside it."""
    yield f"{'bug':32}  {'checker':>9}  machine"
    runs: list[Played] = []
    for mutant in mutants:
        seconds = found(mutant).seconds
        runs.append(played(mutant))
        yield f"{mutant.name:32}  {seconds:7.2f} s  {runs[-1]}"
    able = [run for run in runs if not run.why_not]
    noticed = [run for run in able if run.found]
    yield (
        f"{len(runs)} bugs: the checker found all; the machine can run {len(able)} and found "
        f"{len(noticed)}, in {sum(run.seconds for run in able):.0f} s"
    )
