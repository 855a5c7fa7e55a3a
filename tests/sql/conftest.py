"""A database of each kind for this test process, made once, and emptied for each store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import servers
from .kit import MARIADB, POSTGRESQL, Place, owned

# Where it is set, a server's own settings are unknown, and what needs special ones is left out.
POSTGRESQL_VARIABLE = "XPAY_FLOW_TEST_POSTGRESQL_URL"
MARIADB_VARIABLE = "XPAY_FLOW_TEST_MARIADB_URL"


@pytest.fixture(scope="session")
def _run_folder() -> Iterator[Path]:
    folder = servers.run_folder()
    yield folder
    # The last to leave finds nothing but locks.
    if not [path for path in folder.iterdir() if path.is_dir()]:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql(_run_folder: Path) -> Iterator[Place]:
    """A database in PostgreSQL that has our tables."""
    with ExitStack() as stack:
        url = os.environ.get(POSTGRESQL_VARIABLE)
        if not url:
            try:
                server = servers.shared(_run_folder, "postgresql", servers.start_postgresql)
                port = stack.enter_context(server)
            except servers.NotThere as error:
                servers.absent(str(error))
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        yield stack.enter_context(owned(url, POSTGRESQL))


@pytest.fixture(scope="session")
def mariadb(_run_folder: Path) -> Iterator[Place]:
    """A database in MariaDB that has our tables."""
    with ExitStack() as stack:
        url = os.environ.get(MARIADB_VARIABLE)
        if not url:
            try:
                server = servers.shared(_run_folder, "mariadb", servers.start_mariadb)
                port = stack.enter_context(server)
            except servers.NotThere as error:
                servers.absent(str(error))
            url = f"mariadb://root@127.0.0.1:{port}/mysql"
        yield stack.enter_context(owned(url, MARIADB))
