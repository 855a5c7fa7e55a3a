"""The page about PostgreSQL can be followed, word for word, with the shop of the README."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest
from installed import Environments, plain_environment
from sqlalchemy import make_url

from xpay_flow.errors import SchemaMismatch

from . import running
from .buying import buy
from .pages import DOCS, ROOT, Page, installed_for, read

PAGE = read(DOCS / "how-to" / "use-postgresql.md")
ONE_LINE = re.compile(r"`Flow\.open\(\"(.+?)\", …\)` becomes `Flow\.open\(\"(.+?)\", …\)`")
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


def the_one_line(database: str) -> tuple[str, str, str]:
    """What stands in the shop, what is to stand there, and that with our database."""
    (found,) = (match for _, line in PAGE.prose if (match := ONE_LINE.search(line)))
    before, after = found.groups()
    return before, after, database


def readme_on(database: str) -> Page:
    """The README, in whose shop one line is changed as the page says."""
    page = read(ROOT / "README.md")
    before, _, after = the_one_line(database)
    assert 1 == sum(block.text.count(before) for block in page.blocks)
    blocks = (attrs.evolve(b, text=b.text.replace(before, after)) for b in page.blocks)
    return attrs.evolve(page, blocks=tuple(blocks))


def test_a_shop_moves_to_postgresql_by_one_line(
    python: Path, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of the shop is changed, two commands are given, and it takes a payment there."""
    ports = running.free_ports()
    for name, value in running.environment(ports).items():
        monkeypatch.setenv(name, value)
    _, tables, *_ = PAGE.blocks_in("sh")

    program = running.Program(tmp_path, ports)
    with running.local_xpay(ports) as xpay, running.in_folder(tmp_path):
        try:
            with pytest.raises(SchemaMismatch, match="xpay-flow db upgrade"):
                program.run(readme_on(database))
            variable, _, url = PAGE.blocks_in("ini")[0].text.strip().partition("=")
            assert url == the_one_line(database)[1]
            monkeypatch.setenv(variable, database)
            told = [said(python, *line.split()) for line in tables.text.splitlines()]
            assert "The database has schema 1." in told[0]
            program.run(readme_on(database))
            shop: Any = program.modules["shop"]
            buy(shop, "42", ports, xpay)
        finally:
            program.close()
    assert {"42"} == shop.paid
    with psycopg.connect(database) as connection:
        states = connection.execute("SELECT receipt_id, state FROM xpay_flow_intents").fetchall()
    assert [("42", "success")] == states
    assert "1\n" == said(python, "xpay-flow", "db", "current")
    assert "holds 1 record" in said(python, "xpay-flow", "db", "downgrade", "--to=0", code=1)


@pytest.mark.parametrize("way", ["a revision of the shop", "our revisions beside its own"])
def test_a_shop_with_alembic_makes_the_tables_in_its_own_tree(
    way: str, python: Path, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either of the page's two ways makes tables on which a store can work, and takes them back."""
    monkeypatch.setenv("XPAYFLOW_STORE", database)
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
