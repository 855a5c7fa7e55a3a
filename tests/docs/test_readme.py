"""The one screen of code in the README takes a payment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from . import running
from .pages import ROOT, read

NEWS_S = 60.0  # on a busy machine; usually at once


def test_the_shop_of_the_readme_takes_a_payment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pay leads to xPay's page, and a payment there calls the handler once."""
    ports = running.free_ports()
    for name, value in running.environment(ports).items():
        monkeypatch.setenv(name, value)
    program = running.Program(tmp_path, ports)
    with running.local_xpay(ports) as xpay, running.in_folder(tmp_path):
        try:
            program.run(read(ROOT / "README.md"))
            shop: Any = program.modules["shop"]
            with running.served(shop.app, ports.shop):
                pay = httpx.post(f"http://127.0.0.1:{ports.shop}/orders/42/pay", timeout=NEWS_S)
                assert 303 == pay.status_code
                (intent,) = xpay.intents()
                assert xpay.fwd_url(intent.x_intent_id) == pay.headers["location"]
                assert set() == shop.paid
                xpay.pay(intent.x_intent_id)
                wait_until_paid(shop, "42")
        finally:
            program.close()
    assert {"42"} == shop.paid


def wait_until_paid(shop: Any, order_id: str) -> None:
    """The webhook comes over a socket; we deliver what is owed beside the shop's own thread."""
    deadline = time.monotonic() + NEWS_S
    while order_id not in shop.paid:
        shop.flow.deliver()
        assert time.monotonic() < deadline, "the order is not paid"
