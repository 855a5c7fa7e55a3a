"""The one screen of code in the README takes a payment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from . import running
from .buying import buy
from .pages import ROOT, read


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
            buy(shop, "42", ports, xpay)
        finally:
            program.close()
    assert {"42", "order-42"} == shop.paid  # the second is from the test on the page
