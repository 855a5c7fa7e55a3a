"""That killing processes and the database under load loses nothing and does nothing twice."""

from __future__ import annotations

import sys

import pytest
from sql.servers import NotThere, absent

from .run import Report, Size, run

SIZE = Size(intents=150, deliveries=600, seconds=15, server_kills=2)


@pytest.fixture(scope="module")
def report() -> Report:
    try:
        return run(SIZE)
    except NotThere as error:
        absent(str(error))
        raise


@pytest.mark.slow
def test_nothing_is_lost_or_done_twice_while_everything_is_killed(report: Report) -> None:
    """Every acknowledged event is on file once, and every paid order is in the ledger once."""
    sys.stderr.write(f"{report}\n")
    assert () == report.faults
    assert SIZE.deliveries == report.tries["200"]
    assert report.paid > SIZE.intents / 2


@pytest.mark.slow
def test_the_run_has_met_what_it_is_for(report: Report) -> None:
    """Processes died, the server died and recovered each time, and tries met the deaths."""
    assert report.process_kills > 5
    assert SIZE.server_kills == report.server_kills == report.recoveries
    assert sum(report.tries.values()) > SIZE.deliveries
    assert report.duplicates > SIZE.deliveries / 4


@pytest.mark.slow
def test_the_code_of_now_works_while_a_newer_schema_is_rolled_out(report: Report) -> None:
    """Half way the tables grow; who was running goes on, and who is started afterwards begins."""
    assert report.kills_after_rollout > 2
    assert () == report.faults
