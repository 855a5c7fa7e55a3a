"""Who does owed work inside the user's own process? One quiet loop, woken by news.

It calls `work` when nudged and every few seconds besides, and survives whatever `work` raises: what
failed is still due, in the store. So a process without this loop, or killed in the middle of it,
loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .flows import FailedJob

log = logging.getLogger("xpay_flow.background")

# How often the loops look for work that no nudge announced: left over, retried, or due to be
# reconciled.
POLL_S = 5.0


class BackgroundThread:
    """The loop of a synchronous program, in a daemon thread that starts when first nudged."""

    def __init__(self, name: str, work: Callable[[], object], every_s: float) -> None:
        self._name, self._work, self._every_s = name, work, every_s
        self._wake = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def nudge(self) -> None:
        """There may be work now. Starts the thread, also in a process forked since."""
        self._wake.set()
        with self._lock:
            if not self._stopping and (self._thread is None or not self._thread.is_alive()):
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No more threads: whoever nudged has done its work, and this can wait for the next.
            log.exception("%s cannot start", self._name)
        else:
            self._thread = thread

    def stop(self, timeout_s: float = 10.0) -> None:
        """Finish what is being done and end."""
        with self._lock:
            self._stopping = True
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self._work()
            except (Exception, SystemExit):
                log.exception("%s failed; what is due stays due", self._name)
            if not self._stopping:
                self._wake.wait(self._every_s)


class BackgroundTask:
    """The loop of an asynchronous program, in a task of the running event loop."""

    def __init__(self, name: str, work: Callable[[], Awaitable[object]], every_s: float) -> None:
        self._name, self._work, self._every_s = name, work, every_s
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def nudge(self) -> None:
        """There may be work now. Starts the task in the running event loop."""
        self._wake.set()
        if not self._stopping and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._loop(), name=self._name)

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Finish what is being done and end."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout_s)

    async def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                await self._work()
            except Exception:
                log.exception("%s failed; what is due stays due", self._name)
            if self._stopping:
                return
            try:
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()
            except TimeoutError:
                continue


def background_threads(flow: Any, poll_s: float) -> tuple[BackgroundThread, ...]:
    """The loops of a `Flow`: one delivers, one reconciles."""

    def deliver() -> None:
        # A process that registered nothing leaves pending calls to those that can make them.
        if flow.handlers:
            log_failed(flow.deliver())

    def reconcile() -> None:
        log_failed(flow.reconcile())

    return (
        BackgroundThread("xpay-flow deliver", deliver, poll_s),
        BackgroundThread("xpay-flow reconcile", reconcile, poll_s),
    )


def background_tasks(flow: Any, poll_s: float) -> tuple[BackgroundTask, ...]:
    """The loops of an `AsyncFlow`: one delivers, one reconciles."""

    async def deliver() -> None:
        if flow.handlers:
            log_failed(await flow.deliver())

    async def reconcile() -> None:
        log_failed(await flow.reconcile())

    return (
        BackgroundTask("xpay-flow deliver", deliver, poll_s),
        BackgroundTask("xpay-flow reconcile", reconcile, poll_s),
    )


def log_failed(results: Sequence[object]) -> None:
    """A job that failed stays due, and an operator should look at it."""
    for result in results:
        if isinstance(result, FailedJob):
            log.error("%s of %s failed, and stays due: %s", result.work, result.key, result.error)
