"""What is code under check not allowed to be? Dependent on what the checker cannot see."""

from __future__ import annotations


class HiddenState(Exception):
    """Code under check did something else when given the same past.

    It depends on something besides the answers to its effects: a global, the wall clock,
    randomness, or memory shared between requests.
    """


class HiddenInput(HiddenState):
    """Code under check took in, or did, something that the checker neither sees nor repeats.

    Args:
        name: what was called, such as `time.time`.
        where: the file, line and function that called it.
        instead: what to do about it, in words.
    """

    def __init__(self, name: str, where: str, instead: str) -> None:
        super().__init__(f"{name} was called at {where}: {instead}")
        self.name, self.where, self.instead = name, where, instead
