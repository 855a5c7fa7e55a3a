"""On real servers the contract holds between any two statements, and what is wrong is found."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from typing import Any, Final

import psycopg
import pytest
from budgets import BUDGET_S, Held
from sqlalchemy import make_url

from xpay_flow.checker.contract import (
    SCENES,
    ContractBound,
    ContractResult,
    check_store,
    contract_of,
)
from xpay_flow.checker.contract.judging import Rule
from xpay_flow_sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore, check_tables

from . import planted_awaited_stores as planted_awaited
from . import planted_stores as planted
from .kit import Place

# A race for one record, and a reader of it: what the planted stores are wrong in shows here.
FEW: Final = [scene for scene in SCENES if scene.name in ("two writers", "a writer and a reader")]
ONE_SWITCH: Final = ContractBound(switches=1, seconds_max=BUDGET_S)


def test_mariadb_keeps_the_contract(mariadb: Place, holds: Held) -> None:
    """SQLAlchemyStore gives what is right, at every statement on MariaDB and in every crash."""
    with SQLAlchemyStore.for_check(unencrypted(mariadb)) as its:
        result = check_store(its.make, reset=its.reset, bound=ONE_SWITCH, scenes=FEW)
    holds(result.verdict, result.total("runs"), 50, result.as_text())
    assert ("pymysql",) == result.seen
    assert result.total("faults") > 50 or result.verdict == "UNFINISHED"


def test_asyncpg_keeps_the_contract(postgresql: Place, holds: Held) -> None:
    """AsyncSQLAlchemyStore gives what is right at every statement that it awaits, and in crashes.

    Each process has an event loop of its own.
    """
    with AsyncSQLAlchemyStore.for_check(postgresql.by("postgresql+asyncpg")) as its:
        result = check_store(its.make, reset=its.reset, bound=ONE_SWITCH, scenes=FEW)
    holds(result.verdict, result.total("runs"), 20, result.as_text())
    assert ("asyncpg",) == result.seen
    assert result.total("faults") > 10 or result.verdict == "UNFINISHED"


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_asyncpg_keeps_the_contract_in_all_scenes(postgresql: Place) -> None:
    """The same by its URL, in every scene, with up to two switches in the middle of a call."""
    result = contract_of(postgresql.by("postgresql+asyncpg"))
    assert "EXHAUSTED" == result.verdict, result.as_text()


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_mariadb_keeps_the_contract_in_all_scenes(mariadb: Place) -> None:
    """The same in every scene, with up to two switches in the middle of a call."""
    with SQLAlchemyStore.for_check(unencrypted(mariadb)) as its:
        result = check_store(its.make, reset=its.reset)
    assert "EXHAUSTED" == result.verdict, result.as_text()


def unencrypted(mariadb: Place) -> str:
    """Its URL. Python needs more time to prepare for TLS than for all the rest."""
    return mariadb.by("mariadb", ssl_disabled="true")


def test_the_command_line_checks_on_a_database_of_yours(postgresql: Place, holds: Held) -> None:
    """A URL is enough: all scenes are EXHAUSTED on PostgreSQL, and no table is left behind."""
    done = run_check(postgresql.by("postgresql"), "--json", "--seconds", str(BUDGET_S))
    report = json.loads(done.stdout)
    holds(report["verdict"], report["runs"], 50, done.stdout)
    assert {"EXHAUSTED": 0, "UNFINISHED": 3}[report["verdict"]] == done.returncode
    assert (["psycopg"], "") == (report["drivers"], done.stderr)
    assert report["faults"] > 50 or report["verdict"] == "UNFINISHED"
    assert [] == postgresql.answer(
        "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'xpay_check%'"
    )


@pytest.mark.parametrize(
    ("kind", "driver"),
    [(SQLAlchemyStore, "postgresql"), (AsyncSQLAlchemyStore, "postgresql+asyncpg")],
)
def test_for_check_ends_a_connection_that_holds_its_tables(
    kind: Any, driver: str, postgresql: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was given up still has a lock: the next run begins, and the tables go at last."""
    monkeypatch.setitem(check_tables._WAIT_BRIEFLY, "postgresql", "SET lock_timeout = '100ms'")
    with closing(locking(postgresql)) as first, closing(locking(postgresql)) as second:
        with kind.for_check(postgresql.by(driver)) as its:
            prefix = make_url(its.url).query["table_prefix"]
            for left in (first, second):
                left.execute(f"LOCK TABLE {prefix}intents IN ACCESS EXCLUSIVE MODE")
                if left is first:
                    its.reset()
        for left in (first, second):
            with pytest.raises(psycopg.OperationalError):
                left.execute("SELECT 1")
    assert [] == postgresql.answer(
        "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'xpay_check%'"
    )


