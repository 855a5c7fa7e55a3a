"""A database of each kind for this test process, made once, and emptied for each store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .kit import MARIADB, POSTGRESQL, Place, owned


@pytest.fixture(scope="session")
def postgresql(postgresql_server: str) -> Iterator[Place]:
    """A database in PostgreSQL that has our tables."""
    with owned(postgresql_server, POSTGRESQL) as place:
        yield place


@pytest.fixture(scope="session")
def mariadb(mariadb_server: str) -> Iterator[Place]:
    """A database in MariaDB that has our tables."""
    with owned(mariadb_server, MARIADB) as place:
        yield place
