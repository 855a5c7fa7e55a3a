"""Who does due work inside the user's own process? Quiet loops, woken by what is recorded.

A loop works when nudged and every few seconds besides, pass after pass until one finds nothing, and
survives whatever its work raises: what failed is still due, in the store. So a process without
this loop, or killed in the middle of it, loses nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from weakref import WeakSet

from . import flows
from .flows import FailedJob, UnservedWork
from .flows.all_due import do_all_due
from .masking import likeness
from .records import Work

log = logging.getLogger("xpay_flow.background")

# How often the loops look for work that no nudge announced: left over, retried, or due to be
# reconciled.
POLL_S = 5.0
# After a pass that failed, the next one comes this soon at first, and then in twice the time.
FAILED_S: Final = 0.2


def _wait_s(every_s: float, failures: int) -> float:
    """How long to wait for the next pass, after so many in a row that failed."""
    return min(every_s, FAILED_S * 2 ** min(failures - 1, 20)) if failures else every_s


def _nothing() -> None:
    """No work is left to the end."""


class BackgroundThread:
    """The loop of a synchronous program, in a daemon thread that starts when first needed.

    Args:
        work: one pass; true if the next one is to follow at once.
        finish: what is done once more at the end.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        every_s: float,
        finish: Callable[[], object] = _nothing,
    ) -> None:
        self._name, self._work, self._every_s, self._finish = name, work, every_s, finish
        self._wake, self._idle = threading.Event(), threading.Event()
        self._stopping, self._failures = False, 0
        self._ends_at_s = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def nudge(self) -> None:
        """There may be work now. Starts the thread, also in a process forked since."""
        with self._lock:
            self._wake.set()
            self._idle.clear()
        self.start()

    def start(self) -> None:
        """Start the thread where it does not run yet; its first pass begins at once."""
        with self._lock:
            if not self._stopping and (self._thread is None or not self._thread.is_alive()):
                self._start()

    def _start(self) -> None:
        self._idle.clear()
        thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No more threads: the request that nudged is served, and this waits for the next.
            log.exception("%s cannot start", self._name)
        else:
            self._thread = thread
            _running.add(self)

    def wait_idle(self, timeout_s: float) -> None:
        """Come back when the pass under way has ended and nothing has nudged since."""
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            self._idle.wait(timeout_s)

    def end(self, timeout_s: float) -> None:
        """Finish what is being done and begin nothing else but `finish`; see `wait_end`."""
        with self._lock:
            self._ends_at_s = time.monotonic() + timeout_s
            self._stopping = True
            self._wake.set()

    def wait_end(self) -> None:
        """Wait for the end, for as long as `end` allows."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        thread.join(max(0.0, self._ends_at_s - time.monotonic()))
        if thread.is_alive():
            log.error("%s is left in the middle of its work; what is due stays due", self._name)

    def stop(self, timeout_s: float = 10.0) -> None:
        """`end` and `wait_end`."""
        self.end(timeout_s)
        self.wait_end()

    def is_stopping(self) -> bool:
        return self._stopping

    def is_late(self) -> bool:
        """Whether the end has taken its time."""
        return self._stopping and time.monotonic() >= self._ends_at_s

    def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            if self._tried(self._work) or self._stopping:
                continue
            with self._lock:
                if not self._wake.is_set():
                    self._idle.set()
            self._wake.wait(_wait_s(self._every_s, self._failures))
            self._idle.clear()
        self._tried(self._finish)
        self._idle.set()

    def _tried(self, work: Callable[[], object]) -> bool:
        try:
            again = bool(work())
        except (Exception, SystemExit) as error:
            self._failures += 1
            _log_failure(self._name, error)
            return False
        self._failures = 0
        return again


# The loops whose threads would die with the interpreter, a handler under way included.
_running: Final[WeakSet[BackgroundThread]] = WeakSet()


def end_all(loops: Sequence[BackgroundThread], timeout_s: float) -> None:
    """End these loops together, within one limit."""
    for loop in loops:
        loop.end(timeout_s)
    for loop in loops:
        loop.wait_end()


# A program that ends without close() would leave claims of threads that are gone.
atexit.register(lambda: end_all(tuple(_running), timeout_s=10.0))


class BackgroundTask:
    """The loop of an asynchronous program, in a task of the running event loop.

    Args:
        work, finish: see `BackgroundThread`.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[object]],
        every_s: float,
        finish: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._name, self._work, self._every_s, self._finish = name, work, every_s, finish
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._stopping, self._failures = False, 0
        self._ends_at_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def nudge(self) -> None:
        """There may be work now. Starts the task in the running event loop."""
        self._wake.set()
        self._idle.clear()
        self.start()

    def start(self) -> None:
        """Start the task where it does not run yet; its first pass begins at once."""
        if not self._stopping and (self._task is None or self._task.done()):
            self._idle.clear()
            self._task = asyncio.get_running_loop().create_task(self._loop(), name=self._name)

    async def wait_idle(self, timeout_s: float) -> None:
        """Come back when the pass under way has ended and nothing has nudged since."""
        task = self._task
        if task is None or task.done() or task is asyncio.current_task():
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return

    def end(self, timeout_s: float) -> None:
        """Finish what is being done and begin nothing else but `finish`; see `wait_end`."""
        self._ends_at_s = time.monotonic() + timeout_s
        self._stopping = True
        self._wake.set()

    async def wait_end(self) -> None:
        """Wait for the end, for as long as `end` allows; then the task is cancelled."""
        if self._task is None or self._task is asyncio.current_task():
            return
        left_s = max(0.0, self._ends_at_s - time.monotonic())
        _, late = await asyncio.wait([self._task], timeout=left_s)
        if late:
            log.error("%s is left in the middle of its work; what is due stays due", self._name)
            self._task.cancel()

    async def stop(self, timeout_s: float = 10.0) -> None:
        """`end` and `wait_end`."""
        self.end(timeout_s)
        await self.wait_end()

    def is_stopping(self) -> bool:
        return self._stopping

    def is_late(self) -> bool:
        """Whether the end has taken its time."""
        return self._stopping and time.monotonic() >= self._ends_at_s

    async def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            if await self._tried(self._work) or self._stopping:
                # Others have their turns between two passes.
                await asyncio.sleep(0)
                continue
            if not self._wake.is_set():
                self._idle.set()
            try:
                async with asyncio.timeout(_wait_s(self._every_s, self._failures)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._idle.clear()
        if self._finish is not None:
            await self._tried(self._finish)
        self._idle.set()

    async def _tried(self, work: Callable[[], Awaitable[object]]) -> bool:
        try:
            again = bool(await work())
        except Exception as error:
            self._failures += 1
            _log_failure(self._name, error)
            return False
        self._failures = 0
        return again


def background_threads(flow: Any, poll_s: float) -> tuple[BackgroundThread, ...]:
    """The loops of a `Flow`: one delivers, one reconciles."""

    def deliver() -> bool:
        # A process that registered nothing leaves pending calls to those that can make them.
        return bool(flow.handlers) and bool(flow.run(_pass(flow, delivering.is_stopping)))

    def finish() -> None:
        if flow.handlers:
            log_failed(flow.run(_recorded_here(flow, delivering.is_late)))

    def reconcile() -> None:
        log_failed(flow.reconcile())

    delivering = BackgroundThread("xpay-flow deliver", deliver, poll_s, finish)
    return delivering, BackgroundThread("xpay-flow reconcile", reconcile, poll_s)


def background_tasks(flow: Any, poll_s: float) -> tuple[BackgroundTask, ...]:
    """The loops of an `AsyncFlow`: one delivers, one reconciles."""

    async def deliver() -> bool:
        return bool(flow.handlers) and bool(await flow.run(_pass(flow, delivering.is_stopping)))

    async def finish() -> None:
        if flow.handlers:
            log_failed(await flow.run(_recorded_here(flow, delivering.is_late)))

    async def reconcile() -> None:
        log_failed(await flow.reconcile())

    delivering = BackgroundTask("xpay-flow deliver", deliver, poll_s, finish)
    return delivering, BackgroundTask("xpay-flow reconcile", reconcile, poll_s)


def _pass(flow: Any, stopping: Callable[[], bool]) -> Any:
    at_once: dict[Work, int] = {"deliver": flow.handlers_at_once}

    def report(result: object) -> None:
        log_failed((result,))

    return do_all_due(flow.context, flow.capabilities, at_once, report, stopping=stopping)


def _recorded_here(flow: Any, stopping: Callable[[], bool]) -> Any:
    """What this process has recorded, and not all that is due: its end must not take long."""
    keys = flow.ports.shared.recorded.keys()
    return flows.deliver_records(keys, flow.context, flow.capabilities, stopping=stopping)


def _log_failure(name: str, error: BaseException) -> None:
    log.error("%s failed; what is due stays due", name, exc_info=likeness(error))


def log_failed(results: Sequence[object]) -> None:
    """A job that failed stays due, and an operator should look at it."""
    for result in results:
        if isinstance(result, FailedJob):
            log.error("%s of %s failed, and stays due: %s", result.work, result.key, result.error)


def log_unserved(found: Sequence[UnservedWork]) -> None:
    """Due work that no process does is shown at once, and names the settings that decide."""
    for work in found:
        log.error("%s", work)
