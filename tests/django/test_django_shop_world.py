"""A Django project is tested as a whole: its URLs, its test client, and `TestCase`."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from typing import Any

import django_kit as kit
import pytest
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.test import Client, TestCase, override_settings
from django.urls import path
from django.views.decorators.csrf import csrf_protect

import xpay_flow_django
from xpay_flow import AsyncFlow, Flow, Money, Payment, Settings
from xpay_flow.testing.arrivals import Arrivals
from xpay_flow.testing.shop_world import ShopTestFailed, ShopWorld, shop_world
from xpay_flow_django import AsyncDjangoStore, DjangoStore
from xpay_flow_django.models import Intent


@pytest.fixture
def project(sqlite: str) -> Iterator[str]:
    """The URLconf of a project that has a view and a transactional handler of its own."""
    flow = Flow(DjangoStore(sqlite), Settings.sandbox(), background=False)

    @flow.on_success(transactional=True)
    def fulfil(payment: Payment, connection: Any) -> None:
        # A table that every Django has stands for the shop's orders.
        Group.objects.using(connection.alias).create(name=payment.receipt_id)

    def buy(request: HttpRequest) -> HttpResponse:
        checkout = xpay_flow_django.flow_from(request).start_checkout(
            receipt_id=request.POST["order"],
            money=Money(1999, "USD"),
            callback_url=request.build_absolute_uri("/xpay/return"),
            customer={"name": "Ada Example", "email": "ada@example.org"},
        )
        return HttpResponse(checkout.url)

    name = kit.urlconf(kit.mounted(xpay_flow_django.routes(flow)), path("buy", buy))
    with override_settings(ROOT_URLCONF=name, ALLOWED_HOSTS=[]):
        yield name
    flow.close()


def buy(world: ShopWorld, client: Any) -> None:
    assert 200 == client.post("/buy", data={"order": "42"}).status_code
    world.pay()
    world.settle()


def paid() -> list[str]:
    return [group.name for group in Group.objects.all()]


@pytest.mark.usefixtures("project")
def test_a_purchase_goes_through_the_projects_urls() -> None:
    """Without an app, `shop_world` finds the project's flow and sends requests to its views."""
    with shop_world(arrivals=Arrivals(order="shuffle", duplicates=3)) as world:
        buy(world, world.client)
        assert ["42"] == paid()
        assert "Thank you" in world.come_back().text


@pytest.mark.usefixtures("project")
def test_a_test_case_undoes_everything() -> None:
    """In `TestCase`, with Django's own client, views, webhooks and transactional handlers share the
    test's transaction: each test begins with empty tables, ours and the shop's."""
    seen: list[list[str]] = []

    class Shop(TestCase):
        def setUp(self) -> None:
            self.world = self.enterContext(shop_world())

        def _buy(self) -> None:
            assert ([], 0) == (paid(), Intent.objects.count())
            buy(self.world, self.client)
            seen.append(paid())

        def test_one(self) -> None:
            self._buy()

        def test_other(self) -> None:
            self._buy()

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Shop).run(result)
    for _, e in result.errors:
        print(e)
    assert ([], []) == (result.errors, result.failures)
    assert [["42"], ["42"]] == seen
    assert ([], 0) == (paid(), Intent.objects.count())


@pytest.mark.usefixtures("project")
def test_djangos_client_and_the_worlds_are_interchangeable() -> None:
    """Neither needs a CSRF token; cookies and queries arrive."""
    with shop_world() as world, override_settings(ALLOWED_HOSTS=["testserver"]):
        buy(world, Client())
        query = f"/xpay/payment-status?xpay_intent_id={world.intent().x_intent_id}"
        for client in (Client(), world.client):
            answer: Any = client.get(query)
            assert "SUCCESS" == answer.json()["status"]


def test_a_webhook_that_wants_a_csrf_token_is_noticed(sqlite: str) -> None:
    """xPay has no token, so deliveries are checked for one although the test's client is not."""
    flow = Flow(DjangoStore(sqlite), Settings.sandbox(), background=False)
    routes = xpay_flow_django.routes(flow)
    for pattern in routes:
        pattern.callback = csrf_protect(pattern.callback)
        pattern.callback.csrf_exempt = False  # type: ignore[attr-defined]
    with (
        override_settings(ROOT_URLCONF=kit.urlconf(kit.mounted(routes))),
        shop_world() as world,
    ):
        flow.start_checkout(
            receipt_id="42",
            money=Money(1999, "USD"),
            callback_url="https://testserver/xpay/return",
            customer={"name": "Ada Example", "email": "ada@example.org"},
        )
        with pytest.raises(ShopTestFailed, match="answered 403"):
            world.settle()


def test_an_awaited_flow_works_in_a_project(sqlite: str) -> None:
    """A project with an `AsyncFlow` is tested by the same words."""
    flow = AsyncFlow(AsyncDjangoStore(sqlite), Settings.sandbox(), background=False)
    fulfilled: list[str] = []

    @flow.on_success
    async def fulfil(payment: Payment) -> None:
        fulfilled.append(payment.receipt_id)

    with (
        override_settings(ROOT_URLCONF=kit.urlconf(kit.mounted(xpay_flow_django.routes(flow)))),
        shop_world() as world,
    ):
        world.run(
            flow.start_checkout(
                receipt_id="42",
                money=Money(1999, "USD"),
                callback_url="https://testserver/xpay/return",
                customer={"name": "Ada Example", "email": "ada@example.org"},
            )
        )
        world.pay()
        world.settle()
    assert ["42"] == fulfilled
