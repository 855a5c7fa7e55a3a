"""How do many webhooks that arrive together share one read of the store, and one flush to the disk?

The first goes at once. Those that arrive while it is on its way go together in the next statement
or transaction, and each is answered after that one only. So no call waits for company, and no
answer is older than its call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import attrs

from xpay_flow.effects import Commit, Load
from xpay_flow.errors import ConfigurationError
from xpay_flow.events import EventIdentity
from xpay_flow.ports import (
    AsyncBatchCommitting,
    AsyncBatchLoading,
    AsyncReader,
    AsyncStore,
    BatchCommitting,
    BatchLoading,
)
from xpay_flow.records import Change, Record

# What goes together: enough to share its cost, and not so much that the first of them waits for
# long.
TOGETHER_MAX: Final = 64

Q = TypeVar("Q")
A = TypeVar("A")


def coalesced_effects(
    store: object, awaited: AsyncStore, group_commit: bool | None
) -> Mapping[type, Callable[[Any, Any], object]]:
    """Rows of the effect table in which effects share statements, where the store can do that.

    Args:
        awaited: the store as it is awaited, which may be `store` itself.
        group_commit: False keeps commits apart; True insists on them together.

    Raises:
        ConfigurationError: `group_commit` is True, and the store has no `commit_many`.
    """
    rows: dict[type, Callable[[Any, Any], object]] = {}
    if isinstance(store, BatchLoading):
        load = coalesced_load(awaited)
        rows[Load] = lambda effect, _: load(effect.alias, effect.event)
    can_commit = isinstance(store, BatchCommitting)
    if group_commit and not can_commit:
        raise ConfigurationError(
            f"group_commit needs a store that is BatchCommitting, and {type(store).__name__} is "
            "not: it has no method commit_many"
        )
    if can_commit and group_commit is not False:
        commit = coalesced_commit(awaited)
        rows[Commit] = lambda effect, _: commit(effect.change)
    return rows


def coalesced_commit(store: AsyncStore) -> Callable[[Change], Awaitable[bool]]:
    """`commit` of an `AsyncBatchCommitting` store. A caller that gives up may have committed."""
    assert isinstance(store, AsyncBatchCommitting)
    # Of two changes of one record, the second goes with the next, and loses.
    return Coalescing(store.commit, store.commit_many, lambda change: change.record.key).call


def coalesced_load(
    store: AsyncReader,
) -> Callable[[str, EventIdentity | None], Awaitable[Sequence[Record]]]:
    """`load` of a store, or its reader, that is `AsyncBatchLoading`."""
    assert isinstance(store, AsyncBatchLoading)
    many = Coalescing(lambda lookup: store.load(*lookup), store.load_many, lambda lookup: lookup)

    async def load(alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return await many.call((alias, event))

    return load


@attrs.define(eq=False)
class _Waiting(Generic[Q, A]):
    question: Q
    answer: asyncio.Future[A]


class Coalescing(Generic[Q, A]):
    """Merges many calls of a store into one.

    Args:
        alone: answers one.
        together: answers many, in their order.
        key: no two questions with one key go together.
    """

    def __init__(
        self,
        alone: Callable[[Q], Awaitable[A]],
        together: Callable[[Sequence[Q]], Awaitable[Sequence[A]]],
        key: Callable[[Q], Hashable],
    ) -> None:
        self._alone, self._together, self._key = alone, together, key
        self._waiting: list[_Waiting[Q, A]] = []
        self._asking: asyncio.Task[None] | None = None

    async def call(self, question: Q) -> A:
        """What `alone` would answer."""
        loop = asyncio.get_running_loop()
        if self._asking is None or self._asking.done() or self._asking.get_loop() is not loop:
            # What waited in another loop, which has ended, waits no more.
            self._waiting = []
            self._asking = loop.create_task(self._ask_all(), name="xpay-flow gathering")
        waiting: _Waiting[Q, A] = _Waiting(question, loop.create_future())
        self._waiting.append(waiting)
        return await waiting.answer

    async def _ask_all(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            try:
                await self._ask(batch)
            finally:
                # Only if this task itself was ended: no caller may wait for ever.
                for waiting in batch:
                    waiting.answer.cancel()

    def _next_batch(self) -> list[_Waiting[Q, A]]:
        """The longest waiting, at most one for each key; the others go with the next."""
        keys: set[Hashable] = set()
        batch: list[_Waiting[Q, A]] = []
        left: list[_Waiting[Q, A]] = []
        for waiting in self._waiting:
            key = self._key(waiting.question)
            if waiting.answer.done():
                continue  # The caller was cancelled before anything was begun.
            if len(batch) < TOGETHER_MAX and key not in keys:
                keys.add(key)
                batch.append(waiting)
            else:
                left.append(waiting)
        self._waiting = left
        return batch

    async def _ask(self, batch: Sequence[_Waiting[Q, A]]) -> None:
        match batch:
            case [waiting]:
                await self._ask_alone(waiting)
            case _:
                if not await self._ask_together(batch):
                    await asyncio.gather(*map(self._ask_alone, batch))

    async def _ask_together(self, batch: Sequence[_Waiting[Q, A]]) -> bool:
        try:
            answers = await self._together([waiting.question for waiting in batch])
        except Exception:
            # One of them may be at fault, or the outcome is not known: each alone is answered
            # by itself. What was committed already loses its race.
            return False
        for waiting, answer in zip(batch, answers, strict=True):
            _answer(waiting, answer)
        return True

    async def _ask_alone(self, waiting: _Waiting[Q, A]) -> None:
        try:
            _answer(waiting, await self._alone(waiting.question))
        except Exception as error:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)


def _answer(waiting: _Waiting[Q, A], answer: A) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result(answer)
