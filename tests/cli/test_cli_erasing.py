"""`erase` and `purge`: what they print, what they ask, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result

from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import World

from .test_cli_commands import run

SANDBOX = {
    "XPAY_MODE": "sandbox",
    "XPAY_PUBLIC_KEY": "sandbox_public_key",
    "XPAY_PRIVATE_KEY": "sandbox_private_key",
    "XPAY_WEBHOOK_SECRETS": "sandbox_signing_key",
}
EMAIL = "ada@mail.example"


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """A paid order of a customer, and an open one."""
    path = tmp_path / "payments.db"
    world = World(SQLiteStore(path))
    for name in ("order-1", "order-2"):
        world.flow.start_checkout(
            receipt_id=name,
            money=world.settings.money("19.99", "USD"),
            callback_url="https://shop.example",
            customer={"email": EMAIL},
            metadata={"for": "Ada Canary"},
        )
    _, paid_one = world.flow.recent(2)
    assert paid_one.intent is not None
    world.xpay.pay(paid_one.intent.x_intent_id or "")
    world.settle()
    world.flow.close()
    return f"sqlite:///{path}"


def do(*arguments: str, url: str) -> Result:
    return run(*arguments, "--store", url, env=SANDBOX)


def test_erase_forgets_an_order(store_url: str) -> None:
    """By its receipt, after a yes; and the second time it says so."""
    result = do("erase", "order-1", "--yes", url=store_url)
    assert (0, "order-1 (pi_1): erased\n") == (result.exit_code, result.output)
    again = do("erase", "order-1", "--yes", "--json", url=store_url)
    assert [("order-1", "erased before")] == [
        (each["receipt_id"], each["outcome"]) for each in json.loads(again.output)
    ]


def test_erase_says_what_is_not_settled(store_url: str) -> None:
    """All orders of a customer, of which one can still be paid: exit code 3."""
    result = do("erase", EMAIL, "--yes", url=store_url)
    assert 3 == result.exit_code
    assert "order-1 (pi_1): erased\n" in result.output
    assert "order-2 (pi_2): erased, but for what is needed still" in result.output
    assert "the customer can still pay" in result.output


@pytest.mark.parametrize("arguments", [("erase", "order-1"), ("purge", "--older-than", "1d")])
def test_nothing_is_erased_without_a_yes(store_url: str, arguments: tuple[str, ...]) -> None:
    """It cannot be undone, so it is asked; without a terminal, the answer is no."""
    result = do(*arguments, url=store_url)
    assert 1 == result.exit_code
    assert "Aborted" in result.output
    assert "pi_1): erased" in do("erase", "order-1", "--yes", url=store_url).output


def test_purge_goes_by_age(store_url: str) -> None:
    """The virtual clock of the world stands in January 2026; how long ago is left open."""
    assert "0 payment(s)" in do("purge", "--older-than", "3000w", "--yes", url=store_url).output
    result = do("purge", "--older-than", "1h", "--yes", "--json", url=store_url)
    found = json.loads(result.output)
    assert (3, 1, ["order-2"]) == (
        result.exit_code,
        found["erased"],
        [due["receipt_id"] for due in found["due"]],
    )


@pytest.mark.parametrize("age", ["0d", "-1", "1y", "x", "1.5d", ""])
def test_purge_takes_no_odd_age(store_url: str, age: str) -> None:
    """A wrong age is a wrong command line."""
    assert 2 == do("purge", "--older-than", age, "--yes", url=store_url).exit_code


def test_erase_names_an_unknown_customer(store_url: str) -> None:
    """An e-mail address that no order has is an error."""
    result = do("erase", "bob@mail.example", "--yes", url=store_url)
    assert 1 == result.exit_code
    assert "no intent is filed under" in result.output
