"""Which handlers has this process, and how is one called?

One table holds them all: `name -> Handler(call, transactional)`. Whatever a handler raises becomes
a `Ran`, so that its failure is recorded and it is called again, and is logged with its traceback.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, cast

import attrs

from .call_threads import Call
from .calls import Calls, LeftCall, inside
from .effects import HandlerTry, Ran, RunHandler, RunInTransaction
from .errors import ConfigurationError, error_text
from .masking import likeness, masked
from .payment import Payment, UnmatchedEvent
from .ports import (
    AsyncTransactional,
    HandlerRolledBack,
    ThreadBound,
    ThreadKeeping,
    Transactional,
    TransactionClosing,
)
from .records import HandlerName

log = logging.getLogger("xpay_flow.handlers")

NOT_AWAITED = "the handler returned something to await; use AsyncFlow, or a plain function"
NOT_TRANSACTIONAL = "this store has no transaction for handlers; it has no method `commit_with`"
NOT_MATCHED = (
    "no on_unmatched handler: an authentic %s fits no payment of this flow (%s); "
    "register one, or list the type in quiet_event_types"
)
STILL_RUNS = "not called, since an earlier call for this payment has not ended in this process"
TOO_LATE = "the handler ended after its time limit; nothing of it was committed"
ONLY_IN_TRANSACTION = "this handler runs only within a transaction of the store"

# A coroutine that was cancelled may have to tidy up.
CANCEL_S: Final = 1.0
# A commit that has begun is waited for; its store has limits of its own.
COMMIT_S: Final = 10.0

PaymentHandler: TypeAlias = Callable[[Payment], object]
# The second argument is the store's transaction, in the database's own terms.
TransactionalHandler: TypeAlias = Callable[[Any, Any], object]


@attrs.frozen
class Handler:
    """One handler.

    Args:
        call: takes the payment; if `transactional`, the store's transaction, too. Of the handlers
            of `AsyncPorts`, those without a transaction are coroutine functions.
        transactional: what it writes there commits together with the record, or not at all.
        blocking: of those of `AsyncPorts`: a plain function, which is called in a thread.
    """

    call: Callable[..., Any]
    transactional: bool = False
    blocking: bool = False


Handlers: TypeAlias = dict[HandlerName, Handler]
Work: TypeAlias = Callable[[Any], object]
NowMs: TypeAlias = Callable[[], int]


class Failed(Protocol):
    """Makes a `Ran` of a failure, and a line of the log."""

    def __call__(self, text: str, error: BaseException | None = None, /) -> Ran: ...


def run_handler(
    call: RunHandler, handlers: Handlers, now_ms: NowMs, calls: Calls, store: object
) -> Ran:
    """Call the handler of this name, blocking."""
    begun = begin_handler(call, handlers, now_ms, calls, store)
    if isinstance(begun, Ran):
        return begun
    begun.call.wait(begun.timeout_s)
    return begun.ran()


def begin_handler(
    call: RunHandler, handlers: Handlers, now_ms: NowMs, calls: Calls, store: object
) -> Ran | Begun:
    """Begin to call the handler of this name; or how that has ended, where it is no wait."""
    handler = handlers.get(call.name)
    failed = partial(_failed, call, now_ms)
    if (cannot := _cannot_run(call, handler, calls, failed)) is not None:
        return cannot
    function = partial(_called, partial(cast(Handler, handler).call, call.payment), failed)
    if _stays_in_thread(store, calls):
        return function()
    return Begun(Call().begin(_inside(function, store)), call, calls, failed)


@attrs.frozen(eq=False)
class Begun:
    """The call of a handler, in a thread of its own."""

    call: Call
    _about: RunHandler
    _calls: Calls
    _failed: Failed

    @property
    def timeout_s(self) -> float | None:
        """How long to wait for its end."""
        return self._about.current.timeout_s

    def ran(self) -> Ran:
        """How it has ended; where it has not, it is left, and has failed."""
        if self.call.wait(0):
            return cast(Ran, self.call.result())
        return _left(self.call, self._about, self._calls, self._failed)


async def arun_handler(
    call: RunHandler, handlers: Handlers, now_ms: NowMs, calls: Calls, store: object
) -> Ran:
    """Call the handler of this name, awaiting: a coroutine in the loop, others in a thread."""
    handler = handlers.get(call.name)
    failed = partial(_failed, call, now_ms)
    if (cannot := _cannot_run(call, handler, calls, failed)) is not None:
        return cannot
    made = cast(Handler, handler).call
    if not cast(Handler, handler).blocking:
        return await _awaited(lambda: made(call.payment), failed, call, calls)

    def function() -> Ran | Awaitable[object]:
        try:
            returned = made(call.payment)
        except (Exception, SystemExit) as error:
            return failed(error_text(error), error)
        return cast("Awaitable[object]", returned) if inspect.isawaitable(returned) else Ran("done")

    ran = await _alimited(function, call, calls, failed, store)
    return ran if isinstance(ran, Ran) else await _awaited(lambda: ran, failed, call, calls)


def _cannot_run(
    call: RunHandler | RunInTransaction, handler: Handler | None, calls: Calls, failed: Failed
) -> Ran | None:
    if handler is None:
        if isinstance(call.payment, UnmatchedEvent):
            # No intent's attention and no counter that anybody watches would show it.
            log.error(NOT_MATCHED, call.payment.event_type, call.payment.event_id)
        return Ran("missing")
    if isinstance(call, RunHandler) and handler.transactional:
        return failed(ONLY_IN_TRANSACTION)
    if (left := calls.is_left(_about(call.payment))) is not None:
        # Two calls for one intent do not overlap; and this one shows that it does not end.
        same = left.name == call.name
        return attrs.evolve(failed(f"{STILL_RUNS}: {left}"), cut_short=same)
    return None


def _called(call: Callable[[], object], failed: Failed) -> Ran:
    try:
        returned = call()
    except (Exception, SystemExit) as error:
        # A handler that wants to exit has failed; it must not end the thread that delivers.
        return failed(error_text(error), error)
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        return failed(NOT_AWAITED)
    return Ran("done")


async def _awaited(
    call: Callable[[], Awaitable[object]],
    failed: Failed,
    about: RunHandler | RunInTransaction,
    calls: Calls,
) -> Ran:
    task = asyncio.ensure_future(_awaiting(call, failed))
    try:
        await asyncio.wait({task}, timeout=about.current.timeout_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not task.done():
        return await _cancelled(task, failed, about, calls)
    if task.cancelled():
        # Something inside the handler was cancelled, not this task.
        return failed(error_text(asyncio.CancelledError()))
    return task.result()


async def _awaiting(call: Callable[[], Awaitable[object]], failed: Failed) -> Ran:
    inside.set(True)
    try:
        await call()
    except (Exception, SystemExit) as error:
        return failed(error_text(error), error)
    return Ran("done")


async def _cancelled(
    task: asyncio.Future[Ran],
    failed: Failed,
    about: RunHandler | RunInTransaction,
    calls: Calls,
) -> Ran:
    """A coroutine at its time limit."""
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_S)
    if not task.done():
        ended = calls.leave_running(LeftCall(about.name, _about(about.payment)))
        task.add_done_callback(lambda _: ended())
    return _timed_out(about, failed)


# --- in a thread, up to a limit ------------------------------------------------------------------


def _stays_in_thread(store: object, calls: Calls) -> bool:
    return calls.in_callers_thread or is_thread_bound(store)


def is_thread_bound(store: object) -> bool:
    """Whether this thread has a transaction in which all must happen."""
    return isinstance(store, ThreadBound) and store.is_thread_bound


def _left(call: Call, about: RunHandler | RunInTransaction, calls: Calls, failed: Failed) -> Ran:
    """A thread at its time limit is left: it cannot be stopped."""
    call.abandon()
    call.when_ended(calls.leave_running(LeftCall(about.name, _about(about.payment))))
    return _timed_out(about, failed)


async def _alimited(
    function: Callable[[], Any],
    about: RunHandler | RunInTransaction,
    calls: Calls,
    failed: Failed,
    store: object,
) -> Any:
    call = Call().begin(_inside(function, store))
    await _until_ended(call, about.current.timeout_s)
    if call.wait(0):
        return call.result()
    return _left(call, about, calls, failed)


async def _until_ended(call: Call, timeout_s: float | None) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        # The loop is closed when the program ends in the middle; then nothing waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_set, ended)

    call.when_ended(tell)
    await asyncio.wait({ended}, timeout=timeout_s)


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def _inside(function: Callable[[], Any], store: object) -> Callable[[], Any]:
    """`function` as it runs in a thread of its own."""

    def run() -> Any:
        inside.set(True)
        if isinstance(store, ThreadKeeping):
            store.refresh_thread()
        return function()

    return run


def _timed_out(about: RunHandler | RunInTransaction, failed: Failed) -> Ran:
    text = f"TimeoutError: the handler has not ended after {about.current.timeout_s:g} s"
    return attrs.evolve(failed(text), cut_short=True)


def _failed(
    call: RunHandler | RunInTransaction,
    now_ms: NowMs,
    text: str,
    error: BaseException | None = None,
) -> Ran:
    """A failure as a value for the flow, and in the log with its traceback: only here is it had.

    What the log shows is a likeness of the error: its own texts may quote what a customer typed.
    """
    log.error(
        "%s for %s failed at attempt %d, %s: %s",
        call.name,
        _about(call.payment),
        call.current.number,
        _what_follows(call.current, now_ms),
        text,
        exc_info=None if error is None else likeness(error),
    )
    return Ran("failed", text)


def _about(payment: Payment | UnmatchedEvent) -> str:
    return payment.event_id if isinstance(payment, UnmatchedEvent) else payment.intent_id


def _what_follows(current: HandlerTry, now_ms: NowMs) -> str:
    if current.retry_s is None:
        return "given up"
    next_at = datetime.fromtimestamp(now_ms() // 1000 + current.retry_s, UTC)
    return f"next attempt at {next_at:%Y-%m-%dT%H:%M:%SZ}"


# --- within a transaction ------------------------------------------------------------------------


def run_in_transaction(
    call: RunInTransaction, handlers: Handlers, store: object, now_ms: NowMs, calls: Calls
) -> Ran:
    """Commit the change together with what the handler writes, blocking."""
    handler = _transactional(call.name, handlers)
    failed = partial(_failed, call, now_ms)
    if (cannot := _cannot_run(call, handler, calls, failed)) is not None:
        return cannot
    if _stays_in_thread(store, calls):
        work = _work(handler.call, call.payment, failed)
        return _committed(store, call, work, failed)
    made, work = _begun(call, handler.call, store, failed)
    if made.wait(call.current.timeout_s) or (not made.abandon() and made.wait(COMMIT_S)):
        return cast(Ran, made.result())
    _close_transaction(store, work)
    return _left(made, call, calls, failed)


async def arun_in_transaction(
    call: RunInTransaction, handlers: Handlers, store: object, now_ms: NowMs, calls: Calls
) -> Ran:
    """Commit the change together with what the handler writes, awaiting.

    Args:
        store: awaited; or one that blocks, which is then called in the handler's thread.
    """
    handler = _transactional(call.name, handlers)
    failed = partial(_failed, call, now_ms)
    if (cannot := _cannot_run(call, handler, calls, failed)) is not None:
        return cannot
    if inspect.iscoroutinefunction(handler.call):
        awork = _awork(handler.call, call, failed, calls)
        return await _acommitted(store, call, awork, failed)
    if not inspect.iscoroutinefunction(getattr(store, "commit_with", None)):
        return await _acommitted_in_thread(call, handler.call, store, failed, calls)
    return await _acommitted(store, call, _work(handler.call, call.payment, failed), failed)


async def _acommitted_in_thread(
    call: RunInTransaction,
    handler: TransactionalHandler,
    store: object,
    failed: Failed,
    calls: Calls,
) -> Ran:
    made, work = _begun(call, handler, store, failed)
    await _until_ended(made, call.current.timeout_s)
    if not made.wait(0) and not made.abandon():
        await _until_ended(made, COMMIT_S)
    if made.wait(0):
        return cast(Ran, made.result())
    # It may wait for a statement that is running.
    await asyncio.get_running_loop().run_in_executor(None, _close_transaction, store, work)
    return _left(made, call, calls, failed)


def _begun(
    call: RunInTransaction, handler: TransactionalHandler, store: object, failed: Failed
) -> tuple[Call, Work]:
    """The whole transaction in a thread of its own, and what the store calls within it."""
    made = Call()
    work = _work(handler, call.payment, failed, made)
    made.begin(_inside(partial(_committed, store, call, work, failed), store))
    return made, work


def _close_transaction(store: object, work: Work) -> None:
    """What a call that was left has written must not stay, and must not lock others out."""
    if isinstance(store, TransactionClosing):
        try:
            store.close_transaction(work)
        except Exception as error:
            log.error(
                "the transaction of a handler that was left cannot be closed",
                exc_info=likeness(error),
            )


def _committed(store: object, call: RunInTransaction, work: Work, failed: Failed) -> Ran:
    if not isinstance(store, Transactional):
        raise ConfigurationError(NOT_TRANSACTIONAL)
    try:
        won = store.commit_with(call.change, work)
    except HandlerRolledBack as undone:
        return _rolled_back(undone, failed)
    return Ran("done" if won else "lost")


async def _acommitted(store: object, call: RunInTransaction, work: Any, failed: Failed) -> Ran:
    if not isinstance(store, AsyncTransactional):
        raise ConfigurationError(NOT_TRANSACTIONAL)
    try:
        won = await store.commit_with(call.change, work)
    except HandlerRolledBack as undone:
        return _rolled_back(undone, failed)
    return Ran("done" if won else "lost")


def _transactional(name: HandlerName, handlers: Handlers) -> Handler:
    handler = handlers.get(name)
    if handler is None or not handler.transactional:
        raise ConfigurationError(f"this process has no {name} that takes a transaction")
    return handler


def _work(
    handler: TransactionalHandler,
    payment: Payment | UnmatchedEvent,
    failed: Failed,
    made: Call | None = None,
) -> Work:
    """The handler as a store calls it: whatever it raises rolls everything back.

    Args:
        made: the call in whose thread this is; once it was left, nothing of it is committed.
    """

    def work(transaction: Any) -> None:
        if made is not None and made.is_abandoned:
            # It has waited for its turn to write.
            raise _HandlerFailed(Ran("failed", TOO_LATE))
        ran = _called(lambda: handler(payment, transaction), failed)
        in_time = made is None or made.may_end()
        _or_rolled_back(ran if in_time else Ran("failed", TOO_LATE))

    return work


def _awork(
    handler: Callable[..., Any], call: RunInTransaction, failed: Failed, calls: Calls
) -> Callable[[Any], Awaitable[object]]:
    """The same for a handler that is awaited. At its time limit everything is rolled back."""

    async def work(transaction: Any) -> None:
        made = cast(Callable[[object, Any], Awaitable[object]], handler)
        _or_rolled_back(
            await _awaited(lambda: made(call.payment, transaction), failed, call, calls)
        )

    return work


class _HandlerFailed(HandlerRolledBack):
    """The handler has failed by itself, and this is in the log."""

    def __init__(self, ran: Ran) -> None:
        super().__init__(ran.error)
        self.ran = ran


def _or_rolled_back(ran: Ran) -> None:
    if ran.outcome != "done":
        raise _HandlerFailed(ran)


def _rolled_back(undone: HandlerRolledBack, failed: Failed) -> Ran:
    if isinstance(undone, _HandlerFailed):
        return undone.ran
    # The store refused to commit what the handler left behind.
    return failed(masked(str(undone)), undone)
