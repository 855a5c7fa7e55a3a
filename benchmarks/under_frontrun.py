"""How long does frontrun take for three deliveries of six effects? Started by its own command.

    frontrun python -m benchmarks.under_frontrun

Each effect is reading or writing one attribute, because that is what it sees and reorders.
"""

from __future__ import annotations

import json
from functools import partial
from time import perf_counter

import frontrun  # type: ignore[import-untyped,import-not-found,unused-ignore]  # no stubs


class Mine:
    """What belongs to one delivery."""


class Shop:
    """What all deliveries share, and what belongs to each."""

    def __init__(self) -> None:
        self.paid = 0
        self.of = (Mine(), Mine(), Mine())


def delivery(number: int, shop: Shop) -> None:
    """The same six effects as `small_worlds.delivery`."""
    mine = shop.of[number]
    mine.inbox = 1  # type: ignore[attr-defined]
    mine.begun = 1  # type: ignore[attr-defined]
    paid = shop.paid
    shop.paid = paid + 1
    mine.pending = 1  # type: ignore[attr-defined]
    mine.log = 1  # type: ignore[attr-defined]


def main() -> None:
    """Run every execution that differs, and print how many there were and how long it took."""
    began = perf_counter()
    result = frontrun.explore(
        setup=Shop,
        workers=[partial(delivery, number) for number in range(3)],
        invariant=lambda _: True,
        preemption_bound=None,
        stop_on_first=False,
        reproduce_on_failure=0,
        detect_io=False,
    )
    seconds = perf_counter() - began
    print(json.dumps({"executions": result.num_explored, "seconds": seconds}))


if __name__ == "__main__":
    main()
