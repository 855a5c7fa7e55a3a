"""That a payment which another process records is shown at once, where PostgreSQL reports it."""

from __future__ import annotations

import threading
from typing import Any

from django.db import connections

from xpay_flow import Flow
from xpay_flow import sample_records as b
from xpay_flow.testing.adapter_suite import (
    ODD_SPELLING,
    SETTINGS,
    NoXPay,
    signature,
    until,
)
from xpay_flow_django import DjangoStore

ENDS_S = 10.0


class NeverLooks:
    """A clock that stands still, so that a watcher never looks."""

    def __init__(self) -> None:
        self.is_let_go = threading.Event()

    def now_ms(self) -> int:
        return b.NOW_MS

    def pause(self, seconds: float) -> None:
        self.is_let_go.wait(ENDS_S)


def flow_on(alias: str) -> Flow:
    return Flow(DjangoStore(alias), SETTINGS, transport=NoXPay(), background=False)


def test_a_commit_elsewhere_is_shown_by_a_notification(postgresql: str) -> None:
    """Another flow's commit wakes a customer whose watcher does not look."""
    for step in b.history(b.created()):
        assert DjangoStore(postgresql).commit(step)
    flow, clock, shown = flow_on(postgresql), NeverLooks(), list[Any]()
    flow._watcher._clock = clock

    def customer() -> None:
        shown.append(flow.status("in_1", wait_s=25))
        connections[postgresql].close()

    thread = threading.Thread(target=customer, daemon=True)
    thread.start()
    until(lambda: listens(postgresql), "one listens")
    other = flow_on(postgresql)
    other.receive_webhook([signature(ODD_SPELLING)], ODD_SPELLING)
    other.close()
    thread.join(ENDS_S)
    clock.is_let_go.set()
    flow.close()
    assert ["SUCCESS"] == [status.status for status in shown]


def listens(alias: str) -> bool:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"
            " AND datname = current_database()"
        )
        return bool(cursor.fetchall())


def test_nothing_is_reported_on_sqlite(sqlite: str) -> None:
    """There the watcher looks, as with every other database."""
    store = DjangoStore(sqlite)
    assert [False, False] == [store.can_report, store.can_listen]
