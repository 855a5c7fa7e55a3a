"""What does SPIN say of a text? It is translated, compiled and run.

Nothing may be left out, and no two states taken for one: no partial-order reduction (NOREDUCE), no
compression or hashing of states (pan's default keeps each in full), and none of SPIN's rewriting of
the text (-o1, -o2, -o3: data flow, dead variables, merged statements). It goes breadth first, so
that its counterexample is a shortest one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs

NEEDS = ("spin", "gcc")
EXACT = ("-DNOREDUCE", "-DSAFETY")


@attrs.frozen
class Outcome:
    """What pan printed.

    Args:
        transitions: ways from one state to another; pan adds its initial state to them.
        wrong: the assertion was violated.
    """

    states: int
    transitions: int
    wrong: bool
    seconds: float


@attrs.frozen
class Pan:
    """A compiled search, in a folder of its own."""

    folder: Path

    def run(self, *arguments: str) -> Outcome:
        """Search to the end. `-A` goes past assertions, and `-E` takes every end for a good one."""
        output = called(["./pan", "-E", "-m1000000", *arguments], self.folder)
        wrong = "assertion violated" in output
        assert wrong or "Search not completed" not in output, output
        return Outcome(
            states=_number(r"(\d+) states, stored", output),
            transitions=_number(r"(\d+) transitions \(=", output) - 1,
            wrong=wrong,
            seconds=float(_found(r"elapsed time ([\d.e+-]+) seconds", output)),
        )

    def shortest(self) -> int:
        """How many steps the counterexample has that was found last."""
        (trail,) = self.folder.glob("*.trail")
        # Lines are depth, process and transition; those with a negative depth are settings.
        return sum(not line.startswith("-") for line in trail.read_text().split())


def absent() -> str | None:
    """What there is not, in words."""
    missing = [name for name in NEEDS if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed (apt-get install spin gcc)" if missing else None


def compiled(
    text: Path,
    folder: Path,
    defines: Sequence[str] = (),
    flags: Sequence[str] = ("-O0", "-DBFS", *EXACT),
) -> Pan:
    """The search for a text with these definitions."""
    folder.mkdir(parents=True, exist_ok=True)
    given = [f"-D{define}" for define in defines]
    called(["spin", "-o1", "-o2", "-o3", *given, "-a", str(text)], folder)
    called(["gcc", "-w", *flags, "-o", "pan", "pan.c"], folder)
    return Pan(folder)


def called(command: Sequence[str], folder: Path) -> str:
    """The output of a program. Pan's exit code does not show violations, so it is not looked at."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=command[0] != "./pan"
    )
    return done.stdout + done.stderr


def _number(pattern: str, output: str) -> int:
    return int(_found(pattern, output))


def _found(pattern: str, output: str) -> str:
    found = re.search(pattern, output)
    assert found is not None, output
    return found[1]
