"""Stores in memory that are wrong in one way each. The suite must find every one, by its duty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import count
from threading import Barrier, BrokenBarrierError, Event
from typing import Any
from unicodedata import combining, normalize
from zoneinfo import ZoneInfo

import attrs

from xpay_flow.events import EventIdentity
from xpay_flow.ports import Reader
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import (
    CLOCK_SKEW_MS,
    Change,
    Record,
    RecordedEvent,
    Work,
    change,
    for_deciding,
    receipt_alias,
    with_events,
)
from xpay_flow.stores.memory import MemoryReader

from .whole_memory import WholeMemory


class MatchesLoosely(WholeMemory):
    """A name matches in any case, as in a database with such a collation."""

    def named(self, alias: str) -> Sequence[Record]:
        names = [name for name in self._keys if name.lower() == alias.lower()]
        return super().named(names[0]) if names else []


class ChokesOnNames(WholeMemory):
    """A name goes to the driver as it came, and the driver cannot write half a character."""

    def named(self, alias: str) -> Sequence[Record]:
        return super().named(alias.encode().decode())


class FilesOnceOnly(WholeMemory):
    """Names are written with the first version of a record and never again."""

    def commit(self, change: Change) -> bool:
        known = dict(self._keys)
        won = super().commit(change)
        if won and change.expected_version:
            self._keys = known
        return won


class KeepsOldNames(WholeMemory):
    """A name, once given, is never taken away."""

    def commit(self, change: Change) -> bool:
        before = dict(self._keys)
        won = super().commit(change)
        for alias, keys in before.items():
            self._keys[alias] = self._keys[alias] | keys
        return won


class LatestFirst(WholeMemory):
    """A change moves a record to the end, as writing it anew does in many a database."""

    def __init__(self) -> None:
        super().__init__()
        self._writes = count(1)

    def commit(self, change: Change) -> bool:
        won = super().commit(change)
        if won:
            self._rows[change.record.key] = (next(self._writes), self._rows[change.record.key][1])
        return won


class SortedByKey(WholeMemory):
    """Records come in the order of their keys."""

    def named(self, alias: str) -> Sequence[Record]:
        return sorted(super().named(alias), key=lambda record: record.key)


class SortedByName(WholeMemory):
    """Records come in the order in which they got the name."""

    def named(self, alias: str) -> Sequence[Record]:
        return super().named(alias)[::-1] if alias == "x:shared" else super().named(alias)


class FindsAll(WholeMemory):
    """A name finds a hundred thousand records, if there are so many."""

    def named(self, alias: str) -> Sequence[Record]:
        rows = sorted(self._rows[key] for key in self._keys.get(alias, ()))
        return [record for _, record in rows]


class BlindOverwrite(WholeMemory):
    """A first commit takes the place of what is there."""

    def commit(self, change: Change) -> bool:
        if change.expected_version == 0:
            self._rows.pop(change.record.key, None)
        return super().commit(change)


class VersionNotChecked(WholeMemory):
    """The last writer wins."""

    def commit(self, change: Change) -> bool:
        (current,) = super().named(change.record.key) or [Record(key=change.record.key)]
        return super().commit(attrs.evolve(change, expected_version=current.version))


class AnyOlderVersion(WholeMemory):
    """The stored version must not be newer, but may be older, or missing."""

    def commit(self, change: Change) -> bool:
        (current,) = super().named(change.record.key) or [Record(key=change.record.key)]
        if current.version > change.expected_version:
            return False
        return super().commit(attrs.evolve(change, expected_version=current.version))


class EqualVersionsPass(WholeMemory):
    """The version is not compared: two writers that read the same version both win."""

    def commit(self, change: Change) -> bool:
        (current,) = super().named(change.record.key) or [Record(key=change.record.key)]
        if current.version == change.record.version:
            change = attrs.evolve(change, expected_version=current.version)
        return super().commit(change)


class ConflictSwallowed(WholeMemory):
    """A lost race is reported as a commit."""

    def commit(self, change: Change) -> bool:
        super().commit(change)
        return True


class HalfUndone(WholeMemory):
    """A lost race changes nothing, but for the names that were written first."""

    def commit(self, change: Change) -> bool:
        won = super().commit(change)
        if not won and change.record.key in self._rows:
            for alias in change.record.aliases:
                self._keys[alias] = self._keys.get(alias, frozenset()) | {change.record.key}
        return won


class EventsLost(WholeMemory):
    """Only the events of the last commit are kept."""

    def after(self, whole: Record, change: Change) -> Record:
        return with_events(super().after(whole, change), change.new_events)


class EventsSorted(WholeMemory):
    """Facts come back in the order of their ids."""

    def named(self, alias: str) -> Sequence[Record]:
        return [
            attrs.evolve(
                record, events=tuple(sorted(record.events, key=lambda recorded: recorded.id))
            )
            for record in super().named(alias)
        ]


class EntriesAppended(WholeMemory):
    """A changed effect is written behind the others, as a row of its own."""

    def after(self, whole: Record, change: Change) -> Record:
        changed = {entry.id for entry in change.changed_entries}
        kept = (entry for entry in whole.outbox if entry.id not in changed)
        outbox = (*kept, *change.changed_entries)
        return attrs.evolve(super().after(whole, change), outbox=outbox)


class SmallIntegers(WholeMemory):
    """Amounts are kept in 32 bits."""

    def commit(self, change: Change) -> bool:
        record = change.record
        if record.intent is not None:
            money = record.intent.money
            small = attrs.evolve(money, amount_minor=money.amount_minor & 0x7FFF_FFFF)
            record = attrs.evolve(record, intent=attrs.evolve(record.intent, money=small))
        return super().commit(attrs.evolve(change, record=record))


class DueForgets(WholeMemory):
    """What is due this very millisecond is not due yet."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return super().due(work, now_ms - 1, limit, realms)


