"""That a Django project is safe behind a pooler in transaction mode, and is told to name it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from typing import Any

import django_kit as kit
import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from flows.kit import UNHURRIED
from sql.kit import POSTGRESQL, Place
from sql.poolers import pooler
from sql.test_sql_pooler import ENDS_S, in_turn
from sqlalchemy import URL

from xpay_flow import Flow, Money
from xpay_flow.errors import ConfigurationError
from xpay_flow.sandbox import Sandbox
from xpay_flow.testing.adapter_suite import SETTINGS, World
from xpay_flow.testing.limits import within_s
from xpay_flow.testing.world import SandboxTransport
from xpay_flow_django import DjangoStore, routes
from xpay_flow_django.conf import is_behind_pooler

GOOD: dict[str, Any] = {
    "MODE": "sandbox",
    "PUBLIC_KEY": "sandbox_public_key",
    "PRIVATE_KEY": "sandbox_private_key",
    "WEBHOOK_SECRETS": ["sandbox_signing_key_0123456789"],
}
PURCHASES = 40
AT_ONCE = 8


@contextmanager
def behind_pooler(alias: str, named: bool, **options: Any) -> Iterator[None]:
    """Django's connections go through a pooler, and the project may name it."""
    it = connections.settings[alias]
    url = URL.create(
        "postgresql", it["USER"], it["PASSWORD"] or None, it["HOST"], int(it["PORT"]), it["NAME"]
    )
    given = {**GOOD, "DATABASE": alias, **({"POOLER": "transaction"} if named else {})}
    with (
        pooler(Place(url, POSTGRESQL), **options) as place,
        kit.database_settings(alias, PORT=str(place.url.port), OPTIONS={}),
        override_settings(XPAY_FLOW=given, ROOT_URLCONF=urlconf()),
    ):
        yield


def urlconf() -> Any:
    flow = World("").sync_flow()
    flow.on_success(lambda _: None)
    return kit.urlconf(kit.mounted(routes(flow)))


@pytest.mark.parametrize("size", [4, 20])
def test_all_purchases_are_fulfilled_behind_a_pooler(postgresql: str, size: int) -> None:
    """With few connections of the server and with many, each of 40 orders is fulfilled."""
    xpay, paid, errors = Sandbox(UNHURRIED, seed=0), set[str](), list[Exception]()
    lock = threading.Lock()
    with behind_pooler(postgresql, named=True, default_pool_size=size):
        store = DjangoStore(postgresql)
        assert not store.can_lock
        flow = Flow(store, SETTINGS, transport=SandboxTransport(xpay), background=False)
        flow.ports.shared.rate_limiter._spacing_ms = 0
        flow.on_success(lambda payment: paid.add(payment.receipt_id))

        def buy(number: int) -> None:
            try:
                checkout = flow.start_checkout(
                    receipt_id=f"order-{number}",
                    money=Money(1999, "USD"),
                    callback_url="https://shop.example/thanks",
                    customer={"name": "Ada Example", "email": "ada@example.org"},
                )
                xpay.pay(checkout.x_intent_id or "")
                with lock:
                    due = list(xpay.due())
                    for webhook in due:
                        xpay.outcome(webhook, 200)
                for webhook in due:
                    flow.receive_webhook(webhook.headers, webhook.body)
                flow.deliver()
            except Exception as error:
                errors.append(error)

        within_s(ENDS_S, *(partial(in_turn, buy, n, PURCHASES) for n in range(AT_ONCE)))
        flow.deliver()
        flow.close()
    assert [] == errors
    assert {f"order-{n}" for n in range(PURCHASES)} == paid


def found(alias: str) -> set[str]:
    messages = run_checks(tags=["xpay_flow"], databases=[alias])
    return {message.id.removeprefix("xpay_flow.") for message in messages}


def test_check_names_a_pooler_that_the_project_does_not(postgresql: str) -> None:
    """`manage.py check`, `xpay_doctor` and the start of a worker name it, and the setting."""
    with behind_pooler(postgresql, named=False, default_pool_size=4):
        assert "E011" in found(postgresql)
        out = StringIO()
        with pytest.raises(SystemExit):
            call_command("xpay_doctor", stdout=out)
        assert 'set "POOLER": "transaction"' in out.getvalue()
        with pytest.raises(CommandError, match="connection pooler in transaction mode"):
            call_command("xpay_worker", "--once")


def test_check_is_content_with_a_pooler_that_is_named(postgresql: str) -> None:
    """And with none; but prepared statements do not go with it."""
    with behind_pooler(postgresql, named=True, default_pool_size=4):
        assert not {"E011", "E012"} & found(postgresql)
        with kit.database_settings(
            postgresql,
            OPTIONS={"prepare_threshold": 1},
            PORT=connections[postgresql].settings_dict["PORT"],
        ):
            assert "E012" in found(postgresql)
    with override_settings(XPAY_FLOW={**GOOD, "DATABASE": postgresql}, ROOT_URLCONF=urlconf()):
        assert "E011" not in found(postgresql)


def test_the_setting_of_a_pooler_is_one_word(sqlite: str) -> None:
    """Any other mode is refused, since none needs the setting."""
    with (
        override_settings(XPAY_FLOW={**GOOD, "POOLER": "session"}),
        pytest.raises(ConfigurationError, match="POOLER"),
    ):
        is_behind_pooler()


@pytest.mark.parametrize(
    ("pool", "row_locks", "handlers"),
    [(False, True, 8), (True, True, 1), ({"max_size": 10}, True, 4), ({"max_size": 3}, False, 1)],
)
def test_the_size_of_djangos_pool_limits_handlers(
    postgresql: str, pool: Any, row_locks: bool, handlers: int
) -> None:
    """Handlers that run leave two of its connections, whatever its size."""
    with kit.database_settings(postgresql, OPTIONS={"pool": pool}):
        store = DjangoStore(postgresql)
        assert (row_locks, handlers) == (store.can_lock, store.handlers_at_once_max)
