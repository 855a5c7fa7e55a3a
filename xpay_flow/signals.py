"""What follows SIGINT (Ctrl+C) or SIGTERM? The current job is finished first."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_stop(do: Callable[[], object]) -> Generator[None, None, None]:
    """Call `do` at SIGINT or SIGTERM; the second one ends the process at once."""

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        do()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
