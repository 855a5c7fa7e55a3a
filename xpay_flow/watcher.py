"""Who looks for all those who wait? One watcher for each flow, whatever their number.

It compares versions twice a second, on the store's reader, while any query waits, and wakes those
that have seen an older one. `Watcher` is a thread, `AsyncWatcher` a task; both run the same flow.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Awaitable
from contextlib import nullcontext
from contextvars import Context
from typing import Any, Final

from . import drive
from .change_reports import AsyncReports, Reports
from .drive import READS, ReadTable
from .effects import Load, Query, Waited, WaitForChange, pause
from .errors import StoreError
from .flows.queries import LOOK_EVERY_S, versions
from .ports import (
    AsyncBatchLoading,
    AsyncClock,
    AsyncReader,
    AsyncStore,
    AsyncVersionReading,
    Clock,
    Reader,
    Store,
    VersionReading,
)
from .stores.coalescing import coalesced_load
from .waiting import Waiting, hang_up

log = logging.getLogger("xpay_flow.watcher")

# Thousands who came together would otherwise come back together, in front of a webhook.
SPREAD: Final = 0.7
# How long a close waits for a look that is under way.
CLOSE_S: Final = 2.0


def spread(seconds: float) -> float:
    """How long a wait takes at most: a little less, so that waits that began together end apart."""
    return seconds * random.uniform(SPREAD, 1)


def look(waiting: Waiting, *, together: bool) -> Query[None]:
    """Wait for a moment, and wake those whose record is newer than what they have seen."""
    yield from pause(LOOK_EVERY_S)
    try:
        found = yield from versions(waiting.keys(), together=together)
    except StoreError as error:
        # It is shown later; the next look is half a second away.
        log.debug("those who wait were not looked up: %s", error)
        return
    for key, version in found.items():
        waiting.found(key, version)


class Watcher:
    """Serves those who wait in threads."""

    def __init__(self, waiting: Waiting, store: Store, reader: Reader, clock: Clock) -> None:
        self._waiting, self._reader, self._clock = waiting, reader, clock
        self._reports = Reports(waiting, store)
        waiting.report = self._reports.add
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def reads(self) -> ReadTable:
        """The effect table of a flow's queries."""
        return {**READS, WaitForChange: lambda effect, _, __: self.wait(effect)}

    def wait(self, effect: WaitForChange) -> Waited:
        """See `WaitForChange`."""
        waiter = self._waiting.enter(effect.key, effect.version, effect.seconds)
        if waiter is None:
            return "no_room"
        caller = hang_up.get()
        try:
            self._start()
            with nullcontext() if caller is None else caller.ends(waiter):
                return waiter.woken.result(timeout=spread(effect.seconds))
        except TimeoutError:
            return "time_up"
        finally:
            self._waiting.leave(waiter)

    def close(self) -> None:
        """End every wait; none begins from here on."""
        self._waiting.close()
        self._reports.close()

    def _start(self) -> None:
        self._reports.listen()
        with self._lock:
            # In a process forked since, it is not alive.
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._watch, name="xpay-flow watch", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # No more threads: commits of this process are shown all the same.
                    log.exception("the watcher cannot start")
                else:
                    self._thread = thread

    def _watch(self) -> None:
        together = isinstance(self._reader, VersionReading)
        while self._is_needed():
            drive.run_query(look(self._waiting, together=together), self._reader, self._clock)

    def _is_needed(self) -> bool:
        # Under the lock, so that no wait that begins now takes a thread that ends for one at work.
        with self._lock:
            if not self._waiting.keys():
                self._thread = None
            return self._thread is not None


class AsyncWatcher:
    """Serves those who wait in tasks."""

    def __init__(
        self, waiting: Waiting, store: AsyncStore, reader: AsyncReader, clock: AsyncClock
    ) -> None:
        self._waiting, self._reader, self._clock = waiting, reader, clock
        self._reports = AsyncReports(waiting, store)
        waiting.report = self._reports.add
        self._task: asyncio.Task[None] | None = None

    @property
    def reads(self) -> ReadTable:
        """The effect table of a flow's queries: first looks that come together go together."""

        def wait(effect: WaitForChange, *_: object) -> Awaitable[Waited]:
            return self.wait(effect)

        rows: dict[type, Any] = {WaitForChange: wait}
        if isinstance(self._reader, AsyncBatchLoading):
            look_up = coalesced_load(self._reader)

            def load(effect: Load, *_: object) -> Any:
                return look_up(effect.alias, effect.event)

            rows[Load] = load
        return {**READS, **rows}

    async def wait(self, effect: WaitForChange) -> Waited:
        """See `WaitForChange`."""
        waiter = self._waiting.enter(effect.key, effect.version, effect.seconds)
        if waiter is None:
            return "no_room"
        try:
            self._start()
            async with asyncio.timeout(spread(effect.seconds)):
                return await asyncio.wrap_future(waiter.woken)
        except TimeoutError:
            return "time_up"
        finally:
            self._waiting.leave(waiter)

    async def close(self) -> None:
        """End every wait; none begins from here on."""
        self._waiting.close()
        await self._reports.close()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_S)

    def _start(self) -> None:
        self._reports.listen()
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            # Nothing of the request that happens to be the first: it ends before this.
            self._task = loop.create_task(self._watch(), name="xpay-flow watch", context=Context())

    async def _watch(self) -> None:
        together = isinstance(self._reader, AsyncVersionReading)
        while self._waiting.keys():
            query = look(self._waiting, together=together)
            await drive.arun_query(query, self._reader, self._clock)
