"""That `kill -9` between any two steps loses nothing and does nothing twice: real processes, real
HTTP, a real file. Enumerated, not sampled: one death for each effect of the story."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .elsewhere import Address, ShopElsewhere, Stable, on_a_socket
from .endings import Ending, check_ending, ending
from .stories import Shop, lost_answer, purchase

Story = Callable[[Shop], None]


@pytest.fixture(scope="module")
def stable() -> Iterator[Stable]:
    stable = Stable()
    yield stable
    stable.close()


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with on_a_socket() as address:
        yield address


def played(
    story: Story, stable: Stable, address: Address, folder: Path, kill_at: int | None = None
) -> tuple[Ending, ShopElsewhere]:
    folder.mkdir()
    shop = ShopElsewhere(stable, address, folder, kill_at)
    story(shop)
    shop.close()
    books = shop.books()
    check_ending(books)
    return ending(books), shop


@pytest.mark.slow
@pytest.mark.parametrize("story", [purchase, lost_answer], ids=lambda story: story.__name__)
def test_a_process_killed_before_any_effect_leaves_nothing_undone(
    story: Story, stable: Stable, address: Address, tmp_path: Path
) -> None:
    """The next process opens the file, and the story ends as without a crash."""
    expected, whole = played(story, stable, address, tmp_path / "whole")
    for kill_at in range(whole.outbox):
        found, shop = played(story, stable, address, tmp_path / str(kill_at), kill_at)
        assert 1 == shop.crashes, kill_at
        assert expected == found, kill_at
    sys.stderr.write(f"{story.__name__}: {whole.outbox} processes killed\n")
    assert whole.outbox > 60
