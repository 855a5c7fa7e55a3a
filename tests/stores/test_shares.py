"""That handlers never hold all connections, whatever the number of connections."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreUnavailable
from xpay_flow.stores import sqlite_pool
from xpay_flow.stores.shares import CONNECTIONS, CONNECTIONS_MIN, FREE, shares
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.stores.turns import Turns
from xpay_flow.testing.limits import within_s
from xpay_flow.testing.store_suite import put

ENDS_S = 30.0


@pytest.mark.parametrize("can_lock", [True, False])
def test_shares_leave_connections_free(can_lock: bool) -> None:
    """All handlers at once, each with its lock and its transaction, leave two connections; of
    three, one."""
    for connections in range(CONNECTIONS_MIN, 100):
        of = shares(connections, can_lock)
        held = of.handlers * (2 if of.row_locks else 1)
        assert held <= connections - FREE
        assert of.handlers >= 1
        assert of.row_locks == (can_lock and connections > CONNECTIONS_MIN)


def test_shares_suit_a_worker() -> None:
    """As many connections as there are by default are enough for eight handlers at once."""
    assert 8 == shares(CONNECTIONS, can_lock=True).handlers


def test_turns_end_a_wait_in_words() -> None:
    """Who gets no turn in time meets StoreUnavailable, and a turn that ends is the next one's."""
    turns = Turns(1, "row locks", wait_s=0.01)
    with (
        turns.taken(),
        pytest.raises(StoreUnavailable, match=r"of 1 row locks none"),
        turns.taken(),
    ):
        pass
    with turns.taken():
        pass


def test_transactional_handlers_wait_for_each_other_on_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler waits longer for another one than a webhook waits for a writer, and succeeds."""
    monkeypatch.setattr(sqlite_pool, "WAIT_S", 0.05)
    with SQLiteStore(tmp_path / "payments.db") as store:
        steps = [b.next_change(put(store, b.attempt(f"order-{n}")), b.paid()) for n in range(3)]
        entered, released = Event(), Event()

        def first() -> bool:
            return store.commit_with(steps[0], lambda _: (entered.set(), released.wait(ENDS_S)))

        def second() -> bool:
            assert entered.wait(ENDS_S)
            return store.commit_with(steps[1], lambda _: None)

        def webhooks() -> bool:
            assert entered.wait(ENDS_S)
            for _ in range(5):
                with pytest.raises(StoreUnavailable):
                    store.commit(steps[2])
            released.set()
            return True

        assert [True, True, True] == within_s(ENDS_S, first, second, webhooks)
