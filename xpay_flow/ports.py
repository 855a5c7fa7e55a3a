"""What must the world outside provide? Small protocols, each with an async namesake.

Write your own store or transport against these; nothing needs to be inherited. A store raises
`StoreUnavailable` when it cannot answer, and a transport raises `NoAnswer`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol, TypeAlias, runtime_checkable

import attrs

from .events import EventIdentity
from .realm import EVERY_REALM, Realms
from .records import Change, OutboxEntry, Record, Work

# A look-up by receipt id can find several attempts; more than this is a shop's mistake.
FOUND_MAX = 100

# A name, and the event to decide, as in `Reader.load`.
Lookup: TypeAlias = tuple[str, EventIdentity | None]

# The note in an outbox entry's log, beside `started`, when its worker also locks the record.
LOCKED = "held while it runs"


def is_locked(entry: OutboxEntry) -> bool:
    """Whether a worker that holds the record has started this, and has not recorded its end."""
    last = entry.log[-1] if entry.log else None
    return last is not None and (last.outcome, last.error) == ("started", LOCKED)


class Reader(Protocol):
    """The half of a store that a query may use."""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        """Every record filed under this name, oldest first, as far as deciding needs it.

        At most 100 records; an unknown name gives none. Aliases of a record are `record.aliases`.
        However long the history is, a loaded record has only the outbox entries that are pending,
        and of the events only `event` itself, if it is recorded, and one other recorded content
        with the same event id, if there is any. `for_deciding` makes such a record of a whole one.
        """
        ...

    def history(self, alias: str) -> Sequence[Record]:
        """The same records whole: every event and every outbox entry, in the order they came in."""
        ...


class Store(Reader, Protocol):
    """Where records live. All methods may be called from several threads.

    Events of a record are only ever appended, and outbox entries appended or replaced where they
    stand; `history` gives them back in the order in which they came.
    """

    def commit(self, change: Change) -> bool:
        """Append the change, durably and at once, if the stored version is the expected one.

        The new record is `change.record`; its `events` and `outbox` hold only what was loaded, so
        a store adds `change.new_events` to those that it has, and `change.changed_entries`, each
        in the place of the entry with its id. `appended` does so for a store of documents.
        Expected version 0 means that no record has this key. Returns False, and changes nothing,
        when the version differs (a lost race).

        Raises:
            StoreUnavailable: nothing was changed, or it is not known. Also if one of `new_events`
                is recorded already: no event is recorded twice.
        """
        ...

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        """Keys of records with `record.is_due(work, now_ms)`, longest due first.

        Those with `record.due_at_ms(work) <= now_ms`, and, if these are fewer than the limit, those
        that are due since the clock was set back: `record.is_from_the_future(now_ms)`.

        Only those with `record.realm in realms`, however many others are due before them.
        """
        ...

    def reader(self) -> Reader:
        """The same records through something that cannot write."""
        ...


@runtime_checkable
class RecentListing(Protocol):
    """A capability that a store may declare: recent records, for an operator's page."""

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        """The records of these realms that were first committed last, newest first.

        Each is as `history` gives it.

        Args:
            before: the key of a record; then only those first committed before it, so that the
                last of one page leads to the next.
        """
        ...


@runtime_checkable
class Erasing(Protocol):
    """A capability that a store may declare: what is personal can be erased from it.

    What else is erased comes by `commit`: a store keeps nothing of what a commit replaces.
    """

    def blank_payloads(self, key: str) -> None:
        """Empty `event.payload` of every recorded event of the record, as `without_payload` does.

        Nothing else changes, the version included. May be called twice.
        """
        ...

    def scrub(self) -> None:
        """Leave nothing readable of what was replaced, as far as that is in the store's hands.

        Raises:
            StoreUnavailable: something may be left; it may be called again.
        """
        ...


class HandlerRolledBack(Exception):
    """What a handler wrote within our transaction cannot stay; the text gives the reason.

    `work` raises it to have everything undone, and a store lets it through. A store raises it
    itself where the handler has spoilt the transaction. It counts as a failure of the handler.
    """


