"""How do several presses for one order make one call? Those that come meanwhile share the first.

Only within one process; between processes the stored attempt and its idempotency key decide.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen(eq=False)
class _Call(Generic[T]):
    """A call under way, and what it was for."""

    about: object
    future: Future[T]


class InFlight(Generic[T]):
    """Calls of threads. Threads may share one.

    Args:
        timeout_s: how long a call waits for the one before it. Then it goes on by itself.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._calls: dict[Hashable, _Call[T]] = {}
        self._lock = threading.Lock()

    def share(
        self, name: Hashable, about: object, call: Callable[[], T], follow: Callable[[T], T]
    ) -> T:
        """What `call` returns or raises, or what the same call under way does.

        A call under the same name that is about something else is waited for.

        Args:
            follow: applied to the result of another's call.
        """
        mine = _Call(about, Future[T]())
        with self._lock:
            under_way = self._calls.setdefault(name, mine)
        if under_way is mine:
            return self._lead(name, mine, call)
        try:
            result = under_way.future.result(self._timeout_s)
        except Exception:
            if under_way.about == about and under_way.future.done():
                raise
            return call()
        except BaseException:
            if not under_way.future.done():
                raise  # It was us who were interrupted.
            return call()
        return follow(result) if under_way.about == about else call()

    def _lead(self, name: Hashable, mine: _Call[T], call: Callable[[], T]) -> T:
        try:
            result = call()
        except BaseException as error:
            self._end(name)
            mine.future.set_exception(error)
            raise
        self._end(name)
        mine.future.set_result(result)
        return result

    def _end(self, name: Hashable) -> None:
        with self._lock:
            del self._calls[name]


class AsyncInFlight(Generic[T]):
    """The same for coroutines of one event loop; see `InFlight`."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._calls: dict[Hashable, tuple[object, asyncio.Future[T]]] = {}

    async def share(
        self,
        name: Hashable,
        about: object,
        call: Callable[[], Awaitable[T]],
        follow: Callable[[T], T],
    ) -> T:
        """See `InFlight.share`."""
        if name not in self._calls:
            return await self._lead(name, about, call)
        its_about, future = self._calls[name]
        # A future of our own would be cancelled with us.
        done, _ = await asyncio.wait([future], timeout=self._timeout_s)
        if not done or its_about != about or future.cancelled():
            return await call()
        return follow(future.result())

    async def _lead(self, name: Hashable, about: object, call: Callable[[], Awaitable[T]]) -> T:
        future = asyncio.get_running_loop().create_future()
        self._calls[name] = about, future
        try:
            result = await call()
        except Exception as error:
            future.set_exception(error)
            future.exception()  # There may be no follower.
            raise
        except BaseException:
            future.cancel()
            raise
        else:
            future.set_result(result)
            return result
        finally:
            del self._calls[name]
