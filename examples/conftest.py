"""What the tests of the example shops share: each begins with no orders."""

from pathlib import Path

import pytest
import shop_orders


@pytest.fixture(autouse=True)
def no_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop_orders, "FILE", str(tmp_path / "orders.db"))
    shop_orders.prepare()
