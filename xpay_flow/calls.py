"""Which handler calls are in progress in this process, and which of them hang?

Calls for one record never overlap, and a call that is to be made alone waits for all others. What
has not ended at its time limit, and could not be stopped, is left: others go on without it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, Literal

import attrs

log = logging.getLogger("xpay_flow.handlers")

# So many threads that hang are a system that is away, and not a call that is broken: from then on
# no further call is begun here.
LEFT_MAX: Final = 100

# Set within a call: its handler may deliver, too, and must not wait for its own end.
inside: ContextVar[bool] = ContextVar("xpay_flow_inside_a_call", default=False)


@attrs.frozen
class LeftCall:
    """A call that was left, with its thread or task, since it did not end."""

    name: str
    intent_id: str

    def __str__(self) -> str:
        return f"{self.name} for {self.intent_id}"


class Calls:
    """The calls of one process.

    Attributes:
        in_callers_thread: a handler is called in the thread that delivers, and so has no time
            limit; for tests, where time stands still and a handler may hold what is of one thread.
    """

    def __init__(self) -> None:
        self.in_callers_thread = False
        self._afresh()

    def _afresh(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._is_alone = False
        # Those who wait to be alone: others are not begun meanwhile, or it would never happen.
        self._wanting: set[object] = set()
        self._wakers: list[Callable[[], object]] = []
        self._left: dict[int, LeftCall] = {}

    # --- slots -----------------------------------------------------------------------------------

    def take(
        self, key: str, alone: bool, asker: object, wake: Callable[[], object]
    ) -> Literal["mine", "busy", "wait"]:
        """Take the slot of this record, to be given back with `give_back`.

        `busy`: a call for the record is in progress. `wait`: `wake` is called once when it is worth
        trying again, in any thread; `leave` ends the waiting.
        """
        if self._process != os.getpid():
            # Of a forked process, no call is in progress.
            self._afresh()
        with self._lock:
            if key in self._busy:
                self._wanting.discard(asker)
                return "busy"
            others = self._wanting - {asker}
            if self._is_alone or (self._busy if alone else others):
                if inside.get():
                    return "busy"
                if alone:
                    self._wanting.add(asker)
                self._wakers.append(wake)
                return "wait"
            self._wanting.discard(asker)
            self._busy.add(key)
            self._is_alone = alone
            return "mine"

    def leave(self, asker: object) -> None:
        """No longer wait to be alone."""
        with self._lock:
            self._wanting.discard(asker)
        self._wake()

    def give_back(self, key: str) -> None:
        """The calls for this record have ended, or were left."""
        with self._lock:
            self._busy.discard(key)
            self._is_alone = False
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    # --- left ------------------------------------------------------------------------------------

    def is_left(self, intent_id: str) -> LeftCall | None:
        """A call for this intent that hangs in this process."""
        with self._lock:
            return next((call for call in self._left.values() if call.intent_id == intent_id), None)

    def leave_running(self, call: LeftCall) -> Callable[[], None]:
        """Go on without this call; answers what is to be called when it has ended after all."""
        number = id(call)

        def ended() -> None:
            with self._lock:
                self._left.pop(number, None)
            self._wake()

        with self._lock:
            self._left[number] = call
        return ended

    @property
    def left(self) -> tuple[LeftCall, ...]:
        """The calls that hang in this process, longest first."""
        with self._lock:
            return tuple(self._left.values())

    def report_left(self) -> None:
        """Log which calls this process leaves in the middle, as it ends."""
        if left := self.left:
            log.error(
                "%d handler call(s) hang and are left: %s; nothing that they write through the "
                "store is kept, and what is due stays due",
                len(left),
                ", ".join(map(str, left)),
            )

    @property
    def hang(self) -> bool:
        """So many calls hang that no further one may be begun."""
        return len(self._left) >= LEFT_MAX