class BelievesEveryTime(WholeMemory):
    """A time that was set before the clock was set back is waited for."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        ours = [record for _, record in self._rows.values() if record.realm in realms]
        times = [(record.due_at_ms(work), record.key) for record in ours]
        late = sorted((at_ms, key) for at_ms, key in times if at_ms is not None)
        return [key for at_ms, key in late if at_ms <= now_ms][:limit]


class BelievesNoTimeAhead(WholeMemory):
    """Clocks that differ by a second make everything due."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return super().due(work, now_ms - CLOCK_SKEW_MS, limit, realms)


class WorkMixedUp(WholeMemory):
    """There is one time for all work."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        both = (
            *super().due("deliver", now_ms, limit, realms),
            *super().due("reconcile", now_ms, limit, realms),
        )
        return list(dict.fromkeys(both))[:limit]


class NeverIsNow(WholeMemory):
    """A record that waits for nothing counts as due since the beginning of time."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        ours = [record for _, record in self._rows.values() if record.realm in realms]
        waiting = [(record.due_at_ms(work) or 0, record.key) for record in ours]
        return [key for at_ms, key in sorted(waiting) if at_ms <= now_ms][:limit]


class NewestWorkFirst(WholeMemory):
    """The longest due come last, and so never, when there is much to do."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return super().due(work, now_ms, 2**31, realms)[::-1][:limit]


class NoLimit(WholeMemory):
    """All that is due comes at once."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return super().due(work, now_ms, 2**31, realms)


class WorksInEveryRealm(WholeMemory):
    """The realms are not looked at."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return super().due(work, now_ms, limit)


class OthersTakeTheRoom(WholeMemory):
    """The limit counts work of other realms, too, which is left out afterwards."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return [
            key for key in super().due(work, now_ms, limit) if self._rows[key][1].realm in realms
        ]


class OneRealmAtATime(WholeMemory):
    """Of several realms only the first counts."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        first = attrs.evolve(realms, names=realms.names[:1])
        return super().due(work, now_ms, limit, first)


class NoRealmButItsOwn(WholeMemory):
    """The rest of the realms is never given, so their work is never reported."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        is_the_rest = realms.others and realms.names
        return [] if is_the_rest else super().due(work, now_ms, limit, realms)


class ParkedAreNobodys(WholeMemory):
    """Only an intent has a realm."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        keys = super().due(work, now_ms, limit, realms)
        return [key for key in keys if self._rows[key][1].intent is not None]


class OneRecordForAReceipt(WholeMemory):
    """A record is kept by receipt and number, so another realm's stands in its place."""

    def commit(self, change: Change) -> bool:
        intent = change.record.intent
        is_new = intent is not None and not change.expected_version
        if is_new and self.named(receipt_alias(intent.receipt_id)):
            return False
        return super().commit(change)


