"""How long from the commit of a webhook to the call of `on_success`, in the same process?

The opponent claims the call by a version check of its own and then makes it, on the spot: no other
process makes the same call, and one that dies leaves a trace. A thread or a task that is merely
started records nothing, and is forgotten when the process dies.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

from xpay_flow import AsyncFlow, Flow, Payment, messages
from xpay_flow.records import Change
from xpay_flow.stores.sqlite import SQLiteStore

from . import by_hand
from .calling import Refused
from .measure import WARM_UP_TURNS, Contestant, Group, Size, compared
from .orders import SETTINGS, Order, fill, orders
from .wear import wear_in, wear_in_ours

OPPONENT: Final = "by hand: claimed with sqlite3, then called"
_PATIENCE_S: Final = 5.0


class StampingStore(SQLiteStore):
    """Notes when a webhook is durable, and signals when a call is recorded as done."""

    def __init__(self, path: Path, on_done: Callable[[], object]) -> None:
        super().__init__(path)
        self._on_done = on_done
        self.committed_at: dict[str, float] = {}  # by receipt id

    def commit(self, change: Change) -> bool:
        done = super().commit(change)
        self._note(change)
        return done

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        done = super().commit_many(changes)
        for change in changes:
            self._note(change)
        return done

    def _note(self, change: Change) -> None:
        at = perf_counter()
        if any(recorded.event.source == "webhook" for recorded in change.new_events):
            assert change.record.intent is not None
            self.committed_at[change.record.intent.receipt_id] = at
        if any(effect.status == "done" for effect in change.changed_entries):
            self._on_done()


def measured(size: Size, folder: Path) -> list[Group]:
    """Seconds from the commit to the handler."""
    count = size.webhooks_a_turn
    given = orders((WARM_UP_TURNS + size.turns) * 2 * count)
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        threaded = stack.enter_context(closing(_Threaded(folder / "threaded.db", given)))
        in_loop = stack.enter_context(closing(_InLoop(folder / "in-loop.db", given, runner)))
        claiming = stack.enter_context(closing(_ByHand(folder / "claimed.db", given)))
        contestants: dict[str, Contestant] = {
            OPPONENT: lambda: claiming.turn(count),
            "by hand: a new thread, nothing recorded": lambda: _new_threads(count),
            "by hand: a new task, nothing recorded": lambda: runner.run(_new_tasks(count)),
            "Flow, one at a time": lambda: threaded.turn(count, at_once=False),
            "AsyncFlow, one at a time": lambda: in_loop.turn(count, at_once=False),
            f"Flow, {count} in a row": lambda: threaded.turn(count, at_once=True),
            f"AsyncFlow, {count} in a row": lambda: in_loop.turn(count, at_once=True),
        }
        title = "from a webhook's commit to on_success"
        return [compared(title, contestants, size.turns, opponent=OPPONENT)]


class _Threaded:
    """A `Flow` whose background thread delivers."""

    def __init__(self, path: Path, given: Sequence[Order]) -> None:
        self._done = threading.Semaphore(0)
        self._called_at: dict[str, float] = {}
        self._store = _filled(path, given, self._done.release)
        self._left = list(given)
        self._flow = Flow(self._store, SETTINGS)
        self._flow.on_success(self._handler)

    def _handler(self, payment: Payment) -> None:
        self._called_at[payment.receipt_id] = perf_counter()

    def turn(self, count: int, *, at_once: bool) -> list[float]:
        taken, self._left = self._left[:count], self._left[count:]
        for order in taken:
            self._flow.receive_webhook(order.headers, order.body)
            if not at_once:
                self._wait()
        for _ in taken if at_once else ():
            self._wait()
        return _between(self._store.committed_at, self._called_at, taken)

    def _wait(self) -> None:
        if not self._done.acquire(timeout=_PATIENCE_S):
            raise Refused("on_success was not called")

    def close(self) -> None:
        self._flow.close()


class _InLoop:
    """An `AsyncFlow` whose background task delivers."""

    def __init__(self, path: Path, given: Sequence[Order], runner: asyncio.Runner) -> None:
        self._done = asyncio.Semaphore(0)
        self._called_at: dict[str, float] = {}
        # The store commits in threads.
        on_done = partial(runner.get_loop().call_soon_threadsafe, self._done.release)
        self._store = _filled(path, given, on_done)
        self._left, self._runner = list(given), runner
        self._flow = AsyncFlow(self._store, SETTINGS)
        self._flow.on_success(self._handler)

    async def _handler(self, payment: Payment) -> None:
        self._called_at[payment.receipt_id] = perf_counter()

    def turn(self, count: int, *, at_once: bool) -> list[float]:
        taken, self._left = self._left[:count], self._left[count:]
        self._runner.run(self._turn(taken, at_once))
        return _between(self._store.committed_at, self._called_at, taken)

    async def _turn(self, taken: Sequence[Order], at_once: bool) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            for order in taken:
                await self._flow.receive_webhook(order.headers, order.body)
                if not at_once:
                    await self._done.acquire()
            for _ in taken if at_once else ():
                await self._done.acquire()

    def close(self) -> None:
        self._runner.run(self._flow.close())


def _filled(path: Path, given: Sequence[Order], on_done: Callable[[], object]) -> StampingStore:
    fill(path, given)
    store = StampingStore(path, on_done)
    wear_in_ours(store, path)
    return store


def _between(
    committed_at: Mapping[str, float], called_at: Mapping[str, float], given: Sequence[Order]
) -> list[float]:
    names = [order.receipt_id for order in given]
    return [called_at[name] - committed_at[name] for name in names]


class _ByHand:
    """The shop that keeps an outbox, and delivers from it at once."""

    def __init__(self, path: Path, given: Sequence[Order]) -> None:
        self._shop = by_hand.Shop(path, SETTINGS.webhook_secrets[0], keeps_history=True)
        self._shop.add(given)
        self._left = list(given)
        wear_in(path)

    def turn(self, count: int) -> list[float]:
        taken, self._left = self._left[:count], self._left[count:]
        return [self._claimed(order) for order in taken]

    def _claimed(self, order: Order) -> float:
        signature = dict(order.headers)[messages.HMAC_HEADER]
        self._shop.receive(signature, order.body)
        began = perf_counter()
        if not self._shop.claim(order.x_intent_id):
            raise Refused("there was nothing to claim")
        return perf_counter() - began

    def close(self) -> None:
        self._shop.close()


def _new_threads(count: int) -> list[float]:
    taken: list[float] = []

    def handler(began: float) -> None:
        taken.append(perf_counter() - began)

    for _ in range(count):
        thread = threading.Thread(target=handler, args=(perf_counter(),))
        thread.start()
        thread.join(60)
    return taken


async def _new_tasks(count: int) -> list[float]:
    taken: list[float] = []

    async def handler(began: float) -> None:
        taken.append(perf_counter() - began)

    for _ in range(count):
        await asyncio.create_task(handler(perf_counter()))
    return taken
