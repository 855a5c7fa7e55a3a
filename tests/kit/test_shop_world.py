"""A shop's own app, as it stands, is tested beside a local xPay without a socket."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import flask
import pytest
from aiohttp import web
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

import xpay_flow_aiohttp
import xpay_flow_asgi
import xpay_flow_fastapi
import xpay_flow_flask
import xpay_flow_wsgi
from xpay_flow import AsyncFlow, ConfigurationError, Flow, Money, Payment, Settings
from xpay_flow.errors import UnknownIntent
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.arrivals import Arrivals
from xpay_flow.testing.shop_world import ShopTestFailed, ShopWorld, shop_world

CUSTOMER: Final = {"name": "Ada Example", "email": "ada@example.org"}
CALLBACK: Final = "https://testserver/xpay/return"
CHECKOUT: Final[dict[str, Any]] = {
    "money": Money(1999, "USD"),
    "callback_url": CALLBACK,
    "customer": CUSTOMER,
}


def flask_shop(flow: Flow) -> Any:
    """A WSGI shop that has pages of its own."""
    app = flask.Flask("shop")
    app.register_blueprint(xpay_flow_flask.routes(flow), url_prefix="/xpay")

    @app.post("/orders/<order_id>/pay")
    def pay(order_id: str) -> Any:
        return flask.redirect(flow.start_checkout(receipt_id=order_id, **CHECKOUT).url)

    return app


def fastapi_shop(flow: AsyncFlow, lifespan: Any = None) -> Any:
    """An ASGI shop with a flow that is awaited."""
    app = FastAPI(lifespan=lifespan)
    app.include_router(xpay_flow_fastapi.routes(flow), prefix="/xpay")

    @app.post("/orders/{order_id}/pay")
    async def pay(order_id: str) -> RedirectResponse:
        checkout = await flow.start_checkout(receipt_id=order_id, **CHECKOUT)
        return RedirectResponse(checkout.url)

    return app


def blocking_flow(**options: Any) -> Flow:
    return Flow(MemoryStore(), Settings.sandbox(**options))


def with_handler(flow: Any) -> list[str]:
    """What `on_success` is called with, by receipt."""
    fulfilled: list[str] = []

    @flow.on_success
    def fulfil(payment: Payment) -> None:
        fulfilled.append(payment.receipt_id)

    return fulfilled


@pytest.fixture
def flow() -> Any:
    with blocking_flow() as made:
        yield made


def buy(world: ShopWorld, order: str = "42") -> None:
    assert 302 == world.client.post(f"/orders/{order}/pay").status_code
    world.pay()
    world.settle()


# --- the app and its flow ------------------------------------------------------------------------


def test_deliveries_go_through_the_shops_own_routes(flow: Flow) -> None:
    """`shop_world` carries each webhook to the address at which the shop has mounted the flow."""
    fulfilled, app, seen = with_handler(flow), flask_shop(flow), list[tuple[str, int]]()

    @app.after_request
    def look(response: Any) -> Any:
        seen.append((flask.request.path, response.status_code))
        return response

    with shop_world(app) as world:
        buy(world)
        assert 3 == seen.count(("/xpay/webhook", 200))  # created, opened, success
        assert (["42"], ["42"]) == (fulfilled, world.called("on_success"))
        assert "SUCCESS" == world.status("42").status
        assert world.timeline("42").is_ours
        assert "Thank you" in world.come_back("42").text


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_an_app_without_a_framework_is_mounted(kind: str, flow: Flow) -> None:
    """Plain ASGI and plain WSGI apps need no more than the others."""
    module: Any = {"asgi": xpay_flow_asgi, "wsgi": xpay_flow_wsgi}[kind]
    fulfilled = with_handler(flow)
    with shop_world(module.routes(flow, prefix="/pay"), webhook="/pay/webhook") as world:
        world.run(world.flow.start_checkout(receipt_id="42", **CHECKOUT))
        world.pay()
        world.settle()
    assert ["42"] == fulfilled


def test_an_awaited_flow_is_driven_by_a_plain_test() -> None:
    """An `AsyncFlow` and its coroutine handlers work in a test that is no coroutine."""
    fulfilled: list[str] = []
    flow = AsyncFlow(MemoryStore(), Settings.sandbox())

    @flow.on_success
    async def fulfil(payment: Payment) -> None:
        await asyncio.sleep(0)
        fulfilled.append(payment.receipt_id)

    for order in ("1", "2"):  # one loop after another
        with shop_world(fastapi_shop(flow)) as world:
            assert 307 == world.client.post(f"/orders/{order}/pay").status_code
            world.pay()
            world.settle()
    assert ["1", "2"] == fulfilled


def test_a_test_may_be_a_coroutine() -> None:
    """Within a running event loop the shop's own loop runs beside it, also for a call of the
    flow."""
    flow = AsyncFlow(MemoryStore(), Settings.sandbox())
    fulfilled = with_handler(flow)

    async def test() -> None:
        with shop_world(fastapi_shop(flow)) as world:
            world.client.post("/orders/1/pay")
            world.pay()
            world.settle()
            assert "SUCCESS" == world.run(flow.status(world.intent().x_intent_id)).status

    asyncio.run(test())
    assert ["1"] == fulfilled


def test_an_apps_start_up_and_shut_down_run_in_each_world() -> None:
    """A lifespan that closes the flow at its end leaves it usable for the next test."""
    events: list[str] = []
    flow = AsyncFlow(MemoryStore(), Settings.sandbox())

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        events.append("up")
        async with flow:
            yield
        events.append("down")

    app = fastapi_shop(flow, lifespan)
    fulfilled = with_handler(flow)
    for order in ("1", "2"):
        with shop_world(app) as world:
            world.client.post(f"/orders/{order}/pay")
            world.pay()
            world.settle()
    assert (["up", "down"] * 2, ["1", "2"]) == (events, fulfilled)


def test_an_app_that_does_not_start_says_so(flow: Flow) -> None:
    """A start-up that fails ends the test with the app's own words, and the flow is as it was."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        raise RuntimeError("no such database")
        yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(xpay_flow_fastapi.routes(flow), prefix="/xpay")
    transport = flow.ports.transport
    with pytest.raises(ConfigurationError, match="no such database"), shop_world(app):
        pass
    assert transport is flow.ports.transport


