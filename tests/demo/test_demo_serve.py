"""Both servers on this machine, and one purchase through them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from xpay_flow import Timeline
from xpay_flow.demo import once
from xpay_flow.demo.once import PurchaseFailed, purchase
from xpay_flow.demo.serve import Demo, listening, running


def bought(db: Path, lines: list[str]) -> Timeline:
    async def buy() -> Timeline:
        async with running(db, 0, 0) as demo:
            return await purchase(demo, lines.append)

    return asyncio.run(buy())


def test_one_purchase_through_real_http(tmp_path: Path) -> None:
    """From the page of mugs to the parcel, and the timeline shows it."""
    lines: list[str] = []

    timeline = bought(tmp_path / "p.db", lines)

    assert timeline.intent is not None
    assert "success" == timeline.intent.state
    assert ["done"] == [entry.status for entry in timeline.outbox]
    assert "the mug is packed, once" == lines[-1]


def test_payments_survive_a_restart(tmp_path: Path) -> None:
    """What was bought in one run is on the operator's page of the next, and nothing clashes."""
    first = bought(tmp_path / "p.db", [])

    async def look_and_buy() -> tuple[str, Timeline]:
        async with (
            running(tmp_path / "p.db", 0, 0) as demo,
            httpx.AsyncClient(trust_env=False) as browser,
        ):
            second = await purchase(demo, lambda _: None)
            return (await browser.get(f"{demo.shop_url}/operator")).text, second

    page, second = asyncio.run(look_and_buy())

    assert first.intent is not None
    assert second.intent is not None
    assert first.intent.receipt_id in page
    assert second.intent.receipt_id in page
    assert first.intent.x_intent_id != second.intent.x_intent_id


def test_a_taken_port_is_not_the_end() -> None:
    """Another port is taken instead, and a free one is taken as requested."""
    with listening(0) as first:
        taken = first.getsockname()[1]
        with listening(taken) as second:
            assert taken != second.getsockname()[1]
    with listening(taken) as third:
        assert taken == third.getsockname()[1]


def test_only_this_machine_is_listened_to() -> None:
    """The demo cannot be reached from elsewhere."""
    with listening(0) as sock:
        assert "127.0.0.1" == sock.getsockname()[0]


def test_a_purchase_that_hangs_ends_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the mug is never packed, the purchase gives up and reports where it was."""
    monkeypatch.setattr(once, "DEADLINE_S", 2.0)

    async def buy() -> None:
        async with running(tmp_path / "p.db", 0, 0) as demo:
            await _jam(demo)
            await purchase(demo, lambda _: None)

    with pytest.raises(PurchaseFailed, match="not done after 2 s, while waiting until the mug"):
        asyncio.run(buy())


async def _jam(demo: Demo) -> None:
    async with httpx.AsyncClient(trust_env=False) as browser:
        answer = await browser.post(f"{demo.shop_url}/operator/day", data={"day": "jammed"})
        assert 303 == answer.status_code