class DueByRow(WholeMemory):
    """`due` gives names of its own that `load` does not know."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return [f"row:{key}" for key in super().due(work, now_ms, limit, realms)]


class LooksThenWrites(WholeMemory):
    """The version is compared before the lock is taken. A barrier makes the two meet."""

    def __init__(self) -> None:
        super().__init__()
        self._meeting = Barrier(2)

    def commit(self, change: Change) -> bool:
        (current,) = super().named(change.record.key) or [Record(key=change.record.key)]
        if current.version != change.expected_version:
            return False
        try:
            self._meeting.wait(0.05)
        except BrokenBarrierError:
            self._meeting.reset()
        with self._lock:
            self._rows[change.record.key] = (0, self.after(current, change))
            for alias in change.record.aliases:
                self._keys[alias] = frozenset({change.record.key})
        return True


class TornReads(WholeMemory):
    """The snapshot is read in one transaction and the events in the next, after others' commits."""

    def __init__(self) -> None:
        super().__init__()
        self._committed = Event()

    def commit(self, change: Change) -> bool:
        won = super().commit(change)
        self._committed.set()
        return won

    def named(self, alias: str) -> Sequence[Record]:
        early = super().named(alias)
        self._committed.clear()
        self._committed.wait(0.05)
        late = {record.key: record.events for record in super().named(alias)}
        return [attrs.evolve(record, events=late[record.key]) for record in early]


class LoadsTheHistory(WholeMemory):
    """What is loaded to decide is all that was ever recorded."""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return self.named(alias)


class LoadsAllContents(WholeMemory):
    """Whatever is recorded under the event's id is loaded, however much that is."""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [
            with_events(
                for_deciding(record),
                tuple(
                    recorded
                    for recorded in record.events
                    if event is not None and recorded.event.event_id == event.event_id
                ),
            )
            for record in self.named(alias)
        ]


class LoadsWhatHasEnded(WholeMemory):
    """Outbox entries that are done come along for ever."""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [
            attrs.evolve(for_deciding(record, event), outbox=record.outbox)
            for record in self.named(alias)
        ]


class KnowsCopiesOnly(WholeMemory):
    """Another content under the event's id is not looked for."""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [
            with_events(record, tuple(r for r in record.events if event and r.id == event.key))
            for record in super().load(alias, event)
        ]


class TakesPrefixesForIds(WholeMemory):
    """The keys that begin with the id and a # are taken for the contents of that id."""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [
            with_events(for_deciding(record), self._alike(record.events, event))
            for record in self.named(alias)
        ]

    def _alike(
        self, events: Iterable[RecordedEvent], event: EventIdentity | None
    ) -> tuple[RecordedEvent, ...]:
        if event is None:
            return ()
        alike = [r for r in events if r.id.startswith(f"{event.event_id}#")]
        copy = [recorded for recorded in alike if recorded.id == event.key]
        return (*copy, *[r for r in alike if r.id != event.key][:1])


class RecordsCopies(WholeMemory):
    """No constraint keeps an event from being recorded twice."""

    def after(self, whole: Record, change: Change) -> Record:
        after = super().after(whole, attrs.evolve(change, new_events=()))
        return with_events(after, (*after.events, *change.new_events))


class StaleReader(WholeMemory):
    """A reader goes on seeing what was there when it was made."""

    def reader(self) -> MemoryReader:
        frozen = WholeMemory()
        frozen.restore(self.snapshot())
        return frozen.reader()


class ReaderIsTheStore(WholeMemory):
    """A reader is the store, by another name."""

    def reader(self) -> Reader:  # type: ignore[override]
        return self


class OldestListedFirst(WholeMemory):
    """The list begins with the first record there ever was."""

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        return super().recent(2**31, realms, before)[::-1][:limit]


class KeepsNothing(WholeMemory):
    """It declares that it keeps records beyond its process."""

    def reopened(self) -> WholeMemory:
        return KeepsNothing()


class LosesDueTimes(WholeMemory):
    """It keeps records beyond its process, and forgets when they are due."""

    def reopened(self) -> WholeMemory:
        again = WholeMemory()
        for _, record in self._rows.values():
            again.commit(change(Record(key=record.key), attrs.evolve(record, reconcile_at_ms=None)))
        return again


# --- what a value may suffer ---------------------------------------------------------------------


def with_error_code(
    events: Iterable[RecordedEvent], spoilt: Callable[[str], str]
) -> tuple[RecordedEvent, ...]:
    """The events, with the fields of a declined charge passed through `spoilt`."""
    return tuple(
        attrs.evolve(recorded, event=attrs.evolve(recorded.event, error_code=spoilt(code)))
        if (code := recorded.event.error_code)
        else recorded
        for recorded in events
    )


class SpoilsText(WholeMemory):
    """Passes text through something on its way in."""

    def spoilt(self, text: str) -> str:
        raise NotImplementedError

    def commit(self, change: Change) -> bool:
        spoilt = with_error_code(change.new_events, self.spoilt)
        return super().commit(attrs.evolve(change, new_events=spoilt))


class WesternLetters(SpoilsText):
    """Text goes through Latin-1, and what does not fit becomes a question mark."""

    def spoilt(self, text: str) -> str:
        return text.encode("latin-1", "replace").decode("latin-1")


