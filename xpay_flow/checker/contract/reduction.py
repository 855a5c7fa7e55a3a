"""Which steps need no switch before them, and where does a death make a difference?

Two steps of different lifelines that cannot notice each other give the same in either order. What
is left out here is left out because of what the database promises of its transactions, or because
nothing happened in the step at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from .statements import Statement
from .steered import Begin, Waiting
from .step import Step


def unnoticed(steps: Sequence[Step]) -> frozenset[int]:
    """Steps such that to leave their lifeline before them is the same as to leave it after.

    A transaction that has its snapshot does not see what others do meanwhile, and one that has its
    lock is not seen before it ends. A connection that two lifelines use belongs to neither.
    """
    users: dict[int, set[int]] = {}
    for step in steps:
        if isinstance(step.at, Statement):
            users.setdefault(id(step.at.connection), set()).add(step.line)
    has_read, has_written, found = set[int](), set[int](), set[int]()
    for place, step in enumerate(steps):
        if isinstance(step.at, Waiting):
            found.add(place)
        if not isinstance(step.at, Statement):
            continue
        connection = id(step.at.connection)
        begun = has_read if step.at.reads_only else has_written
        alone = step.at.driver.isolated and len(users[connection]) == 1
        if step.at.quiet or (alone and step.at.open_after and connection in begun):
            found.add(place)
        elif step.at.open_after:
            has_read.add(connection)
            if not step.at.reads_only:
                has_written.add(connection)
        else:
            has_read.discard(connection)
            has_written.discard(connection)
    return frozenset(found)


def matters(steps: Sequence[Step], place: int) -> bool:
    """Whether the contents after a death here can differ from those after an earlier one.

    They can if the lifeline has made something last just before, in the same call. One death in the
    middle of each transaction is kept, too: right before what ends it.
    """
    here, line = steps[place].at, steps[place].line
    for before in reversed(steps[:place]):
        if before.line != line:
            continue
        if isinstance(before.at, Begin):
            return False
        if isinstance(before.at, Statement) and not before.at.quiet:
            return before.at.settles or (isinstance(here, Statement) and here.settles)
    return False
