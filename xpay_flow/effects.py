"""Which effects may a flow yield? A small closed set, and typed ways to yield them.

A flow is a generator: it yields an effect and is sent the effect's answer. Drivers perform them:
`drive.run`, `drive.arun`, and any other that wants to choose what happens in between.

    def seen(x_intent_id: str) -> Query[bool]:
        records = yield from load(x_intent_alias(x_intent_id))
        return bool(records)

A `Query` can yield reads only. That is what makes a redirect unable to write: the type checker
refuses `yield from commit(...)` inside a `Query`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import attrs

from .events import EventIdentity
from .payment import Payment, UnmatchedEvent
from .ports import HttpRequest, HttpResponse, NoAnswer
from .realm import EVERY_REALM, Realms
from .records import Change, HandlerName, Record, Work

T = TypeVar("T")


@attrs.frozen
class Load:
    """Every record of this mode and account filed under `alias`, as deciding `event` needs it."""

    alias: str
    event: EventIdentity | None = None


@attrs.frozen
class History:
    """Every record filed under `alias`, with all that was ever recorded.

    Args:
        everywhere: those of other modes and accounts among them, for an operator.
    """

    alias: str
    everywhere: bool = False


@attrs.frozen
class Recent:
    """The records stored last, newest first; needs a store that is a `RecentListing`.

    Args:
        before: a record's key, for those stored before it.
    """

    limit: int
    realms: Realms = EVERY_REALM
    before: str = ""


@attrs.frozen
class Now:
    """Milliseconds since the epoch."""


@attrs.frozen
class Pause:
    """Come back after some seconds."""

    seconds: float


# How a wait ended: the record may have changed, the time is up, or it was not begun since too many
# wait already.
Waited: TypeAlias = Literal["changed", "time_up", "no_room"]


@attrs.frozen
class WaitForChange:
    """Come back when the record `key` may be newer than `version`, or after some seconds.

    Answers a `Waited`, or None: come back and look, as after "changed".
    """

    key: str
    version: int
    seconds: float


@attrs.frozen
class Versions:
    """The version of each of these records; needs a reader that is a `VersionReading`."""

    keys: tuple[str, ...]


@attrs.frozen
class Commit:
    """Make one change durable; answers False when the race was lost."""

    change: Change


@attrs.frozen
class BlankPayloads:
    """Empty the payloads of a record's events; needs a store that is `Erasing`."""

    key: str


@attrs.frozen
class Scrub:
    """Leave nothing readable of what was erased; needs a store that is `Erasing`."""


@attrs.frozen
class Due:
    """Keys of records that have this kind of work due.

    Args:
        realms: by default those that the flow works in.
    """

    work: Work
    now_ms: int
    limit: int
    realms: Realms | None = None


@attrs.frozen
class NewId:
    """A name never given before."""

    prefix: str


@attrs.frozen
class AcquireRateLimit:
    """Seconds to wait before the next request to xPay may be sent.

    The turn is taken, unless the wait is longer than `patience_s`: then others may have it.

    Args:
        background: no customer waits for it. Customers come first, and the turn is taken only if
            the wait is 0.
    """

    patience_s: float = math.inf
    background: bool = False


@attrs.frozen
class LeaveRateLimit:
    """Seconds until a request whose turn has come may leave; 0 has it leave now."""


@attrs.frozen
class HoldRequests:
    """xPay has answered that there were too many requests: send none for some seconds.

    Args:
        seconds: what xPay requested, if it did.
    """

    seconds: float | None = None


@attrs.frozen
class Exchange:
    """One request to xPay; answers with the response or the `NoAnswer` that came instead."""

    request: HttpRequest


@attrs.frozen
class Count:
    """Add one to a counter of this process."""

    name: str


