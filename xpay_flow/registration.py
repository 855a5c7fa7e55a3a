"""How does a shop register its handlers? With the decorators that both faces have."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, cast, overload

from .errors import ConfigurationError
from .flows.outbox import WorkerCapabilities
from .handlers import Handler, PaymentHandler
from .payment import Payment, UnmatchedEvent
from .ports import RowLocking, Transactional
from .records import HandlerName
from .stores.awaited import AwaitedStore

H = TypeVar("H", bound=Callable[[Payment], Any])
W = TypeVar("W", bound=Callable[[Payment, Any], Any])
U = TypeVar("U", bound=Callable[[UnmatchedEvent], Any])
V = TypeVar("V", bound=Callable[[UnmatchedEvent, Any], Any])


class _Registration(Generic[H]):
    """The decorators of `Flow` and `AsyncFlow`, and what is registered with them."""

    store: Any
    ports: Any

    @overload
    def on_success(self, handler: H) -> H: ...
    @overload
    def on_success(self, *, transactional: Literal[True]) -> Callable[[W], W]: ...
    def on_success(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what fulfils an order. Called at least once for each paid intent, always with
        the same `payment.idempotency_key`; due once.

        With `transactional=True` the handler is given the store's transaction, too, and what it
        writes there takes effect exactly once. This holds for the other handlers as well.

        Raises:
            ConfigurationError: the store has no transaction for handlers.
        """
        return self._registered("on_success", handler, transactional)

    @overload
    def on_failed(self, handler: H) -> H: ...
    @overload
    def on_failed(self, *, transactional: Literal[True]) -> Callable[[W], W]: ...
    def on_failed(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what follows a failed attempt: once for an intent, which may still be paid."""
        return self._registered("on_failed", handler, transactional)

    @overload
    def on_refunded(self, handler: H) -> H: ...
    @overload
    def on_refunded(self, *, transactional: Literal[True]) -> Callable[[W], W]: ...
    def on_refunded(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what follows a refund, once for each refund id."""
        return self._registered("on_refunded", handler, transactional)

    @overload
    def on_dispute(self, handler: H) -> H: ...
    @overload
    def on_dispute(self, *, transactional: Literal[True]) -> Callable[[W], W]: ...
    def on_dispute(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what follows a decided dispute: once for each `payment.dispute_id` and outcome.

        `payment.dispute_status` is `won` or `lost`. That a dispute was opened reaches
        `on_attention`.
        """
        return self._registered("on_dispute", handler, transactional)

    @overload
    def on_attention(self, handler: H) -> H: ...
    @overload
    def on_attention(self, *, transactional: Literal[True]) -> Callable[[W], W]: ...
    def on_attention(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what alerts an operator, once for each `payment.reason`."""
        return self._registered("on_attention", handler, transactional)

    @overload
    def on_unmatched(self, handler: U) -> U: ...
    @overload
    def on_unmatched(self, *, transactional: Literal[True]) -> Callable[[V], V]: ...
    def on_unmatched(self, handler: Any = None, *, transactional: bool = False) -> Any:
        """Register what happens to authentic events that fit no payment of this flow, once each.

        Such as events of subscriptions and payment links. `settings.quiet_event_types` lists the
        types for which it is not called.
        """
        return self._registered("on_unmatched", handler, transactional)

    def _registered(self, name: HandlerName, handler: Any, transactional: bool) -> Any:
        if handler is None and not transactional:
            raise ConfigurationError(f"write @flow.{name}, or {name}(transactional=True)")
        if transactional and not isinstance(self.store, Transactional):
            raise ConfigurationError(
                f"{name}(transactional=True) needs a store that is Transactional, and "
                f"{type(self.store).__name__} is not: it has no method commit_with"
            )

        def register(handler: Any) -> Any:
            prepare = self._in_transaction if transactional else self._plain
            blocking = prepare(name, handler)
            self.ports.handlers[name] = Handler(handler, transactional, blocking)
            return handler

        return register if handler is None else register(handler)

    def _plain(self, name: HandlerName, handler: Callable[..., Any], /) -> bool:
        """Whether the handler blocks, and so runs in a thread. Raises ConfigurationError where it
        could not be called.
        """
        raise NotImplementedError

    def _in_transaction(self, name: HandlerName, handler: Callable[..., Any], /) -> bool:
        """The same, for one that is given the store's transaction."""
        raise NotImplementedError

    @property
    def handlers(self) -> frozenset[HandlerName]:
        """The handlers that are registered in this process."""
        return frozenset(self.ports.handlers)

    @property
    def capabilities(self) -> WorkerCapabilities:
        """The capabilities of this process: its handlers, and what its store can do for them."""
        return WorkerCapabilities(
            handlers=self.handlers,
            transactional=frozenset(
                name for name, handler in self.ports.handlers.items() if handler.transactional
            ),
            row_locks=isinstance(self.store, RowLocking) and self.store.can_lock,
            slots=True,
        )


class HandlerRegistration(_Registration[PaymentHandler]):
    """Handlers of a `Flow`: plain functions."""

    def _plain(self, name: HandlerName, handler: Callable[..., Any], /) -> bool:
        _refuse_coroutine(name, handler)
        return True

    _in_transaction = _plain


class AsyncHandlerRegistration(_Registration[Callable[[Payment], Any]]):
    """Handlers of an `AsyncFlow`: coroutine functions, or plain ones, which run in threads."""

    def _plain(self, _: HandlerName, handler: Callable[..., Any], /) -> bool:
        return not inspect.iscoroutinefunction(handler)

    def _in_transaction(self, name: HandlerName, handler: Callable[..., Any], /) -> bool:
        kind: Any = cast(object, self.ports.store).__class__
        in_threads: Any = AwaitedStore
        if getattr(kind, "commit_with", None) is in_threads.commit_with:
            _refuse_coroutine(name, handler, "its store is called in threads; use")
        elif not inspect.iscoroutinefunction(handler):
            raise ConfigurationError(
                f"{name} must be a coroutine: its store is awaited, and so is what it writes there"
            )
        return not inspect.iscoroutinefunction(handler)


def _refuse_coroutine(
    name: HandlerName, handler: Callable[..., object], why: str = "use AsyncFlow, or"
) -> None:
    if inspect.iscoroutinefunction(handler):
        raise ConfigurationError(f"{name} is a coroutine; {why} a plain function")
