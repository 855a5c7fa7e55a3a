"""A worker does what is due, prints it, and ends in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from xpay_flow import HandlerResult, Money, ReconcileResult
from xpay_flow.cli.root import xpay_flow
from xpay_flow.drive import run_query
from xpay_flow.flows import find
from xpay_flow.sandbox import FaultPlan, WebhookFault
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.system import SystemClock
from xpay_flow.testing.world import World
from xpay_flow.worker import Result as WorkResult
from xpay_flow.worker import one_pass, work_until

SHOP = """
    from xpay_flow import AsyncFlow, Flow, Settings

    URL = {url!r}
    packed = []

    def made(kind=Flow):
        flow = kind.open(URL, Settings.sandbox(), background=False)
        flow.on_success(lambda payment: packed.append(payment.receipt_id))
        return flow

    def make_flow():
        return made()

    async def make_async_flow():
        return made(AsyncFlow)

    def make_nothing():
        return None

    async def make_wrong():
        return made()

    def made_on_the_store_of_the_environment():
        flow = Flow.open(settings=Settings.sandbox(), background=False)
        flow.on_success(lambda payment: packed.append(payment.receipt_id))
        return flow

    def without_handlers():
        return Flow.open(URL, Settings.sandbox(), background=False)

    text = "not a flow"
"""


def paid(path: Path, *order_ids: str, **settings: str) -> None:
    """Orders that are paid in the store, with handler calls that are due."""
    with SQLiteStore(path) as store:
        world = World(store, **settings)
        for order_id in order_ids:
            world.xpay.pay(world.start_checkout(order_id).x_intent_id or "")
        world.deliver_webhooks()
        world.flow.close()


def outbox(path: Path, order_id: str) -> list[str]:
    with SQLiteStore(path) as store:
        records = run_query(find(order_id), store.reader(), SystemClock())
        return [entry.status for entry in records[0].outbox]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "payments.db"
    paid(path, "order-1", "order-2")
    return path


@pytest.fixture
def shop(db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module in the current folder, which opens the database."""
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SHOP.format(url=f"sqlite:///{db}")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


def work(name: str, *options: str) -> Result:
    return CliRunner().invoke(xpay_flow, ["worker", name, "--once", *options])


