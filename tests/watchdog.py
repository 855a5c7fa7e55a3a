"""What ends a test run in which something hangs? A watchdog, which names the test and exits.

pytest-timeout interrupts a test once. When the test ignores that, or its clean-up hangs afterwards,
the watchdog shows the stacks of all threads, ends the processes that were started, and this one.
Under xdist this process is one worker: pytest reports the test that it was at, starts another
worker and goes on. So no run lasts longer than its tests' limits allow.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

# A fixture's clean-up is bounded by the lock time-outs of its database, which are shorter.
GRACE_S: Final = 60.0
COLLECTION_S: Final = 300.0
# After the last test: sessions' fixtures, reports, and threads that Python waits for at its exit.
EXIT_S: Final = 60.0
# Later than the thread below, which cannot run while C code holds the interpreter.
LAST_RESORT_S: Final = 5.0


class Watchdog:
    """A pytest plugin.

    Args:
        leave: is called before the process ends, and must not wait.
        grace_s: how much longer than its own limit a test may take, with its clean-up.
        exit_s: how long the process may take after the last test.
    """

    def __init__(
        self,
        config: pytest.Config,
        leave: Callable[[], object] = lambda: None,
        *,
        grace_s: float = GRACE_S,
        exit_s: float = EXIT_S,
    ) -> None:
        self._config, self._leave = config, leave
        self._grace_s, self._exit_s = grace_s, exit_s
        # Output is captured while a test runs, and not yet.
        self._stderr = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
        self._timer: threading.Timer | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        with self._watched("the collection of tests", COLLECTION_S):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        limit_s = self._limit_s(item)
        with self._watched(item.nodeid, limit_s and limit_s + self._grace_s):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        is_worker = hasattr(self._config, "workerinput")
        # The workers' own watchdogs come first.
        self._watch("the end of the test run", self._exit_s * (1 if is_worker else 2))

    def _limit_s(self, item: pytest.Item) -> float:
        """The test's own limit, in the words of pytest-timeout; 0 is none, as in a debugger."""
        if self._config.getoption("usepdb"):
            return 0.0
        marker = item.get_closest_marker("timeout")
        if marker is not None:
            return float(marker.args[0] if marker.args else marker.kwargs["timeout"])
        option = self._config.getoption("timeout")
        return float(self._config.getini("timeout") or 0 if option is None else option)

    @contextmanager
    def _watched(self, what: str, seconds: float) -> Generator[None]:
        self._watch(what, seconds)
        try:
            yield
        finally:
            self._rest()

    def _watch(self, what: str, seconds: float) -> None:
        self._rest()
        if seconds:
            self._timer = threading.Timer(seconds, self._end, [what, seconds])
            self._timer.daemon = True
            self._timer.start()
            faulthandler.dump_traceback_later(seconds + LAST_RESORT_S, exit=True, file=self._stderr)

    def _rest(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, what: str, seconds: float) -> None:
        words = f"\n\nHANGS: {what} has not ended after {seconds:.0f} s. All threads:\n"
        os.write(self._stderr, words.encode())
        faulthandler.dump_traceback(self._stderr, all_threads=True)
        try:
            self._leave()
        finally:
            os._exit(1)


def end_children(but: frozenset[int]) -> None:
    """Kill the processes that this one has started, but for these."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in {int(word) for word in children.read_text().split()} - but:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
