"""The search shows of programs written at random what it shows without its reductions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from budgets import BUDGET_S
from hypothesis import HealthCheck, Phase, given, settings

from xpay_flow.checker import contents, fingerprint, promises, shared_state
from xpay_flow.checker.histories import Histories
from xpay_flow.checker.reductions import Reductions

from .programs import (
    MEMORIES,
    OFTEN_BROKEN,
    OUTLIVES,
    REFUSED,
    SCENES,
    STORES,
    WORKERS,
    Program,
    disagreement,
    programs,
    searched,
    webhook_of,
)

IN_CI, PROGRAMS_MIN = 200, 10
DEEP = int(os.environ.get("PROGRAMS", "10000"))


def written(most: int) -> settings:
    """So many programs, the same ones on every run."""
    return settings(
        max_examples=most,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )


def test_programs_are_searched_alike(record_property: Callable[[str, object], None]) -> None:
    """All reductions together show of a program what none of them shows."""
    ends, done = time.monotonic() + BUDGET_S, list[Program]()

    @written(IN_CI)
    @given(programs())
    def alike(program: Program) -> None:
        if time.monotonic() > ends:
            # On a busy machine; the end of the test run names how many there were.
            return
        done.append(program)
        different = disagreement(program, each=False, stateless=False)
        assert different is None, f"{different}\n{program}"

    alike()
    assert len(done) >= PROGRAMS_MIN
    if len(done) < IN_CI:
        record_property("UNFINISHED", f"{len(done)} programs in {BUDGET_S:.0f} s")


@pytest.mark.deep
@pytest.mark.timeout(0)
@written(DEEP)
@given(programs())
def test_many_programs_are_searched_alike(program: Program) -> None:
    """So does each reduction turned off, and what executions from an empty store show is seen."""
    different = disagreement(program)
    assert different is None, f"{different}\n{program}"


# --- merges that are wrong: each is planted, and a program shows it -------------------------

Plant = Callable[[pytest.MonkeyPatch], None]
TWO, _, _, _, WORKER, _, _ = SCENES


def _counting(setup: str) -> str:
    """A webhook that looks twice, and counts like this."""
    return webhook_of(next(memory for memory in MEMORIES + OUTLIVES if memory[0] == setup))


def _digests(*kinds: type, by: Callable[..., Any]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        unknown = fingerprint._unknown
        known = {k: how for k, how in fingerprint._DIGESTS.items() if how is not unknown}
        patch.setattr(fingerprint, "_DIGESTS", known | dict.fromkeys(kinds, by))
        if not kinds:
            patch.setattr(fingerprint, "_unknown", by)

    return plant


def _everything_is_permitted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reductions, "permitted", lambda wanted, **_: wanted)
    patch.setattr(promises, "FACE", promises.FACE | {"records", "outside"})


def _memory_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shared_state.SharedState, "refuse_changes", lambda *_: None)
    patch.setattr(Histories, "audit", lambda *_: 0)


def _stores_are_their_records(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(contents, "value_fingerprint", lambda _: "alike")


def _versions_are_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(contents, "VERSIONS_MAX", 1)


def _program(source: str, where: Any = TWO, without: tuple[str, ...] = OFTEN_BROKEN) -> Program:
    return Program(source, where, without)


BY_ID = _digests(by=lambda value, _: id(value))
PLANTED: dict[str, tuple[Plant, Program]] = {
    "objects by identity": (BY_ID, _program(_counting("x = Box()"))),
    "errors by identity": (BY_ID, _program(_counting("x = KeyError()"))),
    "iterators by identity": (BY_ID, _program(_counting("x = itertools.count(1)"))),
    "queues by identity": (BY_ID, _program(_counting("x = deque()"))),
    "classes by identity": (
        _digests(type, by=lambda value, _: id(value)),
        _program(_counting("x = type('Here', (), {})")),
    ),
    "lists by identity": (
        _digests(list, by=lambda value, _: id(value)),
        _program(_counting("x = []")),
    ),
    "sets are not looked at": (
        _digests(set, by=lambda *_: "a set"),
        _program(_counting("x = set()")),
    ),
    "functions are their code": (
        _digests(type(_counting), by=lambda value, _: id(value.__code__)),
        _program(_counting("x = lambda: None")),
    ),
    "what a worker reads is ours": (_everything_is_permitted, _program(WORKERS[1], WORKER, ())),
    "versions are ours": (_everything_is_permitted, _program(WORKERS[2], WORKER)),
    "memory that outlives a flow": (_memory_is_not_looked_at, _program(_counting("x = GLOBAL"))),
    "stores are their records": (_stores_are_their_records, _program(STORES[2], TWO, ())),
    "versions are one": (_versions_are_one, _program(WORKERS[2], WORKER)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_merge_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge that hides something changes what the search of some program shows."""
    plant, program = PLANTED[name]
    assert disagreement(program, each=False, stateless=False) is None, str(program)
    honest = searched(program, Reductions())
    plant(monkeypatch)
    assert honest != searched(program, Reductions()), str(program)


@pytest.mark.parametrize("memory", OUTLIVES, ids=lambda memory: memory[1])
def test_memory_that_outlives_a_flow_is_refused(memory: tuple[str, str]) -> None:
    """Counts in a global, a default, an attribute or a cache are refused, with all reductions."""
    assert REFUSED == searched(_program(webhook_of(memory)), Reductions())
