"""How does a process learn at once of a commit of another one? Where the store can, by a report.

A commit that changes what a customer sees is reported by its digest, after it is durable and beside
the transaction, so that no webhook waits for it. Processes listen while any query waits in them.
A report may be lost: then the watcher finds the change at its next look.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import Context
from time import monotonic
from typing import Any, Final

from .flows.queries import public_status
from .ports import AsyncChangeReporting, ChangeReporting
from .records import Change
from .waiting import Waiting, digest_of

log = logging.getLogger("xpay_flow.change_reports")

# In a rush one statement reports all that was committed in such a time.
TOGETHER_S: Final = 0.02
# Reports of one statement. Of more, the oldest are left to the watchers.
REPORTS_MAX: Final = 1_000
# A connection that listens is kept for customers who come soon.
LISTENS_ON_S: Final = 30.0
# After an error; until then the watcher alone serves.
TRY_AGAIN_S: Final = 10.0
# How long a close waits for a report under way.
CLOSE_S: Final = 1.0


class _Reports:
    """What is to be reported, and whether to listen. The same for threads and tasks."""

    def __init__(self, waiting: Waiting, store: object) -> None:
        self._waiting, self._digests = waiting, dict[str, None]()
        self._lock = threading.Lock()
        self._listens_from_s = 0.0
        self.is_closed = False
        self._can_report = isinstance(store, ChangeReporting) and store.can_report
        self._can_listen = self._can_report and bool(getattr(store, "can_listen", False))

    def _is_new(self, change: Change) -> bool:
        """Note a change that customers may wait for; False if there is nothing to report."""
        intent = change.record.intent
        if not self._can_report or not change.new_events or intent is None:
            return False
        if public_status(intent).status == "PENDING" or self.is_closed:
            return False
        with self._lock:
            self._digests[digest_of(change.record.key)] = None
            if len(self._digests) > REPORTS_MAX:
                del self._digests[next(iter(self._digests))]
        return True

    def _taken(self) -> tuple[str, ...]:
        with self._lock:
            taken, self._digests = tuple(self._digests), {}
        return taken

    def _is_idle(self) -> bool:
        """Whether to listen no more."""
        return self.is_closed or self._waiting.idle_s > LISTENS_ON_S

    def _may_listen(self) -> bool:
        return self._can_listen and not self.is_closed and monotonic() >= self._listens_from_s

    def _failed(self, error: Exception) -> None:
        self._listens_from_s = monotonic() + TRY_AGAIN_S
        log.warning("reports of other processes do not arrive; looking instead: %s", error)


class Reports(_Reports):
    """The reports of a program that blocks, in threads."""

    def __init__(self, waiting: Waiting, store: Any) -> None:
        super().__init__(waiting, store)
        self._store = store
        self._sender: threading.Thread | None = None
        self._listener: threading.Thread | None = None

    def add(self, change: Change) -> None:
        """Report this change, which is durable, without waiting for it."""
        if self._is_new(change):
            self._sender = _running(self._sender, self._send, "xpay-flow report")

    def listen(self) -> None:
        """Have a thread listen while any query waits."""
        if self._may_listen():
            self._listener = _running(self._listener, self._listen, "xpay-flow listen")

    def close(self) -> None:
        """Send what is to be reported, and listen no more."""
        sender, self.is_closed = self._sender, True
        if sender is not None:
            sender.join(CLOSE_S)

    def _send(self) -> None:
        while digests := self._taken():
            try:
                self._store.report(digests)
            except Exception as error:
                log.debug("changes were not reported: %s", error)
            threading.Event().wait(TOGETHER_S)

    def _listen(self) -> None:
        try:
            self._store.listen(self._waiting.reported, self._is_idle)
        except Exception as error:
            self._failed(error)


class AsyncReports(_Reports):
    """The reports of a program that awaits, in tasks."""

    def __init__(self, waiting: Waiting, store: Any) -> None:
        super().__init__(waiting, store)
        self._store: AsyncChangeReporting = store
        self._sender: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None

    def add(self, change: Change) -> None:
        """Report this change, which is durable, without waiting for it."""
        if self._is_new(change):
            self._sender = _task(self._sender, self._send, "xpay-flow report")

    def listen(self) -> None:
        """Have a task listen while any query waits."""
        if self._may_listen():
            self._listener = _task(self._listener, self._listen, "xpay-flow listen")

    async def close(self) -> None:
        """Send what is to be reported, and listen no more."""
        self.is_closed = True
        if self._listener is not None:
            self._listener.cancel()
        if ending := {task for task in (self._sender, self._listener) if task is not None}:
            await asyncio.wait(ending, timeout=CLOSE_S)

    async def _send(self) -> None:
        while digests := self._taken():
            try:
                await self._store.report(digests)
            except Exception as error:
                log.debug("changes were not reported: %s", error)
            await asyncio.sleep(TOGETHER_S)

    async def _listen(self) -> None:
        try:
            await self._store.listen(self._waiting.reported, self._is_idle)
        except Exception as error:
            self._failed(error)


def _running(thread: threading.Thread | None, work: Any, name: str) -> threading.Thread | None:
    """`thread` if it is at work, and else a new one."""
    if thread is not None and thread.is_alive():
        return thread
    started = threading.Thread(target=work, name=name, daemon=True)
    try:
        started.start()
    except RuntimeError:
        return None  # No more threads; the watcher serves without.
    return started


def _task(task: asyncio.Task[None] | None, work: Any, name: str) -> asyncio.Task[None]:
    loop = asyncio.get_running_loop()
    if task is not None and not task.done() and task.get_loop() is loop:
        return task
    # Nothing of the request in which it begins: that ends before this.
    return loop.create_task(work(), name=name, context=Context())
