"""Who performs the effects of a flow? Two short loops and one table.

A port that raises has its error thrown into the flow at the very point where it yielded, so that a
flow reads like ordinary code. `NoAnswer` is a value: silence is an answer that flows expect.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    contextmanager,
    suppress,
)
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, cast

import attrs

from . import handlers as h
from .call_threads import Call
from .calls import Calls
from .effects import (
    AcquireRateLimit,
    BlankPayloads,
    Command,
    Commit,
    Count,
    Due,
    Each,
    Effect,
    EnterPlace,
    Exchange,
    History,
    HoldRequests,
    LeavePlace,
    LeaveRateLimit,
    Load,
    NewId,
    Now,
    Orphaned,
    Pause,
    Query,
    Ran,
    ReadEffect,
    Recent,
    RunHandler,
    RunInTransaction,
    Scrub,
    Versions,
    WaitForChange,
    WithLock,
    WithSlot,
)
from .errors import ConfigurationError, StoreUnavailable, error_text
from .flows.queries import LOOK_EVERY_S
from .flows.webhook import REFUSED
from .handlers import Handlers
from .masking import likeness
from .ports import (
    AsyncBatchLoading,
    AsyncClock,
    AsyncReader,
    AsyncRowLocking,
    AsyncStore,
    AsyncTransport,
    BatchCommitting,
    BatchLoading,
    Clock,
    Erasing,
    HttpRequest,
    HttpResponse,
    Ids,
    Lookup,
    NoAnswer,
    Reader,
    RecentListing,
    RowLocking,
    Store,
    ThreadKeeping,
    Transport,
    VersionReading,
)
from .rate_limit import RateLimiter
from .realm import EVERY_REALM, Realms
from .records import Change
from .refusal_log import RefusalLog
from .rounds import (
    Begin,
    CommitMany,
    InProgress,
    LoadMany,
    ReleaseLock,
    Rest,
    Rounds,
    TakeLock,
)
from .waiting import Waiting

log = logging.getLogger("xpay_flow.transport")

T = TypeVar("T")
E = TypeVar("E")

NOT_A_LISTING = "this store cannot list recent records; it has no method `recent`"
NOT_VERSION_READING = "this reader reads whole records only; it has no method `versions`"
NOT_ERASING = "nothing can be erased from this store; it has no method `blank_payloads`"
NOT_ROW_LOCKING = "this store locks no records for a worker; it has no method `lock`"


# More would be a backlog, which is not left to the end of a process.
RECORDED_MAX: Final = 10_000


class Recorded:
    """Records with a handler call that is due since a commit of this process."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._lock = threading.Lock()
        self._wakers: set[Callable[[], object]] = set()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Generator[None, None, None]:
        """A block in which `wake` is called, in any thread, when a call has become due."""
        self._wakers.add(wake)
        try:
            yield
        finally:
            self._wakers.discard(wake)

    def add(self, change: Change, by: Callable[[], object] | None = None) -> None:
        """This change is durable now.

        Args:
            by: who has committed it, and so is not woken by it.
        """
        key = change.record.key
        with self._lock:
            self._keys.pop(key, None)
            if change.record.deliver_at_ms is not None:
                self._keys[key] = None
                if len(self._keys) > RECORDED_MAX:
                    del self._keys[next(iter(self._keys))]
            # A copy: others come and go meanwhile.
            wakers = tuple(self._wakers) if change.record.deliver_at_ms is not None else ()
        for wake in wakers:
            if wake != by:
                wake()

    def keys(self) -> tuple[str, ...]:
        """Longest recorded first."""
        with self._lock:
            return tuple(self._keys)


@attrs.define(kw_only=True)
class Shared:
    """What both kinds of ports hold in this process: ids, limits, counters, calls, who waits."""

    ids: Ids
    rate_limiter: RateLimiter
    counters: Counter[str] = attrs.Factory(Counter[str])
    refusals: RefusalLog = attrs.Factory(RefusalLog)
    recorded: Recorded = attrs.Factory(Recorded)
    waiting: Waiting = attrs.Factory(lambda: Waiting(at_most=0))
    calls: Calls = attrs.Factory(Calls)

    def count(self, name: str, now_ms: int) -> None:
        self.counters[name] += 1
        if name.startswith(REFUSED):
            self.refusals.add(name.removeprefix(REFUSED), now_ms)


