"""`webhook register` and `keys rotate` move xPay's endpoints, and refuse no good event."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sandbox.merchant import create
from sandbox.served import served

from xpay_flow import Flow, Settings
from xpay_flow.errors import XPayFlowError
from xpay_flow.messages import INTENT_SUCCESS, SUBSCRIBED_EVENT_TYPES
from xpay_flow.sandbox import Delivery, Sandbox
from xpay_flow.stores.memory import MemoryStore

from .test_cli_commands import run

URL = "http://127.0.0.1:8000/xpay/webhook"
VARIABLE = "XPAY_WEBHOOK_SECRETS"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with served() as sandbox:
        yield sandbox


def environment(sandbox: Sandbox, secrets: str = "") -> dict[str, str]:
    return {
        "XPAY_MODE": "sandbox",
        "XPAY_BASE_URL": sandbox.config.checkout_base_url,
        "XPAY_PUBLIC_KEY": sandbox.config.public_key,
        "XPAY_PRIVATE_KEY": sandbox.config.private_key,
        VARIABLE: secrets,
    }


def printed_secrets(output: str) -> str:
    found = re.search(rf"^  {VARIABLE}=(\S+)$", output, re.M)
    assert found is not None, output
    return found[1]


def register(sandbox: Sandbox, secrets: str = "", url: str = URL) -> str:
    result = run("webhook", "register", url, env=environment(sandbox, secrets))
    assert 0 == result.exit_code, result.output
    return result.output


def test_register_makes_a_strong_key_and_prints_it(sandbox: Sandbox) -> None:
    """The endpoint gets the events that the library understands; live mode takes the key."""
    secret = printed_secrets(register(sandbox))
    (endpoint,) = sandbox.endpoints()
    assert (URL, secret) == (endpoint.url, endpoint.secret)
    assert frozenset(SUBSCRIBED_EVENT_TYPES) == endpoint.event_types
    live = {"mode": "live", "public_key": "pk_live_51Habcdef", "private_key": "sk_8c1f7a2e9bd1"}
    Settings(**live, webhook_secrets=(secret,))  # type: ignore[arg-type]
    assert len(secret) >= 40
    assert secret != printed_secrets(register(sandbox, url=URL + "2"))


def test_register_takes_the_key_that_the_shop_accepts_already(sandbox: Sandbox) -> None:
    """Then nothing is to be changed, and no event can come too early."""
    assert "stays as it is" in register(sandbox, "first_8c1f7a2e9b,second_4d9e1c7b2a")
    assert ["first_8c1f7a2e9b"] == [endpoint.secret for endpoint in sandbox.endpoints()]


def test_register_again_keeps_key_and_further_events(sandbox: Sandbox) -> None:
    """Another key would have good events refused, and the shop may want other events, too."""
    secret = printed_secrets(register(sandbox))
    (endpoint,) = sandbox.endpoints()
    settings = Settings.from_env(environment(sandbox, secret))
    with Flow(MemoryStore(), settings, background=False) as flow:
        flow.xpay.update_webhook_endpoint(
            endpoint.endpoint_id, URL, secret, [INTENT_SUCCESS, "subscription.active"]
        )
    assert register(sandbox, secret).startswith("updated")
    (endpoint,) = sandbox.endpoints()
    assert {*SUBSCRIBED_EVENT_TYPES, "subscription.active"} == endpoint.event_types
    assert secret == endpoint.secret
    assert register(sandbox, secret).startswith("unchanged")


def test_register_shows_the_key_of_an_endpoint_that_the_shop_does_not_accept(
    sandbox: Sandbox,
) -> None:
    """It was made in the dashboard: its key comes first, and the others stay."""
    secret = printed_secrets(register(sandbox))
    assert f"{secret},other_8c1f7a2e9b" == printed_secrets(register(sandbox, "other_8c1f7a2e9b"))


@pytest.mark.parametrize("url", ["shop.example/xpay", "ftp://shop.example/", "/webhook"])
def test_register_refuses_what_is_no_address(sandbox: Sandbox, url: str) -> None:
    """Before xPay is called."""
    assert 2 == run("webhook", "register", url, env=environment(sandbox)).exit_code
    assert [] == sandbox.endpoints()


@pytest.mark.parametrize("url", ["http://shop.example/hook", "https://127.0.0.1/hook"])
def test_register_wants_a_public_address_in_live_mode(url: str) -> None:
    """xPay could not reach it, or anybody could read it."""
    env = {
        "XPAY_MODE": "live",
        "XPAY_PUBLIC_KEY": "pk_live_51Habcdef",
        "XPAY_PRIVATE_KEY": "sk_live_8c1f7a2e9b",
    }
    result = run("webhook", "register", url, env=env)
    assert (2, True) == (result.exit_code, "in live mode" in result.output)


def rotate(sandbox: Sandbox, secrets: str, *arguments: str) -> str:
    result = run("keys", "rotate", *arguments, env=environment(sandbox, secrets))
    assert 0 == result.exit_code, result.output
    return result.output


def test_rotate_refuses_no_good_event(sandbox: Sandbox) -> None:
    """A shop that restarts after each step accepts each event, those queued before among them."""
    secrets = printed_secrets(register(sandbox))
    refused: list[str] = []

    def post(delivery: Delivery) -> int:
        settings = Settings.from_env(environment(sandbox, secrets))
        with Flow(MemoryStore(), settings, background=False) as flow:
            try:
                flow.receive_webhook(delivery.headers, delivery.body)
            except XPayFlowError as error:
                refused.append(str(error))
                return 401
        return 200

    def events_come() -> None:
        create(sandbox)
        sandbox.deliver_due(post)

    events_come()
    first = rotate(sandbox, secrets)
    assert "1 of 3" in first
    events_come()
    old, secrets = secrets, printed_secrets(first)
    events_come()
    create(sandbox)  # Queued under the old key, and delivered after the switch.
    assert "2 of 3" in rotate(sandbox, secrets)
    assert secrets == f"{sandbox.endpoints()[0].secret},{old}"
    events_come()
    last = rotate(sandbox, secrets)
    assert "3 of 3" in last
    secrets = printed_secrets(last)
    events_come()
    assert ([], sandbox.endpoints()[0].secret) == (refused, secrets)


def test_rotate_begins_again_when_asked(sandbox: Sandbox) -> None:
    """Although an old key is still listed."""
    secret = printed_secrets(register(sandbox))
    assert "3 of 3" in rotate(sandbox, f"{secret},old_8c1f7a2e9b")
    again = printed_secrets(rotate(sandbox, f"{secret},old_8c1f7a2e9b", "--again"))
    assert again.endswith(f",{secret},old_8c1f7a2e9b")


def test_rotate_wants_to_know_which_endpoint(sandbox: Sandbox) -> None:
    """Where there are several; and one whose key the shop does not accept is named."""
    secret = printed_secrets(register(sandbox))
    unknown = run("keys", "rotate", env=environment(sandbox, "other_8c1f7a2e9b"))
    assert (1, True) == (unknown.exit_code, "add it first" in unknown.output)
    register(sandbox, secret, URL + "2")
    several = run("keys", "rotate", env=environment(sandbox, secret))
    assert (1, True) == (several.exit_code, f"{URL}2" in several.output)
    assert "1 of 3" in rotate(sandbox, secret, URL)
    assert 1 == run("keys", "rotate", URL + "3", env=environment(sandbox, secret)).exit_code
