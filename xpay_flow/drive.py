"""Who performs what a flow asks for? Two short loops, one for each world.

A port that raises has its error thrown into the flow at the very point where it asked, so that a
flow reads like ordinary code. `NoAnswer` is a value: silence is an answer that flows expect.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import attrs

from .effects import (
    AcquireRateLimit,
    Command,
    Commit,
    Count,
    Due,
    Effect,
    Exchange,
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
    WithLock,
)
from .errors import ConfigurationError, StoreUnavailable, error_text
from .payment import Payment
from .ports import (
    AsyncClock,
    AsyncReader,
    AsyncRecentListing,
    AsyncRowLocking,
    AsyncStore,
    AsyncTransactional,
    AsyncTransport,
    Clock,
    HandlerRolledBack,
    HttpRequest,
    HttpResponse,
    Ids,
    NoAnswer,
    Reader,
    RecentListing,
    RowLocking,
    Store,
    Transactional,
    Transport,
)
from .records import Change, HandlerName, Record

T = TypeVar("T")

NOT_AWAITED = "the handler returned something to await; use AsyncFlow, or a plain function"
NOT_A_LISTING = "this store cannot list recent records; it has no method `recent`"
NOT_TRANSACTIONAL = "this store has no transaction for handlers; it has no method `commit_with`"
NOT_ROW_LOCKING = "this store holds no records for a worker; it has no method `lock`"
ONLY_IN_TRANSACTION = "this handler runs only within a transaction of the store"


class RateLimiter:
    """Keeps one process under xPay's rate limit, which counts all requests of the merchant.

    A few requests may go at once, then they are spaced evenly. Threads share one rate_limiter.
    """

    # Small beside any limit that xPay documents (10 per second, or 60 per minute).
    BURST = 5

    def __init__(self, requests_per_minute: int) -> None:
        self._spacing_ms = 60_000 / requests_per_minute
        self._free_at_ms = 0.0
        self._seen_ms = 0
        self._lock = threading.Lock()

    def acquire(self, now_ms: int, patience_s: float = math.inf) -> float:
        """Seconds until the next turn, which this call has taken unless that is too long."""
        with self._lock:
            # A clock that was set back must not make everybody wait until it has caught up.
            self._free_at_ms -= max(0, self._seen_ms - now_ms)
            self._seen_ms = now_ms
            earliest = now_ms - self.BURST * self._spacing_ms
            free_at_ms = max(self._free_at_ms, earliest) + self._spacing_ms
            wait_s = max(0.0, (free_at_ms - now_ms) / 1000)
            if wait_s <= patience_s:
                self._free_at_ms = free_at_ms
            return wait_s


@attrs.define(kw_only=True)
class Shared:
    """What both kinds of ports hold in this process: ids, pace, counters."""

    ids: Ids
    rate_limiter: RateLimiter
    counters: Counter[str] = attrs.Factory(Counter[str])


Handler = Callable[[Payment], object]
AsyncHandler = Callable[[Payment], Awaitable[object]]
# The second argument is the store's transaction, in the database's own terms.
TransactionalHandler = Callable[[Payment, Any], object]


def only_in_transaction(_: Payment) -> Any:
    """Stands among the handlers for one that is called with a transaction, and only so."""
    raise ConfigurationError(ONLY_IN_TRANSACTION)


@attrs.define(kw_only=True)
class Ports:
    """The world of a synchronous program."""

    store: Store
    transport: Transport
    clock: Clock
    shared: Shared
    handlers: dict[HandlerName, Handler] = attrs.Factory(dict[HandlerName, Handler])
    transactional: dict[HandlerName, TransactionalHandler] = attrs.Factory(
        dict[HandlerName, TransactionalHandler]
    )


@attrs.define(kw_only=True)
class AsyncPorts:
    """The world of an asynchronous program. `AsyncFlow` wraps plain functions into coroutines.

    Args:
        load: how a record is found, if not by the store's `load`.
        commit: how a change is committed, if not by the store's `commit`.
    """

    store: AsyncStore
    transport: AsyncTransport
    clock: AsyncClock
    shared: Shared
    handlers: dict[HandlerName, AsyncHandler] = attrs.Factory(dict[HandlerName, AsyncHandler])
    transactional: dict[HandlerName, TransactionalHandler] = attrs.Factory(
        dict[HandlerName, TransactionalHandler]
    )
    load: Callable[[str], Awaitable[Sequence[Record]]] | None = None
    commit: Callable[[Change], Awaitable[bool]] | None = None


def run(flow: Command[T], ports: Ports, *, deadline_ms: int | None = None) -> T:
    """Run a flow to its end, blocking.

    Args:
        deadline_ms: after this moment no store operation is begun; the flow meets StoreUnavailable
            instead. One that has begun cannot be stopped: that is for the store's own time-outs.
    """

    def in_time(effect: Effect) -> object:
        stored = isinstance(effect, (Load, Commit))
        if deadline_ms is not None and stored and ports.clock.now_ms() > deadline_ms:
            raise StoreUnavailable("the store took so long that whoever asked has given up")
        return perform(effect, ports)

    return cast(T, _drive(flow, in_time))


def run_query(flow: Query[T], reader: Reader, clock: Clock) -> T:
    """Run a flow that can only read, with nothing in its hands that can write."""
    return cast(T, _drive(flow, lambda effect: perform_read(effect, reader, clock)))


async def arun(flow: Command[T], ports: AsyncPorts) -> T:
    """Run a flow to its end, awaiting."""
    return cast(T, await _adrive(flow, lambda effect: aperform(effect, ports)))


async def arun_query(flow: Query[T], reader: AsyncReader, clock: AsyncClock) -> T:
    """Run a flow that can only read, awaiting, with nothing in its hands that can write."""
    return cast(T, await _adrive(flow, lambda effect: aperform_read(effect, reader, clock)))


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


def perform(effect: Effect, ports: Ports) -> object:
    """Perform one effect in the synchronous world and return its answer."""
    match effect:
        case Commit(change):
            return ports.store.commit(change)
        case Due(work, now_ms, limit):
            return ports.store.due(work, now_ms, limit)
        case Exchange(request):
            try:
                return ports.transport.send(request)
            except NoAnswer as silence:
                return silence
        case RunHandler(name, payment):
            return _ran(name, payment, ports.handlers)
        case RunInTransaction(name, payment, change):
            return _ran_in_transaction(change, payment, ports.transactional[name], ports.store)
        case WithLock(key, flow):
            return _held(key, flow, ports)
        case Orphaned(now_ms, limit):
            return _row_locking(ports.store).orphaned(now_ms, limit)
        case NewId() | AcquireRateLimit() | Count():
            return _perform_shared(effect, ports.shared, ports.clock)
        case _:
            return perform_read(effect, ports.store, ports.clock)


def perform_read(effect: ReadEffect, reader: Reader, clock: Clock) -> object:
    """Perform one reading effect in the synchronous world and return its answer."""
    match effect:
        case Load(alias):
            return reader.load(alias)
        case Recent(limit):
            if not isinstance(reader, RecentListing):
                raise ConfigurationError(NOT_A_LISTING)
            return reader.recent(limit)
        case Now():
            return clock.now_ms()
        case Pause(seconds):
            clock.pause(seconds)
            return None
        case _:
            raise TypeError(f"a query asked for {type(effect).__name__}, which is not a read")


async def aperform(effect: Effect, ports: AsyncPorts) -> object:
    """Perform one effect in the asynchronous world and return its answer."""
    match effect:
        case Load(alias):
            return await (ports.load or ports.store.load)(alias)
        case Commit(change):
            return await (ports.commit or ports.store.commit)(change)
        case Due(work, now_ms, limit):
            return await ports.store.due(work, now_ms, limit)
        case Exchange(request):
            return await _answered(request, ports.transport)
        case RunHandler(name, payment):
            return await _aran(name, payment, ports.handlers)
        case RunInTransaction(name, payment, change):
            return await _aran_in_transaction(
                change, payment, ports.transactional[name], ports.store
            )
        case WithLock(key, flow):
            return await _aheld(key, flow, ports)
        case Orphaned(now_ms, limit):
            return await _arow_locking(ports.store).orphaned(now_ms, limit)
        case NewId() | AcquireRateLimit() | Count():
            return _perform_shared(effect, ports.shared, ports.clock)
        case _:
            return await aperform_read(effect, ports.store, ports.clock)


async def _answered(request: HttpRequest, transport: AsyncTransport) -> HttpResponse | NoAnswer:
    try:
        return await transport.send(request)
    except NoAnswer as silence:
        return silence


async def aperform_read(effect: ReadEffect, reader: AsyncReader, clock: AsyncClock) -> object:
    """Perform one reading effect in the asynchronous world and return its answer."""
    match effect:
        case Load(alias):
            return await reader.load(alias)
        case Recent(limit):
            if not isinstance(reader, AsyncRecentListing):
                raise ConfigurationError(NOT_A_LISTING)
            return await reader.recent(limit)
        case Now():
            return clock.now_ms()
        case Pause(seconds):
            await clock.pause(seconds)
            return None
        case _:
            raise TypeError(f"a query asked for {type(effect).__name__}, which is not a read")


def _perform_shared(
    effect: NewId | AcquireRateLimit | Count, shared: Shared, clock: Clock | AsyncClock
) -> object:
    """The effects that touch this process only, and so are the same in both worlds."""
    match effect:
        case NewId(prefix):
            return shared.ids.new(prefix)
        case AcquireRateLimit(patience_s):
            return shared.rate_limiter.acquire(clock.now_ms(), patience_s)
        case Count(name):
            shared.counters[name] += 1
            return None


def _ran(name: HandlerName, payment: Payment, handlers: dict[HandlerName, Handler]) -> Ran:
    if (handler := handlers.get(name)) is None:
        return Ran("missing")
    return _called(lambda: handler(payment))


def _called(call: Callable[[], object]) -> Ran:
    try:
        returned = call()
    except (Exception, SystemExit) as error:
        # A handler that wants to exit has failed; it must not end the thread that delivers.
        return Ran("failed", error_text(error))
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        return Ran("failed", NOT_AWAITED)
    return Ran("done")


async def _aran(
    name: HandlerName,
    payment: Payment,
    handlers: dict[HandlerName, AsyncHandler],
) -> Ran:
    if (handler := handlers.get(name)) is None:
        return Ran("missing")
    return await _awaited(lambda: handler(payment))


async def _awaited(call: Callable[[], Awaitable[object]]) -> Ran:
    try:
        await call()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Something inside the handler was cancelled, not this task.
        return Ran("failed", error_text(error))
    except (Exception, SystemExit) as error:
        return Ran("failed", error_text(error))
    return Ran("done")


# --- within a transaction ------------------------------------------------------------------------


def _ran_in_transaction(
    change: Change, payment: Payment, handler: TransactionalHandler, store: object
) -> Ran:
    if not isinstance(store, Transactional):
        raise ConfigurationError(NOT_TRANSACTIONAL)
    try:
        won = store.commit_with(change, _work(handler, payment))
    except HandlerRolledBack as undone:
        return Ran("failed", str(undone))
    return Ran("done" if won else "lost")


async def _aran_in_transaction(
    change: Change, payment: Payment, handler: TransactionalHandler, store: object
) -> Ran:
    if not isinstance(store, AsyncTransactional):
        raise ConfigurationError(NOT_TRANSACTIONAL)
    work = _awork if inspect.iscoroutinefunction(handler) else _work
    try:
        won = await store.commit_with(change, work(handler, payment))
    except HandlerRolledBack as undone:
        return Ran("failed", str(undone))
    return Ran("done" if won else "lost")


def _work(handler: TransactionalHandler, payment: Payment) -> Callable[[Any], Any]:
    """The handler as a store calls it: whatever it raises undoes everything."""

    def work(transaction: Any) -> None:
        _or_undone(_called(lambda: handler(payment, transaction)))

    return work


def _awork(handler: TransactionalHandler, payment: Payment) -> Callable[[Any], Awaitable[object]]:
    """The same for a handler that is awaited."""

    async def work(transaction: Any) -> None:
        call = cast(Callable[[Payment, Any], Awaitable[object]], handler)
        _or_undone(await _awaited(lambda: call(payment, transaction)))

    return work


def _or_undone(ran: Ran) -> None:
    if ran.outcome != "done":
        raise HandlerRolledBack(ran.error)


# --- holding a record ----------------------------------------------------------------------------


def _held(key: str, flow: Command[T], ports: Ports) -> T | None:
    with _row_locking(ports.store).lock(key) as is_mine:
        if is_mine:
            return run(flow, ports)
    flow.close()
    return None


async def _aheld(key: str, flow: Command[T], ports: AsyncPorts) -> T | None:
    async with _arow_locking(ports.store).lock(key) as is_mine:
        if is_mine:
            return await arun(flow, ports)
    flow.close()
    return None


def _row_locking(store: object) -> RowLocking:
    if not isinstance(store, RowLocking):
        raise ConfigurationError(NOT_ROW_LOCKING)
    return store


def _arow_locking(store: object) -> AsyncRowLocking:
    if not isinstance(store, AsyncRowLocking):
        raise ConfigurationError(NOT_ROW_LOCKING)
    return store
