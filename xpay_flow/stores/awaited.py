"""How does an async program use a store that blocks? By default, one thread hop for each call."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar, cast

from xpay_flow.errors import ConfigurationError
from xpay_flow.events import EventIdentity
from xpay_flow.ports import (
    AsyncStore,
    BatchCommitting,
    BatchLoading,
    ChangeReporting,
    Erasing,
    HandlerLimiting,
    Lookup,
    Reader,
    RecentListing,
    RowLocking,
    Store,
    Transactional,
    VersionReading,
)
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work
from xpay_flow.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=Store)

# Calls a blocking function with its arguments: `await call(function, *args)`.
Call: TypeAlias = Callable[..., Awaitable[Any]]


class AwaitedReader:
    """The awaited face of a blocking reader.

    Args:
        call: how it is called; by default, in threads of its own.
    """

    def __init__(self, reader: Reader, call: Call | None = None) -> None:
        self._reader = reader
        self._call: Call = call or Threads("xpay-flow store").call

    async def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        found: Sequence[Record] = await self._call(self._reader.load, alias, event)
        return found

    async def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        """See `xpay_flow.ports.BatchLoading`."""
        if not isinstance(self._reader, BatchLoading):
            return [await self.load(alias, event) for alias, event in lookups]
        found: Sequence[Sequence[Record]] = await self._call(self._reader.load_many, lookups)
        return found

    async def versions(self, keys: Sequence[str]) -> Mapping[str, int]:
        """See `xpay_flow.ports.VersionReading`."""
        if isinstance(self._reader, VersionReading):
            versions: Mapping[str, int] = await self._call(self._reader.versions, keys)
            return versions
        found = [record for key in keys for record in await self.load(key)]
        return {record.key: record.version for record in found}

    async def history(self, alias: str) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        whole: Sequence[Record] = await self._call(self._reader.history, alias)
        return whole

    async def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        """See `xpay_flow.ports.RecentListing`."""
        if not isinstance(self._reader, RecentListing):
            raise ConfigurationError("this store cannot list recent records")
        found: Sequence[Record] = await self._call(self._reader.recent, limit, realms, before)
        return found


class AwaitedStore(Generic[S]):
    """The awaited face of a blocking store. It can do what that one can.

    A subclass for a certain store defines how that one is called.
    """

    def __init__(self, store: S) -> None:
        self._store = store
        self._threads = Threads("xpay-flow store")
        # A handler that takes its time in a transaction, or a wait for a lock, must not take the
        # threads that webhooks need.
        self._handler_threads = Threads("xpay-flow transactions")
        self._lock_threads = Threads("xpay-flow locks")

    @property
    def blocking(self) -> object:
        """What a handler's own thread calls: the store itself, where it blocks."""
        return self._store if type(self) is AwaitedStore else self

    async def _call(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call the store."""
        return await self._threads.call(function, *args, **options)

    async def _call_handler(
        self, function: Callable[P, T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Call the store for as long as a handler runs."""
        return await self._handler_threads.call(function, *args, **options)

    async def _call_soon(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call the store for something that a webhook waits for."""
        return await self._call(function, *args, **options)

    async def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        return await self._call_soon(self._store.load, alias, event)

    async def history(self, alias: str) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        return await self._call(self._store.history, alias)

    async def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        """See `xpay_flow.ports.BatchLoading`."""
        return await self._call_soon(cast(BatchLoading, self._store).load_many, lookups)

    async def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        """See `xpay_flow.ports.RecentListing`."""
        if not isinstance(self._store, RecentListing):
            raise ConfigurationError("this store cannot list recent records")
        return await self._call(self._store.recent, limit, realms, before)

    async def blank_payloads(self, key: str) -> None:
        """See `xpay_flow.ports.Erasing`."""
        await self._call(self._erasing.blank_payloads, key)

    async def scrub(self) -> None:
        """See `xpay_flow.ports.Erasing`."""
        await self._call(self._erasing.scrub)

    @property
    def _erasing(self) -> Erasing:
        if not isinstance(self._store, Erasing):
            raise ConfigurationError("nothing can be erased from this store")
        return self._store

    async def commit(self, change: Change) -> bool:
        """See `xpay_flow.ports.Store`."""
        return await self._call_soon(self._store.commit, change)

    async def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        """See `xpay_flow.ports.BatchCommitting`."""
        return await self._call_soon(cast(BatchCommitting, self._store).commit_many, changes)

    async def commit_with(self, change: Change, work: Callable[[Any], Any]) -> bool:
        """See `xpay_flow.ports.Transactional`; `work` is called in the thread of the store."""
        return await self._call_handler(cast(Transactional, self._store).commit_with, change, work)

    @property
    def can_lock(self) -> bool:
        """See `xpay_flow.ports.RowLocking`."""
        return isinstance(self._store, RowLocking) and self._store.can_lock

    @property
    def handlers_at_once_max(self) -> int | None:
        """See `xpay_flow.ports.HandlerLimiting`."""
        return (
            self._store.handlers_at_once_max if isinstance(self._store, HandlerLimiting) else None
        )

    def lock(self, key: str) -> AbstractAsyncContextManager[bool]:
        """See `xpay_flow.ports.RowLocking`."""
        held = cast(RowLocking, self._store).lock(key)
        return AwaitedLock(held, self._lock_threads.call, self._call)

    async def orphaned(
        self, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        """See `xpay_flow.ports.RowLocking`."""
        return await self._call(cast(RowLocking, self._store).orphaned, now_ms, limit, realms)

    async def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        """See `xpay_flow.ports.Store`."""
        return await self._call(self._store.due, work, now_ms, limit, realms)

    @property
    def can_report(self) -> bool:
        """See `xpay_flow.ports.ChangeReporting`."""
        return isinstance(self._store, ChangeReporting) and self._store.can_report

    @property
    def can_listen(self) -> bool:
        """See `xpay_flow.ports.ChangeReporting`."""
        return self.can_report and cast(ChangeReporting, self._store).can_listen

    async def report(self, digests: Sequence[str]) -> None:
        """See `xpay_flow.ports.ChangeReporting`."""
        await self._call(cast(ChangeReporting, self._store).report, digests)

    async def listen(self, reported: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """See `xpay_flow.ports.ChangeReporting`."""
        ended: list[bool] = []
        try:
            listen = cast(ChangeReporting, self._store).listen
            await self._call(listen, reported, lambda: bool(ended) or stopping())
        finally:
            # A thread goes on when its task is cancelled.
            ended.append(True)

    def reader(self) -> AwaitedReader:
        """The same records through something that cannot write."""
        return AwaitedReader(self._store.reader())


class AwaitedLock:
    """The awaited face of a row lock. Not a generator: an event loop that ends would end it."""

    def __init__(self, held: AbstractContextManager[bool], enter: Call, leave: Call) -> None:
        self._held, self._enter, self._leave = held, enter, leave

    async def __aenter__(self) -> bool:
        is_mine: bool = await self._enter(self._held.__enter__)
        return is_mine

    async def __aexit__(self, *_: object) -> None:
        await self._leave(self._held.__exit__, None, None, None)


def awaited_store(store: AsyncStore | Store) -> AsyncStore:
    """`store` if it is awaited, and else its awaited face.

    Raises:
        ConfigurationError: some of its methods are awaited and some are not.
    """
    if inspect.iscoroutinefunction(store.commit) != inspect.iscoroutinefunction(store.load):
        raise ConfigurationError(
            f"{type(store).__name__} is half awaited: write all its methods with `async def`, "
            "or none of them"
        )
    if inspect.iscoroutinefunction(store.load):
        return cast(AsyncStore, store)
    return AwaitedStore(cast(Store, store))