def test_the_flow_is_as_it_was_afterwards(flow: Flow) -> None:
    """Ports, settings, handlers and what was stored before: nothing of the test stays."""
    with_handler(flow)
    before = dict(vars(flow))
    with shop_world(flask_shop(flow)) as world:
        buy(world)
        assert before["ports"] is not flow.ports
        assert before["settings"] != flow.settings
    assert before == vars(flow)
    assert () == flow.recent()


def test_tests_on_one_file_do_not_see_each_other(tmp_path: Any) -> None:
    """On a store that stays, each test has an account of its own: the same order can be paid again,
    and what another test has left due is not called."""
    with Flow(SQLiteStore(tmp_path / "shop.db"), Settings.sandbox(), background=False) as flow:
        fulfilled, app = with_handler(flow), flask_shop(flow)
        with shop_world(app) as world:
            world.client.post("/orders/42/pay")
            world.pay()
            world.deliver_webhooks()
        assert [] == fulfilled
        for _ in range(2):
            with shop_world(app) as world:
                buy(world)
        assert ["42", "42"] == fulfilled


def test_no_socket_no_thread_and_no_sleep(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purchase, and an hour of waiting, open no socket, start no thread and take no time."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a test of a shop must not do this")

    fulfilled, app = with_handler(flow), flask_shop(flow)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr("time.sleep", refused)
    with shop_world(app) as world:
        world.client.post("/orders/42/pay")
        world.settle(3600)
        world.pay()
        assert "PENDING" == world.client.get(status_of(world, wait=20)).json()["status"]
        world.settle()
    assert ["42"] == fulfilled


def status_of(world: ShopWorld, wait: int = 0) -> str:
    x_intent_id = world.intent().x_intent_id
    return f"/xpay/payment-status?xpay_intent_id={x_intent_id}&wait={wait}"


# --- what is refused -----------------------------------------------------------------------------


def test_live_mode_is_refused() -> None:
    """A flow that moves money is not driven by tests, which write into its store."""
    keys = {"public_key": "pk_8e1f0c7a", "private_key": "Zk3v9Qm1Xr7"}
    settings = Settings(mode="live", webhook_secrets=("h6Gq2Lw8Tn5Yc4Bd",), **keys)
    with (
        Flow(MemoryStore(), settings, background=False) as flow,
        pytest.raises(ConfigurationError, match="live mode"),
        shop_world(flask_shop(flow)),
    ):
        pass


def test_a_wrong_address_of_the_webhook_is_refused(flow: Flow) -> None:
    """Where no flow is mounted, the error names the address and the setting."""
    with (
        pytest.raises(
            ConfigurationError, match=r"/other/payment-status \(status 404\).*xpay_webhook"
        ),
        shop_world(flask_shop(flow), webhook="/other/webhook"),
    ):
        pass


def test_what_is_no_app_is_refused() -> None:
    """A name that leads to something else than an app is refused in words."""
    with pytest.raises(ConfigurationError, match="type str is no app"), shop_world("sys:platform"):
        pass
    with pytest.raises(UnknownIntent), shop_world(flask_shop(blocking_flow())) as world:
        world.pay()


# --- what no line of a test looks at -------------------------------------------------------------


def test_a_forgotten_on_success_is_noticed(flow: Flow) -> None:
    """A shop that registers no `on_success` fails the test in which somebody paid."""
    with (
        pytest.raises(ShopTestFailed, match=r"on_success was due for 42.*@flow\.on_success"),
        shop_world(flask_shop(flow)) as world,
    ):
        buy(world)


