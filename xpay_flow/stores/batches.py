"""How do many look-ups, and many changes, go to a database at once? For the stores on SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from xpay_flow.ports import Lookup
from xpay_flow.records import Change, Record

from .codec import is_a_name


def look_up(
    lookups: Sequence[Lookup], look: Callable[[Sequence[Lookup]], Iterable[Sequence[Record]]]
) -> list[Sequence[Record]]:
    """What `look` finds for each of these, if it is for a name at all."""
    found: dict[Lookup, Sequence[Record]] = {}
    if named := [lookup for lookup in lookups if is_a_name(lookup[0])]:
        found = dict(zip(named, look(named), strict=True))
    return [found.get(lookup, ()) for lookup in lookups]


def put_each(changes: Sequence[Change], put: Callable[[Change], bool]) -> list[bool]:
    """What `put` answers to each of these, of records that all differ, in one transaction."""
    # Known records in the order of their keys, so that two of us do not wait for each other.
    new = [change for change in changes if not change.expected_version]
    known = sorted((c for c in changes if c.expected_version), key=lambda c: c.record.key)
    won = {change.record.key: put(change) for change in (*new, *known)}
    return [won[change.record.key] for change in changes]
