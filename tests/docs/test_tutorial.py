"""The tutorial can be followed, word for word, from an empty folder."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from xpay_flow.sandbox import FaultPlan, Sandbox

from . import running
from .pages import DOCS, read

PAGE = read(DOCS / "tutorial" / "first-payment.md")
FORM = {
    "method": "CARD",
    "card_number": "4242 4242 4242 4242",
    "expiry": "04/31",
    "cvc": "123",
    "act": "pay",
}
NEWS_S = 20.0


@contextmanager
def shop(folder: Path, ports: running.Ports) -> Generator[httpx.Client, None, None]:
    """`uvicorn shop:app`, as in the second terminal."""
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(ports.shop)]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = ""
            while "Uvicorn running" not in said:
                said = process.stdout.readline()
                assert said, "the shop has ended"
            with httpx.Client(base_url=f"http://127.0.0.1:{ports.shop}") as browser:
                yield browser
        finally:
            process.terminate()


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
    return httpx.post(checkout_url, data=form, follow_redirects=True)


def status(browser: httpx.Client, back: httpx.Response, **query: Any) -> dict[str, Any]:
    """What the return page is told."""
    asked = {"xpay_intent_id": back.url.params["xpay_intent_id"], **query}
    answer: dict[str, Any] = browser.get("/xpay/payment-status", params=asked, timeout=30).json()
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
def ports() -> running.Ports:
    return running.free_ports()


@pytest.fixture
def xpay(ports: running.Ports) -> Iterator[Sandbox]:
    with running.local_xpay(ports) as sandbox:
        yield sandbox


def test_the_tutorial_can_be_followed(xpay: Sandbox, ports: running.Ports, tmp_path: Path) -> None:
    """Buying, being declined, losing a webhook and reading the timeline go as the tutorial says."""
    save_files(tmp_path, ports)
    with shop(tmp_path, ports) as browser:
        # 4. Buy a mug.
        back = press(buy(browser), "approve")
        assert ("/xpay/return", ports.shop) == (back.url.path, back.url.port)
        assert {"status": "SUCCESS", "final": True} == status(browser, back, wait=20)
        assert "The mug shop" in back.text
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
        save_faults(ports, (tmp_path / "faults.json").read_text())
        assert xpay.faults == FaultPlan.from_json((tmp_path / "faults.json").read_text())
        back = press(buy(browser), "approve")
        assert "PENDING" == status(browser, back)["status"]
        assert "SUCCESS" == status(browser, back, wait=20)["status"]
        *_, third = orders(browser)
        assert "paid, 19.99 USD: send the mug" == fulfilled(browser, third)

    # 7. Read what happened.
    told = timeline(tmp_path, second)
    both = ("intent.failed", "intent.success")
    assert list(both) == said_by_webhook(told, *both)
    told = timeline(tmp_path, third)
    assert [] == said_by_webhook(told, "intent.success")
    assert ["SUCCESS"] == [e["what"] for e in told["entries"] if e["how"] == "API answer"][-1:]


def save_faults(ports: running.Ports, plan: str) -> None:
    """Put a plan into the form of the overview page."""
    form = {"act": "faults", "faults": plan}
    response = httpx.post(f"http://127.0.0.1:{ports.sandbox}/_sandbox/", data=form)
    assert 303 == response.status_code


def timeline(folder: Path, order_id: str) -> dict[str, Any]:
    """The tutorial's own command, with `--json` added."""
    (command,) = (block.text.strip() for block in PAGE.blocks_in("sh") if "timeline" in block.text)
    words = re.sub(r"order-\w+", order_id, command).split()[1:]
    done = subprocess.run(
        [sys.executable, "-c", "from xpay_flow.cli import main; main()", *words, "--json"],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def said_by_webhook(told: dict[str, Any], *kinds: str) -> list[str]:
    return [e["what"] for e in told["entries"] if e["how"] == "webhook" and e["what"] in kinds]