@pytest.mark.parametrize(
    ("act", "name"),
    [
        (lambda world: world.refund(), "on_refunded"),
        (lambda world: world.event("intent.success", amount=1), "on_attention"),
        (lambda world: world.event("intent.success", intentId="in_other", metadata=None,
                                   receiptId=None), "on_unmatched"),
    ],
)  # fmt: skip
def test_each_forgotten_handler_is_noticed(
    act: Callable[[ShopWorld], object], name: str, flow: Flow
) -> None:
    """What a test brings about needs a handler, unless the test says that there is none."""
    with_handler(flow)

    def run(**options: Any) -> None:
        with shop_world(flask_shop(flow), **options) as world:
            buy(world)
            act(world)
            world.settle()

    with pytest.raises(ShopTestFailed, match=f"{name} was due for"):
        run()
    run(unhandled=[name])


def test_a_failure_needs_no_handler(flow: Flow) -> None:
    """A declined card is followed by another try, so `on_failed` may be left out."""
    with_handler(flow)
    with shop_world(flask_shop(flow)) as world:
        world.client.post("/orders/42/pay")
        world.decline()
        world.settle()


def test_a_webhook_that_meets_a_login_is_noticed(flow: Flow) -> None:
    """A route that answers xPay with a redirect or a refusal of its own fails the test at once."""
    with_handler(flow)
    app = flask_shop(flow)

    @app.before_request
    def login() -> Any:
        return flask.redirect("/login") if flask.request.path.endswith("/webhook") else None

    with shop_world(app) as world:
        world.client.post("/orders/42/pay")
        with pytest.raises(ShopTestFailed, match="answered 302 at /xpay/webhook"):
            world.settle()


def test_a_loss_that_did_not_happen_is_noticed(flow: Flow) -> None:
    """`lost=1` in a test in which nothing is decided proves nothing, so it fails."""
    with (
        pytest.raises(ShopTestFailed, match="fewer webhooks were lost"),
        shop_world(flask_shop(flow), arrivals=Arrivals(lost=1)) as world,
    ):
        world.client.post("/orders/42/pay")


# --- events, order and loss ----------------------------------------------------------------------


def test_an_event_by_hand_is_answered_by_the_route(flow: Flow) -> None:
    """`ShopWorld.event` is delivered at once; a forged one is refused and nothing is called."""
    fulfilled = with_handler(flow)
    with shop_world(flask_shop(flow)) as world:
        world.client.post("/orders/42/pay")
        assert 401 == world.event("intent.success", signed=False).status_code
        assert 200 == world.event("intent.brand_new", anything={"nested": [1]}).status_code
        world.settle()
        assert [] == fulfilled
        assert 200 == world.event("intent.success").status_code
        world.settle()
    assert ["42"] == fulfilled


def test_a_lost_webhook_is_found_by_the_reconciler(flow: Flow) -> None:
    """What never arrives is learned by a query, once its time has come."""
    fulfilled = with_handler(flow)
    with shop_world(flask_shop(flow), arrivals=Arrivals(lost=1)) as world:
        buy(world)
        assert ([], "PENDING") == (fulfilled, world.status().status)
        world.settle(120)
        assert (["42"], "SUCCESS") == (fulfilled, world.status().status)


def test_notes_name_each_webhook_and_its_fate(flow: Flow) -> None:
    """A report shows in which order the webhooks have arrived, with copies and losses."""
    with_handler(flow)
    lines: list[str] = []
    arrivals = Arrivals(order="reversed", duplicates=1, lost=1)
    with shop_world(flask_shop(flow), arrivals=arrivals, note=lines.append) as world:
        buy(world)
    (batch,) = lines
    fates = [line.split(": ")[1] for line in batch.splitlines()]
    assert (1, 1) == (fates.count("copy, answered 200"), fates.count("lost"))
    assert batch.splitlines()[-1].startswith("intent.created")


def test_importing_the_plugin_imports_nothing_of_ours() -> None:
    """pytest loads `xpay_flow_pytest` in every project, so it costs next to nothing."""
    code = (
        "import pytest, sys; before = set(sys.modules); import xpay_flow_pytest;"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "['xpay_flow_pytest']" == done.stdout.strip()


def test_a_large_body_reaches_an_aiohttp_app() -> None:
    """The body of a request in this process has no limit but the app's own."""
    with Flow(MemoryStore(), Settings.sandbox(), background=False) as flow:
        with_handler(flow)
        app = web.Application()
        app.add_subapp("/xpay", xpay_flow_aiohttp.routes(flow))
        with shop_world(app) as world:
            for size, status in ((1 << 20, 401), ((1 << 20) + 1, 413)):
                answer = world.client.post("/xpay/webhook", content=b" " * size)
                assert status == answer.status_code
