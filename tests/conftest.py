"""Which database servers do all tests share? One PostgreSQL and one MariaDB for each test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import servers


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
