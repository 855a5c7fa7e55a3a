"""What does a store keep? One record per attempt: snapshot, recorded events and outbox entries.

A store never looks inside. It files a record under its key and its aliases, and changes it only
when the version is the one that was read. Deciding needs a part of a record whose size does not
depend on the history (`for_deciding`); operators need it whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import attrs

from .errors import StoreUnavailable
from .events import Event, EventIdentity
from .intent import Intent
from .lifecycle import Disposition
from .realm import UNNAMED

HandlerName = Literal[
    "on_success", "on_failed", "on_refunded", "on_dispute", "on_attention", "on_unmatched"
]
EntryStatus = Literal["pending", "done", "dropped", "gave_up"]
Work = Literal["deliver", "reconcile"]
# Whether what is personal of a record was to be erased: no; as soon as nothing needs it; it is.
Erased = Literal["no", "due", "done"]

# Clocks of two hosts differ by less, and a claim must not be taken over because of that.
CLOCK_SKEW_MS = 60_000
# The greatest integer of a database.
_TIME_MS_MAX = 2**63 - 1


def believed_up_to(now_ms: int) -> int:
    """The latest clock by which a due time can have been set if it is to be believed now."""
    return min(now_ms + CLOCK_SKEW_MS, _TIME_MS_MAX)


# The log of one outbox entry is for operators; the last tries are enough.
TRIES_KEPT = 20


@attrs.frozen(kw_only=True)
class RecordedEvent:
    """An event that was recorded, and the decision.

    Args:
        version: of the record that first held it; events of one record are ordered by it.
        at_ms: when we recorded it, by our clock.
        why: one sentence for the timeline.
    """

    event: Event
    disposition: Disposition
    why: str
    at_ms: int
    version: int

    @property
    def id(self) -> str:
        return self.event.event_key


@attrs.frozen(kw_only=True)
class HandlerAttempt:
    """A step in delivering one outbox entry: `started`, `done`, `failed`, `missing`, `dropped`, …

    Args:
        version: of the record that first held it, as in `RecordedEvent`.
        claim: of `started`: who has claimed it. A claim whose commit lost its answer is known by
            it.
    """

    at_ms: int
    version: int
    claim: str = ""
    outcome: str
    error: str = ""


@attrs.frozen(kw_only=True)
class OutboxEntry:
    """A handler call that is due, as an entry of the outbox.

    Args:
        id: also the idempotency key given to the handler; it never changes.
        subject: what it is about: a refund's id, a reason for attention, or nothing.
        next_at_ms: when it may next be started. A running one has its lease's end here.
        forced: an operator requested it again, so it is not dropped as superseded.
        given_up: how often it was given up; each time is an event of its own.
        cut_short: how many tries were ended by their time limit, or with their process.
    """

    id: str
    name: HandlerName
    subject: str = ""
    status: EntryStatus = "pending"
    tries: int = 0
    next_at_ms: int
    forced: bool = False
    given_up: int = 0
    cut_short: int = 0
    log: tuple[HandlerAttempt, ...] = ()

    def logged(self, entry: HandlerAttempt) -> tuple[HandlerAttempt, ...]:
        """The log with one more entry, the oldest forgotten first."""
        return (*self.log, entry)[-TRIES_KEPT:]


@attrs.frozen(kw_only=True)
class Record:
    """What a store keeps about one attempt, or about unmatched events.

    `load` gives one with the events and entries that deciding needs, `history` a whole one.

    Args:
        key: the primary key. Two attempts for one receipt cannot share one, so the database
            refuses the second of two customers' clicks.
        version: 0 is not stored yet; each commit adds one.
        intent: None for parked events.
        reconcile_count: how often xPay was polled about it; the index into the schedule.
        reconcile_at_ms: when to poll next; None is never.
        due_set_ms: the clock by which its due times were set; None if nothing is due. A clock that
            is behind it was set back since, and then none of these times is believed.
        unmatched_in: the realm of parked events; that of an intent is its own.
        erased: of a record that is to be erased, no commit writes down what is personal; see
            `change`.
    """

    key: str
    version: int = 0
    intent: Intent | None = None
    events: tuple[RecordedEvent, ...] = ()
    outbox: tuple[OutboxEntry, ...] = ()
    aliases: frozenset[str] = frozenset()
    reconcile_count: int = 0
    reconcile_at_ms: int | None = None
    due_set_ms: int | None = None
    unmatched_in: str = UNNAMED
    erased: Erased = "no"

    @property
    def realm(self) -> str:
        """The mode and account that it belongs to; see `xpay_flow.realm`."""
        return self.unmatched_in if self.intent is None else self.intent.realm

    @property
    def deliver_at_ms(self) -> int | None:
        """When the next pending outbox entry may be started; None is never."""
        return min((e.next_at_ms for e in self.outbox if e.status == "pending"), default=None)

    def due_at_ms(self, work: Work) -> int | None:
        """When this kind of work is next due; None is never."""
        return self.deliver_at_ms if work == "deliver" else self.reconcile_at_ms

    def is_due(self, work: Work, now_ms: int) -> bool:
        """Whether this kind of work is due: its time has come, or is not to be believed."""
        at_ms = self.due_at_ms(work)
        return at_ms is not None and (at_ms <= now_ms or self.is_from_the_future(now_ms))

    def is_from_the_future(self, now_ms: int) -> bool:
        """Whether the clock was set back since its due times were set.

        A due time lies at most a pause or a lease after the moment at which it was set. So one
        that is further ahead than that was set in what is the future now.
        """
        return self.due_set_ms is not None and self.due_set_ms > believed_up_to(now_ms)

    def as_of(self, now_ms: int) -> Record:
        """This record with due times that can be believed; for what is to be changed in it."""
        if not self.is_from_the_future(now_ms):
            return self
        outbox = tuple(
            attrs.evolve(entry, next_at_ms=min(entry.next_at_ms, now_ms))
            if entry.status == "pending"
            else entry
            for entry in self.outbox
        )
        at_ms = self.reconcile_at_ms
        return attrs.evolve(
            self,
            outbox=outbox,
            reconcile_at_ms=min(at_ms, now_ms) if at_ms is not None else None,
            due_set_ms=now_ms,
        )

    def set_at(self, now_ms: int) -> Record:
        """This record, whose due times were set by this clock."""
        is_due = self.deliver_at_ms is not None or self.reconcile_at_ms is not None
        return attrs.evolve(self, due_set_ms=now_ms if is_due else None)

    def entry(self, entry_id: str) -> OutboxEntry | None:
        """The outbox entry with this id."""
        return next((e for e in self.outbox if e.id == entry_id), None)

    def with_entry(self, changed: OutboxEntry) -> Record:
        """This record with one outbox entry replaced."""
        outbox = tuple(changed if e.id == changed.id else e for e in self.outbox)
        return attrs.evolve(self, outbox=outbox)


@attrs.frozen(kw_only=True)
class Change:
    """One atomic step of a store: from version `expected_version` to `record`.

    `record` has only those events and entries that were loaded, or are new. `new_events`,
    `changed_entries` and the two kinds of aliases say what differs from the expected version: a
    store of rows writes those, and a store of documents adds them with `appended`.

    Args:
        aliases_before: what the expected version is filed under; nothing if that is 0.
    """

    record: Record
    expected_version: int
    new_events: tuple[RecordedEvent, ...] = ()
    changed_entries: tuple[OutboxEntry, ...] = ()
    aliases_before: frozenset[str] = frozenset()

    @property
    def new_aliases(self) -> frozenset[str]:
        return self.record.aliases - self.aliases_before

    @property
    def old_aliases(self) -> frozenset[str]:
        """Those that the record is to be found by no more."""
        return self.aliases_before - self.record.aliases


def change(before: Record, after: Record) -> Change:
    """The step from one record to the next.

    Of a record that is to be erased it leaves out what is personal, as soon as nothing needs it.
    """
    if after.erased != "no":
        after = _erased(before, after)
    known_events = {recorded.id for recorded in before.events}
    known_entries = {entry.id: entry for entry in before.outbox}
    return Change(
        record=attrs.evolve(after, version=before.version + 1),
        expected_version=before.version,
        new_events=tuple(recorded for recorded in after.events if recorded.id not in known_events),
        changed_entries=tuple(e for e in after.outbox if known_entries.get(e.id) != e),
        # A new record is filed nowhere yet, whatever its aliases will be.
        aliases_before=before.aliases if before.version else frozenset(),
    )


# --- erasing -------------------------------------------------------------------------------------

# Steps of a handler call whose text is the handler's own; that of others is ours.
_FOREIGN_TEXT: Final = frozenset({"failed"})


def open_matters(record: Record) -> tuple[str, ...]:
    """What keeps a record from being erased whole, in words: what still needs the personal data.

    Args:
        record: with every outbox entry that is pending.
    """
    intent, calls = record.intent, sorted({entry.name for entry in pending(record.outbox)})
    matters = [f"a call of {name} is pending" for name in calls]
    if intent is not None and intent.request is not None:
        matters.append("xPay has not answered the creation, which may have to be repeated")
    elif intent is not None and record.reconcile_at_ms is not None and _is_open(intent):
        matters.append("the customer can still pay, or xPay has not named the amount")
    return tuple(matters)


def _is_open(intent: Intent) -> bool:
    return not intent.is_settled and intent.state not in ("cancelled", "rejected")


def without_payload(recorded: RecordedEvent) -> RecordedEvent:
    """A recorded event as it is kept of an erased record: what was decided by stays."""
    if not recorded.event.payload:
        return recorded
    return attrs.evolve(recorded, event=attrs.evolve(recorded.event, payload=""))


def _erased(before: Record, after: Record) -> Record:
    """The record without what is personal, as far as nothing needs it."""
    known = {recorded.id for recorded in before.events}
    after = attrs.evolve(
        after,
        # Those that are recorded already are blanked in the store; see `ports.Erasing`. An
        # unmatched event is what its pending call is about.
        events=tuple(
            recorded if recorded.id in known or after.intent is None else without_payload(recorded)
            for recorded in after.events
        ),
        outbox=tuple(_without_foreign_text(entry) for entry in after.outbox),
    )
    if open_matters(after):
        return after
    intent = after.intent
    if intent is not None:
        intent = attrs.evolve(intent, request=None, metadata=(), terms=(), checkout_url=None)
    return attrs.evolve(after, intent=intent, erased="done")


def _without_foreign_text(entry: OutboxEntry) -> OutboxEntry:
    """The entry without what handlers have raised: of each error only its type is left."""
    log = tuple(
        attrs.evolve(attempt, error=_type_in(attempt.error))
        if attempt.outcome in _FOREIGN_TEXT
        else attempt
        for attempt in entry.log
    )
    return entry if log == entry.log else attrs.evolve(entry, log=log)


def _type_in(error: str) -> str:
    kind = error.partition(":")[0]
    return kind if kind.isidentifier() else "(erased)"


# --- the two parts of a record -------------------------------------------------------------------


def for_deciding(whole: Record, event: EventIdentity | None = None) -> Record:
    """What `load` gives of a record, however long its history is.

    A copy of an event changes nothing, and another content under its id is an event of its own
    that is named. So of the recorded events deciding needs only whether `event` is among them, and
    one with its id and another content. Entries that have ended were made due by what the
    snapshot holds, so they cannot become due again.
    """
    return with_parts(whole, _alike(whole.events, event), pending(whole.outbox))


def pending(outbox: Iterable[OutboxEntry]) -> tuple[OutboxEntry, ...]:
    """Those of the entries that are to be delivered."""
    return tuple([entry for entry in outbox if entry.status == "pending"])


def _alike(
    events: Iterable[RecordedEvent], event: EventIdentity | None
) -> tuple[RecordedEvent, ...]:
    if event is None:
        return ()
    alike = [recorded for recorded in events if recorded.event.event_id == event.event_id]
    copy = [recorded for recorded in alike if recorded.id == event.key]
    return (*copy, *[recorded for recorded in alike if recorded.id != event.key][:1])


def with_events(record: Record, events: tuple[RecordedEvent, ...]) -> Record:
    """The record with these events, and with their identities as the evidence of its intent."""
    return with_parts(record, events, record.outbox)


def with_parts(
    record: Record, events: tuple[RecordedEvent, ...], outbox: tuple[OutboxEntry, ...]
) -> Record:
    """As `with_events`, and with these outbox entries."""
    intent, evidence = record.intent, frozenset([recorded.id for recorded in events])
    if intent is not None and intent.evidence != evidence:
        intent = attrs.evolve(intent, evidence=evidence)
    return attrs.evolve(record, intent=intent, events=events, outbox=outbox)


def appended(whole: Record, change: Change) -> Record:
    """What `history` gives after `change`, and gave as `whole` before.

    Raises:
        StoreUnavailable: an event of the change is recorded already.
    """
    if twice := {recorded.id for recorded in change.new_events} & {r.id for r in whole.events}:
        raise StoreUnavailable(f"nothing was changed: {min(twice)!a} is recorded already")
    entries = {entry.id: entry for entry in (*whole.outbox, *change.changed_entries)}
    events = (*whole.events, *change.new_events)
    return with_parts(change.record, events, tuple(entries.values()))


# --- names ---------------------------------------------------------------------------------------


def attempt_key(receipt_id: str, attempt: int, realm: str) -> str:
    """The primary key of the n-th attempt for a receipt in a realm."""
    return f"attempt:{realm}:{attempt}:{receipt_id}"


def receipt_in(key: str) -> str | None:
    """The receipt id in the primary key of an attempt; None in that of parked events."""
    kind, _, rest = key.partition(":")
    # Before there were realms, keys had none; and the name of a realm is no number.
    if not rest.partition(":")[0].isdecimal():
        rest = rest.partition(":")[2]
    number, _, receipt_id = rest.partition(":")
    return receipt_id if kind == "attempt" and number.isdecimal() else None


def intent_alias(intent_id: str) -> str:
    return f"intent:{intent_id}"


def x_intent_alias(x_intent_id: str) -> str:
    return f"x:{x_intent_id}"


def receipt_alias(receipt_id: str) -> str:
    return f"receipt:{receipt_id}"


def aliases_of(key: str, intent: Intent) -> frozenset[str]:
    """Every name that an intent's record is filed under; its key is one of them."""
    return frozenset(
        {key, intent_alias(intent.id), receipt_alias(intent.receipt_id)}
        | {x_intent_alias(x) for x in intent.x_intent_ids}
    )
