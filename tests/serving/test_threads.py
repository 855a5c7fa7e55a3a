"""That what blocks is called beside the event loop, and as it would be within."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from threading import Event, current_thread

import pytest

from xpay_flow import AsyncFlow, Settings
from xpay_flow import sample_records as b
from xpay_flow.records import Record
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.threads import Threads

WHO: ContextVar[str] = ContextVar("who")
# More than any machine's threads for one purpose.
MANY = 64


def test_a_call_sees_the_context_of_its_caller() -> None:
    """Tracing and logging find in the thread what was set beside the loop."""

    async def story() -> tuple[str, str]:
        WHO.set("a customer")
        return await Threads("shop").call(lambda: (WHO.get(), current_thread().name.split("_")[0]))

    assert ("a customer", "shop") == asyncio.run(story())


def test_an_error_is_raised_to_each_waiter() -> None:
    """Also what is no ordinary error."""

    def fails() -> None:
        raise SystemExit("enough")

    async def story() -> None:
        with pytest.raises(SystemExit, match="enough"):
            await Threads("shop").call(fails)

    asyncio.run(story())


def test_a_commit_without_a_waiter_is_not_begun() -> None:
    """Under a load that is too great, calls that were given up do not keep the others waiting."""
    begun: list[str] = []

    async def story() -> None:
        threads, free = Threads("shop"), Event()
        blocking = [asyncio.create_task(threads.call(free.wait)) for _ in range(MANY)]
        given_up = asyncio.create_task(threads.call(begun.append, "given up"))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        free.set()
        await asyncio.gather(*blocking)
        await threads.call(begun.append, "waited for")

    asyncio.run(story())
    assert ["waited for"] == begun


def test_one_loop_may_follow_another() -> None:
    """As in a program that calls `asyncio.run` more than once, or in a forked process."""
    threads = Threads("shop")
    assert [7, 8] == [asyncio.run(threads.call(abs, -number)) for number in (7, 8)]


def test_slow_handlers_do_not_keep_the_store_waiting() -> None:
    """Plain handlers of an `AsyncFlow` run in threads, too, and those may all be taken."""
    store = MemoryStore()
    assert store.commit(b.attempt())

    async def story() -> list[Record]:
        flow, free = AsyncFlow(store, Settings.sandbox(), background=False), Event()
        slow = [asyncio.create_task(asyncio.to_thread(free.wait)) for _ in range(MANY)]
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(10):
                return list(await flow.ports.store.history(b.attempt().record.key))
        finally:
            free.set()
            await asyncio.gather(*slow)
            await flow.close()

    assert [b.attempt().record] == asyncio.run(story())
