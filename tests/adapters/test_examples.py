"""Each framework's example shop takes a payment, behind each server that the README names."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import servers
from docs.pages import docs_module

from docs import running

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT_S = 60.0  # on a busy machine; usually about two seconds

COMMANDS: dict[str, tuple[str, str]] = docs_module("frameworks").commands()


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_takes_a_payment(example: str, tmp_path: Path) -> None:
    """Pay leads to xPay's page; what is paid there is fulfilled, and the customer is shown so."""
    _, command = COMMANDS[example]
    program = command.split()[1] if command.startswith("-m ") else None
    if program and importlib.util.find_spec(program) is None:
        servers.absent(f"{servers.WANTS}{program}: pip install {program}")
    ports = running.free_ports()
    with (
        running.local_xpay(ports) as xpay,
        _serving(command.format(port=ports.shop), ports, tmp_path),
        httpx.Client(base_url=f"http://127.0.0.1:{ports.shop}", timeout=LIMIT_S) as browser,
    ):
        _until(lambda: _is_up(browser))
        pay = browser.post("/orders/42/pay")
        assert 303 == pay.status_code
        (intent,) = xpay.intents()
        assert xpay.fwd_url(intent.x_intent_id) == pay.headers["location"]
        assert "open" == browser.get("/orders/42").text
        xpay.pay(intent.x_intent_id)
        _until(lambda: "paid" == browser.get("/orders/42").text)
        page = browser.get(f"/xpay/return?xpay_intent_id={intent.x_intent_id}")
        assert (200, True) == (page.status_code, "text/html" in page.headers["content-type"])


@contextmanager
def _serving(command: str, ports: running.Ports, folder: Path) -> Iterator[None]:
    """The shop in a process of its own, as an operator would start it."""
    arguments = command.split()
    if arguments[0].endswith(".py"):
        arguments[0] = str(EXAMPLES / arguments[0])
    # The paths of the tests' own process, so that a checkout is tried and not what is installed.
    paths = os.pathsep.join([str(EXAMPLES), *(path for path in sys.path if path)])
    environment = {**os.environ, **running.environment(ports), "PYTHONPATH": paths}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield
        except BaseException:
            print((folder / "log").read_text())
            raise
        finally:
            process.terminate()
            try:
                process.wait(LIMIT_S)
            finally:
                process.kill()


def _is_up(browser: httpx.Client) -> bool:
    try:
        return browser.get("/orders/41").status_code == 200
    except httpx.TransportError:
        return False


def _until(happened: Callable[[], bool]) -> None:
    ends = time.monotonic() + LIMIT_S
    pause = threading.Event()
    while not happened():
        assert time.monotonic() < ends, "the shop does not get there"
        pause.wait(0.05)


def test_the_examples_own_tests_pass(tmp_path: Path) -> None:
    """Each example's test file uses the pytest plugin, and all of them pass in one run."""
    paths = os.pathsep.join(path for path in sys.path if path)
    tests = sorted(map(str, EXAMPLES.glob("test_shop_*.py")))
    # With the plugin named: a checkout has no entry point.
    words = ["-q", "-p", "xpay_flow_pytest", "-p", "no:cacheprovider", "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--rootdir", str(EXAMPLES), *tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert {f"test_{shop}.py" for shop, _ in COMMANDS.values()} <= {
        path.name for path in EXAMPLES.iterdir()
    }
