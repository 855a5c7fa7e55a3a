"""The Django adapter does every duty of one, and its answer of 200 means that all is kept."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import Context
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import attrs
import django
import django_kit as kit
import pytest
import web_servers
from adapters.kit import Served
from django.core.handlers.asgi import ASGIHandler
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client as DjangoClient
from django.test import override_settings
from django.urls import path

import xpay_flow_asgi
from xpay_flow import AsyncFlow, Flow
from xpay_flow import sample_records as b
from xpay_flow.adapter_kit import Price
from xpay_flow.endpoints import Header
from xpay_flow.errors import ConfigurationError, OutcomeUnknown
from xpay_flow.testing.adapter_suite import (
    ODD_SPELLING,
    SETTINGS,
    AdapterSuite,
    Answer,
    AnyFlow,
    AsyncNoXPay,
    Client,
    NoXPay,
    World,
    asgi_client,
    signature,
    wsgi_client,
)
from xpay_flow.testing.limits import within_s
from xpay_flow_django import AsyncDjangoStore, DjangoStore, flow_from, routes

READY_S = 10.0


class TestWSGI(AdapterSuite):
    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return wsgi_client(kit.wsgi_app(kit.urlconf(kit.mounted(routes(flow), prefix))))


class TestASGI(AdapterSuite):
    """Under ASGI, Django itself takes a whole body to disk: see `TestASGIAroundDjango`."""

    gets_whole_bodies = True

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        name = kit.urlconf(kit.mounted(routes(flow), prefix))
        client = asgi_client(kit.with_urlconf(ASGIHandler, name))

        def send(*request: Any) -> Answer:
            # A test may ask in the middle of an answer. A server would not have the one request
            # inherit the other's context, and with it the other's thread.
            return Context().run(client, *request)

        if self.is_async and django.VERSION >= (5, 0):
            # From 5.0 on Django ends views that are awaited, and those alone.
            send.hang_up = client.hang_up  # type: ignore[attr-defined]
        return send


class TestAwaitedASGI(TestASGI):
    is_async = True


class TestASGIAroundDjango(AdapterSuite):
    """Our ASGI adapter around Django's app: bodies are limited before Django sees them."""

    is_async = True

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        django = kit.with_urlconf(ASGIHandler, kit.urlconf())
        if not prefix:
            return asgi_client(xpay_flow_asgi.routes(flow))
        return asgi_client(xpay_flow_asgi.routes(flow, prefix=prefix, otherwise=django))


class TestDjangoBehindUvicorn(Served):
    """As `docs/frameworks.py` declares."""

    is_async = gets_whole_bodies = True
    hangs_up = django.VERSION >= (5, 0)
    server, app_now = web_servers.uvicorn, web_servers.AsgiNow

    @staticmethod
    def app_with(flow: AnyFlow, prefix: str, price: Price | None = None) -> Any:
        name = kit.urlconf(kit.mounted(without_token(routes(flow, price=price)), prefix))
        return kit.with_urlconf(ASGIHandler, name)


class TestDjangoBehindWaitress(Served):
    """As `docs/frameworks.py` declares."""

    hangs_up, gets_whole_bodies = False, True
    server, app_now = web_servers.waitress, web_servers.WsgiNow

    @staticmethod
    def app_with(flow: AnyFlow, prefix: str, price: Price | None = None) -> Any:
        return kit.wsgi_app(
            kit.urlconf(kit.mounted(without_token(routes(flow, price=price)), prefix))
        )


def without_token(patterns: list[Any]) -> list[Any]:
    """The suite's browser has no CSRF token, which `POST /checkout` wants in Django."""
    for pattern in patterns:
        pattern.callback.csrf_exempt = True
    return patterns


# --- around the routes ---------------------------------------------------------------------------


def test_a_body_without_a_length_is_411() -> None:
    """Django reads Content-Length bytes, and an empty webhook would be wrong."""
    world = World("/xpay")
    app = kit.wsgi_app(kit.urlconf(kit.mounted(routes(world.sync_flow()))))
    answer = wsgi_client(app)(
        "POST", "/xpay/webhook", (("Transfer-Encoding", "chunked"), signature(ODD_SPELLING))
    )
    assert 411 == answer.status


def test_a_view_finds_the_flow_of_its_project() -> None:
    """A view of the shop needs no import to get at the flow."""
    flow = World("").sync_flow()
    seen: list[Any] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(flow_from(request))
        return HttpResponse("seen")

    app = kit.wsgi_app(kit.urlconf(path("buy", view), kit.mounted(routes(flow))))
    assert 200 == wsgi_client(app)("GET", "/buy").status
    assert [flow] == seen


@pytest.mark.parametrize("flows", [0, 2])
def test_without_one_flow_there_is_none_to_find(flows: int) -> None:
    """No routes, or those of two flows, are a ConfigurationError."""
    several = [routes(World("").sync_flow()) for _ in range(flows)]
    request = HttpRequest()
    request.urlconf = kit.urlconf(  # type: ignore[attr-defined]
        *(kit.mounted(patterns, f"/{n}") for n, patterns in enumerate(several))
    )
    with pytest.raises(ConfigurationError, match=f"there are {flows}"):
        flow_from(request)


def test_of_several_accounts_the_one_of_the_settings_is_found() -> None:
    """The worker, the admin and views of the shop get the flow of the account in `XPAY_FLOW`."""
    books, music = (World("").sync_flow() for _ in range(2))
    music.settings = attrs.evolve(music.settings, account="music")
    request = HttpRequest()
    request.urlconf = kit.urlconf(  # type: ignore[attr-defined]
        kit.mounted(routes(books), "/books"), kit.mounted(routes(music), "/music")
    )
    given = {"PUBLIC_KEY": "sandbox_public_key", "PRIVATE_KEY": "sandbox_private_key"}
    given |= {"MODE": "sandbox", "WEBHOOK_SECRETS": ["sandbox_signing_key_0123456789"]}
    for account, flow in (("", books), ("music", music)):
        with override_settings(XPAY_FLOW=given | {"ACCOUNT": account}):
            assert flow is flow_from(request)


