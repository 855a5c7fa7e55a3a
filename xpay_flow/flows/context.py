"""What is every flow given, and how often does it try again after a lost race?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

from ..effects import Command
from ..errors import StoreContended
from ..lifecycle import LIFECYCLE, Lifecycle
from ..settings import Settings

T = TypeVar("T")

# Deliveries of one intent that truly overlap are few: each loser of a race reads again and finds
# the winner's commit. More losses than this mean that something else is wrong.
COMMIT_TRIES = 10


@attrs.frozen
class FlowContext:
    """The operator's settings and the lifecycle in force.

    Args:
        tries: gone through once for each commit, again after each race that it lost.
    """

    settings: Settings
    lifecycle: Lifecycle = LIFECYCLE
    tries: Iterable[object] = range(COMMIT_TRIES)


def retry(context: FlowContext, name: str, attempt: Callable[[], Command[T | None]]) -> Command[T]:
    """Run an attempt again after each lost race, which it reports as None or False.

    Each attempt starts with empty hands: it reads everything again.

    Args:
        name: what is contended for, in the words of the error.

    Raises:
        StoreContended: others were faster in each of ten tries.
    """
    result = None
    for _ in context.tries:
        result = yield from attempt()
        if result:
            return result
    raise StoreContended(f"{name} changed under each of {COMMIT_TRIES} tries")
