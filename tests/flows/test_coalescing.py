"""That those who arrive together are served together, and each gets its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from xpay_flow import AsyncFlow, Settings
from xpay_flow import sample_records as b
from xpay_flow.drive import EFFECTS
from xpay_flow.effects import Commit, Load
from xpay_flow.errors import ConfigurationError, StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.ports import Lookup
from xpay_flow.records import Change, Record, for_deciding
from xpay_flow.stores.awaited import AwaitedStore
from xpay_flow.stores.coalescing import TOGETHER_MAX, coalesced_commit, coalesced_load
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.store_suite import put

# Far longer than anything takes, so that a fault ends the test.
OPENS_S = 60.0


class Ledger:
    """An awaited store that is as slow as its gate, and keeps what each transaction held."""

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.batches: list[list[str]] = []
        self.looks: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken: set[str] = set()
        self.forgets = False

    async def opens(self) -> None:
        async with asyncio.timeout(OPENS_S):
            await self.gate.wait()

    async def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        (found,) = await self._found([(alias, event)])
        return found

    async def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        return await self._found(lookups)

    async def _found(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        aliases = [alias for alias, _ in lookups]
        self.looks.append(aliases)
        found = [self.inner.load(*lookup) for lookup in lookups]
        await self.opens()  # The answer is on its way.
        if self.broken & set(aliases):
            raise StoreUnavailable(f"{aliases} cannot be read")
        return found

    async def commit(self, change: Change) -> bool:
        await self.opens()
        self.batches.append([change.record.key])
        if change.record.key in self.broken:
            raise StoreUnavailable(f"{change.record.key} cannot be written")
        return self.inner.commit(change)

    async def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        await self.opens()
        keys = [change.record.key for change in changes]
        self.batches.append(keys)
        if self.broken & set(keys):
            raise StoreUnavailable("one of them cannot be written")
        won = [self.inner.commit(change) for change in changes]
        if self.forgets:
            raise StoreUnavailable("the connection broke after the commit")
        return won


def committing(ledger: Ledger) -> Callable[[Change], Awaitable[bool]]:
    store: Any = ledger
    return coalesced_commit(store)


def finding(ledger: Ledger) -> Callable[..., Awaitable[Sequence[Record]]]:
    store: Any = ledger
    return coalesced_load(store)


def attempts(count: int) -> list[Change]:
    return [b.attempt(f"order-{number}") for number in range(count)]


def key(number: int) -> str:
    return f"attempt:sandbox/local:1:order-{number}"


async def turn() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def behind_the_first(
    ledger: Ledger, changes: Sequence[Change]
) -> tuple[asyncio.Task[bool], list[asyncio.Task[bool]]]:
    """The first is on its way to the disk while the others arrive."""
    commit = committing(ledger)
    ledger.gate.clear()
    first = asyncio.create_task(commit(b.attempt("first")))
    await turn()
    others = [asyncio.create_task(commit(change)) for change in changes]
    await turn()
    return first, others


def test_one_alone_goes_at_once() -> None:
    """A change does not wait for others: it is committed by itself if none is on its way."""

    async def story() -> None:
        ledger = Ledger()
        commit = committing(ledger)
        for change in attempts(3):
            assert await commit(change)
        assert [[key(0)], [key(1)], [key(2)]] == ledger.batches

    asyncio.run(story())


def test_those_that_arrive_meanwhile_go_together() -> None:
    """Of six, one goes at once and five share the next transaction, then are acknowledged."""

    async def story() -> None:
        ledger = Ledger()
        first, others = await behind_the_first(ledger, attempts(5))
        assert [] == ledger.batches
        assert not any(task.done() for task in [first, *others])
        ledger.gate.set()
        assert [True] * 6 == await asyncio.gather(first, *others)
        assert [["attempt:sandbox/local:1:first"], [key(n) for n in range(5)]] == ledger.batches

    asyncio.run(story())


def test_a_lost_race_is_one_answer_among_others() -> None:
    """A change that is too late loses, and the others win."""

    async def story() -> None:
        ledger = Ledger()
        ledger.inner.commit(b.attempt("order-1"))
        first, others = await behind_the_first(ledger, attempts(3))
        ledger.gate.set()
        assert await first
        assert [True, False, True] == await asyncio.gather(*others)
        assert 2 == len(ledger.batches)

    asyncio.run(story())


def test_one_that_cannot_be_written_does_not_sink_the_others() -> None:
    """After an error of all together each is tried alone, and only the guilty one fails."""

    async def story() -> None:
        ledger = Ledger()
        ledger.broken = {key(1)}
        first, others = await behind_the_first(ledger, attempts(3))
        ledger.gate.set()
        assert await first
        results = await asyncio.gather(*others, return_exceptions=True)
        assert [True, True] == [results[0], results[2]]
        assert isinstance(results[1], StoreUnavailable)

    asyncio.run(story())


def test_a_commit_whose_end_is_not_known_is_tried_again() -> None:
    """Those that were committed lose their race then, so a flow reads what is on file."""

    async def story() -> None:
        ledger = Ledger()
        ledger.forgets = True
        first, others = await behind_the_first(ledger, attempts(2))
        ledger.gate.set()
        assert await first
        assert [False, False] == await asyncio.gather(*others)
        assert all(ledger.inner.history(key(number)) for number in range(2))

    asyncio.run(story())


def test_two_changes_of_one_record_never_share_a_transaction() -> None:
    """The second goes with the next, and loses."""

    async def story() -> None:
        ledger = Ledger()
        first, others = await behind_the_first(ledger, [b.attempt("twin"), b.attempt("twin")])
        ledger.gate.set()
        assert await first
        assert [True, False] == await asyncio.gather(*others)
        assert [1, 1, 1] == [len(batch) for batch in ledger.batches]

    asyncio.run(story())


def test_who_gives_up_before_the_turn_is_left_out() -> None:
    """A webhook whose time is up has written nothing, if its turn had not come."""

    async def story() -> None:
        ledger = Ledger()
        first, others = await behind_the_first(ledger, attempts(3))
        others[1].cancel()
        await turn()
        ledger.gate.set()
        assert await first
        assert [True, True] == await asyncio.gather(others[0], others[2])
        assert [] == list(ledger.inner.history(key(1)))

    asyncio.run(story())


def test_a_transaction_holds_a_bounded_number() -> None:
    """However many arrive, the first of them does not wait for all."""

    async def story() -> None:
        ledger = Ledger()
        first, others = await behind_the_first(ledger, attempts(TOGETHER_MAX + 1))
        ledger.gate.set()
        assert await first
        assert all(await asyncio.gather(*others))
        assert [1, TOGETHER_MAX, 1] == [len(batch) for batch in ledger.batches]

    asyncio.run(story())


def test_another_event_loop_starts_afresh() -> None:
    """What waited in a loop that was ended in the middle does not hold up the next."""
    ledger = Ledger()
    commit = committing(ledger)

    async def interrupted() -> None:
        ledger.gate.clear()
        waiting = asyncio.create_task(commit(b.attempt("first")))
        await turn()
        assert not waiting.done()

    async def whole() -> bool:
        ledger.gate = asyncio.Event()
        ledger.gate.set()
        return await commit(b.attempt("second"))

    asyncio.run(interrupted())
    assert asyncio.run(whole())


# --- looking -------------------------------------------------------------------------------------


def test_those_that_look_meanwhile_look_together() -> None:
    """Of five, one looks at once and four share the next statement; each finds its own."""

    async def story() -> None:
        ledger = Ledger()
        made = [for_deciding(put(ledger.inner, change)) for change in attempts(5)]
        load = finding(ledger)
        ledger.gate.clear()
        looking = [asyncio.create_task(load(key(0)))]
        await turn()
        looking += [asyncio.create_task(load(key(number))) for number in (1, 2, 3, 4)]
        await turn()
        ledger.gate.set()
        assert [[record] for record in made] == await asyncio.gather(*looking)
        assert [[key(0)], [key(n) for n in (1, 2, 3, 4)]] == ledger.looks

    asyncio.run(story())


def test_no_reader_gets_what_was_read_before_its_request() -> None:
    """Who asks while the same name is being looked up is answered by the next look."""

    async def story() -> None:
        ledger = Ledger()
        first = put(ledger.inner, b.attempt("order-0"))
        load = finding(ledger)
        ledger.gate.clear()
        early = asyncio.create_task(load(key(0)))
        await turn()
        second = put(ledger.inner, b.next_change(first, b.paid()))
        late = asyncio.create_task(load(key(0)))
        await turn()
        ledger.gate.set()
        loaded = [[for_deciding(first)], [for_deciding(second)]]
        assert loaded == await asyncio.gather(early, late)

    asyncio.run(story())


def test_one_that_cannot_be_read_does_not_keep_the_others() -> None:
    """After an error of all together each looks alone, and only the guilty one fails."""

    async def story() -> None:
        ledger = Ledger()
        made = [for_deciding(put(ledger.inner, change)) for change in attempts(3)]
        ledger.broken = {key(1)}
        load = finding(ledger)
        ledger.gate.clear()
        looking = [asyncio.create_task(load("first"))]
        await turn()
        looking += [asyncio.create_task(load(key(number))) for number in range(3)]
        await turn()
        ledger.gate.set()
        results = await asyncio.gather(*looking, return_exceptions=True)
        assert [[], [made[0]], [made[2]]] == [results[0], results[1], results[3]]
        assert isinstance(results[2], StoreUnavailable)

    asyncio.run(story())


def test_load_many_of_a_blocking_store_takes_one_hop(tmp_path: Path) -> None:
    """Each name is looked up as by itself, and the thread is changed once for all of them."""

    class Counted(SQLiteStore):
        looks: ClassVar[list[int]] = []

        def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
            self.looks.append(len(lookups))
            return super().load_many(lookups)

    async def story(inner: SQLiteStore) -> None:
        made = [for_deciding(put(inner, change)) for change in attempts(4)]
        load = coalesced_load(AwaitedStore(inner))
        found = await asyncio.gather(*(load(key(number)) for number in range(4)))
        assert [[record] for record in made] == [*map(list, found)]
        assert [4] == inner.looks

    with Counted(tmp_path / "a.db") as inner:
        asyncio.run(story(inner))


# --- a flow --------------------------------------------------------------------------------------


def coalesced(flow: AsyncFlow) -> set[type]:
    return {kind for kind, call in flow.ports.table.items() if call is not EFFECTS[kind]}


def test_a_flow_gathers_where_its_store_can(tmp_path: Path) -> None:
    """On by default with SQLite, off by option, and refused where the store cannot."""
    settings = Settings.sandbox()
    with SQLiteStore(tmp_path / "a.db") as store:
        gathers, alone = AsyncFlow(store, settings), AsyncFlow(store, settings, group_commit=False)
        assert {Load, Commit} == coalesced(gathers)
        assert {Load} == coalesced(alone)
    assert set() == coalesced(AsyncFlow(MemoryStore(), settings))
    with pytest.raises(ConfigurationError, match="MemoryStore is not"):
        AsyncFlow(MemoryStore(), settings, group_commit=True)
