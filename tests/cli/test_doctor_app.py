"""`xpay-flow doctor --app` sends probes through a mount, and names what is wrong with it."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

import flask
import pytest
from click.testing import CliRunner

import xpay_flow_asgi
import xpay_flow_flask
from docs import running
from xpay_flow import AsyncFlow, Flow, Payment, Settings
from xpay_flow import sample_records as b
from xpay_flow.cli.findings import Finding
from xpay_flow.cli.probes import check_app_mount
from xpay_flow.cli.root import xpay_flow
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import World

SETTINGS: Final = Settings.sandbox(body_bytes_max=4096, body_timeout_s=0.3)
Middleware = Callable[[Any], Any]


class Shop:
    """A flow, its app, and a name under which a command can import it."""

    def __init__(self, middleware: Middleware = lambda app: app, **options: Any) -> None:
        self.store = MemoryStore()
        self.flow = Flow(self.store, SETTINGS, **options)
        app = flask.Flask("shop")
        app.register_blueprint(xpay_flow_flask.routes(self.flow), url_prefix="/xpay")
        self.app = middleware(app)

    def fulfil(self, payment: Payment) -> None:
        """Is registered where a shop is right."""

    def findings(self, **options: Any) -> list[Finding]:
        return found(self.app, **options)


def found(app: Any, webhook: str = "/xpay/webhook", **options: Any) -> list[Finding]:
    module: Any = ModuleType("probed_shop")
    module.app = app
    sys.modules["probed_shop"] = module
    try:
        return check_app_mount("probed_shop:app", webhook, None, None, **options)
    finally:
        del sys.modules["probed_shop"]


def wrong(findings: list[Finding]) -> list[str]:
    return [finding.text for finding in findings if finding.verdict == "wrong"]


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop(background=False)
    made.flow.on_success(made.fulfil)
    yield made
    made.flow.close()


def test_doctor_app_is_content_with_a_right_mount(shop: Shop) -> None:
    """Each duty of a mount has a finding of its own, and none is wrong."""
    findings = shop.findings()
    assert [] == wrong(findings)
    words = " | ".join(finding.text for finding in findings)
    for duty in (
        "without a login, a CSRF token",
        "forged webhook is refused",
        "byte for byte",
        "answered within",
        "over 4096 bytes is refused",
        "slow bodies show only behind a server",
        "handlers: on_success",
        "xpay-flow worker (background=False)",
        "no handler call waits",
        "no payment yet",
    ):
        assert duty in words, duty


def test_doctor_app_leaves_the_shop_alone() -> None:
    """In this process nothing is stored, no loop starts, no handler is called, and the flow is as
    it was."""
    shop = Shop(background=True)
    shop.flow.on_success(shop.fulfil)
    before = dict(vars(shop.flow))
    assert [] == wrong(shop.findings())
    assert before == vars(shop.flow)
    assert [] == list(shop.store.recent(10))
    assert not any(vars(loop)["_thread"] for loop in before["_loops"])
    shop.flow.close()


def test_doctor_app_takes_an_awaited_flow() -> None:
    """An ASGI app with an `AsyncFlow` is probed like any other."""
    flow = AsyncFlow(MemoryStore(), SETTINGS)
    flow.on_success(lambda _: None)
    findings = found(xpay_flow_asgi.routes(flow, prefix="/pay"), "/pay/webhook")
    assert [] == wrong(findings)
    assert any("in the app's own processes" in finding.text for finding in findings)


# --- planted mounts ------------------------------------------------------------------------------


def answers(status: str, *headers: tuple[str, str], method: str = "POST") -> Middleware:
    """Something in front of the app that answers by itself."""

    def around(app: Any) -> Any:
        def wrapped(environ: Any, start: Any) -> Any:
            if environ["REQUEST_METHOD"] == method:
                start(status, list(headers))
                return [b"{}"]
            return app(environ, start)

        return wrapped

    return around


def changes(change: Callable[[bytes], bytes]) -> Middleware:
    """Something in front of the app that hands on another body."""

    def around(app: Any) -> Any:
        def wrapped(environ: Any, start: Any) -> Any:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = change(environ["wsgi.input"].read(length)) if length else b""
            more = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            return app({**environ, **more}, start)

        return wrapped

    return around


def anew(body: bytes) -> bytes:
    """As a middleware that parses JSON writes it again."""
    return json.dumps(json.loads(body)).encode() if body.strip() else body


PLANTED: Final[dict[str, tuple[Middleware, str]]] = {
    "a login": (answers("302 Found", ("Location", "/login")), "was redirected to /login"),
    "csrf": (answers("403 Forbidden"), "take this one route out of CSRF"),
    "basic auth": (answers("401 Unauthorized"), "take this one route out of CSRF"),
    "swallowed status": (answers("200 OK"), "was accepted: something in front"),
    "a failing app": (answers("500 Internal Server Error"), "failed: look at the log"),
    "another method": (answers("405 Method Not Allowed"), "not answered by xpay-flow"),
    "parsed and written anew": (changes(anew), "changed on its way: something parses"),
    "an empty body": (changes(lambda _: b""), "the body was read or changed before the route"),
    "a cut body": (changes(lambda body: body[:1000]), "a part of the body is cut off"),
    "status query": (
        answers("302 Found", ("Location", "/login"), method="GET"),
        "no routes(flow) of this app answer",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_doctor_app_names_a_planted_fault(name: str) -> None:
    """Each way in which a mount goes wrong is told apart, with what to do."""
    middleware, words = PLANTED[name]
    shop = Shop(middleware, background=False)
    shop.flow.on_success(shop.fulfil)
    problems = wrong(shop.findings())
    assert any(words in text for text in problems), problems
    shop.flow.close()


def test_doctor_app_names_a_missing_mount(shop: Shop) -> None:
    """Where nothing is mounted, the option to name the path is shown."""
    (problem,) = wrong(found(shop.app, "/other/webhook"))
    assert "--webhook" in problem


def test_doctor_app_names_a_missing_handler() -> None:
    """An app that registers no `on_success` fulfils nothing."""
    with Flow(MemoryStore(), SETTINGS, background=False) as flow:
        (problem,) = wrong(found(xpay_flow_asgi.routes(flow), "/webhook"))
        assert "no on_success handler" in problem


# --- traces in the store -------------------------------------------------------------------------


def test_doctor_app_names_calls_that_nothing_makes(shop: Shop) -> None:
    """A handler call that is due for long shows that neither a loop nor a worker runs."""
    for step in b.history(b.created(), b.paid()):
        assert shop.store.commit(step)
    problems = wrong(shop.findings())
    assert any("1 payment(s) have handler calls that are due" in text for text in problems), (
        problems
    )


def test_doctor_app_names_webhooks_that_never_come() -> None:
    """Payments without a single webhook show that xPay does not know the address; one that came is
    shown with its age."""
    shop = Shop(background=False)
    world = World(shop.store)
    checkout = world.start_checkout("order-1")
    assert any("no webhook has ever come" in text for text in wrong(shop.findings()))
    world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    assert any("the last webhook came" in finding.text for finding in shop.findings())


# --- at an address -------------------------------------------------------------------------------


def test_doctor_app_probes_a_server_at_its_address() -> None:
    """Behind a real server slow bodies are tried, too; the probe is recorded once and quietly."""
    store, calls = MemoryStore(), list[str]()
    flow = AsyncFlow(store, SETTINGS, poll_s=0.05)
    flow.on_success(lambda _: None)
    flow.on_unmatched(lambda event: calls.append(event.event_type))
    port = running.free_port()
    with running.served(xpay_flow_asgi.routes(flow, prefix="/pay"), port):
        for address in (f"http://127.0.0.1:{port}/pay/webhook", f"http://127.0.0.1:{port}/pay"):
            findings = check_app_mount(address, "", SETTINGS, None)
            assert [] == wrong(findings)
            assert any("that does not arrive is given up" in each.text for each in findings)
    events = [recorded for record in store.recent(10) for recorded in record.events]
    assert ({"xpay_flow.doctor"}, 2) == ({r.event.type for r in events}, len(events))
    assert [] == calls


def test_doctor_app_names_a_server_that_is_not_there() -> None:
    """An address where nothing listens is a finding and no traceback."""
    (problem,) = wrong(check_app_mount(f"http://127.0.0.1:{running.free_port()}/", "", None, None))
    assert "does not answer" in problem


def test_doctor_app_is_an_option_of_the_command(shop: Shop) -> None:
    """`--app` adds its findings to the others, and the exit code counts them."""
    module: Any = ModuleType("probed_shop")
    module.app, module.other = shop.app, 1
    sys.modules["probed_shop"] = module
    clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("XPAY")}
    environment = {**clean, **running.environment(running.free_ports()), "XPAY_STORE": None}
    for target, code in (("probed_shop:app", 0), ("probed_shop:other", 1), ("no_shop:app", 1)):
        words = ["doctor", "--json", "--app", target]
        result = CliRunner().invoke(xpay_flow, words, env=environment)
        assert code == result.exit_code, result.output
        assert any(each["about"] == "app" for each in json.loads(result.stdout))
    del sys.modules["probed_shop"]
