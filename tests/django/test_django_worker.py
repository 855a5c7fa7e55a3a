"""`manage.py xpay_worker` does what is due, prints it, and ends in order."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

import django_kit as kit
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from xpay_flow import AsyncFlow, Flow, StoreUnavailable
from xpay_flow import sample_records as b
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Work
from xpay_flow.testing.adapter_suite import SETTINGS, AnyFlow, AsyncNoXPay, NoXPay
from xpay_flow.testing.store_suite import put
from xpay_flow_django import AsyncDjangoStore, DjangoStore, routes


def paid(alias: str, *receipts: str) -> None:
    """Orders that are paid, with pending handler calls."""
    for receipt in receipts:
        event = b.paid(f"whe_{receipt}", x_intent_id=f"in_{receipt}")
        put(DjangoStore(alias), *b.history(b.created(f"in_{receipt}"), event, receipt_id=receipt))


@contextmanager
def project(flow: AnyFlow) -> Iterator[None]:
    with override_settings(ROOT_URLCONF=kit.urlconf(kit.mounted(routes(flow)))):
        yield


def shop(store: Any) -> tuple[Flow, list[str]]:
    packed: list[str] = []
    flow = Flow(store, SETTINGS, transport=NoXPay(), background=False)
    flow.on_success(lambda payment: packed.append(payment.receipt_id))
    return flow, packed


def work(flow: AnyFlow, **options: Any) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    with project(flow):
        call_command("xpay_worker", stdout=out, stderr=err, no_color=True, **options)
    return out.getvalue(), err.getvalue()


def test_once_does_all_that_is_due(alias: str) -> None:
    """Each handler that is due is called, and printed in a line; the second time nothing is."""
    paid(alias, "order-1", "order-2", "order-3")
    flow, packed = shop(DjangoStore(alias))
    printed, _ = work(flow, once=True)
    assert ["order-1", "order-2", "order-3"] == sorted(packed)
    assert 3 == len([line for line in printed.splitlines() if line.endswith(": done")])
    assert "on_success" not in work(flow, once=True)[0]
    assert 3 == len(packed)


def test_each_result_can_be_a_line_of_json(sqlite: str) -> None:
    """A program gets the lines of `xpay-flow worker --json`."""
    paid(sqlite, "order-1")
    printed, _ = work(shop(DjangoStore(sqlite))[0], once=True, json=True)
    (delivered,) = [
        line for line in map(json.loads, printed.splitlines()) if line["kind"] == "delivered"
    ]
    assert ("on_success", "done", "pi_order-1_1") == (
        delivered["name"],
        delivered["outcome"],
        delivered["intent_id"],
    )


def test_an_async_flow_is_worked_for_as_well(sqlite: str) -> None:
    """The worker of an AsyncFlow awaits its handlers, all in one event loop."""
    paid(sqlite, "order-1", "order-2")
    packed: list[str] = []
    flow = AsyncFlow(AsyncDjangoStore(sqlite), SETTINGS, transport=AsyncNoXPay(), background=False)

    @flow.on_success
    async def fulfil(payment: Any) -> None:
        packed.append(payment.receipt_id)

    work(flow, once=True)
    assert ["order-1", "order-2"] == sorted(packed)


def test_a_worker_keeps_its_connection_during_a_job(sqlite: str) -> None:
    """The claim, and the note that the call is done, use the connection that found the record."""
    paid(sqlite, "order-1")
    seen: list[object] = []

    class Watched(DjangoStore):
        def commit(self, change: Any) -> bool:
            seen.append(connections[sqlite].connection)
            return super().commit(change)

    flow, _ = shop(Watched(sqlite))
    connections[sqlite].close()
    work(flow, once=True)
    assert [False, False] == [connection is None for connection in seen]
    assert 1 == len(set(map(id, seen)))


def test_a_stopped_worker_finishes_its_call(sqlite: str) -> None:
    """SIGTERM in the middle of a handler: that call is finished and noted, and no other begun."""
    paid(sqlite, "order-1", "order-2")
    flow, packed = shop(DjangoStore(sqlite))

    @flow.on_success
    def fulfil(payment: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        packed.append(payment.receipt_id)

    before = signal.getsignal(signal.SIGTERM)
    printed, _ = work(flow, poll=3600, handlers_at_once=1)
    assert 1 == len(packed)
    assert 1 == printed.count(": done")
    assert before is signal.getsignal(signal.SIGTERM)


class SometimesAway(DjangoStore):
    """A database that does not answer the first two times, and stops its worker later."""

    looks = 0

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        self.looks += 1
        if self.looks <= 2:
            raise StoreUnavailable("away, as the test wants it")
        # A second signal would end us at once.
        if self.looks == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().due(work, now_ms, limit, realms)


def test_a_database_that_is_away_is_waited_for(sqlite: str) -> None:
    """A worker outlives an outage, and does afterwards what is due."""
    paid(sqlite, "order-1")
    flow, packed = shop(SometimesAway(sqlite))
    _, errors = work(flow, poll=0.001)
    assert 2 == errors.count("trying again: away")
    assert ["order-1"] == packed
    with pytest.raises(CommandError, match="away"):
        work(shop(SometimesAway(sqlite))[0], once=True)


def test_a_worker_without_work_to_do_does_not_start(sqlite: str) -> None:
    """A flow without handlers, or no flow at all, is an error with a remedy."""
    flow = Flow(DjangoStore(sqlite), SETTINGS, transport=NoXPay(), background=False)
    with pytest.raises(CommandError, match="on_success"):
        work(flow, once=True)
    with (
        override_settings(ROOT_URLCONF=kit.urlconf()),
        pytest.raises(CommandError, match="in the URLconf must be there"),
    ):
        call_command("xpay_worker", once=True)
