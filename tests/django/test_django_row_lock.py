"""On PostgreSQL a job is one worker's as long as it lives, and free as soon as it does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

import django_kit as kit
from django.db import connections
from django.test import TestCase

from xpay_flow import Flow
from xpay_flow import sample_records as b
from xpay_flow.flows import HandlerResult
from xpay_flow.ports import RowLocking
from xpay_flow.testing.adapter_suite import SETTINGS, NoXPay
from xpay_flow.testing.store_suite import put
from xpay_flow_django import DjangoStore

SOON_S: Final = 1.0
ENDS_S: Final = 20.0
HERE: Final = Path(__file__).parent
# A worker that begins to call a handler, reports it, and never comes to the end of it.
AT_WORK: Final = """
import json, os, signal, sys
sys.path[:0] = json.loads(sys.argv[1])
import django_kit as kit
store = kit.opened_anywhere(kit.POSTGRESQL, json.loads(sys.argv[2]))
from test_django_row_lock import shop

def fulfil(payment):
    os.write(1, b"at work")
    signal.pause()

shop(store, fulfil).deliver()
"""


def shop(store: DjangoStore, fulfil: Any) -> Flow:
    flow = Flow(store, SETTINGS, transport=NoXPay(), background=False)
    flow.on_success(fulfil)
    return flow


def paid(alias: str) -> str:
    """A paid order whose handler call is pending; its receipt."""
    put(DjangoStore(alias), *b.history(b.created(), b.paid()))
    return "order-1"


@contextmanager
def worker_at_work(alias: str) -> Generator[subprocess.Popen[bytes]]:
    """A process that has begun to call a handler."""
    declared = json.dumps(connections.settings[alias], default=str)
    path = json.dumps([str(HERE), str(HERE.parent)])
    with subprocess.Popen(
        [sys.executable, "-c", AT_WORK, path, declared], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert b"at work" == os.read(process.stdout.fileno(), 10)
            yield process
        finally:
            process.kill()


def test_a_killed_workers_job_is_taken_over_at_once(postgresql: str) -> None:
    """Not while it lives; and within a second after `kill -9`, long before its claim runs out."""
    order, packed = paid(postgresql), []
    flow = shop(DjangoStore(postgresql), lambda payment: packed.append(payment.receipt_id))

    def delivered() -> list[str]:
        return [one.outcome for one in flow.deliver() if isinstance(one, HandlerResult)]

    with worker_at_work(postgresql) as worker:
        assert [] == delivered()
        worker.send_signal(signal.SIGKILL)
        worker.wait(ENDS_S)
        died = monotonic()
        while not (done := delivered()):
            assert monotonic() - died < SOON_S
    assert (["done"], [order]) == (done, packed)


def test_a_hold_is_a_connection_of_its_own(postgresql: str) -> None:
    """What the worker commits meanwhile ends neither the hold nor its connection."""
    key = put(DjangoStore(postgresql), b.attempt()).key
    one, other = DjangoStore(postgresql), DjangoStore(postgresql)
    assert isinstance(one, RowLocking)
    with one.lock(key) as is_mine:
        assert is_mine
        put(one, b.attempt("order-2"))
        connections[postgresql].close()
        with other.lock(key) as is_mine:
            assert not is_mine
    with other.lock(key) as is_mine:
        assert is_mine


def test_djangos_test_case_may_wrap_a_delivery(postgresql: str) -> None:
    """What a test case has not committed no other connection sees; its handlers are called."""
    packed: list[str] = []

    class Wrapped(TestCase):
        databases = frozenset({kit.POSTGRESQL})

        def test_delivering(self) -> None:
            order = paid(postgresql)
            flow = shop(DjangoStore(postgresql), lambda payment: packed.append(payment.receipt_id))
            flow.deliver()
            assert [order] == packed

    assert Wrapped("test_delivering").run().wasSuccessful()
    assert 1 == len(packed)


def test_sqlite_locks_whole_files_and_holds_nothing(sqlite: str) -> None:
    """There a claim is written, and has to run out."""
    assert not DjangoStore(sqlite).can_lock