@attrs.define(kw_only=True)
class Ports:
    """The world of a synchronous program.

    Args:
        realms: the modes and accounts whose records flows find and work on.
    """

    store: Store
    transport: Transport
    clock: Clock
    shared: Shared
    handlers: Handlers = attrs.Factory(Handlers)
    realms: Realms = EVERY_REALM

    def exchange(self, request: HttpRequest) -> HttpResponse | NoAnswer:
        try:
            return self.transport.send(request)
        except Exception as error:
            return _silence(error)

    def run_handler(self, call: RunHandler) -> Ran:
        calls = self.shared.calls
        return h.run_handler(call, self.handlers, self.clock.now_ms, calls, self.store)

    def run_in_transaction(self, call: RunInTransaction) -> Ran:
        calls = self.shared.calls
        return h.run_in_transaction(call, self.handlers, self.store, self.clock.now_ms, calls)

    def each(self, it: Each) -> int:
        """Jobs in this thread, and their handlers in others; see `Each`."""
        woken, locks = threading.Event(), _Locks(self.store)
        rounds = Rounds(
            it,
            self.shared.calls,
            woken.set,
            loads_many=isinstance(self.store, BatchLoading),
            commits_many=isinstance(self.store, BatchCommitting),
        )

        def performed(step: Any) -> object:
            match step:
                case LoadMany(loads):
                    found = cast(BatchLoading, self.store).load_many(_lookups(loads))
                    return _found(loads, found, self)
                case CommitMany(commits):
                    won = _commit_many(self.store, [one.change for one in commits])
                    return _won(commits, won, self, rounds.woken)
                case Begin(effect):
                    return self._begin(effect, woken.set)
                case Rest(seconds):
                    woken.wait(seconds)
                    woken.clear()
                case TakeLock(key):
                    return locks.take(key)
                case ReleaseLock(key):
                    locks.release(key)
                case _:
                    return perform(step, self)
            return None

        self._refresh_thread()
        with self.shared.recorded.waking(rounds.woken):
            try:
                return cast(int, _drive(rounds.run(), performed))
            finally:
                locks.release_all()

    def _begin(self, effect: Effect, ended: Callable[[], object]) -> InProgress:
        """An effect that takes its time."""
        calls = self.shared.calls
        if h.is_thread_bound(self.store):
            return _Ended(perform(effect, self))
        if isinstance(effect, RunHandler) and not calls.in_callers_thread:
            begun = h.begin_handler(effect, self.handlers, self.clock.now_ms, calls, self.store)
            if isinstance(begun, Ran):
                return _Ended(begun)
            begun.call.when_ended(ended)
            limit_s = math.inf if begun.timeout_s is None else begun.timeout_s
            return _InThread(begun.call, begun.ran, time.monotonic() + limit_s)
        call = Call().begin(partial(self._perform_in_thread, effect))
        call.when_ended(ended)
        return _InThread(call, call.result, math.inf)

    def _perform_in_thread(self, effect: Effect) -> object:
        self._refresh_thread()
        return perform(effect, self)

    def _refresh_thread(self) -> None:
        if isinstance(self.store, ThreadKeeping):
            self.store.refresh_thread()

    def with_slot(self, slot: WithSlot) -> object:
        calls, free = self.shared.calls, threading.Event()
        ends_at_s = time.monotonic() + slot.patience_s
        while (answer := calls.take(slot.key, slot.alone, slot, free.set)) == "wait":
            if not free.wait(ends_at_s - time.monotonic()):
                calls.leave(slot)
                answer = "busy"
                break
            free.clear()
        if answer == "busy":
            slot.flow.close()
            return None
        try:
            return run(slot.flow, self)
        finally:
            calls.give_back(slot.key)

    def with_lock(self, key: str, flow: Command[T]) -> T | None:
        store = _locking(self.store)
        with store.lock(key) as is_mine:
            if is_mine:
                return run(flow, self)
        flow.close()
        return None


