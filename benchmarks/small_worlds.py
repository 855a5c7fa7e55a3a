"""How fast is the search itself? On small worlds, beside tools that search for a living.

SPIN is given the same world, written by hand in its own language, with nothing left out on either
side; it is compiled to machine code. frontrun runs real threads, each execution anew, and leaves
out those that differ only in the order of steps that have nothing to do with each other. The worlds
are those of the checker's tests, which show that both meet the same states.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

import attrs

from tests.checker.spin import pan
from tests.checker.spin.toy import Flow, Get, Task, Toy, World, put
from tests.checker.spin.worlds import HERE, buyers, takes_one
from xpay_flow.checker.engine import Engine
from xpay_flow.checker.explore import uncollected

from .calling import Refused
from .measure import Contestant, Group, Size, compared

OURS: Final = "the search"
SPIN: Final = "SPIN: pan, gcc -O2"
FRONTRUN: Final = "frontrun"
DELIVERIES: Final = 3
EFFECTS: Final = 6


def measured(size: Size, folder: Path) -> list[Group]:
    """Beside SPIN, and beside frontrun."""
    return [_beside_spin(size, folder), _beside_frontrun(size)]


# --- SPIN ----------------------------------------------------------------------------------------


def _beside_spin(size: Size, folder: Path) -> Group:
    """Seconds for each state of one world, by the clock on the wall."""
    title = "a state of a small world"
    contestants: dict[str, Contestant] = {OURS: partial(_each_state, size.buyers)}
    if reason := pan.absent():
        alone = compared(title, contestants, size.searches, opponent=OURS)
        return attrs.evolve(alone, notes=(reason,))
    twin = _compiled(folder / "pan", size.buyers)
    contestants = {SPIN: partial(_each_of_pan, twin), **contestants}
    began = perf_counter()
    _compiled(folder / "pan_again", size.buyers)
    notes = (
        f"SPIN needs {perf_counter() - began:.1f} s before, to translate and compile",
        f"{size.buyers} customers at once: {twin.run('-A').states:,} states for both",
    )
    group = compared(title, contestants, size.searches, opponent=SPIN)
    return attrs.evolve(group, notes=notes)


def _compiled(folder: Path, count: int) -> pan.Pan:
    flags = ("-O2", *pan.EXACT)
    return pan.compiled(HERE / "lost_update.pml", folder, (f"BUYERS={count}",), flags)


def _each_of_pan(twin: pan.Pan) -> list[float]:
    began = perf_counter()
    counts = twin.run("-A")
    return [(perf_counter() - began) / counts.states]


def _each_state(count: int) -> list[float]:
    seconds, states = _exhausted(buyers("many", takes_one, count))
    return [seconds / states]


# --- frontrun ------------------------------------------------------------------------------------


def delivery(number: int) -> Flow:
    """Six effects, two of them on what all deliveries share."""
    yield put(**{f"inbox_{number}": 1})
    yield put(**{f"begun_{number}": 1})
    paid = yield Get("paid")
    yield put(paid=paid + 1)
    yield put(**{f"pending_{number}": 1})
    yield put(**{f"log_{number}": 1})


def entangled(number: int) -> Flow:
    """Six effects, four of them on what all deliveries share."""
    seen = yield Get("seen")
    yield put(**{f"inbox_{number}": 1})
    paid = yield Get("paid")
    yield put(paid=paid + 1)
    yield put(**{f"log_{number}": 1})
    yield put(seen=seen + 1)


def deliveries(flow: Callable[[int], Flow]) -> World:
    """Three of them at once."""
    own = [
        f"{what}_{n}" for what in ("inbox", "begun", "pending", "log") for n in range(DELIVERIES)
    ]
    return World(
        name="deliveries",
        opening=dict.fromkeys((*own, "seen", "paid"), 0),
        tasks=tuple(Task(f"delivery {n}", partial(flow, n)) for n in range(DELIVERIES)),
        kept=lambda _: True,
    )


def _beside_frontrun(size: Size) -> Group:
    """Seconds until every order of the steps is covered."""
    title = "three overlapping deliveries of six effects"
    orders = math.factorial(DELIVERIES * EFFECTS) // math.factorial(EFFECTS) ** DELIVERIES
    contestants: dict[str, Contestant] = {
        OURS: partial(_exhausting, delivery),
        "the search, four effects shared": partial(_exhausting, entangled),
    }
    if importlib.util.find_spec("frontrun") is None:
        alone = compared(title, contestants, size.searches, opponent=OURS)
        return attrs.evolve(alone, notes=("absent: frontrun (pip install frontrun)",))
    executions: list[int] = []
    contestants = {FRONTRUN: partial(_all_of_frontrun, executions), **contestants}
    group = compared(title, contestants, size.searches, opponent=FRONTRUN)
    rates = [executions[0] / group.rows[0].median, orders / group.rows[1].median]
    notes = (
        f"frontrun runs {executions[0]} executions that differ, {rates[0]:,.0f} a second",
        f"the search covers all {orders:,} orders, {rates[1]:.1e} a second",
    )
    return attrs.evolve(group, notes=notes)


def _exhausting(flow: Callable[[int], Flow]) -> list[float]:
    return [_exhausted(deliveries(flow))[0]]


def _all_of_frontrun(executions: list[int]) -> list[float]:
    command = ["-m", "frontrun.cli", sys.executable, "-m", "benchmarks.under_frontrun"]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=True, timeout=60
    )
    figures = json.loads(done.stdout)
    executions.append(figures["executions"])
    return [figures["seconds"]]


# --- ours ----------------------------------------------------------------------------------------


def _exhausted(world: World) -> tuple[float, int]:
    """How long a search takes to its end, and how many states it meets."""
    began = perf_counter()
    engine = Engine(Toy(world, judged=False), 0)
    with uncollected():
        ending = engine.run()
        took = perf_counter() - began
    if ending != "seen all":
        raise Refused(f"the search of {world.name} {ending}")
    return took, engine.states
