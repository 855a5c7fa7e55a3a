"""Commands on the pages exist, with the options that are shown."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest

import xpay_flow
from xpay_flow.cli.root import xpay_flow as command_line
from xpay_flow.money import Money
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import World

from .pages import ROOT, Block, pages

MAKEFILE = (ROOT / "Makefile").read_text()
PYPROJECT = (ROOT / "pyproject.toml").read_text()
# Programs of others; what is said to them is not ours to check.
FOREIGN = {"python", "python3", ".", "uvicorn", "sqlite3", "bash", "git", "cd", "mkdir", "curl"}


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    """Every command in a shell block, and where it stands."""
    for page in pages():
        for block in page.blocks_in("sh"):
            for offset, line in enumerate(block.text.splitlines()):
                if words := shlex.split(line, comments=True):
                    yield f"{page.name}:{block.line + offset}", words


def inline_commands() -> Iterator[tuple[str, list[str]]]:
    """Every `make …` and `xpay-flow …` in running text."""
    for page in pages():
        for line, text in page.prose:
            for command in re.findall(r"`((?:make|xpay-flow) [^`]+)`", text):
                yield f"{page.name}:{line}", shlex.split(command)


COMMANDS = [*shell_lines(), *inline_commands()]


@pytest.mark.parametrize(("where", "words"), COMMANDS, ids=[where for where, _ in COMMANDS])
def test_a_command_on_a_page_exists(where: str, words: list[str]) -> None:
    """Each command is ours and takes what is shown, or is a well-known program."""
    program, *arguments = words
    if program == "make":
        check_make(arguments)
    elif program == "xpay-flow":
        check_xpay_flow(arguments)
    elif program == "pip":
        check_pip(arguments)
    else:
        assert program in FOREIGN, f"{where}: {program}"


def check_make(arguments: list[str]) -> None:
    targets = [word for word in arguments if "=" not in word]
    assert [] == [t for t in targets if not re.search(rf"^{t}:", MAKEFILE, re.M)]


def check_xpay_flow(arguments: list[str]) -> None:
    name, *rest = arguments
    context = click.Context(command_line)
    command = command_line.get_command(context, name)
    assert command is not None, f"there is no command {name}"
    known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
    assert [] == [word for word in rest if word.startswith("-") and word not in known]


def check_pip(arguments: list[str]) -> None:
    (wanted,) = [word for word in arguments if "xpay-flow" in word]
    for extra in re.findall(r"[\w-]+(?=[,\]])", wanted):
        assert re.search(rf"^{extra} = \[", PYPROJECT, re.M), f"there is no extra {extra}"


def sql_blocks() -> list[Block]:
    return [block for page in pages() for block in page.blocks_in("sql")]


@pytest.mark.parametrize("block", sql_blocks(), ids=lambda block: block.where)
def test_sql_on_a_page_runs(block: Block, tmp_path: Path) -> None:
    """Each statement is understood by a database in which there is a payment."""
    path = tmp_path / "payments.db"
    world = World(SQLiteStore(path))
    checkout = world.start_checkout(receipt_id="order-1", money=Money(1999, "USD"))
    world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    world.flow.close()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        for statement in block.text.split(";\n"):
            database.execute(statement).fetchall()


def test_wrong_commands_are_noticed() -> None:
    """The checks above can fail."""
    with pytest.raises(AssertionError):
        check_make(["nonsense"])
    with pytest.raises(AssertionError):
        check_xpay_flow(["nonsense"])
    with pytest.raises(AssertionError):
        check_xpay_flow(["timeline", "--nonsense"])
    with pytest.raises(AssertionError):
        check_pip(["install", "xpay-flow[nonsense]"])


def test_the_changelog_knows_this_version() -> None:
    """The newest entry of the changelog is about the version that the package says it is."""
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert first is not None
    assert xpay_flow.__version__ == first[1]
    assert f'version = "{xpay_flow.__version__}"' in PYPROJECT
