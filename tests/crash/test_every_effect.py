"""That a crash at any step heals: each effect of whole purchases, before it and after it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count, product
from pathlib import Path

import pytest

from xpay_flow.stores import open_store
from xpay_flow.stores.memory import MemoryStore

from .stories import (
    STORIES,
    WHENS,
    Open,
    Shop,
    check_ending,
    ending,
    length,
    lost_answer,
    purchase,
    told,
)


def in_memory() -> Open:
    """One store for all processes of a story: memory that outlives a process."""
    store = MemoryStore()
    return lambda: store


NUMBERS = count()


def in_file(folder: Path) -> Open:
    """One SQLite file for all processes of a story; each opens it anew."""
    url = f"sqlite:///{folder}/{next(NUMBERS)}.db"
    return lambda: open_store(url)


def check_every_cut(story: Callable[[Shop], None], fresh: Callable[[], Open]) -> int:
    """Cut a story everywhere, and compare each ending with the uncut one's; how many cuts."""
    whole = told(story, fresh())
    check_ending(whole)
    expected = ending(whole)
    whole.close()
    effects = length(story, fresh())
    for at, when in product(range(effects), WHENS):
        shop = told(story, fresh(), at=at, when=when)
        assert 1 == shop.crashes, (at, when)
        check_ending(shop)
        assert expected == ending(shop), (at, when)
        shop.close()
    return 2 * effects


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_crash_at_any_effect_heals_in_memory(story: Callable[[Shop], None]) -> None:
    """Nothing is lost and nothing is done twice, wherever the process stops."""
    cuts = check_every_cut(story, in_memory)
    print(f"{story.__name__}: {cuts} crash points", file=sys.stderr)  # a figure to see
    assert cuts > 60


@pytest.mark.parametrize("story", [purchase, lost_answer], ids=lambda story: story.__name__)
def test_a_crash_at_any_effect_heals_on_sqlite(
    story: Callable[[Shop], None], tmp_path: Path
) -> None:
    """The same over a file that the next process opens."""
    cuts = check_every_cut(story, lambda: in_file(tmp_path))
    print(f"{story.__name__} on SQLite: {cuts} crash points", file=sys.stderr)
    assert cuts > 60


def test_the_stories_are_whole() -> None:
    """Uncut, the purchase ends fulfilled, partly refunded and told once each."""
    shop = told(purchase, in_memory())
    keys = [payment.idempotency_key for _, payment in shop.world.calls]
    assert ["pi_1:on_failed", "pi_1:on_success"] == keys[:2]
    assert 3 == len(keys)
    (truth,) = ending(shop).intents
    assert ("success", 500, "partial") == (truth.state, truth.refunded_minor, truth.refund_status)