@attrs.frozen
class HandlerTry:
    """Which try of one handler call this is, and what follows if it fails.

    Args:
        number: 1 is the first.
        retry_s: seconds from a failure to the next try; None where this is the last one.
        timeout_s: how long it may run; None is without a limit.
    """

    number: int = 1
    retry_s: int | None = None
    timeout_s: float | None = None


@attrs.frozen
class RunHandler:
    """Call the user's handler; whatever it raises becomes a `Ran`, and is logged."""

    name: HandlerName
    payment: Payment | UnmatchedEvent
    current: HandlerTry = HandlerTry()


@attrs.frozen
class RunInTransaction:
    """Make `change` durable together with what the user's handler writes through the store.

    Answers a `Ran`. `done`: both are durable. `lost`: another change was faster, and `failed`: the
    handler raised; then nothing of either was written.
    """

    name: HandlerName
    payment: Payment | UnmatchedEvent
    change: Change
    current: HandlerTry = HandlerTry()


@attrs.frozen
class Ran:
    """How a handler ended. `missing`: none is registered in this process.

    Args:
        cut_short: it has failed because it had not ended at its time limit.
    """

    outcome: Literal["done", "failed", "missing", "lost"]
    error: str = ""
    cut_short: bool = False


@attrs.frozen
class WithSlot:
    """Run `flow` while this process calls no other handler for the record `key`.

    Answers what `flow` returns, or None where such a call is in progress here: then nothing was
    done.

    Args:
        alone: run it while this process calls no other handler at all.
        patience_s: how long to wait for that; then the answer is None.
    """

    key: str
    flow: Generator[Any, Any, Any] = attrs.field(repr=False)
    alone: bool
    patience_s: float


@attrs.frozen
class WithLock:
    """Run `flow` while no other worker can hold the record `key`; needs a `RowLocking` store.

    Answers what `flow` returns, or None where another worker holds it: then nothing was done. The
    hold ends with the flow, with the process, or with its connection to the database.
    """

    key: str
    flow: Generator[Any, Any, Any] = attrs.field(repr=False)


@attrs.frozen
class EnterPlace:
    """Go on when one of the places for handlers is free, of which an `Each` has so many."""


@attrs.frozen
class LeavePlace:
    """Let another job of the `Each` have the place; the end of a job does so, too."""


@attrs.frozen
class Each:
    """Do the jobs that are due, several at once, until nothing is due and all have ended.

    Answers how many results they had. What a job raises ends the beginning of others, and is
    raised when all have ended. What several jobs read or commit at the same time is one call of a
    store that is `BatchLoading` or `BatchCommitting`; see `xpay_flow.rounds`.

    Args:
        look: keys of due jobs of a kind that are not among those in progress.
        do: one job; answers how many results it had.
        at_once: how many jobs of each kind.
        places: how many of them may be within `EnterPlace`.
        stopping: no further job is begun, and none enters a place, once it answers true.
    """

    look: Callable[[Work, frozenset[str]], Generator[Any, Any, Sequence[str]]]
    do: Callable[[Work, str], Generator[Any, Any, int]]
    at_once: Mapping[Work, int]
    places: int
    stopping: Callable[[], bool]


@attrs.frozen
class Orphaned:
    """Keys of records whose worker is gone before it had ended a call; needs `RowLocking`."""

    now_ms: int
    limit: int


ReadEffect: TypeAlias = Load | Versions | History | Recent | Now | Pause | WaitForChange
WriteEffect: TypeAlias = (
    Commit
    | BlankPayloads
    | Scrub
    | Due
    | NewId
    | AcquireRateLimit
    | LeaveRateLimit
    | HoldRequests
    | Exchange
    | Count
    | RunHandler
    | RunInTransaction
    | WithLock
    | WithSlot
    | EnterPlace
    | LeavePlace
    | Each
    | Orphaned
)
Effect: TypeAlias = ReadEffect | WriteEffect

