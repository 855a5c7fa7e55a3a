"""That killing processes and the database under load loses nothing and does nothing twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import servers
from processes import ended, line_of
from servers import NotThere, absent

from xpay_flow.testing.limits import within_s

from .database import children
from .planted_faults import PLANTED
from .run import IN_FOLDER, WEBS, WORKERS, Report, Size, run

ROOT = Path(__file__).parents[2]
SIZE = Size(intents=150, deliveries=600, seconds=15, server_kills=2)
SMALL = Size(intents=40, deliveries=160, seconds=6, server_kills=1)
ENDS_S = 60
# Those of Python's own notice our end by themselves.
LOOKS = 200


def reported(size: Size, plant: str = "") -> Report:
    try:
        return run(size, plant=plant)
    except NotThere as error:
        absent(str(error))
        raise


@pytest.mark.slow
def test_nothing_is_lost_or_done_twice_while_everything_is_killed() -> None:
    """Every acknowledged event is on file once, and every paid order is in the ledger once.

    Each order has one payment at xPay, though answers to its creation were lost, and some attempts
    were refused for good.
    Half way the tables grow to a newer schema: the code of now goes on, and starts again on it.
    """
    report = reported(SIZE)
    assert () == report.faults
    # It has met what it is for: deaths, recoveries, copies, and deliveries that took several tries.
    assert report.process_kills > 5
    assert report.kills_after_rollout > 2
    assert SIZE.server_kills == report.server_kills == report.recoveries
    assert SIZE.server_kills == report.pooler_kills
    assert report.duplicates > SIZE.deliveries / 4
    assert sum(report.tries.values()) > SIZE.deliveries == report.tries["200"]
    assert report.paid > SIZE.intents / 2
    assert sum(report.clicks.values()) > SIZE.intents >= report.at_xpay >= report.sent_on
    assert report.clicks["503"]
    assert report.refused


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTED)
def test_a_shop_with_a_mistake_is_found_out(plant: str) -> None:
    """A smaller run is enough to see each of the mistakes that it is for."""
    report = reported(SMALL, plant)
    assert report.by_kind[PLANTED[plant]], report


@pytest.mark.slow
def test_who_interrupts_a_run_finds_nothing_left_of_it() -> None:
    """Ctrl-C ends every process that was started, and removes what they wrote."""
    command = [sys.executable, "-m", "tests.chaos"]
    with ended(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)) as running:
        assert running.stderr is not None
        first, second = line_of(running.stderr), line_of(running.stderr)
        if "answered" not in second:
            absent(second)
        folder = Path(first.removeprefix(IN_FOLDER).strip())
        started = descendants(running.pid)
        assert folder.is_dir()
        running.send_signal(signal.SIGINT)
        (rest,) = within_s(ENDS_S, running.stderr.read, what="the run")
        assert 130 == running.wait(ENDS_S), rest
    assert not folder.exists()
    assert len(started) > WEBS + WORKERS
    for _ in range(LOOKS):
        if not (left := {pid for pid in started if is_there(pid)}):
            break
        servers.brief_wait()
    assert not left


def is_there(pid: int) -> bool:
    """Whether it runs; an ended process that is not yet waited for does not."""
    return Path(f"/proc/{pid}").exists() and not servers.is_zombie(pid)


def descendants(pid: int) -> set[int]:
    """Every process that it has started, and that those have."""
    return {pid for child in children(pid) for pid in {child, *descendants(child)}}
