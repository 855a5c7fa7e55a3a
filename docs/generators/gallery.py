"""The page of bugs: each planted mistake, how it goes wrong, and a picture of it."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .markdown import code, table

TESTS = Path(__file__).parents[2] / "tests"
INTRODUCTION = """\
# A gallery of bugs

These are mistakes that shops make when they take payments.
Each one is planted in an otherwise correct shop, in `tests/checker/mutants`, and \
found there by `xpay_flow.checker`.
This page was written by running the checker on every one of them: the sentence in \
bold is what it says, and the picture is its counterexample, with as few faults as can be.
Where somebody has met such a bug in public, there is a link.
`python -m tests.checker.mutants` looks for all of them, and prints how long each takes.
"""


@cache
def gallery_page() -> str:
    """The whole page; looked for once, however often it is asked for."""
    catalogue, figures = _catalogue()
    found = {
        theme: [figures.found(mutant) for mutant in mutants]
        for theme, mutants in catalogue.THEMES.items()
    }
    parts = [INTRODUCTION, _overview(found)]
    for theme, bugs in found.items():
        parts.append(f"## {theme}")
        parts.extend("\n\n".join(_entry(bug)) for bug in bugs)
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _catalogue() -> tuple[Any, Any]:
    """The planted bugs, which live with the tests."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    return (
        importlib.import_module("checker.mutants"),
        importlib.import_module("checker.mutants.figures"),
    )


def _overview(found: dict[str, list[Any]]) -> str:
    """How many bugs break which promise."""
    promises = [bug.promise for bugs in found.values() for bug in bugs]
    rows = ((code(name), str(promises.count(name))) for name in sorted(set(promises)))
    return f"{len(promises)} bugs, by the promise that they break:\n\n" + table(
        ("Promise", "Bugs"), rows
    )


def _entry(bug: Any) -> Iterator[str]:
    mutant = bug.mutant
    yield f"### {mutant.name[0].upper()}{mutant.name[1:]}"
    yield " ".join((inspect.getdoc(mutant.bug) or "").split())
    yield "\n".join(_facts(bug))
    if bug.violation is not None:
        yield f"```mermaid\n{bug.violation.as_mermaid().rstrip()}\n```"


def _facts(bug: Any) -> Iterator[str]:
    mutant = bug.mutant
    if bug.violation is None:
        # The line of the call moves with the code around it.
        yield "**Refused: the checker can neither see nor repeat what this code depends on.**"
    else:
        faults = {0: "no fault", 1: "one fault"}.get(bug.faults, f"{bug.faults} faults")
        yield f"**{bug.promise}: {bug.violation.sentence}.**"
        yield f"It takes {faults}, in the scene {mutant.scene.name}."
    if mutant.reference:
        yield f"Met in public: <{mutant.reference}>."