# --- a webhook and the database ------------------------------------------------------------------


def paying(alias: str) -> Flow:
    return Flow(DjangoStore(alias), SETTINGS, transport=NoXPay(), background=False)


def waiting_for_payment(alias: str) -> None:
    for step in b.history(b.created()):
        assert DjangoStore(alias).commit(step)


def webhook() -> dict[str, Any]:
    name, value = signature(ODD_SPELLING)
    return {"data": ODD_SPELLING, "content_type": "application/json", "headers": {name: value}}


def state_elsewhere(alias: str) -> str:
    """What another process finds in the database."""

    def look() -> str:
        (record,) = DjangoStore(alias).load("x:in_1")
        assert record.intent is not None
        return record.intent.state

    return within_s(60, look)[0]


@pytest.mark.parametrize("atomic", [False, True], ids=["", "ATOMIC_REQUESTS"])
def test_200_means_that_the_commit_is_over(alias: str, atomic: bool) -> None:
    """At the moment of the answer another connection finds the payment, atomic requests or not."""
    waiting_for_payment(alias)
    with (
        kit.database_settings(alias, ATOMIC_REQUESTS=atomic),
        override_settings(ROOT_URLCONF=kit.urlconf(kit.mounted(routes(paying(alias))))),
    ):
        answer = DjangoClient().post("/xpay/webhook", **webhook())
        assert (200, "success") == (answer.status_code, state_elsewhere(alias))


def test_a_webhook_is_not_answered_200_inside_a_transaction(alias: str) -> None:
    """Inside an atomic block the flow raises an error in words, and nothing is lost."""
    waiting_for_payment(alias)
    flow = paying(alias)

    @transaction.atomic(using=alias)
    def wrapped(request: HttpRequest) -> HttpResponse:
        flow.receive_webhook(tuple(request.headers.items()), request.body)
        return HttpResponse("received")

    wrapped.csrf_exempt = True  # type: ignore[attr-defined]
    with (
        override_settings(ROOT_URLCONF=kit.urlconf(path("webhook", wrapped))),
        pytest.raises(ConfigurationError, match="non_atomic_requests"),
    ):
        DjangoClient().post("/webhook", **webhook())
    assert "created" == state_elsewhere(alias)


def test_the_shops_own_view_needs_no_transaction_around_it(alias: str) -> None:
    """Under ATOMIC_REQUESTS a view that starts a checkout must be exempt: an error demands it."""
    flow = paying(alias)

    def buy(request: HttpRequest) -> HttpResponse:
        with pytest.raises(OutcomeUnknown, match="called xPay"):
            flow.start_checkout(
                receipt_id=f"order{request.path}",
                money=b.PRICE,
                callback_url="https://shop.example/thanks",
                customer={"name": "Ada Example", "email": "ada@example.org"},
            )
        return HttpResponse("bought")

    exempt = transaction.non_atomic_requests(using=alias)(lambda request: buy(request))
    patterns = kit.urlconf(path("atomic", buy), path("exempt", exempt))
    with (
        kit.database_settings(alias, ATOMIC_REQUESTS=True),
        override_settings(ROOT_URLCONF=patterns),
    ):
        assert 200 == DjangoClient().get("/exempt").status_code
        with pytest.raises(ConfigurationError, match="non_atomic_requests"):
            DjangoClient().get("/atomic")
    (stored,) = DjangoStore(alias).recent(10)
    assert "attempt:sandbox/local:1:order/exempt" == stored.key, "stored before xPay was called"


# --- real servers --------------------------------------------------------------------------------


def served(face: str, urlconf: str) -> AbstractContextManager[int]:
    if face == "wsgi":
        return web_servers.werkzeug(kit.wsgi_app(urlconf))
    return web_servers.uvicorn(kit.with_urlconf(ASGIHandler, urlconf), lifespan="off")


def requested(port: int, method: str, where: str, headers: Any = (), body: bytes = b"") -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=READY_S)
    try:
        connection.request(method, where, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("face", ["wsgi", "asgi", "asgi awaited"])
def test_a_purchase_over_a_real_server(alias: str, face: str) -> None:
    """A forged event is refused, a true one is kept, and the customer sees it, over a socket."""
    waiting_for_payment(alias)
    flow: AnyFlow = paying(alias)
    if face == "asgi awaited":
        flow = AsyncFlow(
            AsyncDjangoStore(alias), SETTINGS, transport=AsyncNoXPay(), background=False
        )
    query = urlencode({"xpay_intent_id": "in_1"})
    forged: Header = (signature(b"")[0], signature(b"other")[1])
    with served(face, kit.urlconf(kit.mounted(routes(flow)))) as port:
        assert 401 == requested(port, "POST", "/xpay/webhook", [forged], ODD_SPELLING)[0]
        assert b"PENDING" in requested(port, "GET", f"/xpay/payment-status?{query}")[1]
        sent = requested(port, "POST", "/xpay/webhook", [signature(ODD_SPELLING)], ODD_SPELLING)
        assert (200, b'{"received": true}') == sent
        assert b"SUCCESS" in requested(port, "GET", f"/xpay/payment-status?{query}")[1]
        assert 200 == requested(port, "GET", f"/xpay/return?{query}")[0]
        assert 200 == requested(port, "GET", "/xpay/xpay-flow.js")[0]
    assert "success" == state_elsewhere(alias)
    connections.close_all()
