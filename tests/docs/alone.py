"""Does a page work where nothing is installed but what it says? Run by such a Python, for a page.

First its blocks, in order. Then each other `xpay-flow` command on it, beside a shop that has what
commands on pages name. A command may refuse what it is given, but it must not lack a package.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from . import running
from .pages import Page, read

ENDS_S: Final = 120
# What `shop:flow`, `shop.payments:build` and `shop.db:PgStore` stand for.
SHOP: Final = {
    "__init__.py": "from xpay_flow.checker.targets import shipped\nflow = shipped()\n",
    "payments.py": "from xpay_flow.checker.targets import shipped as build\n",
    "db.py": "from xpay_flow.stores.memory import MemoryStore as PgStore\n",
}
# Options with which a command ends soon, or listens elsewhere.
SHORTER: Final = {
    "check": ("--seconds", "1"),
    "worker": ("--once",),
    "sandbox": ("--port", str(running.free_port())),
}
LACKS: Final = ("needs an extra", "pip install", "ModuleNotFoundError", "Traceback")


def main(path: Path) -> None:
    page = read(path)
    ports = running.free_ports()
    os.environ.update(running.environment(ports))
    with TemporaryDirectory() as folder, running.in_folder(Path(folder)):
        _blocks(page, ports, Path(folder))
        _commands(page)


def _blocks(page: Page, ports: running.Ports, folder: Path) -> None:
    program = running.Program(folder, ports)
    with running.local_xpay(ports):
        try:
            program.run(page)
        finally:
            program.close()


def _commands(page: Page) -> None:
    if not Path("shop").exists():
        Path("shop.py").unlink(missing_ok=True)
        Path("shop").mkdir()
        for name, text in SHOP.items():
            Path("shop", name).write_text(text)
    for line in commands(page):
        said = _said(line)
        assert not any(word in said for word in LACKS), f"{line}\n{said}"


def commands(page: Page) -> Iterator[str]:
    """Each `xpay-flow` command whose output the page does not show."""
    for block, below in zip(page.blocks, (*page.blocks, None)[1:], strict=True):
        if block.language == "sh" and not (below is not None and below.is_output):
            yield from (line for line in block.text.splitlines() if line.startswith("xpay-flow "))


def _said(line: str) -> str:
    """What it says to its end; of a server, until it listens."""
    _, name, *arguments = shlex.split(line)
    command = [*running.PROGRAMS["xpay-flow"], name, *arguments, *SHORTER.get(name, ())]
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        if name == "sandbox":
            process.terminate()
        rest, _ = process.communicate(timeout=ENDS_S)
    assert first, f"{line} says nothing"
    return first + rest