# --- the store -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["--store", "XPAY_STORE"])
def test_worker_store_is_the_one_of_flow_open_without_a_url(
    way: str, shop: str, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`worker --store URL`, like XPAY_STORE, names the store of a `Flow.open()` without a URL."""
    url = f"sqlite:///{db}"
    monkeypatch.setenv("XPAY_STORE", url if way == "XPAY_STORE" else "sqlite:///another.db")
    options = ("--store", url) if way == "--store" else ()
    result = work(f"{shop}:made_on_the_store_of_the_environment", *options)
    assert 0 == result.exit_code
    assert ["done"] == outbox(db, "order-1")
    assert not Path("another.db").exists()


@pytest.mark.parametrize("factory", ["make_flow", "make_async_flow"])
def test_worker_names_unserved_work_at_its_start(
    factory: str, shop: str, db: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Work of an account that no setting names is an error in the log, and stays due."""
    paid(db, "order-9", account="another")
    assert 0 == work(f"{shop}:{factory}").exit_code
    (line,) = [r.getMessage() for r in caplog.records if r.name == "xpay_flow.background"]
    assert "belong to sandbox/another, which no setting names" in line
    assert ["done"] == outbox(db, "order-1")
    assert ["pending"] == outbox(db, "order-9")


# --- one pass --------------------------------------------------------------------------------


def test_a_pass_delivers_asks_and_delivers_what_asking_due() -> None:
    """A lost webhook is made good, to the handler, within one pass."""
    world = World(faults=FaultPlan(webhooks=(WebhookFault(fault="lose"),)))
    world.xpay.pay(world.start_checkout().x_intent_id or "")
    world.advance(3600)
    results: list[WorkResult] = []

    count = world.flow.run(
        one_pass(world.flow.context, world.flow.capabilities, lambda: False, results.append)
    )

    assert [ReconcileResult, HandlerResult] == [type(result) for result in results]
    assert 2 == count
    assert ["pi_1:on_success"] == world.called("on_success")


def test_a_stopped_pass_takes_no_further_job() -> None:
    """The job at hand is finished; the next one is left to others."""
    world = World()
    for order_id in ("order-1", "order-2"):
        world.xpay.pay(world.start_checkout(order_id, Money(500, "USD")).x_intent_id or "")
    world.deliver_webhooks()
    results: list[WorkResult] = []

    def is_stopped() -> bool:
        return bool(world.called("on_success"))

    flow = world.flow
    flow.run(one_pass(flow.context, flow.capabilities, is_stopped, results.append, 1))

    assert 1 == len(results)
    assert 1 == len(world.called("on_success"))


def test_a_pass_with_nothing_due_does_nothing() -> None:
    """Nothing due is no result."""
    world = World()

    assert 0 == world.flow.run(
        one_pass(world.flow.context, world.flow.capabilities, lambda: False, lambda _: None)
    )


def test_work_until_goes_on_while_passes_find_something() -> None:
    """`--once` does all that is due, and not one pass of it."""
    found = iter([100, 3, 0])

    work_until(threading.Event(), lambda: next(found), None, lambda _: None)

    assert [] == list(found)


# --- the command -----------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["make_flow", "make_async_flow"])
def test_once_delivers_what_is_due_and_ends(shop: str, db: Path, attribute: str) -> None:
    """One line for each result, for a sync and an async flow alike."""
    result = work(f"{shop}:{attribute}")

    assert 0 == result.exit_code, result.output
    assert 2 == result.stdout.count("on_success for pi_")
    assert 2 == result.stdout.count(": done")
    assert [["done"], ["done"]] == [outbox(db, order) for order in ("order-1", "order-2")]


def test_a_second_run_finds_nothing_to_do(shop: str) -> None:
    """What is done is done."""
    work(f"{shop}:make_flow")

    assert "" == work(f"{shop}:make_flow").stdout


def test_results_as_json_lines(shop: str) -> None:
    """Each line is an object with kind, outcome and ids."""
    result = work(f"{shop}:make_flow", "--json")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert ["delivered", "delivered"] == [line["kind"] for line in lines]
    assert ["done", "done"] == [line["outcome"] for line in lines]
    assert all(line["entry_id"].endswith(":on_success") for line in lines)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{shop}", "write MODULE:FLOW"),
        ("no_such_module_here:flow", "there is no module"),
        ("{shop}:nothing", "has no 'nothing'"),
        ("{shop}:text", "of type str"),
        ("{shop}:make_nothing", "made an object of type NoneType"),
        ("{shop}:make_wrong", "let it make an AsyncFlow"),
        ("{shop}:without_handlers", "has no handlers"),
    ],
)
def test_what_is_no_flow_is_said_in_one_line(shop: str, name: str, words: str) -> None:
    """The mistake is named, and nothing was delivered."""
    result = work(name.format(shop=shop))

    assert 1 == result.exit_code
    assert words in result.stderr
    assert 1 == len(result.stderr.splitlines())


def test_a_module_missing_inside_of_theirs_keeps_its_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the user's bug to find, not a wrong name on the command line."""
    (tmp_path / "shop_with_bug.py").write_text("import no_such_module_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    result = work("shop_with_bug:flow")

    assert isinstance(result.exception, ModuleNotFoundError)


# --- signals ---------------------------------------------------------------------------------

SLOW = """
    import os
    from xpay_flow import AsyncFlow, Flow, Settings

    def slow(payment):
        os.write({started}, b"!")
        os.read({release}, 1)

    def make_flow():
        flow = Flow.open({url!r}, Settings.sandbox(), background=False)
        flow.on_success(slow)
        return flow

    async def make_async_flow():
        flow = AsyncFlow.open({url!r}, Settings.sandbox(), background=False)
        flow.on_success(slow)
        return flow
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("attribute", ["make_flow", "make_async_flow"])
def test_a_stopped_worker_finishes_its_job(
    db: Path, tmp_path: Path, number: signal.Signals, attribute: str
) -> None:
    """The handler under way ends and is settled, no other is begun, and the exit code is 0."""
    started_r, started_w = os.pipe()
    release_r, release_w = os.pipe()
    code = SLOW.format(url=f"sqlite:///{db}", started=started_w, release=release_r)
    (tmp_path / "slow_shop.py").write_text(textwrap.dedent(code))
    command = [sys.executable, "-m", "xpay_flow.cli", "worker", f"slow_shop:{attribute}", "--json"]
    command += ["--handlers-at-once", "1"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        pass_fds=(started_w, release_r),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert b"!" == os.read(started_r, 1)
            process.send_signal(number)
            os.write(release_w, b"!")
            stdout, stderr = process.communicate(timeout=20)
        finally:
            process.kill()
            for pipe in (started_r, started_w, release_r, release_w):
                os.close(pipe)

    assert 0 == process.returncode, stderr
    assert ["done"] == [json.loads(line)["outcome"] for line in stdout.splitlines()]
    assert [["done"], ["pending"]] == sorted(outbox(db, order) for order in ("order-1", "order-2"))
    assert "Traceback" not in stderr
