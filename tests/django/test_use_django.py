"""The page about Django can be followed, word for word, from an empty folder."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from docs.pages import DOCS, Block, installed_for, read
from installed import Environments, plain_environment

from docs import running  # of the documentation's own tests; see conftest

PAGE = read(DOCS / "how-to" / "use-django.md")
FORM = {
    "method": "CARD",
    "card_number": "4242 4242 4242 4242",
    "expiry": "04/31",
    "cvc": "123",
    "act": "pay",
    "outcome": "approve",
}
NEWS_S = 60.0  # on a busy machine; usually a second
PROGRAMS = {"python": (), "xpay-flow": ("-m", "xpay_flow.cli")}


class Reader:
    """A reader who follows the page."""

    def __init__(self, python: Path, folder: Path, ports: running.Ports) -> None:
        self.python, self.folder, self.ports = python, folder, ports
        self.output = ""

    def follow(self, block: Block) -> None:
        if block.language == "sh":
            for line in block.text.splitlines():
                self.do(line)
        elif block.title is not None:
            self.write(block)

    def write(self, block: Block) -> None:
        assert block.title is not None
        path = self.folder / block.title
        text = self.ports.in_text(block.text)
        path.write_text(path.read_text() + text if "append" in block.words else text)

    def do(self, line: str) -> None:
        program, *arguments = line.split()
        if program == "cd":
            self.folder = self.folder / arguments[0]
        elif program != "pip":
            done = subprocess.run(
                self.words(line), **self.where(), capture_output=True, check=False, timeout=120
            )
            assert 0 == done.returncode, done.stdout + done.stderr
            self.output += done.stdout

    def words(self, line: str) -> list[str]:
        program, *arguments = line.split()
        return [str(self.python), *PROGRAMS[program], *arguments]

    def where(self) -> dict[str, object]:
        return {"cwd": self.folder, "text": True, "env": plain_environment()}


@pytest.fixture
def reader(tmp_path: Path, environments: Environments) -> Reader:
    """A reader who has come as far as to the three terminals."""
    reader = Reader(environments.python_with(installed_for(PAGE)), tmp_path, running.free_ports())
    for block in PAGE.blocks:
        if block.text.startswith("xpay-flow sandbox"):
            break
        reader.follow(block)
    return reader


@pytest.fixture
def terminals(reader: Reader) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """What runs in each of them, by its last words."""
    lines = [b.text.strip() for b in PAGE.blocks_in("sh")][-3:]
    extra = {
        "xpay-flow sandbox": [
            f"--port={reader.ports.sandbox}",
            f"--webhook-url=http://127.0.0.1:{reader.ports.shop}/xpay/webhook",
        ],
        "python manage.py runserver 8000": ["--noreload"],
        "python manage.py xpay_worker": ["--poll", "0.1"],
    }
    assert [*extra] == lines
    with ExitStack() as stack:
        started: dict[str, subprocess.Popen[str]] = {}
        for line in lines:
            words = [w.replace("8000", str(reader.ports.shop)) for w in reader.words(line)]
            process = subprocess.Popen(
                [*words, *extra[line]],
                **reader.where(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            stack.callback(process.communicate)
            stack.callback(process.terminate)
            started[line.split()[-1] if "manage" in line else "sandbox"] = process
        yield started


def until(found: object, what: str) -> None:
    deadline = time.monotonic() + NEWS_S
    while not found():  # type: ignore[operator]
        assert time.monotonic() < deadline, what


def is_there(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", timeout=NEWS_S)
    except httpx.TransportError:
        return False
    return True


def test_the_page_can_be_followed(
    reader: Reader, terminals: dict[str, subprocess.Popen[str]]
) -> None:
    """An empty folder becomes a project whose order is paid through a local xPay."""
    assert "System check identified no issues" in reader.output
    assert "Ready to take payments." in reader.output
    for port in (reader.ports.sandbox, reader.ports.shop):
        until(lambda port=port: is_there(port), f"no listener on port {port}")
    with httpx.Client(base_url=f"http://127.0.0.1:{reader.ports.shop}", timeout=NEWS_S) as browser:
        token = re.search(r'value="(\w+)"', browser.get("/").text)
        assert token is not None
        bought = browser.post("/buy", data={"csrfmiddlewaretoken": token[1]})
        assert 302 == bought.status_code, bought.text
        back = httpx.post(
            bought.headers["location"], data=FORM, follow_redirects=True, timeout=NEWS_S
        )
        assert ("/xpay/return", reader.ports.shop) == (back.url.path, back.url.port)
        until(lambda: ": paid</p>" in browser.get("/").text, "the order is not paid")
    worker = terminals["xpay_worker"]
    worker.terminate()
    output, _ = worker.communicate(timeout=NEWS_S)
    assert (0, True) == (worker.returncode, "on_success for pi_" in output), output
