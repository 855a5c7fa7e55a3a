"""Stores that declare every capability, and keep to all but one of its sentences."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from xpay_flow.errors import StoreUnavailable
from xpay_flow.ports import (
    FOUND_MAX,
    BatchCommitting,
    BatchLoading,
    Erasing,
    Lookup,
    RecentListing,
    Transactional,
    is_locked,
)
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, with_events, without_payload

from .whole_memory import WholeMemory


class Able(WholeMemory):
    """Right: whatever a store may declare, in memory."""

    can_lock = True

    def __init__(self) -> None:
        super().__init__()
        self._held: set[str] = set()

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        return [self.load(alias, event) for alias, event in lookups]

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        return [self.commit(change) for change in changes]

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        before = self.snapshot()
        if not self.commit(change):
            return False
        try:
            work(self)
        except Exception:
            self.restore(before)
            raise
        return True

    @contextmanager
    def lock(self, key: str) -> Generator[bool]:
        is_mine = key not in self._held
        self._held.add(key)
        try:
            yield is_mine
        finally:
            if is_mine:
                self._held.remove(key)

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        return self._left(now_ms, realms)[:limit]

    def _left(self, now_ms: int, realms: Realms) -> list[str]:
        return [
            key
            for key, (_, record) in self._rows.items()
            if key not in self._held
            and record.realm in realms
            and any(is_locked(entry) for entry in record.outbox)
            and (record.deliver_at_ms or 0) > now_ms
        ]


# --- erasing -------------------------------------------------------------------------------------


class BlanksTheLastOnly(Able):
    """Of a record's events it blanks one."""

    def blanked(self, whole: Record) -> Record:
        *others, last = whole.events
        return with_events(whole, (*others, without_payload(last)))


class BlanksByDeleting(Able):
    """What has a payload is deleted, and so its copies are new."""

    def blanked(self, whole: Record) -> Record:
        return with_events(whole, tuple(each for each in whole.events if not each.event.payload))


class KeepsWhatItReplaces(Able):
    """The metadata are written once, when the attempt is stored, or when there are any."""

    def after(self, whole: Record, change: Change) -> Record:
        after = super().after(whole, change)
        if whole.intent is None or after.intent is None or after.intent.metadata:
            return after
        return attrs.evolve(
            after, intent=attrs.evolve(after.intent, metadata=whole.intent.metadata)
        )


# --- many names ----------------------------------------------------------------------------------


class AnswersInTheirOwnOrder(Able):
    """The rows come as the database likes, and are dealt out to the names as they come."""

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        return super().load_many(sorted(lookups, key=repr))


class NamesWithoutRowsLeftOut(Able):
    """Who has no row gets no answer, and so the next one's."""

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        return [found for found in super().load_many(lookups) if found]


class OneLimitForAll(Able):
    """A name with very many records leaves nothing for those after it."""

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        left, answers = FOUND_MAX, list[Sequence[Record]]()
        for found in super().load_many(lookups):
            answers.append(found[:left])
            left -= len(answers[-1])
        return answers


class FoundTogetherIsRemembered(Able):
    """What was found together once is found again, as it was."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[Lookup, Sequence[Record]] = {}

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        return [self._found.setdefault(each, self.load(*each)) for each in lookups]


class OneEventForAName(Able):
    """Of look-ups under one name the event of the last one is looked for."""

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        events = dict(lookups)
        return super().load_many([(alias, events[alias]) for alias, _ in lookups])


class SomeNameIsWanted(Able):
    """No name at all is a statement without values."""

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        if not lookups:
            raise StoreUnavailable("syntax error at or near )")
        return super().load_many(lookups)


# --- batches -------------------------------------------------------------------------------------


class FirstOfBatchOnly(Able):
    """The first change of a batch is committed, and the others are acknowledged."""

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        super().commit_many(changes[:1])
        return [True for _ in changes]


class BatchEndsAtALoss(Able):
    """After a lost race the rest of the batch is left out."""

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        lost = False
        return [not (lost := lost or not self.commit(change)) for change in changes]


class BatchIsNeverEmpty(Able):
    """An empty batch is a statement without values."""

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        if not changes:
            raise StoreUnavailable("syntax error at or near )")
        return super().commit_many(changes)


# --- shared transactions -------------------------------------------------------------------------


class WorkLeftOut(Able):
    """The work of the handler is not called."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        return self.commit(change)


class WorkFirst(Able):
    """The work is done before it is known who won."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        work(self)
        return self.commit(change)


class WorkLater(Able):
    """The work is done in a transaction of its own, after ours."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        won = self.commit(change)
        if won:
            work(self)
        return won


class WorkMayFail(Able):
    """What the work raises is taken lightly."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        try:
            return super().commit_with(change, work)
        except Exception:
            return True


class WorkErrorsAreInDoubt(Able):
    """What the work raises is taken for a failure of the database."""

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        try:
            return super().commit_with(change, work)
        except Exception as error:
            raise StoreUnavailable("whether the change took effect is not known") from error


# --- claims --------------------------------------------------------------------------------------


class HoldsNothing(Able):
    """Every worker gets the lock of the record."""

    @contextmanager
    def lock(self, key: str) -> Generator[bool]:
        with super().lock(key):
            yield True


class HoldsForEver(Able):
    """A claim never expires."""

    @contextmanager
    def lock(self, key: str) -> Generator[bool]:
        is_mine = key not in self._held
        self._held.add(key)
        yield is_mine


class HoldsAfterAnError(Able):
    """A claim ends with its block, unless an error ended that."""

    @contextmanager
    def lock(self, key: str) -> Generator[bool]:
        is_mine = key not in self._held
        self._held.add(key)
        yield is_mine
        if is_mine:
            self._held.remove(key)


class HoldsEverything(Able):
    """One lock for all records."""

    @contextmanager
    def lock(self, key: str) -> Generator[bool]:
        with super().lock("the lock") as is_mine:
            yield is_mine


class HoldsUpNews(Able):
    """A change of a locked record waits, and is then refused."""

    def commit(self, change: Change) -> bool:
        if change.record.key in self._held:
            raise StoreUnavailable("lock wait timeout exceeded")
        return super().commit(change)


class AbandonedNever(Able):
    """What a dead worker has left is not found."""

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        return []


class AbandonedInEveryRealm(Able):
    """What workers of other realms have left is found, too."""

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        return super().orphaned(now_ms, limit)


class AbandonedWhileHeld(Able):
    """A record that is being worked on counts as orphaned."""

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        held, self._held = self._held, set()
        try:
            return super().orphaned(now_ms, limit, realms)
        finally:
            self._held = held


class AbandonedAndDue(Able):
    """What is due by now is listed as well, and so done twice."""

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        return super().orphaned(0, limit, realms)


class AbandonedAtOnce(Able):
    """All that is abandoned comes at once."""

    def orphaned(self, now_ms: int, limit: int, realms: Realms = EVERY_REALM) -> Sequence[str]:
        return self._left(now_ms, realms)


# --- what the suite of a store declares ----------------------------------------------------------


class SuiteNamesLess(Able):
    """Its suite has forgotten a capability, whose duties would go untested."""

    declared = (RecentListing, Erasing, BatchLoading, BatchCommitting, Transactional)


class SuiteNamesMore(WholeMemory):
    """Its suite names a capability that the store has not."""

    declared = (RecentListing, Erasing, Transactional)
