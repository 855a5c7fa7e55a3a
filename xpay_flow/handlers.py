"""Which handlers has this process, and how is one called?

One table holds them all: `name -> Handler(call, transactional)`. Whatever a handler raises becomes
a `Ran`, so that its failure is recorded and it is called again, and is logged with its traceback.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

import attrs

from .effects import HandlerTry, Ran, RunHandler, RunInTransaction
from .errors import ConfigurationError, error_text
from .payment import Payment, UnmatchedEvent
from .ports import AsyncTransactional, HandlerRolledBack, Transactional
from .records import HandlerName

log = logging.getLogger("xpay_flow.handlers")

NOT_AWAITED = "the handler returned something to await; use AsyncFlow, or a plain function"
NOT_TRANSACTIONAL = "this store has no transaction for handlers; it has no method `commit_with`"
NOT_MATCHED = (
    "no on_unmatched handler: an authentic %s fits no payment of this flow (%s); "
    "register one, or list the type in quiet_event_types"
)
ONLY_IN_TRANSACTION = "this handler runs only within a transaction of the store"

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
    """

    call: Callable[..., Any]
    transactional: bool = False


Handlers: TypeAlias = dict[HandlerName, Handler]
NowMs: TypeAlias = Callable[[], int]


class Failed(Protocol):
    """Makes a `Ran` of a failure, and a line of the log."""

    def __call__(self, text: str, error: BaseException | None = None, /) -> Ran: ...


def run_handler(call: RunHandler, handlers: Handlers, now_ms: NowMs) -> Ran:
    """Call the handler of this name, blocking."""
    handler = handlers.get(call.name)
    failed = partial(_failed, call, now_ms)
    if (cannot := _cannot_run(call, handler, failed)) is not None:
        return cannot
    return _called(lambda: cast(Handler, handler).call(call.payment), failed)


async def arun_handler(call: RunHandler, handlers: Handlers, now_ms: NowMs) -> Ran:
    """Call the handler of this name, awaiting."""
    handler = handlers.get(call.name)
    failed = partial(_failed, call, now_ms)
    if (cannot := _cannot_run(call, handler, failed)) is not None:
        return cannot
    return await _awaited(lambda: cast(Handler, handler).call(call.payment), failed)


def _cannot_run(call: RunHandler, handler: Handler | None, failed: Failed) -> Ran | None:
    if handler is None:
        if isinstance(call.payment, UnmatchedEvent):
            # No intent's attention and no counter that anybody watches would show it.
            log.error(NOT_MATCHED, call.payment.event_type, call.payment.event_id)
        return Ran("missing")
    return failed(ONLY_IN_TRANSACTION) if handler.transactional else None


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


async def _awaited(call: Callable[[], Awaitable[object]], failed: Failed) -> Ran:
    try:
        await call()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Something inside the handler was cancelled, not this task.
        return failed(error_text(error), error)
    except (Exception, SystemExit) as error:
        return failed(error_text(error), error)
    return Ran("done")


def _failed(
    call: RunHandler | RunInTransaction,
    now_ms: NowMs,
    text: str,
    error: BaseException | None = None,
) -> Ran:
    """A failure as a value for the flow, and in the log with its traceback: only here is it had."""
    log.error(
        "%s for %s failed at attempt %d, %s: %s",
        call.name,
        _about(call.payment),
        call.current.number,
        _what_follows(call.current, now_ms),
        text,
        exc_info=error,
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
    call: RunInTransaction, handlers: Handlers, store: object, now_ms: NowMs
) -> Ran:
    """Commit the change together with what the handler writes, blocking."""
    handler = _transactional(call.name, handlers)
    if not isinstance(store, Transactional):
        raise ConfigurationError(NOT_TRANSACTIONAL)
    failed = partial(_failed, call, now_ms)
    try:
        won = store.commit_with(call.change, _work(handler, call.payment, failed))
    except HandlerRolledBack as undone:
        return _rolled_back(undone, failed)
    return Ran("done" if won else "lost")


async def arun_in_transaction(
    call: RunInTransaction, handlers: Handlers, store: object, now_ms: NowMs
) -> Ran:
    """Commit the change together with what the handler writes, awaiting."""
    handler = _transactional(call.name, handlers)
    if not isinstance(store, AsyncTransactional):
        raise ConfigurationError(NOT_TRANSACTIONAL)
    failed = partial(_failed, call, now_ms)
    work = _awork if inspect.iscoroutinefunction(handler) else _work
    try:
        won = await store.commit_with(call.change, work(handler, call.payment, failed))
    except HandlerRolledBack as undone:
        return _rolled_back(undone, failed)
    return Ran("done" if won else "lost")


def _transactional(name: HandlerName, handlers: Handlers) -> Callable[..., Any]:
    handler = handlers.get(name)
    if handler is None or not handler.transactional:
        raise ConfigurationError(f"this process has no {name} that takes a transaction")
    return handler.call


def _work(
    handler: TransactionalHandler, payment: Payment | UnmatchedEvent, failed: Failed
) -> Callable[[Any], Any]:
    """The handler as a store calls it: whatever it raises rolls everything back."""

    def work(transaction: Any) -> None:
        _or_rolled_back(_called(lambda: handler(payment, transaction), failed))

    return work


def _awork(
    handler: TransactionalHandler, payment: Payment | UnmatchedEvent, failed: Failed
) -> Callable[[Any], Awaitable[object]]:
    """The same for a handler that is awaited."""

    async def work(transaction: Any) -> None:
        call = cast(Callable[[object, Any], Awaitable[object]], handler)
        _or_rolled_back(await _awaited(lambda: call(payment, transaction), failed))

    return work


class _HandlerFailed(HandlerRolledBack):
    """The handler has failed by itself, and this is in the log."""


def _or_rolled_back(ran: Ran) -> None:
    if ran.outcome != "done":
        raise _HandlerFailed(ran.error)


def _rolled_back(undone: HandlerRolledBack, failed: Failed) -> Ran:
    if isinstance(undone, _HandlerFailed):
        return Ran("failed", str(undone))
    # The store refused to commit what the handler left behind.
    return failed(str(undone), undone)
