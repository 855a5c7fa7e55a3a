"""That a crash at any step heals: each effect of whole purchases, before it and after it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count, product
from pathlib import Path

import pytest

from xpay_flow.stores import open_store
from xpay_flow.stores.memory import MemoryStore

from .endings import Ending, check_ending, ending
from .here import WHENS, Open, ShopHere
from .stories import STORIES, Shop, lost_answer, purchase

Story = Callable[[Shop], None]
# A process that has just been restarted stops again, before one of so many effects.
SECOND_CUTS = 12
NUMBERS = count()


def in_memory() -> Open:
    """One store for all processes of a story: memory that outlives a process."""
    store = MemoryStore()
    return lambda: store


def in_file(folder: Path) -> Open:
    """One SQLite file for all processes of a story; each opens it anew."""
    url = f"sqlite:///{folder}/{next(NUMBERS)}.db"
    return lambda: open_store(url)


def whole(story: Story, open_store: Open) -> tuple[Ending, int]:
    """How the story ends uncut, and how many effects it takes."""
    shop = ShopHere(open_store)
    story(shop)
    effects, books = shop.fuse.seen, shop.books()
    shop.close()
    check_ending(books)
    return ending(books), effects


def check_every_cut(story: Story, fresh: Callable[[], Open]) -> int:
    """Cut a story everywhere, and compare each ending with the uncut one's; how many cuts."""
    expected, effects = whole(story, fresh())
    for at, when in product(range(effects), WHENS):
        shop = ShopHere(fresh())
        shop.fuse.set(at, when)
        story(shop)
        books = shop.books()
        shop.close()
        assert 1 == books.crashes, (at, when)
        check_ending(books)
        assert expected == ending(books), (at, when)
    return 2 * effects


def show(story: Story, where: str, cuts: int) -> None:
    sys.stderr.write(f"{story.__name__} {where}: {cuts} crash points\n")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_crash_at_any_effect_heals_in_memory(story: Story) -> None:
    """Nothing is lost and nothing is done twice, wherever the process stops."""
    cuts = check_every_cut(story, in_memory)
    show(story, "in memory", cuts)
    assert cuts > 60


@pytest.mark.parametrize("story", [purchase, lost_answer], ids=lambda story: story.__name__)
def test_a_crash_at_any_effect_heals_on_sqlite(story: Story, tmp_path: Path) -> None:
    """The same over a file that the next process opens."""
    cuts = check_every_cut(story, lambda: in_file(tmp_path))
    show(story, "on SQLite", cuts)
    assert cuts > 60


def test_a_crash_during_the_recovery_heals() -> None:
    """The process stops at any effect, and the next one again soon after it has begun."""
    expected, effects = whole(lost_answer, in_memory())
    twice = 0
    for at, again in product(range(effects), range(SECOND_CUTS)):
        shop = ShopHere(in_memory(), again=again)
        shop.fuse.set(at, "before")
        lost_answer(shop)
        books = shop.books()
        check_ending(books)
        assert expected == ending(books), (at, again)
        twice += books.crashes == 2
    show(lost_answer, "twice", twice)
    assert twice > 500


def test_the_stories_are_whole() -> None:
    """Uncut, the purchase ends fulfilled and partly refunded, each handler called once."""
    shop = ShopHere(in_memory())
    purchase(shop)
    books = shop.books()
    assert ("pi_1:on_failed", "pi_1:on_success") == books.keys[:2]
    assert 3 == len(books.keys)
    (truth,) = ending(books).intents
    assert ("success", 500, "partial") == (truth.state, truth.refunded_minor, truth.refund_status)
