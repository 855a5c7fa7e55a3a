"""How does a coroutine wait without an event loop of the world? On a loop of its own.

One delivery has one small loop. It runs the delivery's tasks in a fixed order, first come, first
served, and has its own time, which goes on only when nothing else can. So `asyncio.gather`, task
groups, locks and time-outs work inside a delivery, and `asyncio.sleep` takes no time at all.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, TypeVarTuple, cast

from xpay_flow.effects import Pause

from .hidden import HiddenState
from .replayed import Body, Ended, Orphaned
from .theirs import asking_place

# A task that goes on awaiting while it is closed catches what ends it, in a loop.
CLOSES_MAX = 100
ELSEWHERE = (
    "run_in_executor",
    "call_soon_threadsafe",
    "create_connection",
    "create_server",
    "create_datagram_endpoint",
    "create_unix_connection",
    "getaddrinfo",
    "sock_connect",
    "sock_recv",
    "sock_sendall",
    "subprocess_exec",
    "subprocess_shell",
    "add_reader",
    "add_writer",
    "add_signal_handler",
)

Ts = TypeVarTuple("Ts")
Scheduled = tuple[asyncio.Handle, Callable[..., object], tuple[Any, ...], Context]


class Deadlock(Exception):
    """Every task of a delivery waits for something that no other will do."""


class _Task(asyncio.Task[Any]):
    """A task with a number for a hash, so that a set of tasks has one order on every run."""

    def __init__(self, coro: Any, number: int, loop: asyncio.AbstractEventLoop, **how: Any) -> None:
        self._number = number
        super().__init__(coro, loop=loop, **how)

    def __hash__(self) -> int:
        return self._number


class DeliveryLoop(asyncio.AbstractEventLoop):
    """The event loop of one delivery: callbacks in the order in which they came, and timers."""

    @classmethod
    def new(cls) -> DeliveryLoop:
        """A loop. The type declares that it is abstract: what it lacks is what it refuses."""
        return cast(Callable[[], DeliveryLoop], cls)()

    def __init__(self) -> None:
        self._ready: deque[Scheduled] = deque()
        self._timers: list[tuple[float, int, Scheduled]] = []
        self._count = 0
        self._now_s = 0.0
        self._tasks: list[_Task] = []
        self.closed = False
        # What a loop of the world would do, and this one will not.
        self.trespass: HiddenState | None = None

    # --- what asyncio calls of a loop --------------------------------------------------------

    def time(self) -> float:
        return self._now_s

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self.closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tasks without a waiting task die without a word: so do they in an abandoned delivery."""

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        context = context or copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((handle, callback, args, context))
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        context = context or copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, (handle, callback, args, context)))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is dropped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **how: Any) -> asyncio.Task[Any]:
        task = _Task(coro, len(self._tasks), self, **how)
        self._tasks.append(task)
        return task

    # --- what the checker does with it -------------------------------------------------------

    def run_ready(self, until: Callable[[], bool]) -> None:
        """Run callbacks until none is ready, or until `until` is true."""
        outer, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()  # pyright: ignore[reportPrivateUsage]
        asyncio._set_running_loop(self)  # pyright: ignore[reportPrivateUsage]
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finish)
        try:
            while self._ready and not until():
                handle, callback, args, context = self._ready.popleft()
                if not handle.cancelled():
                    context.run(callback, *args)
        finally:
            asyncio._set_running_loop(outer)  # pyright: ignore[reportPrivateUsage]
            sys.set_asyncgen_hooks(*hooks)

    def _finish(self, generator: Any) -> None:
        if not self.closed:
            self.create_task(generator.aclose())

    def next_timer_s(self) -> float | None:
        """Seconds until the next timer; None without one."""
        while self._timers and self._timers[0][2][0].cancelled():
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self._now_s) if self._timers else None

    def pass_time(self) -> None:
        """Go on to the next timer."""
        when, _, scheduled = heapq.heappop(self._timers)
        self._now_s = max(when, self._now_s)
        self._ready.append(scheduled)

    def abandon(self) -> None:
        """End every task where it stands; what they do while they end counts for nothing."""
        self.closed = True
        for task in self._tasks:
            _close(task.get_coro())
        self._ready.clear()
        self._timers.clear()