@attrs.define(kw_only=True)
class AsyncPorts:
    """The world of an asynchronous program. `AsyncFlow` wraps plain functions into coroutines.

    Args:
        realms: the modes and accounts whose records flows find and work on.
        table: how effects are performed, if not as `EFFECTS` has it; see `stores.coalescing`.
        group_commit: changes that are due together are one transaction, where the store can.
    """

    store: AsyncStore
    transport: AsyncTransport
    clock: AsyncClock
    shared: Shared
    handlers: Handlers = attrs.Factory(Handlers)
    realms: Realms = EVERY_REALM
    table: EffectTable = attrs.Factory(lambda: EFFECTS)
    group_commit: bool = True

    async def exchange(self, request: HttpRequest) -> HttpResponse | NoAnswer:
        try:
            return await self.transport.send(request)
        except Exception as error:
            return _silence(error)

    async def run_handler(self, call: RunHandler) -> Ran:
        calls, store = self.shared.calls, blocking_face(self.store)
        return await h.arun_handler(call, self.handlers, self.clock.now_ms, calls, store)

    async def run_in_transaction(self, call: RunInTransaction) -> Ran:
        calls, store = self.shared.calls, blocking_face(self.store)
        return await h.arun_in_transaction(call, self.handlers, store, self.clock.now_ms, calls)

    async def each(self, it: Each) -> int:
        """Jobs in this task, and their handlers in others; see `Each`."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        locks, tasks = _AsyncLocks(self.store), set[asyncio.Task[object]]()
        store = blocking_face(self.store)
        rounds = Rounds(
            it,
            self.shared.calls,
            lambda: loop.call_soon_threadsafe(woken.set),
            loads_many=isinstance(store, BatchLoading),
            commits_many=isinstance(store, BatchCommitting) and self.group_commit,
        )

        async def performed(step: Any) -> object:
            match step:
                case LoadMany(loads):
                    found = await cast(AsyncBatchLoading, self.store).load_many(_lookups(loads))
                    return _found(loads, found, self)
                case CommitMany(commits):
                    won = await _acommit_many(self.store, [one.change for one in commits])
                    return _won(commits, won, self, rounds.woken)
                case Begin(effect):
                    task = loop.create_task(aperform(effect, self), name="xpay-flow job")
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    task.add_done_callback(lambda _: woken.set())
                    return _InTask(task)
                case Rest(seconds):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            await woken.wait()
                    woken.clear()
                case TakeLock(key):
                    return await locks.take(key)
                case ReleaseLock(key):
                    await locks.release(key)
                case _:
                    return await aperform(step, self)
            return None

        with self.shared.recorded.waking(rounds.woken):
            try:
                return cast(int, await _adrive(rounds.run(), performed))
            finally:
                for task in tasks:
                    task.cancel()
                await locks.release_all()

    async def with_slot(self, slot: WithSlot) -> object:
        calls, loop = self.shared.calls, asyncio.get_running_loop()
        ends_at_s = time.monotonic() + slot.patience_s
        while True:
            free = loop.create_future()
            answer = calls.take(slot.key, slot.alone, slot, partial(_free, loop, free))
            if answer != "wait":
                break
            try:
                done, _ = await asyncio.wait({free}, timeout=ends_at_s - time.monotonic())
            except asyncio.CancelledError:
                calls.leave(slot)
                raise
            if not done:
                calls.leave(slot)
                answer = "busy"
                break
        if answer == "busy":
            slot.flow.close()
            return None
        try:
            return await arun(slot.flow, self)
        finally:
            calls.give_back(slot.key)

    async def with_lock(self, key: str, flow: Command[T]) -> T | None:
        store = cast(AsyncRowLocking, _locking(self.store))
        async with store.lock(key) as is_mine:
            if is_mine:
                return await arun(flow, self)
        flow.close()
        return None


def _silence(error: Exception) -> NoAnswer:
    """Whatever a transport raises, the request may have been seen: there is no answer."""
    if isinstance(error, NoAnswer):
        return error
    log.error("the transport failed with an error of its own", exc_info=likeness(error))
    return NoAnswer(error_text(error))


@attrs.frozen(eq=False)
class _Ended:
    """An effect that was no wait; see `rounds.InProgress`."""

    _answer: object
    ends_at_s: float = math.inf

    def has_ended(self) -> bool:
        return True

    def result(self) -> object:
        return self._answer


@attrs.frozen(eq=False)
class _InThread:
    """An effect in a thread of its own; see `rounds.InProgress`."""

    _call: Call
    result: Callable[[], object]
    ends_at_s: float

    def has_ended(self) -> bool:
        return self._call.wait(0)


@attrs.frozen(eq=False)
class _InTask:
    """An effect in a task of its own; see `rounds.InProgress`."""

    _task: asyncio.Task[object]
    ends_at_s: float = math.inf

    def has_ended(self) -> bool:
        return self._task.done()

    def result(self) -> object:
        return self._task.result()


class _Locks:
    """The row locks of one `Each`."""

    def __init__(self, store: object) -> None:
        self._store = store
        self._held: dict[str, AbstractContextManager[bool]] = {}

    def take(self, key: str) -> bool:
        lock = _locking(self._store).lock(key)
        if is_mine := lock.__enter__():
            self._held[key] = lock
        else:
            lock.__exit__(None, None, None)
        return is_mine

    def release(self, key: str) -> None:
        self._held.pop(key).__exit__(None, None, None)

    def release_all(self) -> None:
        for key in list(self._held):
            self.release(key)


class _AsyncLocks:
    """The same, awaited."""

    def __init__(self, store: object) -> None:
        self._store = store
        self._held: dict[str, AbstractAsyncContextManager[bool]] = {}

    async def take(self, key: str) -> bool:
        lock = cast(AsyncRowLocking, _locking(self._store)).lock(key)
        if is_mine := await lock.__aenter__():
            self._held[key] = lock
        else:
            await lock.__aexit__(None, None, None)
        return is_mine

    async def release(self, key: str) -> None:
        await self._held.pop(key).__aexit__(None, None, None)

    async def release_all(self) -> None:
        for key in list(self._held):
            await self.release(key)


def _lookups(loads: Sequence[Load]) -> list[Lookup]:
    return [(load.alias, load.event) for load in loads]


def _found(loads: Sequence[Load], found: Sequence[object], ports: AnyPorts) -> list[object]:
    pairs = zip(loads, found, strict=True)
    return [_own(load, records, ports.realms) for load, records in pairs]


def _commit_many(store: Any, changes: Sequence[Change]) -> Sequence[bool]:
    # One alone has a statement of its own, which is cheaper.
    many: Sequence[bool] = store.commit_many(changes) if changes[1:] else [store.commit(*changes)]
    return many


async def _acommit_many(store: Any, changes: Sequence[Change]) -> Sequence[bool]:
    if not changes[1:]:
        return [await store.commit(*changes)]
    many: Sequence[bool] = await store.commit_many(changes)
    return many


def _won(
    commits: Sequence[Commit], won: Sequence[bool], ports: AnyPorts, by: Callable[[], object]
) -> Sequence[bool]:
    for commit, is_durable in zip(commits, won, strict=True):
        _note(commit, is_durable, ports.shared, by)
    return won


def _free(loop: asyncio.AbstractEventLoop, free: asyncio.Future[None]) -> None:
    def freed() -> None:
        if not free.done():
            free.set_result(None)

    # The loop is closed when the program ends in the middle; then nothing waits.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(freed)


def blocking_face(store: object) -> object:
    """A store that blocks, where it is awaited through threads; any other store as it is."""
    return getattr(store, "blocking", store)


# --- what performs each effect -------------------------------------------------------------------

AnyReader: TypeAlias = Reader | AsyncReader
AnyClock: TypeAlias = Clock | AsyncClock
AnyPorts: TypeAlias = Ports | AsyncPorts
ReadTable: TypeAlias = Mapping[type, Callable[[Any, AnyReader, AnyClock], object]]
EffectTable: TypeAlias = Mapping[type, Callable[[Any, AnyPorts], object]]


def _read(
    kind: type[E], call: Callable[[E, AnyReader, AnyClock], object]
) -> tuple[type, Callable[[Any, AnyReader, AnyClock], object]]:
    """A row for an effect that reads. It is given a reader and a clock, which cannot write."""
    return kind, call


def _write(
    kind: type[E], call: Callable[[E, AnyPorts], object]
) -> tuple[type, Callable[[Any, AnyPorts], object]]:
    """A row for an effect that is given all ports."""
    return kind, call


def _on_the_store(
    read: Callable[[Any, AnyReader, AnyClock], object],
) -> Callable[[Any, AnyPorts], object]:
    def on_the_store(effect: Any, ports: AnyPorts) -> object:
        return read(effect, ports.store, ports.clock)

    return on_the_store


# An effect, and the call of a port that performs it. Both worlds use these rows: where a port is
# asynchronous, the call returns something to await.
READS: Final[ReadTable] = dict(
    (
        _read(Load, lambda effect, reader, _: reader.load(effect.alias, effect.event)),
        _read(Versions, lambda effect, reader, _: _versions(reader).versions(effect.keys)),
        _read(History, lambda effect, reader, _: reader.history(effect.alias)),
        _read(Recent, lambda effect, reader, _: _listing(reader).recent(*_page_of(effect))),
        _read(Now, lambda _, __, clock: clock.now_ms()),
        _read(Pause, lambda effect, _, clock: clock.pause(effect.seconds)),
        # A query that waits looks again by itself. In a shop's flow, `watcher` does so for all.
        _read(WaitForChange, lambda it, _, clock: clock.pause(min(LOOK_EVERY_S, it.seconds))),
    )
)
WRITES: Final[EffectTable] = dict(
    (
        _write(Commit, lambda it, ports: ports.store.commit(it.change)),
        _write(BlankPayloads, lambda it, ports: _erasing(ports.store).blank_payloads(it.key)),
        _write(Scrub, lambda _, ports: _erasing(ports.store).scrub()),
        _write(Due, lambda it, ports: _due(it, ports)),
        _write(Orphaned, lambda it, ports: _orphaned(it, ports)),
        _write(WithLock, lambda it, ports: ports.with_lock(it.key, it.flow)),
        _write(Each, lambda it, ports: ports.each(it)),
        _write(WithSlot, lambda it, ports: ports.with_slot(it)),
        # Outside an `Each` one job is done after the other; see `rounds`.
        _write(EnterPlace, lambda _, __: None),
        _write(LeavePlace, lambda _, __: None),
        _write(Exchange, lambda it, ports: ports.exchange(it.request)),
        _write(RunHandler, lambda it, ports: ports.run_handler(it)),
        _write(RunInTransaction, lambda it, ports: ports.run_in_transaction(it)),
        _write(NewId, lambda it, ports: ports.shared.ids.new(it.prefix)),
        _write(
            AcquireRateLimit,
            lambda it, ports: ports.shared.rate_limiter.acquire(
                ports.clock.now_ms(), it.patience_s, background=it.background
            ),
        ),
        _write(
            LeaveRateLimit,
            lambda _, ports: ports.shared.rate_limiter.leave(ports.clock.now_ms()),
        ),
        _write(
            HoldRequests,
            lambda it, ports: ports.shared.rate_limiter.hold(ports.clock.now_ms(), it.seconds),
        ),
        _write(Count, lambda it, ports: ports.shared.count(it.name, ports.clock.now_ms())),
    )
)
EFFECTS: Final[EffectTable] = {
    **{kind: _on_the_store(call) for kind, call in READS.items()},
    **WRITES,
}


def perform(effect: Effect, ports: Ports) -> object:
    """Perform one effect in the synchronous world and return its answer."""
    answer = EFFECTS[type(effect)](effect, ports)
    _note(effect, answer, ports.shared)
    return _own(effect, answer, ports.realms)


def perform_read(
    effect: ReadEffect,
    reader: Reader,
    clock: Clock,
    table: ReadTable = READS,
    realms: Realms = EVERY_REALM,
) -> object:
    """Perform one reading effect in the synchronous world and return its answer."""
    return _own(effect, _reading(effect, table)(effect, reader, clock), realms)


async def aperform(effect: Effect, ports: AsyncPorts) -> object:
    """Perform one effect in the asynchronous world and return its answer."""
    answer = await _awaited(ports.table[type(effect)](effect, ports))
    _note(effect, answer, ports.shared)
    return _own(effect, answer, ports.realms)


async def aperform_read(
    effect: ReadEffect,
    reader: AsyncReader,
    clock: AsyncClock,
    table: ReadTable = READS,
    realms: Realms = EVERY_REALM,
) -> object:
    """Perform one reading effect in the asynchronous world and return its answer."""
    answer = await _awaited(_reading(effect, table)(effect, reader, clock))
    return _own(effect, answer, realms)


def _own(effect: Effect, answer: Any, realms: Realms) -> Any:
    """The answer, without records of other modes and accounts, which no flow may meet."""
    if realms == EVERY_REALM:
        return answer
    match effect:
        case Load() | History(everywhere=False):
            return [record for record in answer if record.realm in realms]
        case _:
            return answer


def _due(effect: Due, ports: AnyPorts) -> object:
    realms = ports.realms if effect.realms is None else effect.realms
    return ports.store.due(effect.work, effect.now_ms, effect.limit, realms)


def _orphaned(effect: Orphaned, ports: AnyPorts) -> object:
    return _locking(ports.store).orphaned(effect.now_ms, effect.limit, ports.realms)


def _note(
    effect: Effect, answer: object, shared: Shared, by: Callable[[], object] | None = None
) -> None:
    if isinstance(effect, Commit | RunInTransaction) and answer in (True, Ran("done")):
        shared.recorded.add(effect.change, by)
        shared.waiting.committed(effect.change)


async def _awaited(answer: object) -> object:
    return await answer if inspect.isawaitable(answer) else answer


def _reading(effect: ReadEffect, table: ReadTable) -> Callable[[Any, AnyReader, AnyClock], object]:
    if (call := table.get(type(effect))) is None:
        raise TypeError(f"a query yielded {type(effect).__name__}, which is not a read")
    return call


def _page_of(effect: Recent) -> tuple[Any, ...]:
    """The first page needs no cursor, which a store may not know yet."""
    page = (effect.limit, effect.realms)
    return (*page, effect.before) if effect.before else page


def _listing(reader: object) -> RecentListing:
    if not isinstance(reader, RecentListing):
        raise ConfigurationError(NOT_A_LISTING)
    return reader


def _erasing(store: object) -> Erasing:
    if not isinstance(store, Erasing):
        raise ConfigurationError(NOT_ERASING)
    return store


def _versions(reader: object) -> VersionReading:
    if not isinstance(reader, VersionReading):
        raise ConfigurationError(NOT_VERSION_READING)
    return reader


def _locking(store: object) -> RowLocking:
    if not isinstance(store, RowLocking):
        raise ConfigurationError(NOT_ROW_LOCKING)
    return store


# --- the loops -----------------------------------------------------------------------------------


def run(flow: Command[T], ports: Ports, *, deadline_ms: int | None = None) -> T:
    """Run a flow to its end, blocking.

    Args:
        deadline_ms: after this moment no store operation is begun; the flow meets StoreUnavailable
            instead. One that has begun cannot be stopped: that is for the store's own time-outs.
    """

    def in_time(effect: Effect) -> object:
        stored = isinstance(effect, (Load, History, Commit))
        if deadline_ms is not None and stored and ports.clock.now_ms() > deadline_ms:
            raise StoreUnavailable("the store took so long that the caller has given up")
        return perform(effect, ports)

    return cast(T, _drive(flow, in_time))


def run_query(
    flow: Query[T],
    reader: Reader,
    clock: Clock,
    table: ReadTable = READS,
    realms: Realms = EVERY_REALM,
) -> T:
    """Run a flow that can only read, with nothing in its hands that can write.

    Args:
        table: how effects are performed, if not as `READS` has it; see `watcher`.
        realms: the modes and accounts whose records the flow finds.
    """
    return cast(T, _drive(flow, lambda it: perform_read(it, reader, clock, table, realms)))


async def arun(flow: Command[T], ports: AsyncPorts) -> T:
    """Run a flow to its end, awaiting."""
    return cast(T, await _adrive(flow, lambda effect: aperform(effect, ports)))


async def arun_query(
    flow: Query[T],
    reader: AsyncReader,
    clock: AsyncClock,
    table: ReadTable = READS,
    realms: Realms = EVERY_REALM,
) -> T:
    """Run a flow that can only read, awaiting, with nothing in its hands that can write."""
    return cast(T, await _adrive(flow, lambda it: aperform_read(it, reader, clock, table, realms)))


def _drive(flow: Any, answer_to: Callable[[Any], Any]) -> Any:
    try:
        effect = next(flow)
        while True:
            try:
                answer = answer_to(effect)
            except Exception as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as end:
        return end.value
    finally:
        flow.close()


async def _adrive(flow: Any, answer_to: Callable[[Any], Awaitable[Any]]) -> Any:
    try:
        effect = next(flow)
        while True:
            try:
                answer = await answer_to(effect)
            except Exception as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as end:
        return end.value
    finally:
        flow.close()
