"""`xpay-flow demo`, as a stranger starts it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

LAST_LINE = (
    "  Payments are deleted at the end (--store sqlite:///FILE keeps them). Ctrl+C ends the demo.\n"
)
COMMAND = [sys.executable, "-u", "-m", "xpay_flow.cli", "demo"]


def test_once_buys_a_mug_and_shows_the_story() -> None:
    """One purchase through real HTTP, printed step by step; exit code 0."""
    done = subprocess.run(
        [*COMMAND, "--once"], capture_output=True, text=True, timeout=40, check=False
    )

    assert 0 == done.returncode, done.stderr
    assert "the mug is packed, once" in done.stdout
    assert re.search(r"handler +on_success +try 1 +✓ done", done.stdout)
    assert "" == done.stderr


def test_once_leaves_its_database_with_the_option(tmp_path: Path) -> None:
    """`--store` keeps payments and orders, and a second run continues with them."""
    command = [*COMMAND, "--once", "--store", f"sqlite:///{tmp_path / 'shop.db'}"]

    for _ in range(2):
        subprocess.run(command, capture_output=True, timeout=40, check=True)

    assert {"shop.db", "shop.orders.db"} <= {path.name for path in tmp_path.iterdir()}


def test_once_says_why_it_failed(tmp_path: Path) -> None:
    """An unusable database is one line and exit code 1."""
    done = subprocess.run(
        [*COMMAND, "--once", "--store", f"sqlite:///{tmp_path}/nowhere/shop.db"],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )

    assert 1 == done.returncode
    assert ["Error:"] == [line.split()[0] for line in done.stderr.splitlines()]
    assert "does not exist" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_quietly(number: signal.Signals) -> None:
    """It serves, prints where (also when its port is taken), and ends silently."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with subprocess.Popen(
            [*COMMAND, "--no-open", "--port", port, "--xpay-port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                head = "".join(iter(process.stdout.readline, LAST_LINE))
                shop = re.search(r"Shop +(http://\S+)/", head)
                assert shop is not None
                with build_opener(ProxyHandler({})).open(shop[1]) as page:
                    assert b"Mugs, thrown by hand" in page.read()
                process.send_signal(number)
                stdout, stderr = process.communicate(timeout=20)
            finally:
                process.kill()

    assert f"Port {port} is taken, so the shop is at another one." in head
    assert (0, "", "") == (process.returncode, stdout.strip(), stderr)