class Composes(SpoilsText):
    """Letters and their accents are put together, which makes other text of it."""

    def spoilt(self, text: str) -> str:
        return normalize("NFC", text)


class Trims(SpoilsText):
    """Blanks around are taken away."""

    def spoilt(self, text: str) -> str:
        return text.strip()


class BasicPlaneOnly(SpoilsText):
    """Three bytes for a character, as in a database's old idea of UTF-8."""

    def spoilt(self, text: str) -> str:
        return "".join(letter if letter <= "\uffff" else "?" for letter in text)


class CutsAtNul(SpoilsText):
    """Text ends where C thinks that it ends."""

    def spoilt(self, text: str) -> str:
        return text.partition("\0")[0]


class FoldsNames(WholeMemory):
    """Names are filed and looked for in one form."""

    def folded(self, name: str) -> str:
        raise NotImplementedError

    def named(self, alias: str) -> Sequence[Record]:
        wanted = self.folded(alias)
        names = [name for name in self._keys if self.folded(name) == wanted]
        found = {
            record.key: record for name in names for record in super(FoldsNames, self).named(name)
        }
        return list(found.values())


class PassesOverBlanks(FoldsNames):
    """Blanks at the end of a name do not count, as in many a database's VARCHAR."""

    def folded(self, name: str) -> str:
        return name.rstrip()


class PassesOverAccents(FoldsNames):
    """An e is an e, with an accent or without."""

    def folded(self, name: str) -> str:
        return "".join(letter for letter in normalize("NFD", name) if not combining(letter))


class OneKeyForBoth(WholeMemory):
    """The primary key is compared in any case; names are not."""

    def commit(self, change: Change) -> bool:
        keys = {key.lower() for key in self._rows}
        if not change.expected_version and change.record.key.lower() in keys:
            return False
        return super().commit(change)


# --- what a time may suffer ----------------------------------------------------------------------


class SpoilsTimes(WholeMemory):
    """Keeps the times for `due` in a type of its own, and asks with that."""

    def kept(self, at_ms: int) -> Any:
        raise NotImplementedError

    def compared(self, now_ms: int) -> Any:
        return self.kept(now_ms)

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        ours = [record for _, record in self._rows.values() if record.realm in realms]
        times = [(record.due_at_ms(work), record.key) for record in ours]
        kept = [(self.kept(at_ms), key) for at_ms, key in times if at_ms is not None]
        return [key for at, key in sorted(kept) if at <= self.compared(now_ms)][:limit]


class TimesInSeconds(SpoilsTimes):
    """Times are kept to the second, as in a database's DATETIME."""

    def kept(self, at_ms: int) -> int:
        return at_ms // 1000


class TimesInFloats(SpoilsTimes):
    """Times are kept as numbers of JavaScript."""

    def kept(self, at_ms: int) -> float:
        return float(at_ms)


class TimesIn32Bits(SpoilsTimes):
    """Times are kept in an INTEGER that is too small."""

    def kept(self, at_ms: int) -> int:
        return at_ms & 0xFFFF_FFFF

    def compared(self, now_ms: int) -> int:
        return now_ms


class TimesOnTheWall(SpoilsTimes):
    """Times are kept as the clocks of Berlin show them, without their zone."""

    def kept(self, at_ms: int) -> datetime:
        seconds = min(at_ms // 1000, 2**37)
        there = datetime.fromtimestamp(seconds, ZoneInfo("Europe/Berlin"))
        return there.replace(tzinfo=None, microsecond=at_ms % 1000 * 1000)


class DueRarely(WholeMemory):
    """`due` lists work once; if that worker dies, never again."""

    def __init__(self) -> None:
        super().__init__()
        self._reported: set[str] = set()

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        fresh = [
            key for key in super().due(work, now_ms, limit, realms) if key not in self._reported
        ]
        self._reported.update(fresh)
        return fresh


class ListsEveryRealm(WholeMemory):
    """The list does not look at the realms."""

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        return super().recent(limit, before=before)


class ListsTheFirstPageAgain(WholeMemory):
    """The list does not look where the page before has ended."""

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        return super().recent(limit, realms)


class LatestChangedListedFirst(WholeMemory):
    """The list goes by the last change."""

    def __init__(self) -> None:
        super().__init__()
        self._changed: dict[str, None] = {}

    def commit(self, change: Change) -> bool:
        won = super().commit(change)
        if won:
            self._changed.pop(change.record.key, None)
            self._changed[change.record.key] = None
        return won

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        changed = list(self._changed)[::-1]
        changed = changed[1 + changed.index(before) :] if before else changed
        newest = [self._rows[key][1] for key in changed]
        return [record for record in newest if record.realm in realms][:limit]
