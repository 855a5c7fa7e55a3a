"""Which handlers has this process, and how is one called?

One table holds them all: `name -> Handler(call, transactional)`. Whatever a handler raises becomes
a `Ran`, so that its failure is recorded and it is called again.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

import attrs

from .effects import Ran
from .errors import ConfigurationError, error_text
from .payment import Payment
from .ports import AsyncTransactional, HandlerRolledBack, Transactional
from .records import Change, HandlerName

NOT_AWAITED = "the handler returned something to await; use AsyncFlow, or a plain function"
NOT_TRANSACTIONAL = "this store has no transaction for handlers; it has no method `commit_with`"
ONLY_IN_TRANSACTION = "this handler runs only within a transaction of the store"

PaymentHandler: TypeAlias = Callable[[Payment], object]
# The second argument is the store's transaction, in the database's own terms.
TransactionalHandler: TypeAlias = Callable[[Payment, Any], object]


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


def run_handler(name: HandlerName, payment: Payment, handlers: Handlers) -> Ran:
    """Call the handler of this name, blocking."""
    handler = handlers.get(name)
    return _cannot_run(handler) or _called(lambda: cast(Handler, handler).call(payment))


async def arun_handler(name: HandlerName, payment: Payment, handlers: Handlers) -> Ran:
    """Call the handler of this name, awaiting."""
    handler = handlers.get(name)
    return _cannot_run(handler) or await _awaited(lambda: cast(Handler, handler).call(payment))


def _cannot_run(handler: Handler | None) -> Ran | None:
    if handler is None:
        return Ran("missing")
    return Ran("failed", ONLY_IN_TRANSACTION) if handler.transactional else None


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


def run_in_transaction(
    name: HandlerName, payment: Payment, change: Change, handlers: Handlers, store: object
) -> Ran:
    """Commit `change` together with what the handler writes, blocking."""
    handler = _transactional(name, handlers)
    if not isinstance(store, Transactional):
        raise ConfigurationError(NOT_TRANSACTIONAL)
    try:
        won = store.commit_with(change, _work(handler, payment))
    except HandlerRolledBack as undone:
        return Ran("failed", str(undone))
    return Ran("done" if won else "lost")


async def arun_in_transaction(
    name: HandlerName, payment: Payment, change: Change, handlers: Handlers, store: object
) -> Ran:
    """Commit `change` together with what the handler writes, awaiting."""
    handler = _transactional(name, handlers)
    if not isinstance(store, AsyncTransactional):
        raise ConfigurationError(NOT_TRANSACTIONAL)
    work = _awork if inspect.iscoroutinefunction(handler) else _work
    try:
        won = await store.commit_with(change, work(handler, payment))
    except HandlerRolledBack as undone:
        return Ran("failed", str(undone))
    return Ran("done" if won else "lost")


def _transactional(name: HandlerName, handlers: Handlers) -> Callable[..., Any]:
    handler = handlers.get(name)
    if handler is None or not handler.transactional:
        raise ConfigurationError(f"this process has no {name} that takes a transaction")
    return handler.call


def _work(handler: TransactionalHandler, payment: Payment) -> Callable[[Any], Any]:
    """The handler as a store calls it: whatever it raises rolls everything back."""

    def work(transaction: Any) -> None:
        _or_rolled_back(_called(lambda: handler(payment, transaction)))

    return work


def _awork(handler: TransactionalHandler, payment: Payment) -> Callable[[Any], Awaitable[object]]:
    """The same for a handler that is awaited."""

    async def work(transaction: Any) -> None:
        call = cast(Callable[[Payment, Any], Awaitable[object]], handler)
        _or_rolled_back(await _awaited(lambda: call(payment, transaction)))

    return work


def _or_rolled_back(ran: Ran) -> None:
    if ran.outcome != "done":
        raise HandlerRolledBack(ran.error)
