"""Databases for the tests of the Django adapter.

This folder is no package: it would hide Django itself wherever `tests` is on the path.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import django_kit as kit
import psycopg
import pytest
import servers
from django.db import connections

from xpay_flow_django import database


@pytest.fixture(scope="session")
def _postgresql(postgresql_server: str) -> Iterator[str]:
    """A new database with our tables, gone afterwards."""
    name = f"xpay_flow_dj_{os.getpid()}_{secrets.token_hex(3)}"
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        admin.execute(servers.limited(name).encode())
    parts = urlsplit(postgresql_server)
    kit.point_at(
        kit.POSTGRESQL,
        NAME=name,
        HOST=parts.hostname or "",
        PORT=str(parts.port or ""),
        USER=unquote(parts.username or ""),
        PASSWORD=unquote(parts.password or ""),
    )
    kit.migrated(kit.POSTGRESQL)
    yield kit.POSTGRESQL
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def postgresql(_postgresql: str) -> Iterator[str]:
    """The alias of a database in PostgreSQL whose tables are empty."""
    kit.empty_postgresql()
    yield _postgresql
    connections[_postgresql].close()


@pytest.fixture(autouse=True)
def _no_connection_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that outlives a test looks at its connection before each job, not once a second."""
    monkeypatch.setattr(database, "REFRESH_S", -1.0)


@pytest.fixture
def sqlite() -> Iterator[str]:
    """The alias of a new SQLite file with empty tables."""
    kit.new_sqlite_file()
    yield kit.SQLITE
    connections[kit.SQLITE].close()


@pytest.fixture(params=["sqlite", "postgresql"])
def alias(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind in turn."""
    found: str = request.getfixturevalue(request.param)
    return found