def locking(postgresql: Place) -> Any:
    """A connection whose transactions stay open."""
    return psycopg.connect(postgresql.by("postgresql"))


def run_check(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xpay_flow.cli", "check", "--store", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


# --- by hand -------------------------------------------------------------------------------------

# Each wrong store, the rule that it breaks, and how many switches and faults that takes.
PLANTED: Final[dict[type[planted.Plain], tuple[Rule, int]]] = {
    planted.ReadsFirst: ("lost-update", 1),
    planted.EntriesLater: ("half-applied", 1),
    planted.TornLoad: ("torn-read", 1),
    planted.VersionNotChecked: ("lost-update", 0),
}


@pytest.fixture(params=["postgresql", "mariadb"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


def by_hand(place: Place, kind: type[planted.Plain]) -> ContractResult:
    """The verdict over a store by hand, in tables of its own."""
    with planted.tables(place) as reset:
        return check_store(planted.opener(place, kind), reset=reset, bound=ONE_SWITCH, scenes=FEW)


@pytest.mark.parametrize("kind", [planted.Plain, planted.LocksFirst])
def test_a_right_store_passes(place: Place, kind: type[planted.Plain], holds: Held) -> None:
    """A store that compares as it writes is let through, and so is one that takes the row's lock.

    A thread that waits for the lock is not enabled meanwhile.
    """
    result = by_hand(place, kind)
    holds(result.verdict, result.total("runs"), 50, result.as_text())


@pytest.mark.parametrize("kind", PLANTED)
def test_a_wrong_store_is_found(place: Place, kind: type[planted.Plain]) -> None:
    """A store that is wrong in one way is VIOLATED on the server, for that reason, and twice."""
    result = by_hand(place, kind)
    assert "VIOLATED" == result.verdict, result.as_text()
    assert result.violation is not None
    assert PLANTED[kind] == (result.violation.rule, result.violation.cost), result.as_text()
    assert result.violation.confirmed


# The same of stores that are awaited.
AWAITED: Final[dict[type[planted_awaited.Plain], tuple[Rule, int]]] = {
    planted_awaited.ReadsFirst: ("lost-update", 1),
    planted_awaited.EntriesLater: ("half-applied", 1),
    planted_awaited.TornLoad: ("torn-read", 1),
}


def by_hand_awaited(place: Place, kind: type[planted_awaited.Plain]) -> ContractResult:
    """The verdict over a store by hand that is awaited, in tables of its own."""
    with planted.tables(place) as reset:
        make = planted_awaited.opener(place, kind)
        return check_store(make, reset=reset, bound=ONE_SWITCH, scenes=FEW)


def test_a_right_store_that_is_awaited_passes(postgresql: Place, holds: Held) -> None:
    """It is let through, with transactions of several statements, and waits for rows."""
    result = by_hand_awaited(postgresql, planted_awaited.Plain)
    holds(result.verdict, result.total("runs"), 50, result.as_text())


@pytest.mark.parametrize("kind", AWAITED)
def test_a_wrong_store_that_is_awaited_is_found(
    postgresql: Place, kind: type[planted_awaited.Plain]
) -> None:
    """What is wrong between two of its awaits is VIOLATED, for that reason, and twice."""
    result = by_hand_awaited(postgresql, kind)
    assert "VIOLATED" == result.verdict, result.as_text()
    assert result.violation is not None
    assert AWAITED[kind] == (result.violation.rule, result.violation.cost), result.as_text()
    assert result.violation.confirmed
