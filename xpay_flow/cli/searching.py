"""How is the progress of a search shown? In one line on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.status import Status

from xpay_flow.checker.verdict import Progress

from .needs import rich as rich  # first, so that a missing package is named

Watch = Callable[[Any], None]


@contextmanager
def watched(
    line_of: Callable[[Any], str] | None = None,
) -> Generator[Watch | None, None, None]:
    """What to print while a search runs; None if the output is no terminal.

    On standard error, so that what is printed at the end can be piped.

    Args:
        line_of: the line for a progress; that of `check` if not given.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield None
        return
    status = Status("", console=console)

    def show(progress: Any) -> None:
        status.update((line_of or progress_line)(progress))
        # Begun with the first progress, so that a search that is soon over shows nothing.
        status.start()

    try:
        yield show
    finally:
        status.stop()


def progress_line(progress: Progress) -> str:
    """How far a search has come, and how fast."""
    rate = progress.states / progress.seconds if progress.seconds else 0
    faults = f"{progress.faults} fault{'s' * (progress.faults != 1)}"
    return (
        f"{progress.scene}, {faults}: {progress.states:,} states, "
        f"{progress.transitions:,} transitions, {progress.frontier:,} to look at, "
        f"{rate:,.0f} states/s, {progress.seconds:.0f} s"
    )
