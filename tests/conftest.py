"""What do all tests share? One PostgreSQL and one MariaDB for each run, and what ends a run."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import hypothesis
import pytest
import servers
from budgets import holds as holds
from budgets import unfinished
from installed import Environments
from watchdog import Watchdog, end_children

# A busy machine is no failure of what is tested.
hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")


def pytest_configure(config: pytest.Config) -> None:
    """However a run goes, it ends, and leaves no process behind."""
    config.pluginmanager.register(Watchdog(config, _leave), "watchdog")


def pytest_unconfigure(config: pytest.Config) -> None:
    servers.stop_left()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """All tests that are skipped for want of one server are one line at the end of the run."""
    report = yield
    if (
        report.skipped
        and isinstance(report.longrepr, tuple)
        and servers.WANTS in report.longrepr[2]
    ):
        report.longrepr = (servers.__file__, 1, report.longrepr[2])
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in unfinished(terminalreporter.stats.get("passed", [])):
        terminalreporter.write_line(line)


def _leave() -> None:
    # Other workers may use the servers that this one has started.
    end_children(but=servers.pids())
    servers.stop_left()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL in which databases may be made."""
    with servers.found(servers.POSTGRESQL) as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """The URL of a MariaDB in which databases may be made."""
    with servers.found(servers.MARIADB) as url:
        yield url


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    """Pythons in which only what a page names is installed."""
    return Environments(tmp_path_factory.mktemp("installed"))
