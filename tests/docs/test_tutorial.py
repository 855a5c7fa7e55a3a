"""The tutorial can be followed, word for word, from an empty folder."""

from __future__ import annotations

import html
import json
import re
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import httpx
import pytest
from installed import Environments, plain_environment

from xpay_flow.sandbox import FaultPlan

from . import running
from .pages import DOCS, installed_for, read

PAGE = read(DOCS / "tutorial" / "first-payment.md")
FORM = {
    "method": "CARD",
    "card_number": "4242 4242 4242 4242",
    "expiry": "04/31",
    "cvc": "123",
    "act": "pay",
}
NEWS_S = 60.0  # on a busy machine; usually a second


def command(python: Path, words: str, ports: running.Ports) -> list[str]:
    """The command of the page that begins with these words, for this interpreter."""
    lines = [line for block in PAGE.blocks_in("sh") for line in block.text.splitlines()]
    (line,) = [line for line in lines if line.startswith(words)]
    program, *arguments = ports.in_text(line).split()
    module = {"uvicorn": "uvicorn", "xpay-flow": "xpay_flow.cli"}[program]
    return [str(python), "-m", module, *arguments]


@contextmanager
def running_in(folder: Path, words: list[str]) -> Generator[None, None, None]:
    """A command in a terminal of its own."""
    with subprocess.Popen(
        words, cwd=folder, env=plain_environment(), stdout=DEVNULL, stderr=DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def browser_of(port: int) -> Generator[httpx.Client, None, None]:
    """A browser at the address of this port, once somebody listens there."""
    deadline = time.monotonic() + NEWS_S
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=NEWS_S) as browser:
        while True:
            try:
                browser.get("/")
            except httpx.ConnectError:
                assert time.monotonic() < deadline, f"nobody listens on port {port}"
            else:
                break
        yield browser


def save_files(folder: Path, ports: running.Ports) -> None:
    for block in PAGE.blocks:
        if block.title is not None:
            (folder / block.title).write_text(ports.in_text(block.text))


def buy(browser: httpx.Client) -> str:
    """Press Buy; the address of the checkout page."""
    response = browser.post("/buy")
    assert 303 == response.status_code
    return response.headers["location"]


def press(checkout_url: str, outcome: str) -> httpx.Response:
    """Send the form; the page on which the customer ends up."""
    form = {**FORM, "outcome": outcome, "decline_code": "expired_card"}
    return httpx.post(checkout_url, data=form, follow_redirects=True, timeout=NEWS_S)


def status(browser: httpx.Client, back: httpx.Response, **query: Any) -> dict[str, Any]:
    """What the return page is told."""
    asked = {"xpay_intent_id": back.url.params["xpay_intent_id"], **query}
    answer: dict[str, Any] = browser.get("/xpay/payment-status", params=asked).json()
    return answer


def orders(browser: httpx.Client) -> dict[str, str]:
    found = re.findall(r"<p>(order-\w+): (.*?)</p>", browser.get("/").text)
    return {order_id: html.unescape(state) for order_id, state in found}


def fulfilled(browser: httpx.Client, order_id: str) -> str:
    """How the order stands, once it does not wait any more."""
    deadline = time.monotonic() + NEWS_S
    while (state := orders(browser)[order_id]) == "waiting for the payment":
        assert time.monotonic() < deadline, f"{order_id} is not fulfilled"
    return state


@pytest.fixture
def python(environments: Environments) -> Path:
    """A Python that has what the tutorial installs."""
    return environments.python_with(installed_for(PAGE))


@pytest.fixture
def ports() -> running.Ports:
    return running.free_ports()


@pytest.fixture
def xpay(python: Path, ports: running.Ports, tmp_path: Path) -> Iterator[httpx.Client]:
    """The first terminal."""
    words = [*command(python, "xpay-flow sandbox", ports), "--port", str(ports.sandbox)]
    with running_in(tmp_path, words), browser_of(ports.sandbox) as overview:
        yield overview


@pytest.fixture
def browser(python: Path, ports: running.Ports, tmp_path: Path) -> Iterator[httpx.Client]:
    """The second terminal, and a browser that shows the shop."""
    save_files(tmp_path, ports)
    words = [word.replace("8000", str(ports.shop)) for word in command(python, "uvicorn", ports)]
    with running_in(tmp_path, words), browser_of(ports.shop) as shop:
        yield shop


def test_the_tutorial_can_be_followed(
    xpay: httpx.Client, browser: httpx.Client, python: Path, ports: running.Ports, tmp_path: Path
) -> None:
    """Buying, being declined, losing a webhook and reading the timeline go as the tutorial says."""
    # 4. Buy a mug.
    back = press(buy(browser), "approve")
    assert ("/xpay/return", ports.shop) == (back.url.path, back.url.port)
    assert {"status": "SUCCESS", "final": True, "refunded": "none"} == status(
        browser, back, wait=20
    )
    assert "Thank you, it is paid" in browser.get(back.url).text
    (first,) = orders(browser)
    assert "paid, 19.99 USD: send the mug" == fulfilled(browser, first)

    # 5. Be declined, then pay.
    checkout_url = buy(browser)
    assert "The payment was not made" in press(checkout_url, "decline").text
    _, second = orders(browser)
    assert "waiting for the payment" == orders(browser)[second]
    back = press(checkout_url, "approve")
    assert "SUCCESS" == status(browser, back, wait=20, seen="FAILED")["status"]
    assert "paid, 19.99 USD: send the mug" == fulfilled(browser, second)

    # 6. Lose a webhook.
    save_faults(xpay, (tmp_path / "faults.json").read_text())
    back = press(buy(browser), "approve")
    assert "Waiting for the bank" in back.text
    assert "PENDING" == status(browser, back)["status"]
    assert "SUCCESS" == status(browser, back, wait=20)["status"]
    *_, third = orders(browser)
    assert "paid, 19.99 USD: send the mug" == fulfilled(browser, third)

    # 7. Read what happened.
    told = timeline(python, tmp_path, second, ports)
    both = ("intent.failed", "intent.success")
    assert list(both) == said_by_webhook(told, *both)
    told = timeline(python, tmp_path, third, ports)
    assert [] == said_by_webhook(told, "intent.success")
    assert ["SUCCESS"] == [e["what"] for e in told["entries"] if e["how"] == "API answer"][-1:]


def save_faults(xpay: httpx.Client, plan: str) -> None:
    """Put a plan into the form of the overview page."""
    response = xpay.post("/_sandbox/", data={"act": "faults", "faults": plan})
    assert 303 == response.status_code
    assert FaultPlan.from_json(plan).to_dict() == xpay.get("/_sandbox/api/faults").json()


def timeline(python: Path, folder: Path, order_id: str, ports: running.Ports) -> dict[str, Any]:
    """The tutorial's own command, with `--json` added."""
    words = [
        re.sub(r"^order-\w+", order_id, w) for w in command(python, "xpay-flow timeline", ports)
    ]
    done = subprocess.run(
        [*words, "--json"],
        cwd=folder,
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert 0 == done.returncode, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def said_by_webhook(told: dict[str, Any], *kinds: str) -> list[str]:
    return [e["what"] for e in told["entries"] if e["how"] == "webhook" and e["what"] in kinds]
