"""Who takes part in a trace, when does each flow run, and who sends what to whom?

Everything that is drawn or written of a story is made of the rows that are worked out here.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .story import Step

# Parties outside the shop's code; tasks stand between them, in the order of their beginnings.
LEFT, RIGHT = ("Customer", "xPay"), ("Store", "Handlers")


@attrs.frozen(kw_only=True)
class Task:
    """One running flow of a story.

    Args:
        name: its kind's, and its number where several tasks are of one kind.
        first, last: the rows in which it begins and ends; `last` is None if it never ends.
    """

    name: str
    first: int
    last: int | None = None

    def runs_at(self, row: int) -> bool:
        """It has begun and not yet ended; both ends count."""
        return self.first <= row and (self.last is None or row <= self.last)


@attrs.frozen(kw_only=True)
class Row:
    """One step, and who is at either end of its arrow.

    Args:
        task: the number of the task whose step it is; None for the world's.
        concerns_all: it concerns no party in particular, as when time passes.
    """

    step: Step
    task: int | None
    source: str
    target: str
    concerns_all: bool = False

    @property
    def is_loop(self) -> bool:
        """A party does something by itself."""
        return self.source == self.target


@attrs.frozen(kw_only=True)
class Lanes:
    """A story laid out."""

    tasks: tuple[Task, ...]
    rows: tuple[Row, ...]

    @property
    def parties(self) -> tuple[str, ...]:
        """All parties, from left to right."""
        seen = {name for row in self.rows for name in (row.source, row.target)}
        tasks = tuple(task.name for task in self.tasks)
        return tuple(name for name in (*LEFT, *tasks, *RIGHT) if name in seen or name in tasks)

    def words(self, number: int) -> str:
        """One row as one line."""
        row = self.rows[number]
        return row.step.in_words("" if row.task is None else self.tasks[row.task].name)


def lanes_of(story: Sequence[Step]) -> Lanes:
    """The parties and rows of a story."""
    owners = _owners(story)
    tasks = _tasks(story, owners)
    rows: list[Row] = []
    for step, owner in zip(story, owners, strict=True):
        concerns_all = owner is None and step.what in ("time", "dies")
        name = "" if owner is None else tasks[owner].name
        source, target = ("", "") if concerns_all else step.ends_of_arrow(name)
        rows.append(
            Row(step=step, task=owner, source=source, target=target, concerns_all=concerns_all)
        )
    return Lanes(tasks=tasks, rows=tuple(rows))


def _owners(story: Sequence[Step]) -> list[int | None]:
    """Which task each step is of, by following pasts from step to step."""
    running: dict[int, list[int]] = {}
    owners: list[int | None] = []
    begun = 0
    for step in story:
        owner: int | None = None
        if step.what == "starts":
            owner, begun = begun, begun + 1
        elif step.before is not None:
            owner = running[step.before].pop()
        elif step.what == "dies":
            running.clear()
        if step.after is not None and owner is not None:
            running.setdefault(step.after, []).append(owner)
        owners.append(owner)
    return owners


def _tasks(story: Sequence[Step], owners: Sequence[int | None]) -> tuple[Task, ...]:
    kinds = [step.kind.name if step.kind else "" for step in story if step.what == "starts"]
    return tuple(
        Task(
            name=f"{kind} ({kinds[: number + 1].count(kind)})" if kinds.count(kind) > 1 else kind,
            first=owners.index(number),
            last=_last(story, owners, number),
        )
        for number, kind in enumerate(kinds)
    )


def _last(story: Sequence[Step], owners: Sequence[int | None], task: int) -> int | None:
    own = max(at for at, owner in enumerate(owners) if owner == task)
    if story[own].after is None:
        return own
    deaths = (
        at
        for at, step in enumerate(story)
        if at > own and step.what == "dies" and owners[at] is None
    )
    return next(deaths, None)
