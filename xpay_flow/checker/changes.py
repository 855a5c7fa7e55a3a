"""What did a write change in the store? Only what differs, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from xpay_flow.records import OutboxEntry, Record, RecordedEvent


@attrs.frozen(kw_only=True)
class Changed:
    """One difference.

    Args:
        what: the name of what differs.
        was, now: empty where it was not there before, or is not there any more.
    """

    record: str
    what: str
    was: str
    now: str

    @property
    def is_loss(self) -> bool:
        """Something that was on file is gone; nothing on file ever should be."""
        return bool(self.was) and not self.now


def changes(before: Sequence[Record], after: Sequence[Record]) -> tuple[Changed, ...]:
    """Every difference between two contents of a store, record by record."""
    old = {record.key: record for record in before}
    new = {record.key: record for record in after}
    found: list[Changed] = []
    for key in sorted({*old, *new}):
        nothing = Record(key=key)
        was, now = old.get(key, nothing), new.get(key, nothing)
        found += [
            Changed(record=key, what=what, was=one, now=other)
            for what, one, other in _compared(was, now)
            if one != other
        ]
    return tuple(found)


def _compared(was: Record, now: Record) -> Iterator[tuple[str, str, str]]:
    yield "version", _version(was), _version(now)
    yield "state", _state(was), _state(now)
    yield from _paired("evidence", _evidence(was), _evidence(now))
    yield from _paired("event", _events(was.events), _events(now.events))
    yield from _paired("outbox entry", _entries(was.outbox), _entries(now.outbox))
    yield "requests to xPay", _reconciliations(was), _reconciliations(now)


def _paired(
    what: str, was: dict[str, tuple[str, str]], now: dict[str, tuple[str, str]]
) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys((*was, *now)):
        label = (was.get(name) or now[name])[0]
        yield f"{what} {label}", was.get(name, ("", ""))[1], now.get(name, ("", ""))[1]


def _version(record: Record) -> str:
    return str(record.version) if record.version else ""


def _state(record: Record) -> str:
    return record.intent.state if record.intent else ""


def _evidence(record: Record) -> dict[str, tuple[str, str]]:
    """What the snapshot knows. A write that did not see another's loses it here, and only here."""
    kinds = record.intent.kinds if record.intent else ()
    return {kind: (kind, "in the snapshot") for kind in sorted(kinds)}


def _events(events: Sequence[RecordedEvent]) -> dict[str, tuple[str, str]]:
    return {recorded.id: (recorded.event.kind, recorded.disposition) for recorded in events}


def _entries(outbox: Sequence[OutboxEntry]) -> dict[str, tuple[str, str]]:
    return {
        entry.id: (
            f"{entry.name} {entry.subject}".strip(),
            f"{entry.status}, {entry.tries} tried" if entry.tries else entry.status,
        )
        for entry in outbox
    }


def _reconciliations(record: Record) -> str:
    if not record.version:
        return ""
    to_come = "none" if record.reconcile_at_ms is None else "one"
    return f"{record.reconcile_count} put, {to_come} to come"
