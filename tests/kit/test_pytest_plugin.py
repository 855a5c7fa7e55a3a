"""A shop's tests use the fixtures and marks of `xpay_flow_pytest`, run as a shop would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

import xpay_flow_pytest
from xpay_flow import Settings

SHOP: Final = """
import flask
import xpay_flow_flask
from xpay_flow import Flow, Money

flow = Flow.open()
fulfilled = []
app = flask.Flask(__name__)
app.register_blueprint(xpay_flow_flask.routes(flow), url_prefix="/xpay")


@flow.on_success
def fulfil(payment):
    fulfilled.append(payment.receipt_id)


@app.post("/pay/<order>")
def pay(order):
    checkout = flow.start_checkout(
        receipt_id=order,
        money=Money(1999, "USD"),
        callback_url=flask.url_for("xpay_flow.return", _external=True),
        customer={"name": "Ada Example", "email": "ada@example.org"},
    )
    return {"id": checkout.x_intent_id}
"""
TESTS: Final = """
import pytest
from shop import app, fulfilled  # importable where xpay_app names it


@pytest.fixture(autouse=True)
def nothing_fulfilled():
    fulfilled.clear()


@pytest.mark.xpay_order("shuffle", duplicates=3, lost=1)
def test_every_fixture(xpay_client, xpay_world, xpay_clock, xpay_event):
    made = xpay_client.post("/pay/42").json()
    assert {"id": xpay_world.intent("42").x_intent_id} == made
    assert 401 == xpay_event("intent.success", signed=False).status_code
    xpay_world.pay()
    xpay_world.settle()
    assert [] == fulfilled
    xpay_clock.advance(120)
    xpay_world.settle()
    assert ["42"] == fulfilled


def test_shows_its_webhooks(xpay_client, xpay_world):
    xpay_client.post("/pay/42")
    xpay_world.pay()
    xpay_world.settle()
    assert not fulfilled


def test_forgets_a_handler(xpay_client, xpay_world):
    xpay_client.post("/pay/42")
    xpay_world.pay()
    xpay_world.refund()
    xpay_world.settle()


@pytest.mark.xpay_unhandled("on_refunded")
def test_has_no_such_handler_on_purpose(xpay_client, xpay_world):
    xpay_client.post("/pay/42")
    xpay_world.pay()
    xpay_world.refund()
    xpay_world.settle()


@pytest.mark.xpay_order("sideways")
def test_mistypes_the_order(xpay_world):
    pass


def test_uses_nothing_of_it():
    pass
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest prints about that shop's tests."""
    folder: Path = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    (folder / "test_shop.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nxpay_app = shop:app\npythonpath = .\n")
    return run_pytest(folder, "-rA", "--strict-markers")


def run_pytest(folder: Path, *words: str) -> str:
    keep = {name: value for name, value in os.environ.items() if not name.startswith("XPAY_")}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "xpay_flow_pytest",
            "-p",
            "no:cacheprovider",
            *words,
        ],
        cwd=folder,
        env={**keep, "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_fixtures_and_marks_work_together(report: str) -> None:
    """World, client, clock, event, order, copies and losses, in a shop that names its app."""
    assert "PASSED test_shop.py::test_every_fixture" in report, report
    assert "PASSED test_shop.py::test_uses_nothing_of_it" in report, report


def test_a_failure_shows_how_the_webhooks_arrived(report: str) -> None:
    """The report of a failed test names each webhook, in order, with its fate."""
    assert "FAILED test_shop.py::test_shows_its_webhooks" in report, report
    assert "Captured xPay's webhooks call" in report
    assert "intent.success whe_" in report


def test_a_forgotten_handler_is_an_error_in_words(report: str) -> None:
    """It names the handler, and no line of ours stands in the trace; a mark allows it."""
    assert "ERROR test_shop.py::test_forgets_a_handler - Failed: on_refunded was due for 42" in (
        report
    ), report
    assert "PASSED test_shop.py::test_has_no_such_handler_on_purpose" in report


def test_an_unknown_order_is_an_error(report: str) -> None:
    """A typing error in the mark is no test that passes."""
    assert "ERROR test_shop.py::test_mistypes_the_order" in report
    assert "order must be one of as_sent, reversed, shuffle" in report


def test_without_an_app_the_error_shows_the_way(tmp_path: Path) -> None:
    """Where neither an app nor Django's settings are there, the setting to write is named."""
    (tmp_path / "test_it.py").write_text("def test_it(xpay_world):\n    pass\n")
    report = run_pytest(tmp_path)
    assert "name the app: xpay_app = shop.main:app" in report, report


def test_the_variables_are_those_of_the_local_xpay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the plugin sets so that an app can be imported are the sandbox's own settings."""
    given: Any = vars(xpay_flow_pytest)["_ENVIRONMENT"]
    assert Settings.sandbox() == Settings.from_env(given)
    assert "memory://" == given["XPAY_STORE"]
