"""What is one step of a run? Which lifeline took it, where it stood, and what befell it there."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from .steered import Point

Fate: TypeAlias = Literal["go", "die", "refuse", "spoil", "crash"]


@attrs.frozen(kw_only=True)
class Step:
    """One step as it went.

    Args:
        others: who could have gone on instead.
        free: to switch here is no preemption.
    """

    line: int
    fate: Fate
    at: Point
    others: tuple[int, ...]
    free: bool
