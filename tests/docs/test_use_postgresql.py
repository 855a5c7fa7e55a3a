"""The page about PostgreSQL can be followed, word for word, with the shop of the README."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from installed import Environments, plain_environment
from sqlalchemy import make_url

from xpay_flow.errors import SchemaMismatch

from . import running
from .buying import buy
from .pages import DOCS, ROOT, installed_for, read

PAGE = read(DOCS / "how-to" / "use-postgresql.md")
ONE_LINE = re.compile(r"`XPAY_STORE=(\S+)` becomes `XPAY_STORE=(\S+)`")
PROGRAMS = {"xpay-flow": "xpay_flow.cli", "alembic": "alembic"}
# What `alembic init` writes, without its comments.
ENV = """
from alembic import context
from sqlalchemy import engine_from_config
section = context.config.get_section(context.config.config_ini_section)
with engine_from_config(section).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
INI = "[alembic]\nscript_location = {folder}\nsqlalchemy.url = {url}\n"


@pytest.fixture
def database(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database whose owner has a password, as a shop would have it."""
    name = f"shop_{secrets.token_hex(4)}"
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'password'".encode())
        admin.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
        yield (
            make_url(postgresql_server)
            .set(username=name, password="password", database=name)
            .render_as_string(hide_password=False)
        )
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        admin.execute(f"DROP ROLE {name}".encode())


def said(python: Path, *words: str, code: int = 0) -> str:
    """What a command says that ends with this exit code."""
    program, *arguments = words
    done = subprocess.run(
        [python, "-m", PROGRAMS[program], *arguments],
        env=plain_environment(**{k: v for k, v in os.environ.items() if k.startswith("XPAY")}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    told = done.stdout + done.stderr
    assert code == done.returncode, told
    return told


@pytest.fixture
def python(environments: Environments) -> Path:
    """A Python that has what the page installs."""
    return environments.python_with(installed_for(PAGE))


def the_one_line() -> tuple[str, str]:
    """The value of XPAY_STORE on the page, before and after the move."""
    (found,) = (match for _, line in PAGE.prose if (match := ONE_LINE.search(line)))
    before, after = found.groups()
    return before, after


def test_a_shop_moves_to_postgresql_by_one_line(
    python: Path, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One variable is changed, two commands are given, and the README's shop takes a payment."""
    ports = running.free_ports()
    environment = running.environment(ports)
    assert the_one_line()[0] == environment["XPAY_STORE"]
    for name, value in (environment | {"XPAY_STORE": database}).items():
        monkeypatch.setenv(name, value)
    _, tables, *_ = PAGE.blocks_in("sh")

    program = running.Program(tmp_path, ports)
    with running.local_xpay(ports) as xpay, running.in_folder(tmp_path):
        try:
            with pytest.raises(SchemaMismatch, match="xpay-flow db upgrade"):
                program.run(read(ROOT / "README.md"))
            variable, _, url = PAGE.blocks_in("ini")[0].text.strip().partition("=")
            assert ("XPAY_STORE", the_one_line()[1]) == (variable, url)
            told = [said(python, *line.split()) for line in tables.text.splitlines()]
            assert "The database has schema 2." in told[0]
            program.run(read(ROOT / "README.md"))
            shop: Any = program.modules["shop"]
            buy(shop, "42", ports, xpay)
        finally:
            program.close()
    assert {"42", "order-42"} == shop.paid  # the second is from the test on the page
    with psycopg.connect(database) as connection:
        states = connection.execute("SELECT receipt_id, state FROM xpay_flow_intents").fetchall()
    assert [("42", "success")] == states
    assert "2\n" == said(python, "xpay-flow", "db", "current")
    assert "holds 1 record" in said(python, "xpay-flow", "db", "downgrade", "--to=0", code=1)


@pytest.mark.parametrize("way", ["a revision of the shop", "our revisions beside its own"])
def test_a_shop_with_alembic_makes_the_tables_in_its_own_tree(
    way: str, python: Path, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either of the page's two ways makes tables on which a store can work, and takes them back."""
    monkeypatch.setenv("XPAY_STORE", database)
    driver = database.replace("postgresql:", "postgresql+psycopg:")
    ini = INI.format(folder=tmp_path, url=driver)
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV)
    if way == "a revision of the shop":
        (block,) = (b for b in PAGE.blocks if b.title == "versions_of_the_shop.py")
        (tmp_path / "versions" / block.title).write_text(block.text)
    else:
        ini += PAGE.blocks_in("ini")[1].text
    (tmp_path / "alembic.ini").write_text(ini)
    with running.in_folder(tmp_path):
        assert "no table xpay_flow_schema" in said(python, "xpay-flow", "db", "check", code=1)
        said(python, "alembic", "upgrade", "heads")
        assert "can work on the database" in said(python, "xpay-flow", "db", "check")
        said(python, "alembic", "downgrade", "base")
        assert "no table xpay_flow_schema" in said(python, "xpay-flow", "db", "check", code=1)
