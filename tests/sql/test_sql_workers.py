"""`xpay-flow worker` processes share the work, and take over from one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import pytest
from processes import line_of

from .shop_tables import Shop, shop_on

SOON_S = 1.0
ENDS_S = 30.0
# A waiting handler reports that it is at work, and never comes to the end of it.
SHOP = """
import os, signal
from xpay_flow import Flow, Settings

def fulfil(payment):
    if "WAITS" in os.environ:
        os.write(1, b"at work\\n")
        signal.pause()

def flow():
    flow = Flow.open({url!r}, Settings.sandbox(), background=False)
    flow.on_success(fulfil)
    return flow
"""


@pytest.fixture(params=["postgresql", "mariadb"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with shop_on(request.param, request, tmp_path) as shop:
        (tmp_path / "the_shop.py").write_text(SHOP.format(url=shop.url))
        yield shop


@contextmanager
def worker(folder: Path, **environment: str) -> Generator[subprocess.Popen[str]]:
    """A worker that has begun to look for work."""
    command = ["-m", "xpay_flow.cli", "worker", "the_shop:flow", "--json", "--poll=0.05"]
    if "WAITS" in environment:
        # It would take the other orders, too.
        command.append("--handlers-at-once=1")
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            assert "looking every 0.05 s" in line_of(process.stderr)
            yield process
        finally:
            process.kill()


def next_call(process: subprocess.Popen[str]) -> dict[str, str]:
    """The next handler call in its output."""
    while not _is_call(reported := json.loads(line_of(process.stdout))):
        pass
    return reported


def test_a_worker_takes_over_from_one_that_is_killed(shop: Shop, tmp_path: Path) -> None:
    """Within a second after `kill -9` of the process that was in the middle of the call."""
    shop.paid()
    with worker(tmp_path, WAITS="yes") as first:
        assert "at work\n" == line_of(first.stdout)
        with worker(tmp_path) as second:
            # It has looked, and left the job alone, when it has done this one.
            shop.paid("order-43")
            assert "order-43" == _order(shop, next_call(second))
            first.send_signal(signal.SIGKILL)
            died = monotonic()
            done = next_call(second)
            assert monotonic() - died < SOON_S
            assert ("done", "order-42") == (done["outcome"], _order(shop, done))


def test_several_workers_do_each_job_once(shop: Shop, tmp_path: Path) -> None:
    """Three of them print each job once, and SIGTERM ends each in order."""
    orders = {f"order-{number}" for number in range(12)}
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(tmp_path)) for _ in range(3)]
        for order in orders:
            shop.paid(order)
        deadline = monotonic() + ENDS_S
        while any(shop.entry(order).status != "done" for order in orders):
            assert monotonic() < deadline
        reported = []
        for process in workers:
            process.terminate()
            printed, _ = process.communicate(timeout=ENDS_S)
            assert 0 == process.returncode
            reported += [
                _order(shop, line)
                for line in map(json.loads, printed.splitlines())
                if _is_call(line)
            ]
    assert sorted(orders) == sorted(reported)


def _order(shop: Shop, reported: dict[str, str]) -> str:
    (record,) = shop.world.flow.store.history(f"intent:{reported['intent_id']}")
    assert record.intent is not None
    return record.intent.receipt_id


def _is_call(reported: dict[str, str]) -> bool:
    """By their clock an order that is not paid yet is so old that it is reconciled."""
    return "delivered" == reported["kind"]
