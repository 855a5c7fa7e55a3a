"""The shop's own table does each thing once for each idempotency key."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from xpay_flow import Money
from xpay_flow.demo.orders import Orders, is_order_id, new_order_id

PRICE = Money(1900, "USD")


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "orders.db")


def test_placing_twice_is_one_order(orders: Orders) -> None:
    """The second one finds the first, with its mug and price."""
    first = orders.place("mug-abcdefghjk", "harbour", PRICE)

    assert first == orders.place("mug-abcdefghjk", "meadow", Money(1, "USD"))


def test_packing_is_done_once_for_each_key(orders: Orders) -> None:
    """A key that was used does nothing; another one does."""
    orders.place("mug-abcdefghjk", "harbour", PRICE)

    for key in ("k1", "k1", "k2"):
        orders.pack("mug-abcdefghjk", key)

    order = orders.get("mug-abcdefghjk")
    assert order is not None
    assert 2 == order.packed


def test_packing_at_the_same_time_is_done_once(orders: Orders) -> None:
    """Eight threads with one key pack one mug."""
    orders.place("mug-abcdefghjk", "harbour", PRICE)
    threads = [threading.Thread(target=orders.pack, args=("mug-abcdefghjk", "k")) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    order = orders.get("mug-abcdefghjk")
    assert order is not None
    assert 1 == order.packed


def test_refunds_add_up_by_key(orders: Orders) -> None:
    """Two refunds count, the second one's repeat does not."""
    orders.place("mug-abcdefghjk", "harbour", PRICE)

    for key, amount_minor in (("r1", 500), ("r2", 300), ("r2", 300)):
        orders.record_refund("mug-abcdefghjk", key, amount_minor)

    order = orders.get("mug-abcdefghjk")
    assert order is not None
    assert 800 == order.refunded_minor


def test_orders_are_still_there_after_a_restart(orders: Orders, tmp_path: Path) -> None:
    """Another process finds what was stored."""
    placed = orders.place("mug-abcdefghjk", "harbour", PRICE)

    assert placed == Orders(tmp_path / "orders.db").get("mug-abcdefghjk")


def test_an_unknown_order_is_none(orders: Orders) -> None:
    """Nothing is found under a name that was never placed."""
    assert orders.get("mug-abcdefghjk") is None


def test_order_ids_are_ours_and_never_the_same() -> None:
    """A thousand ids differ, and all have our form."""
    ids = {new_order_id() for _ in range(1000)}

    assert 1000 == len(ids)
    assert all(is_order_id(order_id) for order_id in ids)


@pytest.mark.parametrize(
    "text", ["", "mug-", "mug-ABCDEFGHJK", "mug-abcdefghjk\n", "mug-abc0efghjk"]
)
def test_other_texts_are_not_order_ids(text: str) -> None:
    """What we would not give is not taken."""
    assert not is_order_id(text)
