"""What can a store get wrong? Each method is one step here; what it does in it is what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tests.kit.whole_memory import WholeMemory
from xpay_flow.checker.bounds import BEGINNING, EVENTS, HANDLERS, SUPERSEDED
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work, with_events
from xpay_flow.stores.memory import MemoryStore

from .mutant import Mutant, shop


class NewestWins(MemoryStore):
    """The store puts what it is given over whatever is there by then."""

    def commit(self, change: Change) -> bool:
        stored = self.load(change.record.key)
        version = stored[0].version if stored else 0
        return super().commit(attrs.evolve(change, expected_version=version))


class ForgetsEffects(MemoryStore):
    """What is due is saved in a second operation, which never comes."""

    def commit(self, change: Change) -> bool:
        return super().commit(attrs.evolve(change, changed_entries=()))


class FindsNoWork(MemoryStore):
    """The store knows what is due and never lists it."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        return ()


class ComparesSecondsWithMilliseconds(MemoryStore):
    """The query for due work compares milliseconds with seconds, so nothing is ever due."""

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        keys = super().due(work, now_ms, limit, realms)
        times = [(self.load(key)[0].due_at_ms(work) or 0, key) for key in keys]
        return [key for at_ms, key in times if at_ms <= now_ms // 1000]


class SaysYesToLosers(MemoryStore):
    """A lost race is reported as won: the number of updated rows was not checked."""

    def commit(self, change: Change) -> bool:
        super().commit(change)
        return True


class SaysNoToWinners(MemoryStore):
    """A won race is reported as lost: the number of updated rows is read from the wrong place."""

    def commit(self, change: Change) -> bool:
        return super().commit(change) and change.expected_version == 0


class KeepsSnapshotsOnly(WholeMemory):
    """Saving a record replaces the facts that it held."""

    def after(self, whole: Record, change: Change) -> Record:
        return with_events(super().after(whole, change), change.new_events)


class NoUniqueKey(WholeMemory):
    """The table has no unique key, so a second insert of one order replaces the first."""

    def commit(self, change: Change) -> bool:
        stored = self.load(change.record.key)
        if _is_insert(change) and stored:
            version = stored[0].version
            record = attrs.evolve(change.record, version=version + 1)
            change = attrs.evolve(change, record=record, expected_version=version)
        return super().commit(change)

    def after(self, whole: Record, change: Change) -> Record:
        before = Record(key=whole.key) if _is_insert(change) else whole
        return super().after(before, change)


def _is_insert(change: Change) -> bool:
    return not change.aliases_before


class ForgetsNamesOnUpdate(MemoryStore):
    """An update writes the record and wipes the names that it is found by."""

    def commit(self, change: Change) -> bool:
        key, found = change.record.key, change.record.aliases
        names = frozenset({key}) if change.expected_version else found
        return super().commit(
            attrs.evolve(change, record=attrs.evolve(change.record, aliases=names))
        )


class CutsTheHistory(WholeMemory):
    """Only the latest facts of a record fit its column, and older ones fall out."""

    def after(self, whole: Record, change: Change) -> Record:
        after = super().after(whole, change)
        return with_events(after, after.events[-3:])


class KeepsOneEffect(WholeMemory):
    """There is one column for what is due, and what is due later replaces it."""

    def after(self, whole: Record, change: Change) -> Record:
        after = super().after(whole, change)
        return attrs.evolve(after, outbox=after.outbox[:1])


class KeepsNoLease(MemoryStore):
    """The column for the next try is not written on update, so a claimed call stays due."""

    def commit(self, change: Change) -> bool:
        stored = self.load(change.record.key)
        times = {entry.id: entry.next_at_ms for record in stored for entry in record.outbox}
        changed = tuple(
            attrs.evolve(entry, next_at_ms=times.get(entry.id, entry.next_at_ms))
            for entry in change.changed_entries
        )
        return super().commit(attrs.evolve(change, changed_entries=changed))


STORES = (
    Mutant(
        name="newest wins",
        bug=NewestWins,
        promise="order_does_not_matter",
        faults=0,
        scene=EVENTS,
        expects="the events on file lead to",
        make=lambda: shop(NewestWins()),
        reference="https://github.com/jazzband/django-payments/pull/249",
    ),
    Mutant(
        name="forgets effects",
        bug=ForgetsEffects,
        promise="never_stuck",
        faults=0,
        scene=HANDLERS,
        expects="can never be fulfilled here",
        make=lambda: shop(ForgetsEffects()),
    ),
    Mutant(
        name="finds no work",
        bug=FindsNoWork,
        promise="never_stuck",
        faults=0,
        scene=HANDLERS,
        expects="can never be fulfilled here",
        make=lambda: shop(FindsNoWork()),
    ),
    Mutant(
        name="seconds for milliseconds",
        bug=ComparesSecondsWithMilliseconds,
        promise="never_stuck",
        faults=0,
        scene=HANDLERS,
        expects="can never be fulfilled here",
        make=lambda: shop(ComparesSecondsWithMilliseconds()),
    ),
    Mutant(
        name="losers win",
        bug=SaysYesToLosers,
        promise="recorded_once",
        faults=0,
        scene=EVENTS,
        expects="was acknowledged and is not on file",
        make=lambda: shop(SaysYesToLosers()),
    ),
    Mutant(
        name="winners lose",
        bug=SaysNoToWinners,
        promise="never_stuck",
        faults=0,
        scene=HANDLERS,
        expects="can never be fulfilled here",
        make=lambda: shop(SaysNoToWinners()),
    ),
    Mutant(
        name="snapshots only",
        bug=KeepsSnapshotsOnly,
        promise="order_does_not_matter",
        faults=0,
        scene=EVENTS,
        expects="the events on file lead to",
        make=lambda: shop(KeepsSnapshotsOnly()),
    ),
    Mutant(
        name="no unique key",
        bug=NoUniqueKey,
        promise="recorded_once",
        faults=0,
        scene=BEGINNING,
        expects="is not on file",
        make=lambda: shop(NoUniqueKey()),
    ),
    Mutant(
        name="names are wiped",
        bug=ForgetsNamesOnUpdate,
        promise="never_stuck",
        faults=0,
        scene=HANDLERS,
        expects="can never be fulfilled here",
        make=lambda: shop(ForgetsNamesOnUpdate()),
    ),
    Mutant(
        name="history is cut",
        bug=CutsTheHistory,
        promise="order_does_not_matter",
        faults=0,
        scene=EVENTS,
        expects="the events on file lead to",
        make=lambda: shop(CutsTheHistory()),
    ),
    Mutant(
        name="one column for what is due",
        bug=KeepsOneEffect,
        promise="never_stuck",
        faults=0,
        scene=SUPERSEDED,
        expects="can never be fulfilled here",
        make=lambda: shop(KeepsOneEffect()),
    ),
    Mutant(
        name="the lease is not written",
        bug=KeepsNoLease,
        promise="handlers_are_called_once",
        faults=0,
        scene=HANDLERS,
        expects="called twice though nothing failed",
        make=lambda: shop(KeepsNoLease()),
    ),
)
