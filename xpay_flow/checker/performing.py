"""How is a live effect performed, and what does it change in the store and the world?

One piece of code for all that execute flows for real: to replay a trace, and to search on a
store that cannot be put back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import attrs

from xpay_flow.drive import Ports, Shared, perform
from xpay_flow.effects import (
    Commit,
    Exchange,
    Orphaned,
    Ran,
    RunHandler,
    RunInTransaction,
    WithLock,
)
from xpay_flow.errors import StoreError, StoreUnavailable
from xpay_flow.handlers import Handler
from xpay_flow.ports import NoAnswer

from . import outside as world
from .bounds import FaultKind
from .contents import Raised, store_answer
from .outside import Outside
from .plain import AnyFlow
from .shop import Shop
from .story import HANDLER_FAILED, LOST, NO_ANSWER, How


@attrs.frozen
class Hold:
    """Lock a record, if it is free; answers whether that worked."""

    key: str


@attrs.frozen
class LetGo:
    """Let go of the record that was held last."""

    key: str


@attrs.define(eq=False)
class Seat:
    """What one flow has of the store: an opened one, and the records that it holds there."""

    store: Any
    held: list[Any] = attrs.Factory(list[Any])

    def empty(self) -> None:
        """Let go of everything, as the end of a connection does."""
        while self.held:
            # A connection that is lost has let go already.
            with suppress(Exception):
                self.held.pop().__exit__(None, None, None)


@attrs.frozen(kw_only=True)
class Performed:
    """An effect that was performed.

    Args:
        outside: the world afterwards.
        stored: a change was stored.
    """

    answer: Any
    outside: Outside
    stored: bool = False


def performed(
    op: Any, how: How, fault: FaultKind | None, seat: Seat, shop: Shop, now: Outside
) -> Performed:
    """Perform an effect, in this way."""
    if isinstance(op, Exchange):
        response, after = world.answer(now, op.request)
        answer = response if how == "done" else NoAnswer(NO_ANSWER)
        return Performed(answer=answer, outside=now if how == "not applied" else after)
    if isinstance(op, RunHandler):
        why = shop.unrepeatable(op) if how == "done" else ""
        ran = shop.ran(op) if how == "done" else Ran("failed", HANDLER_FAILED)
        after = called(op, ran, now)
        if ran.outcome == "done" and why:
            after = world.happened(after, ("unrepeatable", why))
        return Performed(answer=ran, outside=after)
    if how == "not applied" and fault == "store":
        return Performed(answer=lost(), outside=now)
    answer = effect_answer(op, seat, shop, fails=fault == "handler")
    return Performed(
        answer=lost() if how == "applied" else answer,
        outside=called(op, answer, now) if isinstance(op, RunInTransaction) else now,
        stored=has_stored(op, answer),
    )


def lost() -> Raised:
    """The answer of a store when the connection breaks."""
    return Raised(StoreUnavailable(LOST))


def called(op: RunHandler | RunInTransaction, ran: Any, now: Outside) -> Outside:
    """The world after a handler has ended like this."""
    done = isinstance(ran, Ran) and ran.outcome == "done"
    return now.with_call(op.name, op.payment.idempotency_key) if done else now


def has_stored(op: Any, answer: Any) -> bool:
    """Whether a change was stored, by what the store has answered."""
    if isinstance(op, RunInTransaction):
        return isinstance(answer, Ran) and answer.outcome == "done"
    return isinstance(op, Commit) and answer is True


def effect_answer(op: Any, seat: Seat, shop: Shop, *, fails: bool = False) -> Any:
    """What the store answers.

    Args:
        fails: the handler within its transaction does.
    """
    try:
        match op:
            case RunInTransaction():
                return _within(op, seat, shop, fails)
            case Hold(key):
                held = seat.store.lock(key)
                is_mine = held.__enter__()
                if is_mine:
                    seat.held.append(held)
                return is_mine
            case LetGo():
                return seat.held.pop().__exit__(None, None, None)
            case Orphaned(now_ms, limit):
                return tuple(seat.store.orphaned(now_ms, limit))
            case _:
                return store_answer(seat.store, op)
    except StoreError as error:
        return Raised(error)


class _Stopped:
    """A clock for the times in log lines, of which a search has none."""

    def now_ms(self) -> int:
        return 0

    def pause(self, seconds: float) -> None:
        raise AssertionError(f"no handler call pauses, this one for {seconds} s")


def _within(op: RunInTransaction, seat: Seat, shop: Shop, fails: bool) -> Any:
    """A handler within the store's transaction, as the library itself calls it."""
    if not shop.calls_within:
        if fails:
            return Ran("failed", HANDLER_FAILED)
        won = store_answer(seat.store, Commit(op.change))
        return won if isinstance(won, Raised) else Ran("done" if won else "lost")
    nowhere: Any = None
    handler = _failing if fails else shop.transactional[op.name]
    ports = Ports(
        store=seat.store,
        transport=nowhere,
        # Read for the log only, which states when a failed call is made again.
        clock=_Stopped(),
        shared=Shared(ids=nowhere, rate_limiter=nowhere),
        handlers={op.name: Handler(handler, transactional=True)},
    )
    return perform(op, ports)


def _failing(*_: object) -> None:
    raise RuntimeError(HANDLER_FAILED.partition(": ")[2])


def taken_apart(flow: AnyFlow) -> AnyFlow:
    """The same flow, where to hold a record, what is done meanwhile, and to let go are steps."""
    return changed(flow, _apart)


def changed(flow: AnyFlow, instead: Callable[[Any], AnyFlow]) -> AnyFlow:
    """The same flow, each effect of which is answered as `instead` does."""
    answer: Any = None
    try:
        effect = next(flow)
        while True:
            try:
                answer = yield from instead(effect)
            except Exception as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as end:
        return end.value


def _apart(effect: Any) -> Generator[Any, Any, Any]:
    if not isinstance(effect, WithLock):
        return (yield effect)
    if not (yield Hold(effect.key)):
        effect.flow.close()
        return None
    try:
        answer = yield from taken_apart(effect.flow)
    except Exception:
        yield LetGo(effect.key)
        raise
    yield LetGo(effect.key)
    return answer
