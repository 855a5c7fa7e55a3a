"""How does a test wait for another process? With a limit, and an error that names it."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Final

from xpay_flow.testing.limits import within_s

# What a process may take that imports everything, on a busy machine.
ENDS_S: Final = 120.0


def line_of(stream: IO[str] | None, what: str = "a process that was to print a line") -> str:
    """The next line that it prints; empty if it has ended."""
    assert stream is not None
    return within_s(ENDS_S, stream.readline, what=what)[0]


@contextmanager
def ended(process: subprocess.Popen[str]) -> Generator[subprocess.Popen[str]]:
    """It has ended after the block, in time, or is killed, which is an error."""
    with process:
        try:
            yield process
            process.wait(ENDS_S)
        finally:
            process.kill()