# A flow that can only read, and one that can do everything. The answer to an effect depends on the
# effect, which no generator type can say; the functions below declare it, so flows are fully typed.
Query: TypeAlias = Generator[ReadEffect, Any, T]
Command: TypeAlias = Generator[Effect, Any, T]


def load(alias: str, event: EventIdentity | None = None) -> Query[Sequence[Record]]:
    found: Sequence[Record] = yield Load(alias, event)
    return found


def versions(keys: Sequence[str]) -> Query[Mapping[str, int]]:
    found: Mapping[str, int] = yield Versions(tuple(keys))
    return found


def history(alias: str, *, everywhere: bool = False) -> Query[Sequence[Record]]:
    found: Sequence[Record] = yield History(alias, everywhere)
    return found


def recent(limit: int, realms: Realms = EVERY_REALM, before: str = "") -> Query[Sequence[Record]]:
    found: Sequence[Record] = yield Recent(limit, realms, before)
    return found


def now() -> Query[int]:
    now_ms: int = yield Now()
    return now_ms


def pause(seconds: float) -> Query[None]:
    yield Pause(seconds)


def wait_for_change(record: Record, seconds: float) -> Query[Waited]:
    waited: Waited | None = yield WaitForChange(record.key, record.version, seconds)
    return waited or "changed"


def commit(change: Change) -> Command[bool]:
    won: bool = yield Commit(change)
    return won


def blank_payloads(key: str) -> Command[None]:
    yield BlankPayloads(key)


def scrub() -> Command[None]:
    yield Scrub()


def due(
    work: Work, now_ms: int, limit: int, realms: Realms | None = None
) -> Command[Sequence[str]]:
    keys: Sequence[str] = yield Due(work, now_ms, limit, realms)
    return keys


def new_id(prefix: str) -> Command[str]:
    fresh: str = yield NewId(prefix)
    return fresh


def acquire_rate_limit(patience_s: float = math.inf, *, background: bool = False) -> Command[float]:
    seconds: float = yield AcquireRateLimit(patience_s, background)
    return seconds


def leave_rate_limit() -> Command[float]:
    seconds: float = yield LeaveRateLimit()
    return seconds


def hold_requests(seconds: float | None) -> Command[None]:
    yield HoldRequests(seconds)


def exchange(request: HttpRequest) -> Command[HttpResponse | NoAnswer]:
    answer: HttpResponse | NoAnswer = yield Exchange(request)
    return answer


def count(name: str) -> Command[None]:
    yield Count(name)


def run_handler(
    name: HandlerName, payment: Payment | UnmatchedEvent, current: HandlerTry = HandlerTry()
) -> Command[Ran]:
    ran: Ran = yield RunHandler(name, payment, current)
    return ran


def run_in_transaction(
    name: HandlerName,
    payment: Payment | UnmatchedEvent,
    change: Change,
    current: HandlerTry = HandlerTry(),
) -> Command[Ran]:
    ran: Ran = yield RunInTransaction(name, payment, change, current)
    return ran


def with_lock(key: str, flow: Command[T]) -> Command[T | None]:
    answer: T | None = yield WithLock(key, flow)
    return answer


def with_slot(key: str, flow: Command[T], *, alone: bool, patience_s: float) -> Command[T | None]:
    answer: T | None = yield WithSlot(key, flow, alone, patience_s)
    return answer


def enter_place() -> Command[None]:
    yield EnterPlace()


def leave_place() -> Command[None]:
    yield LeavePlace()


def each(
    look: Callable[[Work, frozenset[str]], Command[Sequence[str]]],
    do: Callable[[Work, str], Command[int]],
    at_once: Mapping[Work, int],
    places: int,
    stopping: Callable[[], bool],
) -> Command[int]:
    results: int = yield Each(look, do, at_once, places, stopping)
    return results


def orphaned(now_ms: int, limit: int) -> Command[Sequence[str]]:
    keys: Sequence[str] = yield Orphaned(now_ms, limit)
    return keys
