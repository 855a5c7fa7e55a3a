"""How do many names, and many changes, go to a database at once? For the stores on SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from xpay_flow.records import Change, Record

from .codec import is_a_name


def look_up(
    aliases: Sequence[str], look: Callable[[Sequence[str]], Iterable[Sequence[Record]]]
) -> list[Sequence[Record]]:
    """What `look` finds under each of these, if it can be a name at all."""
    found: dict[str, Sequence[Record]] = {}
    if names := [alias for alias in aliases if is_a_name(alias)]:
        found = dict(zip(names, look(names), strict=True))
    return [found.get(alias, ()) for alias in aliases]


def put_each(changes: Sequence[Change], put: Callable[[Change], bool]) -> list[bool]:
    """What `put` answers to each of these, of records that all differ, in one transaction."""
    # Known records in the order of their keys, so that two of us do not wait for each other.
    new = [change for change in changes if not change.expected_version]
    known = sorted((c for c in changes if c.expected_version), key=lambda c: c.record.key)
    won = {change.record.key: put(change) for change in (*new, *known)}
    return [won[change.record.key] for change in changes]
