"""That a handler within the transaction takes effect exactly once, wherever its process dies.

Enumerated, not sampled: a real process is killed before and after each call of the driver, and the
database fails at each of them. Then the row and our record are both there or neither, and after the
next pass both are there, once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from xpay_flow.errors import StoreError
from xpay_flow.payment import Payment

from .points import Points, at_driver_calls, failed, killed
from .shop_tables import KINDS, LEASE_S, CommitsBefore, Shop, in_child, shop_on


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with shop_on(request.param, request, tmp_path) as shop:
        yield shop


def a_pass(shop: Shop, points: Points) -> None:
    """What a worker does in a process of its own, with a new store; its lines are points, too."""
    store: Any = shop.opened()

    def fulfil(payment: Payment, tx: Any) -> None:
        points.pass_by()
        shop.write(payment, tx)
        points.pass_by()

    flow = shop.world.new_flow(store)
    flow.on_success(transactional=True)(fulfil)
    engine = getattr(getattr(store, "_database", None), "engine", None)
    with at_driver_calls(points, engine):
        try:
            flow.deliver()
        except StoreError:
            return
        finally:
            store.close()


def check_both_or_neither(shop: Shop, key: str, receipt_id: str, point: int) -> None:
    is_done = "done" == shop.entry(receipt_id).status
    assert ([key] if is_done else []) == [row for row in shop.rows() if row == key], point


def heal(shop: Shop) -> None:
    """The claim runs out, and another worker comes by; twice, since once must be enough."""
    for _ in range(2):
        shop.world.advance(LEASE_S)
        a_pass(shop, Points())


@pytest.mark.slow
def test_a_process_killed_anywhere_has_done_both_or_neither(shop: Shop) -> None:
    """After the death the row is there, once, if and only if our record is."""
    keys: list[str] = []
    for at in count():
        receipt_id = f"order-{at}"
        keys.append(shop.paid(receipt_id))
        ended = in_child(partial(a_pass, shop, Points(at, killed)))
        check_both_or_neither(shop, keys[-1], receipt_id, at)
        heal(shop)
        assert sorted(keys) == shop.rows(), at
        if ended == 0:
            break
        assert -signal.SIGKILL == ended, at
    sys.stderr.write(f"{shop.url.partition(':')[0]}: {len(keys) - 1} processes killed\n")
    assert len(keys) > 20


def test_a_database_that_fails_anywhere_has_done_both_or_neither(shop: Shop) -> None:
    """The same where the driver raises, and the process goes on."""
    keys: list[str] = []
    for at in count():
        receipt_id = f"order-{at}"
        keys.append(shop.paid(receipt_id))
        points = Points(at, failed)
        a_pass(shop, points)
        check_both_or_neither(shop, keys[-1], receipt_id, at)
        heal(shop)
        assert sorted(keys) == shop.rows(), at
        if points.passed <= at:
            break
    assert len(keys) > 20


def test_two_commits_are_distinguished_from_one(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that commits twice is found out: what is looked for above can be missed."""
    with shop_on("embedded", request, tmp_path) as shop:
        path = tmp_path / "shop.db"
        monkeypatch.setattr(Shop, "opened", lambda _: CommitsBefore(path))
        torn: list[int] = []
        for at in count():
            key, receipt_id = shop.paid(f"order-{at}"), f"order-{at}"
            points = Points(at, failed)
            a_pass(shop, points)
            if points.passed <= at:
                break
            if (shop.entry(receipt_id).status == "done") != (key in shop.rows()):
                torn.append(at)
            heal(shop)
        assert torn
