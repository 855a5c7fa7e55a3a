"""That the promises hold over any story that Hypothesis generates, in memory and on SQLite.

`MACHINE_EXAMPLES=5000 pytest tests/flows/test_machine.py` goes looking for new stories, and takes
its time to shorten one that fails; without it the same ones are generated each time.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from xpay_flow.ports import Store
from xpay_flow.stores import open_store

from .machine import ShopMachine

WANTED = os.environ.get("MACHINE_EXAMPLES")


def of_size(examples: int, steps: int) -> settings:
    return settings(
        max_examples=int(WANTED) if WANTED else examples,
        stateful_step_count=steps,
        derandomize=WANTED is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if WANTED else [Phase.generate],
        report_multiple_bugs=False,
    )


class SQLiteShop(ShopMachine):
    """The same shop over a file, which each process of it opens anew."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()

    def open_store(self) -> Store:
        return open_store(f"sqlite:///{Path(self._folder.name) / 'shop.db'}")

    def close_store(self, store: Any) -> None:
        store.close()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self._folder.cleanup()


@pytest.mark.slow
def test_the_promises_hold_in_memory() -> None:
    """Whatever customers, xPay, forgers, crashes and time do, in whatever order."""
    run_state_machine_as_test(ShopMachine, settings=of_size(examples=250, steps=40))


@pytest.mark.slow
def test_the_promises_hold_on_sqlite() -> None:
    """The same over the store that a small shop uses."""
    run_state_machine_as_test(SQLiteShop, settings=of_size(examples=30, steps=30))
