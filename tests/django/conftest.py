"""Databases for the tests of the Django adapter.

This folder is no package: it would hide Django itself from whoever has `tests` on the path.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

import django_kit as kit
import psycopg
import pytest
from django.db import connections

# The server of the SQL tests is ours, too.
sys.path.insert(0, str(Path(__file__).parents[1]))
from sql import servers
from sql.conftest import POSTGRESQL_VARIABLE, _run_folder

__all__ = ["_run_folder"]


@pytest.fixture(scope="session")
def _server(_run_folder: Path) -> Iterator[str]:
    with ExitStack() as stack:
        url = os.environ.get(POSTGRESQL_VARIABLE)
        if not url:
            try:
                started = servers.shared(_run_folder, "postgresql", servers.start_postgresql)
                port = stack.enter_context(started)
            except servers.NotThere as error:
                servers.absent(str(error))
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        _await_ready(url)
        yield url


def _await_ready(url: str) -> None:
    """A server that listens may still be starting up."""
    for _ in range(200):
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            select.select([], [], [], 0.05)
        else:
            return


@pytest.fixture(scope="session")
def _postgresql(_server: str) -> Iterator[str]:
    """A new database with our tables, gone afterwards."""
    run, worker = (os.environ.get(f"PYTEST_XDIST_{x}", "x") for x in ("TESTRUNUID", "WORKER"))
    name = f"xpay_flow_dj_{run[:8]}_{worker}_{os.getpid()}"
    with psycopg.connect(_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    parts = urlsplit(_server)
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
    with psycopg.connect(_server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def postgresql(_postgresql: str) -> Iterator[str]:
    """The alias of a database in PostgreSQL whose tables are empty."""
    kit.empty_postgresql()
    yield _postgresql
    connections[_postgresql].close()


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
