"""Is a store right when several use it at once? Threads, tasks, other stores, processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import attrs

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import Event
from xpay_flow.money import Money
from xpay_flow.ports import Store
from xpay_flow.records import Change, Record, change
from xpay_flow.stores.awaited import AwaitedStore

from .limits import TOGETHER_S, within_s
from .store_making import REOPENED, Making, needs
from .store_processes import add_each, commit_each, in_processes
from .store_steps import TRIES_MAX, WORKS, add, due, event_keys, found, put, together

WRITERS: Final = 3
EVENTS_EACH: Final = 4
PROCESSES: Final = 2
# Each is a moment at which the processes meet; a window of some microseconds is hit by one of them.
MEETINGS: Final = 25


class AmongSeveral(Making):
    """The duties towards more than one worker."""

    def test_threads_that_try_again_lose_nothing(self, store: Store) -> None:
        """Threads that read, decide and commit until they win find all their events on file."""
        first = put(store, b.attempt())
        together(
            *(
                lambda events=events: _add_all(store, first.key, events)
                for events in _histories(WRITERS)
            )
        )
        _all_is_on_file(store, first, _histories(WRITERS))

    def test_tasks_that_try_again_lose_nothing(self, store: Store) -> None:
        """The same for tasks of one event loop."""
        first = put(store, b.attempt())
        tasks = _add_in_tasks(AwaitedStore(store), first.key)
        within_s(TOGETHER_S, lambda: asyncio.run(tasks))
        _all_is_on_file(store, first, _histories(WRITERS))

    @needs(REOPENED)
    def test_what_one_store_commits_another_finds(self, store: Store) -> None:
        """Two stores on the same data agree at once: on a record, its names and when it is due."""
        other = self.reopen_store(store)()
        try:
            first = put(store, b.attempt())
            _agree(store, other, first)
            second = put(other, _paid(first))
            _agree(store, other, second, *first.aliases)
            third = put(store, b.next_change(second, b.refunded()))
            _agree(store, other, third)
        finally:
            self.discard(other)

    @needs(REOPENED)
    def test_a_version_of_another_store_is_not_overwritten(self, store: Store) -> None:
        """What one store has read is stale for it, too, as soon as another store commits."""
        other = self.reopen_store(store)()
        try:
            first = put(store, b.attempt())
            assert [first] == found(other, first.key)
            second = put(store, b.next_change(first, b.created()))
            assert other.commit(b.next_change(first, b.failed())) is False
            assert other.commit(b.attempt(money=Money(5, "EUR"))) is False
            assert [second] == found(other, first.key)
        finally:
            self.discard(other)

    @needs(REOPENED)
    def test_one_of_two_processes_wins(self, store: Store) -> None:
        """Of two processes that change the same version, exactly one receives True."""
        opener = self.reopen_store(store)
        firsts = [put(store, b.attempt(f"order-{n}")) for n in range(MEETINGS)]
        steps = [
            [b.next_change(first, b.failed(f"whe_{process}")) for first in firsts]
            for process in range(PROCESSES)
        ]
        reports = in_processes(commit_each, opener, steps)
        for n, won in enumerate(zip(*reports, strict=True)):
            assert [False, True] == sorted(won), f"meeting {n}: both received the same"
            winner: Change = steps[won.index(True)][n]
            assert [winner.record] == found(store, winner.record.key)

    @needs(REOPENED)
    def test_processes_that_try_again_lose_nothing(self, store: Store) -> None:
        """Processes that read, decide and commit until they win find all their events on file."""
        first = put(store, b.attempt())
        histories = _histories(PROCESSES)
        in_processes(
            add_each, self.reopen_store(store), [(first.key, events) for events in histories]
        )
        _all_is_on_file(store, first, histories)


def _histories(writers: int) -> Sequence[Sequence[Event]]:
    """The events of each of the writers."""
    return [[b.failed(f"whe_{w}_{n}") for n in range(EVENTS_EACH)] for w in range(writers)]


def _add_all(store: Store, key: str, events: Sequence[Event]) -> None:
    for event in events:
        add(store, key, event)


async def _add_in_tasks(store: AwaitedStore[Store], key: str) -> None:
    await asyncio.gather(*(_add_awaited(store, key, events) for events in _histories(WRITERS)))


async def _add_awaited(store: AwaitedStore[Store], key: str, events: Sequence[Event]) -> None:
    for event in events:
        for _ in range(TRIES_MAX):
            (record,) = await store.load(key, event.identity)
            try:
                if await store.commit(b.next_change(record, event)):
                    break
            except StoreUnavailable:
                continue
        else:
            raise AssertionError(f"{event.event_id} was not taken in {TRIES_MAX} tries")


def _all_is_on_file(store: Store, first: Record, histories: Sequence[Sequence[Event]]) -> None:
    keys = [event.event_key for events in histories for event in events]
    (last,) = store.load(first.key)
    assert sorted(keys) == sorted(event_keys(store, first.key)[len(first.events) :])
    assert first.version + len(keys) == last.version


def _paid(first: Record) -> Change:
    """Events after `first`, and other names for it."""
    last = b.next_change(first, b.created(), b.paid()).record
    return change(first, attrs.evolve(last, aliases=frozenset({first.key, "x:another"})))


def _agree(store: Store, other: Store, record: Record, *gone: str) -> None:
    for one in (store, other, other.reader()):
        for alias in {*gone, *record.aliases}:
            assert [record] * (alias in record.aliases) == found(one, alias), alias
    assert [due(store, work) for work in WORKS] == [due(other, work) for work in WORKS]
