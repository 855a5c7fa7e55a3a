"""How is a trace written as a seed of eighty characters? By the number of each way it took.

A seed holds the scene, the number of faults allowed, the promise, and for each step the ordinal of
the way taken, with one character to recognise it by. So it shows where code that was changed
since goes another way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import attrs

from xpay_flow.errors import ConfigurationError

from .bounds import ALL_SCENES, Scene
from .engine import Crew, Engine, Model, Way

SEED_CHARS_MAX = 80
VERSION = "x2"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Before an ordinal of two digits.
WIDE = "-"


@attrs.frozen(kw_only=True)
class Seed:
    """A story as numbers.

    Args:
        promise: recognises the name of the broken promise.
        ways: the ordinal of each way, and what recognises it; nothing where it is left out.
    """

    scene: str
    faults: int
    promise: str
    ways: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        number = [scene.name for scene in ALL_SCENES].index(self.scene)
        head = f"{VERSION}.{DIGITS[number]}{DIGITS[self.faults]}{self.promise}."
        text = head + "".join(_digits(ordinal) + mark for ordinal, mark in self.ways)
        if len(text) <= SEED_CHARS_MAX:
            return text
        return f"{head}!" + "".join(_digits(ordinal) for ordinal, _ in self.ways)

    @classmethod
    def read(cls, text: str) -> Seed:
        """The seed that was written so.

        Raises:
            ConfigurationError: it is not one, or of another version.
        """
        try:
            version, head, ways = text.strip().split(".")
            if version != VERSION:
                raise ValueError
            marked = not ways.startswith("!")
            return cls(
                scene=ALL_SCENES[DIGITS.index(head[0])].name,
                faults=DIGITS.index(head[1]),
                promise=head[2:],
                ways=tuple(_ways(iter(ways.removeprefix("!")), marked=marked)),
            )
        except (ValueError, IndexError, StopIteration, RuntimeError):
            raise ConfigurationError(
                f"{text[:SEED_CHARS_MAX]!a} is no seed of this version; they begin with {VERSION}."
            ) from None

    @property
    def where(self) -> Scene:
        return next(scene for scene in ALL_SCENES if scene.name == self.scene)


def mark_of(words: str, chars: int = 1) -> str:
    """A few characters by which words are recognised."""
    number, found = crc32(words.encode()), ""
    for _ in range(chars):
        number, digit = divmod(number, len(DIGITS))
        found += DIGITS[digit]
    return found


def _digits(ordinal: int) -> str:
    if ordinal < len(DIGITS):
        return DIGITS[ordinal]
    high, low = divmod(ordinal, len(DIGITS))
    return WIDE + DIGITS[high] + DIGITS[low]


def _ways(characters: Iterator[str], *, marked: bool) -> Iterator[tuple[int, str]]:
    for first in characters:
        ordinal = DIGITS.index(next(characters) if first == WIDE else first)
        if first == WIDE:
            ordinal = ordinal * len(DIGITS) + DIGITS.index(next(characters))
        yield ordinal, next(characters) if marked else ""


@attrs.frozen
class Choice:
    """One way on from a state: where it leads, what it costs, and what happens."""

    key: int
    cost: int
    label: Any


class Walk(Engine):
    """An engine that takes one way at a time, and can list them all."""

    def __init__(self, model: Model, faults: int) -> None:
        super().__init__(model, faults)
        self._choices: list[Choice] = []
        situation, crew = model.opening
        self.at = self._met(self._key(situation, self._crews.number(crew)), -1, None, 0)

    def choices(self) -> list[Choice]:
        """Every way on from where the walk has come to, always in the same order."""
        self._choices = []
        self._expand(self.at, self._prices[self.at], [[] for _ in range(self.faults_max + 1)])
        return self._choices

    def go(self, choice: Choice) -> None:
        """Take one of them."""
        price = self._prices[self.at] + choice.cost
        self.at = self._met(choice.key, self.at, choice.label, price)

    def goes(self, state: tuple[int, Crew], label: Any) -> int:
        """The ordinal of the way that leads to `state` by `label`, and take it."""
        for ordinal, choice in enumerate(self.choices()):
            if choice.label == label and self.unpacked(choice.key) == state:
                self.go(choice)
                return ordinal
        raise AssertionError("a way that was taken is not among the ways on")

    def _take(self, number: int, faults: int, way: Way, rest: int, layers: list[list[int]]) -> None:
        del number, faults, layers
        self._choices.append(Choice(self._after(way, rest), way.cost, way.label))
