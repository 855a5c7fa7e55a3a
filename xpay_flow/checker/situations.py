"""Which situations are there? By number: the store's contents and the world outside."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from . import outside as world
from .contents import Contents
from .outside import Happening, Outside


class Worlds:
    """Every world outside that a search has met, by number."""

    def __init__(self) -> None:
        self._outsides: list[Outside] = []
        self._numbers: dict[Outside, int] = {}
        self._after: dict[tuple[int, Happening], int] = {}

    def __getitem__(self, number: int) -> Outside:
        return self._outsides[number]

    def number(self, outside: Outside) -> int:
        """The number of a world; equal worlds have one."""
        number = self._numbers.setdefault(outside, len(self._outsides))
        if number == len(self._outsides):
            self._outsides.append(outside)
        return number

    def after(self, number: int, happening: Happening) -> int:
        """The number of the world after one thing more."""
        found = self._after.get((number, happening))
        if found is None:
            outside = world.happened(self._outsides[number], happening)
            found = self._after[number, happening] = self.number(outside)
        return found


class Situations:
    """Every situation that a search has met.

    Args:
        quiet: those that are alike while no flow runs are one; see `quiet_essence`. Then no flow
            has read the clock, and all that a flow of ours makes of a deadline is whether it has
            come. It needs promises that do not look at times.
    """

    def __init__(self, stored: Contents, *, quiet: bool) -> None:
        self._stored, self._quiet = stored, quiet
        self._worlds = Worlds()
        # By the number of a situation: its contents, and its world.
        self.contents: list[int] = []
        self._worlds_of: list[int] = []
        self._situations: dict[tuple[int, int], int] = {}
        self._first_quiet: dict[tuple[Hashable, int], int] = {}
        self._settled: dict[int, int] = {}

    def at(self, content: int, outside: Outside) -> int:
        """The number of the situation with these contents and this world."""
        return self.number(content, self._worlds.number(outside))

    def number(self, content: int, world: int) -> int:
        """The number of a situation."""
        key = (content, world)
        number = self._situations.get(key)
        if number is None:
            number = self._situations[key] = len(self.contents)
            self.contents.append(content)
            self._worlds_of.append(world)
        return number

    def __getitem__(self, number: int) -> tuple[int, Outside]:
        """The contents and the world of a situation."""
        return self.contents[number], self._worlds[self._worlds_of[number]]

    def after(self, situation: int, happens: Iterable[Happening], content: int) -> int:
        """The situation after something happened, with these contents."""
        number = self._worlds_of[situation]
        for happening in happens:
            number = self._worlds.after(number, happening)
        return self.number(content, number)

    def settled(self, situation: int) -> int:
        """The first situation that is like this one while no flow runs."""
        if not self._quiet:
            return situation
        found = self._settled.get(situation)
        if found is None:
            content, outside = self[situation]
            alike = self._stored.quiet(content, outside.now_ms)
            timeless = self._worlds.after(self._worlds_of[situation], ("at", world.START_MS))
            key = (alike, timeless)
            found = self._settled[situation] = self._first_quiet.setdefault(key, situation)
        return found