def _refusing(name: str) -> Callable[..., Any]:
    def refuse(loop: DeliveryLoop, *_: Any, **__: Any) -> Any:
        loop.trespass = HiddenState(
            f"{name} was called on the event loop, at {asking_place()}: what happens in threads, "
            "processes and on the network is not in the checker's hands. Await a port instead"
        )
        raise loop.trespass

    return refuse


for _name in ELSEWHERE:
    setattr(DeliveryLoop, _name, _refusing(_name))


def _close(coroutine: Any) -> None:
    for _ in range(CLOSES_MAX):
        try:
            coroutine.close()
        except (RuntimeError, Orphaned):
            # It awaited while it was closed, or used a port: once more from there.
            continue
        except BaseException:
            return
        return


class OnLoop(Body):
    """The body of a coroutine function.

    Args:
        call: calls it, given what its ports ask with: one to await, and one that cannot wait.
    """

    def __init__(self, call: Callable[[Any, Any], Coroutine[Any, Any, Any]], name: str) -> None:
        super().__init__(name)
        self._call = call
        self._loop = DeliveryLoop.new()
        self._main: asyncio.Task[Any] | None = None
        self._requests: deque[tuple[Any, asyncio.Future[Any], str]] = deque()
        # What was requested by a function that cannot wait: clocks and ids are not awaited.
        self._urgent: Any = None

    def _begin(self) -> None:
        self._loop = loop = DeliveryLoop.new()
        self._requests.clear()
        self._urgent = None
        ports = self._ask_of(loop), self._ask_now_of(loop)
        self._main = loop.create_task(self._call(*ports))

    def _ask_of(self, loop: DeliveryLoop) -> Any:
        async def ask(effect: Any) -> Any:
            if loop.closed:
                raise Orphaned
            answered = loop.create_future()
            self._requests.append((effect, answered, asking_place()))
            return await answered

        return ask

    def _ask_now_of(self, loop: DeliveryLoop) -> Any:
        def ask_now(effect: Any) -> Any:
            """The answer on record; else the run is thrown away, and begun again with it."""
            if loop.closed:
                raise Orphaned
            if self._at < len(self._record):
                return self._recorded(effect)
            self._urgent, self.place = effect, asking_place()
            loop.closed = True
            raise Orphaned

        return ask_now

    def _run(self) -> Any:
        assert self._main is not None
        while True:
            with suppress(Orphaned):
                self._loop.run_ready(lambda: self._urgent is not None or self._is_over())
            if self._loop.trespass is not None:
                raise self._loop.trespass
            if self._urgent is not None:
                self.kill()
                return self._urgent
            if self._is_over():
                return self._over(self._main)
            if self._requests:
                self.place = self._requests[0][2]
                return self._requests[0][0]
            wait_s = self._loop.next_timer_s()
            if wait_s is None:
                self.ended = Ended(error=Deadlock(f"{self.name} waits for ever, {self.place}"))
                self.kill()
                return None
            return Pause(wait_s)

    def _is_over(self) -> bool:
        return self._main is not None and self._main.done()

    def _over(self, main: asyncio.Task[Any]) -> None:
        """The answer is given. What other tasks have still to do may not happen: so it does not."""
        if main.cancelled():
            self.ended = Ended(error=RuntimeError(f"{self.name} was cancelled"))
        elif (error := main.exception()) is not None:
            failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
            self.ended = Ended(error=failure)
        else:
            self.ended = Ended(main.result())
        self.kill()

    def _attach(self, answer: Any) -> None:
        if self._requests:
            _, answered, _ = self._requests.popleft()
            if not answered.done():
                answered.set_result(answer)
        else:
            self._loop.pass_time()

    def kill(self) -> None:
        self._alive = False
        self._loop.abandon()
        self._main = None
        self._requests.clear()