@runtime_checkable
class Transactional(Protocol):
    """A capability that a store may declare: handlers whose writes commit together with ours."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        """Put `change` down, and in the same transaction whatever `work` writes.

        `work` is called with the transaction, in the database's own terms, after the change has
        won its race and before anything is durable. Returns False, without calling `work`, when
        the race is lost. What `work` raises undoes everything and comes out as it is; an error of
        the database may come out as StoreError.

        Raises:
            HandlerRolledBack: nothing of either was written, and the handler is why.
        """
        ...


@runtime_checkable
class TransactionClosing(Protocol):
    """A capability of a `Transactional` store: a handler that hangs locks no one out."""

    def close_transaction(self, work: Callable[[Any], object]) -> None:
        """Roll back the transaction in which `commit_with` runs this `work`, from another thread.

        What the transaction has locked is free then, and whatever `work` does with it later fails.
        Does nothing where there is no such transaction.
        """
        ...


@runtime_checkable
class ThreadBound(Protocol):
    """A capability that a store may declare: some callers have a transaction in their thread.

    Attributes:
        is_thread_bound: true within such a thread. A handler is called right there, and so has no
            time limit: a test case that rolls everything back at its end.
    """

    @property
    def is_thread_bound(self) -> bool: ...


@runtime_checkable
class ThreadKeeping(Protocol):
    """A capability that a store may declare: it keeps a connection for each thread."""

    def refresh_thread(self) -> None:
        """Called as a piece of work begins in this thread, which may have rested for long."""
        ...


@runtime_checkable
class BatchLoading(Protocol):
    """A capability that a store may declare: many names looked up for the price of one."""

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        """What `load` answers to each of these look-ups, which all differ, in their order."""
        ...


@runtime_checkable
class BatchCommitting(Protocol):
    """A capability that a store may declare: many changes for the price of one."""

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        """`commit` each of these, of records that all differ, in one transaction.

        The answers come in the order of the changes; a lost race is no reason to leave out the
        others. Where one cannot be written, none is, and StoreUnavailable is raised.
        """
        ...


@runtime_checkable
class RowLocking(Protocol):
    """A capability that a store may declare: locks that end with the process that holds them.

    Attributes:
        can_lock: False where the database at hand has no such locks.
    """

    can_lock: bool

    def lock(self, key: str) -> AbstractContextManager[bool]:
        """Keep the record for this worker until the end of the block; False if another has it.

        Changes of the record are not kept waiting by it.
        """
        ...

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        """Keys of records that a worker held while it called a handler, and holds no more.

        These are the records of these realms, due only after `now_ms`, with an outbox entry that
        is `is_locked`.
        """
        ...


@runtime_checkable
class HandlerLimiting(Protocol):
    """A capability that a store may declare: it serves only so many handler calls at once.

    Attributes:
        handlers_at_once_max: while so many handlers run, each with its lock or its transaction,
            the store still has connections for webhooks and customers. More are kept waiting, for
            a limited time, and then meet StoreUnavailable. None: it has no limit of its own.
    """

    @property
    def handlers_at_once_max(self) -> int | None: ...


@runtime_checkable
class VersionReading(Protocol):
    """A capability that a reader may declare: many versions for the price of one look."""

    def versions(self, keys: Sequence[str]) -> Mapping[str, int]:
        """The version of each record with one of these keys, as far as there are such."""
        ...


@runtime_checkable
class ChangeReporting(Protocol):
    """A capability that a store may declare: its processes report changes to each other.

    Attributes:
        can_report: False where the database at hand has no means for it.
        can_listen: False also where reports do not reach a connection, as behind a pooler.
    """

    can_report: bool
    can_listen: bool

    def report(self, digests: Sequence[str]) -> None:
        """Pass these words to all processes that listen. They may be lost."""
        ...

    def listen(self, reported: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """Call `reported` with each word, until `stopping`, which is called twice a second."""
        ...


class AsyncReader(Protocol):
    async def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]: ...

    async def history(self, alias: str) -> Sequence[Record]: ...


class AsyncStore(AsyncReader, Protocol):
    async def commit(self, change: Change) -> bool: ...

    async def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]: ...

    def reader(self) -> AsyncReader: ...


@runtime_checkable
class AsyncRecentListing(Protocol):
    async def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]: ...


@runtime_checkable
class AsyncErasing(Protocol):
    async def blank_payloads(self, key: str) -> None: ...

    async def scrub(self) -> None: ...


@runtime_checkable
class AsyncTransactional(Protocol):
    # A store that is awaited awaits `work`; one that is called in a thread calls it there.
    async def commit_with(
        self, change: Change, work: Callable[[Any], Awaitable[object]]
    ) -> bool: ...


@runtime_checkable
class AsyncBatchLoading(Protocol):
    async def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]: ...


@runtime_checkable
class AsyncBatchCommitting(Protocol):
    async def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]: ...


@runtime_checkable
class AsyncRowLocking(Protocol):
    can_lock: bool

    def lock(self, key: str) -> AbstractAsyncContextManager[bool]: ...

    async def orphaned(
        self, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]: ...


@runtime_checkable
class AsyncVersionReading(Protocol):
    async def versions(self, keys: Sequence[str]) -> Mapping[str, int]: ...


@runtime_checkable
class AsyncChangeReporting(Protocol):
    can_report: bool
    can_listen: bool

    async def report(self, digests: Sequence[str]) -> None: ...

    async def listen(
        self, reported: Callable[[str], None], stopping: Callable[[], bool]
    ) -> None: ...


@attrs.frozen
class HttpRequest:
    """One request to xPay. `headers` carry the keys, so they stay out of `repr`.

    Args:
        within_s: after so many seconds no caller waits for the answer; a transport that can stop,
            stops then.
    """

    method: str
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False, hash=False)
    body: bytes = attrs.field(default=b"", repr=False)
    within_s: float = attrs.field(default=math.inf, repr=False, eq=False)


@attrs.frozen
class HttpResponse:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str] = attrs.field(hash=False)
    body: bytes = attrs.field(repr=False)


class NoAnswer(Exception):
    """No whole response came back: a time-out, or a connection refused or broken.

    Whether xPay has seen the request is not known.
    """


class Transport(Protocol):
    """How a request gets to xPay."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """One exchange, without retry and without following redirects; raises NoAnswer."""
        ...


class AsyncTransport(Protocol):
    async def send(self, request: HttpRequest) -> HttpResponse: ...


class Clock(Protocol):
    """Time, so that tests and the checker can be in charge of it."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...

    def pause(self, seconds: float) -> None:
        """Come back later."""
        ...


class AsyncClock(Protocol):
    def now_ms(self) -> int: ...

    async def pause(self, seconds: float) -> None: ...


class Ids(Protocol):
    """Where fresh names come from."""

    def new(self, prefix: str) -> str:
        """`prefix_…`: never given before, not to be guessed, fit for an `Idempotency-Key`."""
        ...
